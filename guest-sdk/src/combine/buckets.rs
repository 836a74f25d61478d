//! Where keys are: from the hash of a key to its number, by buckets of eight.
//!
//! ```text
//! bucket   8 tags of 16 bits: some of a key's hash, never 0 | 8 numbers + 1 of 16 bits; 0 = vacant, and so are all behind it
//! ```
//! A bucket is half a cache line, and all its tags are compared at once: where a key is in it makes no difference, and no branch
//! depends on it. A full bucket goes on in the next one. Small, as it is read at random: 40,000 keys take 256 KiB, which leaves room
//! for the keys themselves in a second-level cache.

/// No index has more keys: a bucket holds a number + 1 in 16 bits.
pub(super) const NUMBERS_MAX: usize = u16::MAX as usize - 1;

/// Keys of a bucket.
const KEYS: usize = 8;

/// A search that passes more buckets is not chance but hostile or unlucky keys.
const SEARCH_MAX: usize = 32;

/// An index gets twice as many buckets before it has more keys than this for each, so that hardly one in twenty is not in the bucket
/// where it is looked for first.
const KEYS_FOR_A_BUCKET: usize = 5;

/// Fewest buckets.
const BUCKETS_MIN: usize = 128;

/// Most buckets that an index begins with: 256 KiB, of which emptying costs little (some 10 us) even where few keys come.
const BUCKETS_START_MAX: usize = 8 * 1024;

/// The index.
pub(super) struct Buckets {
    buckets: Vec<Bucket>,
    /// Buckets are taken from the top bits of the hash, which multiplication mixes best.
    shift: u32,
}

#[derive(Clone, Copy, Default)]
#[repr(C, align(32))]
struct Bucket {
    /// Four to a word, the first one lowest.
    tags: [u64; 2],
    numbers: [u16; KEYS],
}

/// What a search found.
pub(super) enum Search {
    /// The key.
    Found(Place),
    /// The key is not there, and would be here.
    Vacant(Place),
    /// Too many others are in the way.
    Crowded,
}

/// A place of the index: a bucket, and one of its places.
#[derive(Clone, Copy)]
pub(super) struct Place(usize, usize);

impl Buckets {
    /// An index for about so many keys, of which there may be more or less.
    pub(super) fn new(keys: usize) -> Self {
        Self::of((keys / KEYS).next_power_of_two().clamp(BUCKETS_MIN, BUCKETS_START_MAX))
    }

    fn of(buckets: usize) -> Self {
        Self { buckets: vec![Bucket::default(); buckets], shift: 64 - buckets.trailing_zeros() }
    }

    /// The number that a key with this hash most likely has, if it has one; may be of no key at all.
    #[inline(always)]
    pub(super) fn guess(&self, hash: u64) -> usize {
        let bucket = &self.buckets[self.home(hash)];
        let place = bucket.places_of(tag(hash)).trailing_zeros() as usize;
        usize::from(bucket.numbers[place % KEYS]).wrapping_sub(1)
    }

    #[inline(always)]
    fn home(&self, hash: u64) -> usize {
        (hash >> self.shift) as usize
    }

    /// Looks through all that have the hash's tag.
    pub(super) fn search(&self, hash: u64, is_it: impl Fn(usize) -> bool) -> Search {
        let (home, mask, tag) = (self.home(hash), self.buckets.len() - 1, tag(hash));
        for at in (home..home + SEARCH_MAX).map(|at| at & mask) {
            let bucket = &self.buckets[at];
            for (place, number) in bucket.numbers.iter().enumerate() {
                let Some(number) = usize::from(*number).checked_sub(1) else {
                    return Search::Vacant(Place(at, place));
                };
                if bucket.tag(place) == tag && is_it(number) {
                    return Search::Found(Place(at, place));
                }
            }
        }
        Search::Crowded
    }

    /// The number of the key at a place.
    pub(super) fn number(&self, Place(bucket, place): Place) -> usize {
        usize::from(self.buckets[bucket].numbers[place]).wrapping_sub(1)
    }

    /// Where a key with this hash is put first.
    pub(super) fn first_place(&self, hash: u64) -> Place {
        Place(self.home(hash), 0)
    }

    /// Whether a key more fits besides so many. If not, the index has to [`grow`](Self::grow).
    pub(super) fn has_room_for(&self, keys: usize) -> bool {
        keys < self.buckets.len() * KEYS_FOR_A_BUCKET
    }

