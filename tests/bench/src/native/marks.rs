//! Which of W3's averages moved since the state was last written, and under which numbers the state file has their sensors.

/// Marks by index.
#[derive(Default)]
pub(super) struct Marks {
    /// A bit for each index: with half a million places per thread they stay in a core's own cache.
    bits: Vec<u64>,
    /// Number of the key in the state file; 0 = it is not there yet.
    numbers: Vec<u32>,
}

impl Marks {
    /// None, with room for so many.
    pub(super) fn with_room(len: usize) -> Self {
        Self { bits: vec![0; len.div_ceil(64)], numbers: vec![0; len.next_multiple_of(64)] }
    }

    /// Marks one.
    #[inline(always)]
    pub(super) fn set(&mut self, index: usize) {
        if index / 64 >= self.bits.len() {
            self.grow(index);
        }
        self.bits[index / 64] |= 1 << (index % 64);
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, index: usize) {
        self.bits.resize((index / 64 + 1) * 2, 0);
        self.numbers.resize(self.bits.len() * 64, 0);
    }

    /// Takes over the mark and the number of another's index.
    pub(super) fn take_over(&mut self, index: usize, from: &Self, other: usize) {
        self.bits[index / 64] |= (from.bits[other / 64] >> (other % 64) & 1) << (index % 64);
        self.numbers[index] = from.numbers[other];
    }

    /// How many are marked.
    pub(super) fn count(&self) -> usize {
        self.bits.iter().map(|bits| bits.count_ones() as usize).sum()
    }

    /// Gives all that are marked with their numbers, and forgets the marks.
    #[inline(always)]
    pub(super) fn drain(&mut self, mut each: impl FnMut(usize, &mut u32)) {
        for (word, bits) in self.bits.iter_mut().enumerate() {
            let mut bits = std::mem::take(bits);
            while bits != 0 {
                let index = word * 64 + bits.trailing_zeros() as usize;
                each(index, &mut self.numbers[index]);
                bits &= bits - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_given_once_and_a_number_stays() {
        let mut marks = Marks::with_room(10);
        [3, 700, 3].into_iter().for_each(|index| marks.set(index));
        assert_eq!(marks.count(), 2);
        let mut given = Vec::new();
        marks.drain(|index, number| {
            given.push((index, *number));
            *number = index as u32 + 1;
        });
        marks.set(700);
        let mut moved = Marks::with_room(70);
        moved.take_over(65, &marks, 700);
        moved.take_over(2, &marks, 3);
        moved.drain(|index, number| given.push((index, *number)));
        assert_eq!(given, [(3, 0), (700, 0), (65, 701)]);
        assert_eq!(moved.count(), 0);
        moved.set(2);
        moved.drain(|_, number| assert_eq!(*number, 4));
    }
}
