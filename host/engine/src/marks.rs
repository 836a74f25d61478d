//! Marked numbers, of many that may be marked.
//!
//! A bit a number, and a bit for each 64 of those that says where to look: a batch that marks ten of a hundred million looks through 400
//! words and not through a hundred million marks, and what it gives is in order without a sort.

const BITS: usize = u64::BITS as usize;

/// A set of numbers.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// Of each number.
    marks: Vec<u64>,
    /// Of each word of `marks`: whether it may have one.
    words: Vec<u64>,
}

impl Marks {
    /// Makes room for numbers below `count`.
    pub(crate) fn grow(&mut self, count: usize) {
        let words = count.div_ceil(BITS);
        if words > self.marks.len() {
            self.marks.resize(words, 0);
            self.words.resize(words.div_ceil(BITS), 0);
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        (self.marks.capacity() + self.words.capacity()) * size_of::<u64>()
    }

    #[inline]
    pub(crate) fn insert(&mut self, number: u32) {
        let (word, bit) = (number as usize / BITS, number as usize % BITS);
        self.marks[word] |= 1 << bit;
        self.words[word / BITS] |= 1 << (word % BITS);
    }

    pub(crate) fn remove(&mut self, number: u32) {
        self.marks[number as usize / BITS] &= !(1 << (number as usize % BITS));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ones().all(|(_, marks)| marks == 0)
    }

    /// Takes all marks off; gives the numbers that had one, ascending.
    pub(crate) fn take(&mut self) -> Vec<u32> {
        let mut numbers = Vec::with_capacity(self.ones().map(|(_, marks)| marks.count_ones() as usize).sum());
        for (word, mut marks) in self.ones() {
            while marks != 0 {
                numbers.push((word * BITS) as u32 + marks.trailing_zeros());
                marks &= marks - 1;
            }
        }
        self.clear();
        numbers
    }

    /// Takes all marks off.
    pub(crate) fn clear(&mut self) {
        for (at, words) in self.words.iter_mut().enumerate() {
            while *words != 0 {
                self.marks[at * BITS + words.trailing_zeros() as usize] = 0;
                *words &= *words - 1;
            }
        }
    }

    /// Words of marks that may have one, and their numbers.
    fn ones(&self) -> impl Iterator<Item = (usize, u64)> {
        let bits = |(at, words): (usize, &u64)| {
            let mut words = *words;
            std::iter::from_fn(move || {
                let bit = words.trailing_zeros() as usize;
                (words != 0).then(|| {
                    words &= words - 1;
                    at * BITS + bit
                })
            })
        };
        self.words.iter().enumerate().flat_map(bits).map(|word| (word, self.marks[word]))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn marks_are_a_set(steps in proptest::collection::vec((0u32..10_000, 0u8..8), 0..200)) {
            let mut marks = Marks::default();
            let mut model = BTreeSet::new();
            for (number, step) in steps {
                marks.grow(number as usize + 1);
                prop_assert_eq!(marks.is_empty(), model.is_empty());
                match step {
                    0 => {
                        marks.remove(number);
                        model.remove(&number);
                    }
                    1 => {
                        prop_assert_eq!(marks.take(), std::mem::take(&mut model).into_iter().collect::<Vec<_>>());
                    }
                    _ => {
                        marks.insert(number);
                        model.insert(number);
                    }
                }
            }
            prop_assert_eq!(marks.take(), model.into_iter().collect::<Vec<_>>());
            prop_assert!(marks.take().is_empty());
        }
    }
}
