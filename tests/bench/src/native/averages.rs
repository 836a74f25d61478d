//! W3's table: four keys of up to eight bytes and their averages in a cache line, so that a reading costs one wait for memory.
//!
//! ```text
//! line   keys [u64; 4]   averages [f64; 4]      a key stands in its own line, or in one behind it if that was full
//! ```
//! A key is a word, an empty place is 0. Keys that are no word (see [`Probe::word`]) stand in a table of their own, which nobody
//! has made fast.
//!
//! The highest averages are found without looking at all of them: places with an average above a threshold are remembered when
//! it is written, and only when too few are left above it is everything looked at again.

use super::keys::{Keys, Probe, word_len};
use super::marks::Marks;
use super::state::Changes;
use super::top::by_value_then_key;

/// How many averages per row of the answer lie above the threshold when it is set: more last longer, and cost more to sort out.
const AHEAD: usize = 64;

/// Keys in a line.
const LANES: usize = 4;

#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Line {
    keys: [u64; LANES],
    averages: [f64; LANES],
}

/// What the state file does not have yet.
struct Unwritten {
    /// By place.
    words: Marks,
    /// By number in the other table.
    others: Marks,
    /// How many keys have a number in the file.
    numbered: u32,
}

/// Averages by key.
pub(super) struct Averages {
    lines: Vec<Line>,
    held: usize,
    others: Keys,
    other_averages: Vec<f64>,
    threshold: f64,
    /// Places whose average was written above the threshold, some more than once; none while they are not known.
    candidates: Option<Vec<usize>>,
    /// None if no state is written.
    unwritten: Option<Unwritten>,
}

impl Averages {
    /// None yet. Whether state is written must be known: what changes is marked for it.
    pub(super) fn new(has_state: bool) -> Self {
        let lines = 1 << 10;
        let words = Marks::with_room(lines * LANES);
        Self {
            lines: vec![Line::default(); lines],
            held: 0,
            others: Keys::new(),
            other_averages: vec![0.0],
            threshold: f64::NEG_INFINITY,
            candidates: None,
            unwritten: has_state.then(|| Unwritten { words, others: Marks::default(), numbered: 0 }),
        }
    }

    /// Reads the line of a key, so that it is in the cache when its reading comes.
    #[inline(always)]
    pub(super) fn touch(&self, hash: u64) -> u64 {
        self.lines[self.home(hash)].keys[0]
    }

    /// The line where a key is looked for first: the lower half of its hash spread over the lines.
    #[inline(always)]
    fn home(&self, hash: u64) -> usize {
        ((u64::from(hash as u32) * self.lines.len() as u64) >> 32) as usize
    }

    /// Puts `next(average)` in place of a key's average, or `first` if it has none. The key is a [`Probe::word`].
    #[inline(always)]
    pub(super) fn update(&mut self, key: u64, hash: u64, first: f64, next: impl Fn(f64) -> f64) {
        let mut home = self.home(hash);
        loop {
            let Some(line) = self.lines.get_mut(home) else {
                home = 0;
                continue;
            };
            // All four at once: which of them it is cannot be predicted.
            let found = lanes(&line.keys, key);
            if found != 0 {
                let lane = found.trailing_zeros() as usize % LANES;
                let average = next(line.averages[lane]);
                line.averages[lane] = average;
                self.mark(home * LANES + lane);
                return self.notice(home * LANES + lane, average);
            }
            let empty = lanes(&line.keys, 0);
            if empty != 0 {
                let lane = empty.trailing_zeros() as usize % LANES;
                (line.keys[lane], line.averages[lane]) = (key, first);
                return self.inserted(home * LANES + lane, first);
            }
            home += 1;
        }
    }

    #[inline(always)]
    fn mark(&mut self, place: usize) {
        if let Some(unwritten) = &mut self.unwritten {
            unwritten.words.set(place);
        }
    }

    #[inline(always)]
    fn notice(&mut self, place: usize, average: f64) {
        if average >= self.threshold
            && let Some(candidates) = &mut self.candidates
        {
            candidates.push(place);
        }
    }

    #[cold]
    #[inline(never)]
    fn inserted(&mut self, place: usize, average: f64) {
        self.held += 1;
        self.mark(place);
        // At most seven of ten places are taken: few keys stand behind their own line then.
        if self.held * 10 > self.lines.len() * LANES * 7 {
            self.grow();
        } else {
            self.notice(place, average);
        }
    }

