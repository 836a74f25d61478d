//! The slots that may be among the first of an order, kept while values change, so that no pass over all keys is needed.
//!
//! More slots than are wanted are known: all whose value is not behind a certain one, the *least*. A value that changes is compared
//! with that only. When too many of the known slots have fallen behind, all values are looked through once and a new least one
//! is found, so that it takes as many changes again before the next pass.

use arrow::array::ArrayRef;
use millpond_core::plan::Sort;

use crate::columns::{ColumnStore, rank_of};

/// So many times the wanted slots are known after a pass, and a few more. A guess: each further one makes passes rarer and every answer
/// a little dearer.
const KNOWN: usize = 4;
const KNOWN_MIN: usize = 64;

/// The first slots by one column.
#[derive(Debug)]
pub(crate) struct FirstSlots {
    /// Of the values.
    column: usize,
    descending: bool,
    limit: usize,
    /// All slots of this rank or a larger one are known; `None` = they have to be found.
    least: Option<u64>,
    known: Vec<u32>,
    is_known: Vec<bool>,
}

impl FirstSlots {
    /// `None` where the order's first column is a key column, or nothing limits the order.
    pub(crate) fn try_new(sort: &Sort, key_columns: usize) -> Option<Self> {
        let order = sort.order.first()?;
        let limit = usize::try_from(sort.limit?).ok().filter(|limit| *limit > 0)?;
        let column = order.column.checked_sub(key_columns)?;
        let descending = order.descending;
        Some(Self { column, descending, limit, least: None, known: Vec::new(), is_known: Vec::new() })
    }

    /// Values have changed: row `row` of the columns is in slot `slot` now, for each pair.
    pub(crate) fn changed(&mut self, columns: &[ArrayRef], rows_to_slots: &[(u32, u32)], slots: usize) {
        let Some(least) = self.least else { return };
        self.is_known.resize(slots, false);
        let Self { known, is_known, descending, .. } = self;
        let found =
            rank_of(&columns[self.column], *descending, rows_to_slots.iter().map(|(row, _)| *row), |index, rank| {
                let (_, slot) = rows_to_slots[index];
                if rank >= least && !std::mem::replace(&mut is_known[slot as usize], true) {
                    known.push(slot);
                }
            });
        if !found {
            self.forget();
        }
    }

    /// Nothing is known any more.
    pub(crate) fn forget(&mut self) {
        self.least = None;
        self.known.iter().for_each(|slot| self.is_known[*slot as usize] = false);
        self.known.clear();
    }

    /// The slots that come first, with all that tie with the last of them, ascending; `None` = it takes a sort of all to tell.
    pub(crate) fn slots(
        &mut self,
        node: &str,
        values: &ColumnStore,
        keys: usize,
        is_occupied: impl Fn(u32) -> bool,
    ) -> Option<Vec<u32>> {
        if self.limit >= keys / 2 {
            self.forget();
            return None;
        }
        let wanted = self.limit * KNOWN + KNOWN_MIN;
        let mut ranks = self.ranks(node, values, &is_occupied)?;
        if self.least.is_none() || ranks.len() < self.limit || ranks.len() > KNOWN * wanted {
            self.find(values, wanted, &is_occupied)?;
            ranks = self.ranks(node, values, &is_occupied)?;
        }
        let mut sorted = ranks.clone();
        let nth = sorted.len().saturating_sub(self.limit);
        let (_, least, _) = sorted.select_nth_unstable(nth);
        let mut first: Vec<u32> =
            self.known.iter().zip(&ranks).filter(|(_, rank)| **rank >= *least).map(|(slot, _)| *slot).collect();
        first.sort_unstable();
        Some(first)
    }

