//! A vector in pieces: it grows without moving what it holds.
//!
//! A `Vec` of a hundred megabytes that doubles has the system clear as much memory again and copies all of it, in the midst of a
//! batch. Here growing costs a new piece. An element costs one more look at a short table than in a `Vec`.

use std::ops::{Index, IndexMut};

/// Elements of a piece. A guess: pieces of some ten KiB are large against their own cost, and small against what a table with
/// few keys may waste.
const PIECE: usize = 4096;

/// Elements by number.
#[derive(Debug)]
pub(crate) struct Segmented<T> {
    /// All but the last one are full.
    pieces: Vec<Vec<T>>,
}

impl<T> Default for Segmented<T> {
    fn default() -> Self {
        Self { pieces: Vec::new() }
    }
}

impl<T: Copy> Segmented<T> {
    pub(crate) fn len(&self) -> usize {
        self.pieces.last().map_or(0, |last| (self.pieces.len() - 1) * PIECE + last.len())
    }

    /// Memory that is held, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.pieces.iter().map(Vec::capacity).sum::<usize>() * size_of::<T>()
    }

    #[inline]
    pub(crate) fn push(&mut self, element: T) {
        match self.pieces.last_mut() {
            Some(last) if last.len() < PIECE => last.push(element),
            _ => self.push_piece(element),
        }
    }

    fn push_piece(&mut self, element: T) {
        // The first piece grows like any vector, as many tables never need more.
        let mut piece = if self.pieces.is_empty() { Vec::new() } else { Vec::with_capacity(PIECE) };
        piece.push(element);
        self.pieces.push(piece);
    }

    /// Makes it at least so long, with copies of `element`.
    pub(crate) fn grow(&mut self, length: usize, element: T) {
        while self.len() < length {
            if self.pieces.last().is_none_or(|last| last.len() == PIECE) {
                let capacity = if self.pieces.is_empty() { 0 } else { PIECE };
                self.pieces.push(Vec::with_capacity(capacity));
            }
            let before = (self.pieces.len() - 1) * PIECE;
            if let Some(last) = self.pieces.last_mut() {
                last.resize(PIECE.min(length - before), element);
            }
        }
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        self.pieces.get(index / PIECE)?.get(index % PIECE)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.pieces.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.pieces.iter_mut().flatten()
    }
}

impl<T> Index<usize> for Segmented<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: usize) -> &T {
        &self.pieces[index / PIECE][index % PIECE]
    }
}

impl<T> IndexMut<usize> for Segmented<T> {
    #[inline]
    fn index_mut(&mut self, index: usize) -> &mut T {
        &mut self.pieces[index / PIECE][index % PIECE]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_vector(steps in proptest::collection::vec((any::<bool>(), 0usize..9000), 0..8)) {
            let mut segmented = Segmented::default();
            let mut model: Vec<usize> = Vec::new();
            for (push, number) in steps {
                if push {
                    (0..number).for_each(|element| segmented.push(element));
                    model.extend(0..number);
                } else {
                    segmented.grow(number, 7);
                    model.resize(model.len().max(number), 7);
                }
                if let Some(last) = model.len().checked_sub(1) {
                    (segmented[last], model[last]) = (number, number);
                }
                prop_assert_eq!(segmented.len(), model.len());
            }
            prop_assert!(segmented.iter().eq(&model));
            prop_assert!(segmented.iter_mut().eq(&model));
            prop_assert_eq!(segmented.get(model.len()), None);
            prop_assert!((0..model.len()).all(|index| segmented[index] == model[index]));
            prop_assert!(segmented.memory_bytes() >= model.len() * size_of::<usize>());
        }
    }
}
