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

/// Averages by key.
pub(super) struct Averages {
    lines: Vec<Line>,
    held: usize,
    others: Keys,
    other_averages: Vec<f64>,
    threshold: f64,
    /// Places whose average was written above the threshold, some more than once; none while they are not known.
    candidates: Option<Vec<usize>>,
}

impl Averages {
    pub(super) fn new() -> Self {
        Self {
            lines: vec![Line::default(); 1 << 10],
            held: 0,
            others: Keys::new(),
            other_averages: vec![0.0],
            threshold: f64::NEG_INFINITY,
            candidates: None,
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
        for line in &old {
            for (key, average) in line.keys.into_iter().zip(line.averages).filter(|(key, _)| *key != 0) {
                let mut home = self.home(Probe::hash_of(key, 0, word_len(key)));
                while lanes(&self.lines[home].keys, 0) == 0 {
                    home = (home + 1) % self.lines.len();
                }
                let lane = lanes(&self.lines[home].keys, 0).trailing_zeros() as usize;
                self.lines[home].keys[lane] = key;
                self.lines[home].averages[lane] = average;
            }
        }
        self.candidates = None;
    }

    /// As [`Self::update`], for a key that is no word.
    pub(super) fn update_other(&mut self, key: &[u8], first: f64, next: impl Fn(f64) -> f64) {
        let number = self.others.number_of(key);
        match self.other_averages.get_mut(number) {
            Some(average) => *average = next(*average),
            None => self.other_averages.push(first),
        }
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