    fn grow(&mut self) {
        let fresh = vec![Line::default(); self.lines.len() * 3 / 2];
        let old = std::mem::replace(&mut self.lines, fresh);
        let places = self.lines.len() * LANES;
        let mut unwritten = self.unwritten.take();
        let mut words = unwritten.as_mut().map(|Unwritten { words, .. }| {
            let old = std::mem::replace(words, Marks::with_room(places));
            (old, words)
        });
        for (number, line) in old.iter().enumerate() {
            for (old_lane, key) in line.keys.into_iter().enumerate().filter(|(_, key)| *key != 0) {
                let mut home = self.home(Probe::hash_of(key, 0, word_len(key)));
                while lanes(&self.lines[home].keys, 0) == 0 {
                    home = (home + 1) % self.lines.len();
                }
                let lane = lanes(&self.lines[home].keys, 0).trailing_zeros() as usize;
                self.lines[home].keys[lane] = key;
                self.lines[home].averages[lane] = line.averages[old_lane];
                if let Some((old, words)) = &mut words {
                    words.take_over(home * LANES + lane, old, number * LANES + old_lane);
                }
            }
        }
        self.unwritten = unwritten;
        self.candidates = None;
    }

    /// As [`Self::update`], for a key that is no word.
    pub(super) fn update_other(&mut self, key: &[u8], first: f64, next: impl Fn(f64) -> f64) {
        let number = self.others.number_of(key);
        match self.other_averages.get_mut(number) {
            Some(average) => *average = next(*average),
            None => self.other_averages.push(first),
        }
        if let Some(unwritten) = &mut self.unwritten {
            unwritten.others.set(number);
        }
    }

    /// Every average that was moved since the last time.
    pub(super) fn write_changes(&mut self, out: &mut Changes) {
        let Some(Unwritten { words, others, numbered }) = &mut self.unwritten else { return };
        let new = self.held + self.others.end() - 1 - *numbered as usize;
        out.restart(new, size_of::<u64>(), (words.count() + others.count()).saturating_sub(new));
        words.drain(|place, number| {
            let (line, lane) = (&self.lines[place / LANES], place % LANES);
            let (key, average) = (line.keys[lane], line.averages[lane].to_le_bytes());
            if *number == 0 {
                *numbered += 1;
                *number = *numbered;
                out.add(&key.to_le_bytes()[..word_len(key)], average);
            } else {
                out.change(*number, average);
            }
        });
        others.drain(|other, number| {
            let average = self.other_averages[other].to_le_bytes();
            if *number == 0 {
                *numbered += 1;
                *number = *numbered;
                out.add(&self.others.key(other), average);
            } else {
                out.change(*number, average);
            }
        });
    }

    /// The highest averages, or all of them if `top` is 0; equal ones by key.
    pub(super) fn highest(&mut self, top: usize) -> Vec<(Vec<u8>, f64)> {
        if top == 0 {
            return self.rows(self.places().map(|(place, _)| place), usize::MAX);
        }
        let mut candidates = self.candidates.take().unwrap_or_default();
        candidates.sort_unstable();
        candidates.dedup();
        candidates.retain(|place| self.average(*place) >= self.threshold);
        if candidates.len() < top {
            candidates = self.look_at_all(top * AHEAD);
        }
        let rows = self.rows(candidates.iter().copied(), top);
        self.candidates = Some(candidates);
        rows
    }

    /// Sets the threshold so that about `ahead` averages reach it, and gives their places.
    fn look_at_all(&mut self, ahead: usize) -> Vec<usize> {
        let mut averages: Vec<f64> = self.places().map(|(_, average)| average).collect();
        self.threshold = if averages.len() > ahead {
            *averages.select_nth_unstable_by(ahead, |left, right| right.total_cmp(left)).1
        } else {
            f64::NEG_INFINITY
        };
        self.places().filter(|(_, average)| *average >= self.threshold).map(|(place, _)| place).collect()
    }

    /// Every place that is taken, and its average.
    fn places(&self) -> impl Iterator<Item = (usize, f64)> {
        self.lines.iter().enumerate().flat_map(|(number, line)| {
            let taken = (0..LANES).filter(|lane| line.keys[*lane] != 0);
            taken.map(move |lane| (number * LANES + lane, line.averages[lane]))
        })
    }

    fn average(&self, place: usize) -> f64 {
        self.lines[place / LANES].averages[place % LANES]
    }

    /// The first of these, and of all in the other table, by average and key.
    fn rows(&self, places: impl Iterator<Item = usize>, top: usize) -> Vec<(Vec<u8>, f64)> {
        let key = |place: usize| {
            let key = self.lines[place / LANES].keys[place % LANES];
            key.to_le_bytes()[..word_len(key)].to_vec()
        };
        let mut rows: Vec<_> = places.map(|place| (key(place), self.average(place))).collect();
        rows.extend((1..self.others.end()).map(|number| (self.others.key(number), self.other_averages[number])));
        rows.sort_unstable_by(by_value_then_key(f64::total_cmp));
        rows.truncate(top);
        rows
    }
}

/// A bit for each lane that holds this.
#[inline(always)]
fn lanes(keys: &[u64; LANES], key: u64) -> u32 {
    let is_in = |lane: usize| u32::from(keys[lane] == key) << lane;
    is_in(0) | is_in(1) | is_in(2) | is_in(3)
}
