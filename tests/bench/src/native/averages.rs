//! W3's table: a key and its average in half a cache line, so that a reading costs one wait for memory.
//!
//! The highest averages are found without looking at all of them: those above a threshold are remembered when they are written, and only when too few are
//! left above it is everything looked at again.

use super::keys::{INLINE, Probe};
use super::top::by_value_then_key;

/// How many averages per row of the answer lie above the threshold when it is set: more last longer, and cost more to sort out.
const AHEAD: usize = 64;

/// A place for a key.
#[derive(Clone, Copy, Default)]
#[repr(align(32))]
struct Slot {
    /// First half of the key, or the hash of a long one.
    low: u64,
    /// Second half of the key, or the place of a long one in the arena.
    high: u64,
    /// The key's length and 1; 0 in an empty slot.
    len: u64,
    average: f64,
}

/// Averages by key: open addressing, at most half full.
pub(super) struct Averages {
    slots: Vec<Slot>,
    held: usize,
    arena: Vec<u8>,
    threshold: f64,
    /// Slots whose average was written above the threshold, some more than once; none while they are not known.
    candidates: Option<Vec<usize>>,
}

impl Averages {
    pub(super) fn new() -> Self {
        Self {
            slots: vec![Slot::default(); 1 << 12],
            held: 0,
            arena: Vec::new(),
            threshold: f64::NEG_INFINITY,
            candidates: None,
        }
    }

    /// Reads where a key is looked for first, so that it is in the cache when its reading comes.
    #[inline(always)]
    pub(super) fn touch(&self, probe: &Probe) -> u64 {
        self.slots[probe.hash as usize & (self.slots.len() - 1)].low
    }

    /// Puts `next(average)` in place of a key's average, or `first` if it has none.
    #[inline(always)]
    pub(super) fn update(&mut self, bytes: &[u8], probe: &Probe, first: f64, next: impl Fn(f64) -> f64) {
        let mut place = probe.hash as usize & (self.slots.len() - 1);
        loop {
            let slot = &self.slots[place & (self.slots.len() - 1)];
            if self.is_at(bytes, probe, slot) {
                break;
            }
            if slot.len == 0 {
                return self.insert(bytes, probe, place, first);
            }
            place = self.after(place, probe.hash);
        }
        let average = next(self.slots[place].average);
        self.slots[place].average = average;
        self.notice(place, average);
    }

    /// Where to look next: first at the other slot of the cache line, then at the next line.
    #[inline(always)]
    fn after(&self, place: usize, hash: u64) -> usize {
        let is_first_of_line = (place ^ hash as usize) & 1 == 0;
        if is_first_of_line { place ^ 1 } else { ((place ^ 1) + 2) & (self.slots.len() - 1) }
    }

    #[inline(always)]
    fn is_at(&self, bytes: &[u8], probe: &Probe, slot: &Slot) -> bool {
        let len = u64::from(probe.len);
        if len as usize <= INLINE {
            ((slot.low ^ probe.low) | (slot.high ^ probe.high) | (slot.len ^ (len + 1))) == 0
        } else {
            slot.len == len + 1 && slot.low == probe.hash && self.long(slot) == probe.key(bytes)
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
    fn insert(&mut self, bytes: &[u8], probe: &Probe, place: usize, average: f64) {
        let len = u64::from(probe.len) + 1;
        let (low, high) = if probe.len as usize <= INLINE {
            (probe.low, probe.high)
        } else {
            let start = self.arena.len() as u64;
            self.arena.extend_from_slice(probe.key(bytes));
            (probe.hash, start)
        };
        self.slots[place] = Slot { low, high, len, average };
        self.held += 1;
        if self.held * 2 > self.slots.len() {
            self.grow();
        } else {
            self.notice(place, average);
        }
    }

    fn grow(&mut self) {
        let fresh = vec![Slot::default(); self.slots.len() * 2];
        let old = std::mem::replace(&mut self.slots, fresh);
        for slot in old.iter().filter(|slot| slot.len > 0) {
            let len = slot.len as usize - 1;
            let hash = if len <= INLINE { Probe::hash_of(slot.low, slot.high, len) } else { slot.low };
            let mut place = hash as usize & (self.slots.len() - 1);
            while self.slots[place].len != 0 {
                place = self.after(place, hash);
            }
            self.slots[place] = *slot;
        }
        self.candidates = None;
    }

    fn long(&self, slot: &Slot) -> &[u8] {
        &self.arena[slot.high as usize..][..slot.len as usize - 1]
    }

    fn key(&self, slot: &Slot) -> Vec<u8> {
        let len = slot.len as usize - 1;
        if len > INLINE {
            return self.long(slot).to_vec();
        }
        (u128::from(slot.low) | u128::from(slot.high) << 64).to_le_bytes()[..len].to_vec()
    }

    /// The highest averages, or all of them if `top` is 0; equal ones by key.
    pub(super) fn highest(&mut self, top: usize) -> Vec<(Vec<u8>, f64)> {
        if top == 0 {
            return self.rows(self.held_slots().map(|(place, _)| place), usize::MAX);
        }
        let mut candidates = self.candidates.take().unwrap_or_default();
        candidates.sort_unstable();
        candidates.dedup();
        candidates.retain(|place| self.slots[*place].average >= self.threshold);
        if candidates.len() < top {
            candidates = self.look_at_all(top * AHEAD);
        }
        let rows = self.rows(candidates.iter().copied(), top);
        self.candidates = Some(candidates);
        rows
    }

    /// Sets the threshold so that about `ahead` averages reach it, and gives their slots.
    fn look_at_all(&mut self, ahead: usize) -> Vec<usize> {
        let mut averages: Vec<f64> = self.held_slots().map(|(_, slot)| slot.average).collect();
        self.threshold = if averages.len() > ahead {
            *averages.select_nth_unstable_by(ahead, |left, right| right.total_cmp(left)).1
        } else {
            f64::NEG_INFINITY
        };
        self.held_slots().filter(|(_, slot)| slot.average >= self.threshold).map(|(place, _)| place).collect()
    }

    fn held_slots(&self) -> impl Iterator<Item = (usize, &Slot)> {
        self.slots.iter().enumerate().filter(|(_, slot)| slot.len > 0)
    }

    /// The first of these by average and key.
    fn rows(&self, places: impl Iterator<Item = usize>, top: usize) -> Vec<(Vec<u8>, f64)> {
        let slots = places.map(|place| &self.slots[place]);
        let mut rows: Vec<_> = slots.map(|slot| (self.key(slot), slot.average)).collect();
        rows.sort_unstable_by(by_value_then_key(f64::total_cmp));
        rows.truncate(top);
        rows
    }
}
