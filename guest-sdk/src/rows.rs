//! `Rows`: the rows of a partition or of a whole batch, for closures that work on all of them at once.

use std::iter::FusedIterator;
use std::ops::Range;

use crate::row::{ListRef, Row};

/// Rows that lie in memory together: a view, cheap to copy, so it can be walked several times and in any order.
///
/// **Cost**: a row is made where it is asked for, as the same view that other closures get; nothing is allocated.
///
/// ```
/// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
/// ctx.source::<i64>("numbers")
///     .map_partitions::<i64>(|rows, out| {
///         // Each number without the mean of its partition.
///         let mean = rows.iter().sum::<i64>() / rows.len() as i64;
///         rows.iter().for_each(|n| out.push(n - mean));
///     })
///     .sink("deviations");
/// # });
/// ```
pub struct Rows<'a, T: Row> {
    columns: &'a T::Columns,
    rows: usize,
}

impl<T: Row> Clone for Rows<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Row> Copy for Rows<'_, T> {}

impl<T: Row> std::fmt::Debug for Rows<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

impl<'a, T: Row> Rows<'a, T> {
    pub(crate) fn new(columns: &'a T::Columns, rows: usize) -> Self {
        Self { columns, rows }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Row `row`, from 0; none behind the last.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<T::Ref<'a>> {
        (row < self.rows).then(|| T::get(self.columns, row))
    }

    /// The same rows as a list: one row of a stream of `Vec<T>`.
    #[must_use]
    pub fn as_list(&self) -> ListRef<'a, T> {
        ListRef::of_columns(self.columns, 0..self.rows)
    }

    /// All rows, first to last. The iterator goes backwards too, and knows its length.
    #[must_use]
    pub fn iter(&self) -> RowsIter<'a, T> {
        RowsIter { columns: self.columns, range: 0..self.rows }
    }
}

impl<'a, T: Row> IntoIterator for Rows<'a, T> {
    type Item = T::Ref<'a>;
    type IntoIter = RowsIter<'a, T>;

    fn into_iter(self) -> RowsIter<'a, T> {
        self.iter()
    }
}

/// The iterator of [`Rows`].
pub struct RowsIter<'a, T: Row> {
    columns: &'a T::Columns,
    range: Range<usize>,
}

impl<T: Row> Clone for RowsIter<'_, T> {
    fn clone(&self) -> Self {
        Self { columns: self.columns, range: self.range.clone() }
    }
}

impl<'a, T: Row> Iterator for RowsIter<'a, T> {
    type Item = T::Ref<'a>;

    #[inline]
    fn next(&mut self) -> Option<T::Ref<'a>> {
        self.range.next().map(|row| T::get(self.columns, row))
    }

    #[inline]
    fn nth(&mut self, skipped: usize) -> Option<T::Ref<'a>> {
        self.range.nth(skipped).map(|row| T::get(self.columns, row))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }
}

impl<T: Row> DoubleEndedIterator for RowsIter<'_, T> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.range.next_back().map(|row| T::get(self.columns, row))
    }
}

impl<T: Row> ExactSizeIterator for RowsIter<'_, T> {}
impl<T: Row> FusedIterator for RowsIter<'_, T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_walked_in_any_order() {
        let mut columns = <(String, i64) as Row>::Columns::default();
        for (number, word) in ["a", "b", "c", "d"].into_iter().enumerate() {
            <(String, i64)>::push(&mut columns, (word, number as i64));
        }
        let rows = Rows::<(String, i64)>::new(&columns, 4);
        assert_eq!((rows.len(), rows.is_empty(), rows.iter().len()), (4, false, 4));
        assert_eq!((rows.get(2), rows.get(4)), (Some(("c", 2)), None));
        let backwards: Vec<&str> = rows.into_iter().rev().map(|(word, _)| word).collect();
        assert_eq!(backwards, ["d", "c", "b", "a"]);
        let every_second: Vec<i64> = rows.iter().step_by(2).map(|(_, n)| n).collect();
        assert_eq!(every_second, [0, 2]);
        let mut both_ends = rows.iter();
        assert_eq!((both_ends.next_back(), both_ends.next(), both_ends.len()), (Some(("d", 3)), Some(("a", 0)), 2));
        assert_eq!(
            rows.as_list(),
            vec![("a".to_owned(), 0), ("b".into(), 1), ("c".into(), 2), ("d".into(), 3)].to_ref()
        );
        assert_eq!(format!("{rows:?}"), r#"[("a", 0), ("b", 1), ("c", 2), ("d", 3)]"#);
    }

    #[test]
    fn no_rows_are_no_rows() {
        let columns = <i64 as Row>::Columns::default();
        let rows = Rows::<i64>::new(&columns, 0);
        assert!(rows.is_empty() && rows.get(0).is_none() && rows.iter().next().is_none());
    }
}
