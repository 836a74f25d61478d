//! The terminal of a stage that a sort follows: rows, with computed keys if there are any, and of those only the first n when
//! n is known.
//!
//! Rows that tie with the n-th are all kept: the host breaks ties by the whole row.

use std::cmp::Ordering;

use crate::bindings::millpond::plugin::dataflow::Ordering as PlanOrdering;
use crate::bindings::millpond::plugin::types::{Batch, Failure};
use crate::row::{self, Row};
use crate::sortkey::{SortColumns, SortKey};

/// Rows beyond the limit are collected up to this many before they are thrown out together (a guess: it makes the cost
/// per row a comparison or two, and small results never pay at all).
const SLACK_ROWS: usize = 1024;

/// How many rows to collect before throwing out, when `kept` have to stay.
fn prune_at(kept: usize) -> usize {
    kept.saturating_mul(2).max(SLACK_ROWS)
}

/// The row that is the n-th in order; none if there are not more rows than that.
fn nth(len: usize, limit: usize, compare: impl Fn(usize, usize) -> Ordering) -> Option<usize> {
    (1..len).contains(&limit).then(|| {
        let mut order: Vec<usize> = (0..len).collect();
        *order.select_nth_unstable_by(limit - 1, |left, right| compare(*left, *right)).1
    })
}

/// Collects rows with computed keys, for `sort_by_computed` and `top_by_computed`.
pub(crate) struct KeyedTop<T: Row, K: SortKey> {
    rows: T::Columns,
    keys: K::Columns,
    len: usize,
    limit: usize,
    prune_at: usize,
    /// The row whose key is the n-th; rows behind it need not be kept.
    last: Option<usize>,
}

impl<T: Row, K: SortKey> KeyedTop<T, K> {
    /// `None` = keep all.
    pub(crate) fn new(limit: Option<usize>) -> Self {
        let limit = limit.unwrap_or(usize::MAX);
        let (rows, keys) = (T::Columns::default(), K::Columns::default());
        Self { rows, keys, len: 0, limit, prune_at: prune_at(limit), last: None }
    }

    #[inline]
    pub(crate) fn push(&mut self, row: T::Ref<'_>, key: &K::Of<'_>) {
        if self.last.is_some_and(|last| K::compare(key, &self.keys, last).is_gt()) {
            return;
        }
        T::push(&mut self.rows, row);
        K::push(key, &mut self.keys);
        self.len += 1;
        if self.len >= self.prune_at {
            self.prune();
        }
    }

    fn prune(&mut self) {
        let Some(nth) = nth(self.len, self.limit, |left, right| self.keys.compare(left, right)) else { return };
        let (mut rows, mut keys, mut len) = (T::Columns::default(), K::Columns::default(), 0);
        for row in (0..self.len).filter(|row| self.keys.compare(*row, nth).is_le()) {
            if row == nth {
                self.last = Some(len);
            }
            T::push(&mut rows, T::get(&self.rows, row));
            self.keys.copy(row, &mut keys);
            len += 1;
        }
        (self.rows, self.keys, self.len) = (rows, keys, len);
        // Ties may be many: without a growing mark every further row would be sorted anew.
        self.prune_at = prune_at(len);
    }

    pub(crate) fn finish(mut self) -> Result<Batch, Failure> {
        self.prune();
        let mut columns = Vec::with_capacity(T::WIDTH + 1);
        T::write(self.rows, &mut columns);
        self.keys.write(&mut columns);
        row::finish_batch(self.len, columns)
    }
}

/// Collects the first rows by their own columns, for `top_by`.
pub(crate) struct ColumnTop<'a, T: Row> {
    rows: T::Columns,
    len: usize,
    limit: usize,
    prune_at: usize,
    order: &'a [PlanOrdering],
}

impl<'a, T: Row> ColumnTop<'a, T> {
    pub(crate) fn new(limit: usize, order: &'a [PlanOrdering]) -> Self {
        Self { rows: T::Columns::default(), len: 0, limit, prune_at: prune_at(limit), order }
    }

    #[inline]
    pub(crate) fn push(&mut self, row: T::Ref<'_>) {
        T::push(&mut self.rows, row);
        self.len += 1;
        if self.len >= self.prune_at {
            self.prune();
        }
    }

    fn compare(&self, left: usize, right: usize) -> Ordering {
        let by = |order: &PlanOrdering| {
            let ascending = T::order_at(&self.rows, order.column as usize, left, right);
            if order.descending { ascending.reverse() } else { ascending }
        };
        self.order.iter().map(by).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }

    fn prune(&mut self) {
        let Some(nth) = nth(self.len, self.limit, |left, right| self.compare(left, right)) else { return };
        let (mut rows, mut len) = (T::Columns::default(), 0);
        for row in (0..self.len).filter(|row| self.compare(*row, nth).is_le()) {
            T::push(&mut rows, T::get(&self.rows, row));
            len += 1;
        }
        (self.rows, self.len) = (rows, len);
        self.prune_at = prune_at(len);
    }

    pub(crate) fn finish(mut self) -> Result<Batch, Failure> {
        self.prune();
        row::write_batch::<T>(self.len, self.rows)
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use proptest::prelude::*;

    use super::*;
    use crate::bindings::millpond::plugin::types::ColumnData;

    fn first_column(batch: &Batch) -> Vec<i64> {
        match &batch.columns[0].data {
            ColumnData::Int64(values) => values.clone(),
            other => panic!("int64 expected: {other:?}"),
        }
    }

    /// Rows `value, value / 2`, the first by the second, largest first.
    fn by_key(values: &[i64], limit: usize) -> Vec<i64> {
        let mut top = KeyedTop::<i64, Reverse<i64>>::new(Some(limit));
        values.iter().for_each(|value| top.push(*value, &Reverse(*value / 2)));
        let batch = top.finish().expect("small");
        assert_eq!(batch.columns.len(), 2);
        first_column(&batch)
    }

    fn by_column(values: &[i64], limit: usize) -> Vec<i64> {
        let order = [PlanOrdering { column: 1, descending: true }];
        let mut top = ColumnTop::<(i64, i64)>::new(limit, &order);
        values.iter().for_each(|value| top.push((*value, *value / 2)));
        first_column(&top.finish().expect("small"))
    }

    proptest! {
        #[test]
        fn keeps_the_first_n_and_all_ties_in_order(values in proptest::collection::vec(-40i64..40, 0..5000), limit in 1usize..40) {
            let mut keys: Vec<i64> = values.iter().map(|value| value / 2).collect();
            keys.sort_unstable_by_key(|key| Reverse(*key));
            let nth = keys.get(limit - 1).copied().unwrap_or(i64::MIN);
            let expected: Vec<i64> = values.iter().copied().filter(|value| value / 2 >= nth).collect();
            prop_assert_eq!(&by_key(&values, limit), &expected);
            prop_assert_eq!(&by_column(&values, limit), &expected);
        }
    }

    #[test]
    fn distinct_rows_leave_exactly_n() {
        let values: Vec<i64> = (0..20_000).map(|n| (n * 7919) % 20_000 * 2).collect();
        for mut kept in [by_key(&values, 10), by_column(&values, 10)] {
            kept.sort_unstable();
            assert_eq!(kept, (19_990..20_000).map(|n| n * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn all_rows_stay_without_a_limit() {
        let mut all = KeyedTop::<i64, i64>::new(None);
        (0..5000).for_each(|n| all.push(n, &-n));
        assert_eq!(all.finish().expect("small").rows, 5000);
    }
}