    /// Puts a key's number at a vacant place.
    pub(super) fn put(&mut self, Place(bucket, place): Place, hash: u64, number: usize) {
        let Bucket { tags, numbers } = &mut self.buckets[bucket];
        numbers[place] = number as u16 + 1;
        tags[place / 4] |= u64::from(tag(hash)) << (place % 4 * 16);
    }

    /// Gives the key at a place another number.
    pub(super) fn renumber(&mut self, Place(bucket, place): Place, number: usize) {
        self.buckets[bucket].numbers[place] = number as u16 + 1;
    }

    /// Twice as many buckets, for keys with these hashes, by number; `false` = some are too crowded.
    #[must_use]
    pub(super) fn grow(&mut self, hashes: &[u64]) -> bool {
        *self = Self::of(self.buckets.len() * 2);
        // The newest first: a key that was started anew is to be found where it goes on.
        for (number, hash) in hashes.iter().enumerate().rev() {
            let Search::Vacant(place) = self.search(*hash, |_| false) else { return false };
            self.put(place, *hash, number);
        }
        true
    }

    /// Forgets all keys.
    pub(super) fn clear(&mut self) {
        self.buckets.fill(Bucket::default());
    }
}

impl Bucket {
    /// A bit for each place whose tag is this one; tag 0 is that of vacant places.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    #[inline(always)]
    fn places_of(&self, tag: u16) -> u32 {
        use core::arch::wasm32::{u16x8_bitmask, u16x8_eq, u16x8_splat, u64x2};
        let tags = u64x2(self.tags[0], self.tags[1]);
        u32::from(u16x8_bitmask(u16x8_eq(tags, u16x8_splat(tag))))
    }

    /// A bit for each place whose tag is this one; tag 0 is that of vacant places.
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    #[inline(always)]
    fn places_of(&self, tag: u16) -> u32 {
        // A loop of known length, which compilers make vector code of.
        (0..KEYS).fold(0, |places, place| places | u32::from(self.tag(place) == tag) << place)
    }

    #[inline(always)]
    fn tag(&self, place: usize) -> u16 {
        (self.tags[place / 4] >> (place % 4 * 16)) as u16
    }
}

/// Other bits of the hash than those that choose the bucket.
#[inline(always)]
fn tag(hash: u64) -> u16 {
    (hash >> 32) as u16 | 0x8000
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn buckets_are_a_map(hashes in proptest::collection::vec(any::<u64>(), 0..3000), narrow in 0u32..32) {
            // With fewer different bits keys share tags and buckets.
            let mut model: HashMap<u64, usize> = HashMap::new();
            let mut by_number = Vec::new();
            let mut buckets = Buckets::new(0);
            for hash in hashes.iter().map(|hash| hash >> narrow << narrow) {
                if !buckets.has_room_for(by_number.len()) {
                    prop_assert!(buckets.grow(&by_number));
                }
                match buckets.search(hash, |number| by_number[number] == hash) {
                    Search::Found(place) => prop_assert_eq!(model.get(&hash), Some(&buckets.number(place))),
                    Search::Vacant(place) => {
                        prop_assert_eq!(model.insert(hash, by_number.len()), None);
                        buckets.put(place, hash, by_number.len());
                        by_number.push(hash);
                    }
                    Search::Crowded => prop_assert!(false, "random keys do not crowd"),
                }
            }
            // A guess is right unless another key has the tag, or the key's bucket was full.
            let right = by_number.iter().enumerate().filter(|(number, hash)| buckets.guess(**hash) == *number).count();
            prop_assert!(right * 10 >= by_number.len() * 8, "{right} of {}", by_number.len());
            buckets.clear();
            prop_assert!(by_number.iter().all(|hash| matches!(buckets.search(*hash, |_| true), Search::Vacant(_))));
        }

        #[test]
        fn places_are_those_of_equal_tags(tags: [u16; KEYS], at in 0..KEYS) {
            let tags = tags.map(|tag| tag % 3);
            let word = |tags: &[u16]| tags.iter().rev().fold(0, |word, tag| word << 16 | u64::from(*tag));
            let bucket = Bucket { tags: [word(&tags[..4]), word(&tags[4..])], numbers: [0; KEYS] };
            let expected = (0..KEYS).filter(|place| tags[*place] == tags[at]).map(|place| 1 << place).sum::<u32>();
            prop_assert_eq!(bucket.places_of(tags[at]), expected);
        }
    }
}