    /// Ranks of the known slots; those that have fallen behind or are vacant are known no more.
    fn ranks(&mut self, node: &str, values: &ColumnStore, is_occupied: &impl Fn(u32) -> bool) -> Option<Vec<u64>> {
        let Some(least) = self.least else { return Some(Vec::new()) };
        let known = std::mem::take(&mut self.known);
        let column = values.gather_column(node, self.column, &known)?;
        let mut ranks = Vec::with_capacity(known.len());
        rank_of(&column, self.descending, 0..known.len() as u32, |index, rank| {
            let slot = known[index];
            if rank >= least && is_occupied(slot) {
                self.known.push(slot);
                ranks.push(rank);
            } else {
                self.is_known[slot as usize] = false;
            }
        });
        Some(ranks)
    }

    /// Looks through all values.
    fn find(&mut self, values: &ColumnStore, wanted: usize, is_occupied: &impl Fn(u32) -> bool) -> Option<()> {
        self.forget();
        let (least, known) = values.first(self.column, self.descending, wanted, is_occupied)?;
        self.is_known.resize(values.slots(), false);
        known.iter().for_each(|slot| self.is_known[*slot as usize] = true);
        (self.least, self.known) = (Some(least), known);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};
    use millpond_core::plan::Ordering;
    use proptest::prelude::*;

    use super::*;
    use crate::key::Keys;
    use crate::state::KeyedState;

    fn sort(descending: bool, limit: u64) -> Sort {
        Sort { order: vec![Ordering { column: 1, descending }], limit: Some(limit), hidden_columns: 0 }
    }

    fn put(state: &mut KeyedState, rows: &[(i64, i64)]) {
        let field = |name| Field::new(name, DataType::Int64, false);
        let schema = Arc::new(Schema::new(vec![field("k"), field("v")]));
        let column = |values: Vec<i64>| Arc::new(Int64Array::from(values)) as ArrayRef;
        let columns =
            vec![column(rows.iter().map(|row| row.0).collect()), column(rows.iter().map(|row| row.1).collect())];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        let keys = Keys::of("n", &schema, 1, &batch).unwrap();
        let (slots, _) = state.insert_all(&keys, &keys.hashes());
        state.put(&batch.project(&[1]).unwrap(), &(0u32..).zip(slots).collect::<Vec<_>>());
    }

    proptest! {
        /// Steps: rows that are put, and keys that go. Few different values, so that there are ties.
        #[test]
        fn first_slots_are_those_of_a_sort_after_every_change(
            steps in proptest::collection::vec(
                (proptest::collection::btree_map(0i64..600, -200i64..200, 0..40), proptest::collection::vec(0i64..600, 0..12)),
                1..40,
            ),
            descending: bool,
            limit in 1usize..6,
        ) {
            let field = |name| Field::new(name, DataType::Int64, false);
            let mut state = KeyedState::new("n", &Schema::new(vec![field("k"), field("v")]), 1);
            state.follow(&sort(descending, limit as u64));
            let mut model: BTreeMap<i64, i64> = (0..300).map(|key| (key, key % 150)).collect();
            put(&mut state, &model.clone().into_iter().collect::<Vec<_>>());
            for (rows, gone) in steps {
                model.extend(&rows);
                put(&mut state, &rows.into_iter().collect::<Vec<_>>());
                for key in gone.iter().filter(|key| model.remove(key).is_some()) {
                    let key = crate::key::integer(*key);
                    let slot = state.table().find(crate::key::hash(&key), &key).expect("it was put");
                    state.remove(slot, true);
                }
                let slots = state.first().expect("the limit is small");
                let values = state.values(&slots).unwrap();
                let mut found = crate::columns::integers(values.column(0)).to_vec();
                let mut expected: Vec<i64> = model.values().copied().collect();
                if descending {
                    found.sort_by_key(|value| Reverse(*value));
                    expected.sort_by_key(|value| Reverse(*value));
                } else {
                    found.sort_unstable();
                    expected.sort_unstable();
                }
                let last = expected[limit - 1];
                expected.retain(|value| if descending { *value >= last } else { *value <= last });
                prop_assert_eq!(found, expected);
            }
        }
    }
}
