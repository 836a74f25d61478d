//! Rows of a batch by equal keys.

use crate::key::Keys;

/// Rows of a batch sorted into groups of equal keys, in the order in which the keys first appear.
#[derive(Debug)]
pub(crate) struct Groups {
    /// Of each row.
    pub(crate) group_of_row: Vec<u32>,
    /// Of each group: its first row.
    pub(crate) first_row: Vec<u32>,
}

impl Groups {
    /// Groups all rows; `hashes` are those of the keys. Cost: one probe a row.
    pub(crate) fn by_key(keys: &Keys, hashes: &[u64]) -> Self {
        // Half full at most, as there are no more groups than rows.
        let mask = (keys.len() * 2).next_power_of_two() - 1;
        let mut places = vec![0u64; mask + 1];
        let mut first_row: Vec<u32> = Vec::new();
        let mut group_of_row = Vec::with_capacity(keys.len());
        for (row, hash) in hashes.iter().enumerate() {
            let key = keys.get(row);
            let mut place = *hash as usize & mask;
            let group = loop {
                let found = places[place];
                if found == 0 {
                    let group = first_row.len() as u32;
                    places[place] = hash >> 32 << 32 | u64::from(group + 1);
                    first_row.push(row as u32);
                    break group;
                }
                let group = found as u32 - 1;
                if (found ^ hash) >> 32 == 0 && keys.get(first_row[group as usize] as usize) == key {
                    break group;
                }
                place = (place + 1) & mask;
            };
            group_of_row.push(group);
        }
        Self { group_of_row, first_row }
    }

    /// Groups of two: row `i` and row `pairs + i`.
    pub(crate) fn of_pairs(pairs: usize) -> Self {
        let first_row: Vec<u32> = (0..pairs as u32).collect();
        Self { group_of_row: first_row.repeat(2), first_row }
    }

    pub(crate) fn len(&self) -> usize {
        self.first_row.len()
    }

    /// Whether every row is a group of its own.
    pub(crate) fn all_single(&self) -> bool {
        self.first_row.len() == self.group_of_row.len()
    }

    /// How many rows each group has.
    pub(crate) fn counts(&self) -> Vec<u32> {
        let mut counts = vec![0u32; self.len()];
        self.group_of_row.iter().for_each(|group| counts[*group as usize] += 1);
        counts
    }
}

/// Group offsets, and rows in the order of their groups, arrival order kept within each.
pub(crate) fn order_by_group(group_of_row: &[u32], groups: usize) -> (Vec<u32>, Vec<u32>) {
    let mut offsets = vec![0u32; groups + 1];
    for group in group_of_row {
        offsets[*group as usize + 1] += 1;
    }
    for group in 0..groups {
        offsets[group + 1] += offsets[group];
    }
    let mut next = offsets.clone();
    let mut order = vec![0u32; group_of_row.len()];
    for (row, group) in (0u32..).zip(group_of_row) {
        let place = &mut next[*group as usize];
        order[*place as usize] = row;
        *place += 1;
    }
    (offsets, order)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn groups_are_those_of_a_map(words in proptest::collection::vec("[ab]{0,3}|[a-z]{20}", 0..200)) {
            let column: arrow::array::ArrayRef = std::sync::Arc::new(arrow::array::StringArray::from(words.clone()));
            let schema = arrow::datatypes::Schema::new(vec![arrow::datatypes::Field::new("k", arrow::datatypes::DataType::Utf8, false)]);
            let rows = arrow::array::RecordBatch::try_new(std::sync::Arc::new(schema.clone()), vec![column]).unwrap();
            let keys = Keys::of("test", &schema, 1, &rows).unwrap();
            let groups = Groups::by_key(&keys, &keys.hashes());
            let mut order: Vec<&String> = Vec::new();
            for (row, word) in words.iter().enumerate() {
                if !order.contains(&word) {
                    prop_assert_eq!(groups.first_row[order.len()] as usize, row);
                    order.push(word);
                }
                prop_assert_eq!(order[groups.group_of_row[row] as usize], word);
            }
            prop_assert_eq!(groups.len(), order.len());
            prop_assert_eq!(groups.counts().iter().sum::<u32>() as usize, words.len());
        }

        #[test]
        fn order_keeps_arrival_within_a_group(groups in proptest::collection::vec(0u32..5, 0..60)) {
            let (offsets, order) = order_by_group(&groups, 5);
            for group in 0..5u32 {
                let rows = &order[offsets[group as usize] as usize..offsets[group as usize + 1] as usize];
                let expected: Vec<u32> = (0u32..).zip(&groups).filter(|(_, of)| **of == group).map(|(row, _)| row).collect();
                prop_assert_eq!(rows, &expected[..]);
            }
        }
    }
}
