//! What differs between the rows that were expected and those that came, as a table that a person reads.
//!
//! ```text
//!     word  count
//!   - "be"  2
//!   + "be"  3
//!           ^
//!   - "ox"  1
//! 7 rows as expected; 1 differs (^), 1 is missing (-), 0 are not expected (+)
//! ```
//!
//! Rows are cells of text, and two rows are the same if their cells are.

use std::collections::HashMap;

/// Whether the order of rows counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Rows may come in any order.
    Any,
    /// Rows come in this order.
    Exact,
}

/// A row's cells.
pub type Cells = Vec<String>;

/// Cells that are longer are cut. A guess: two such columns fit beside each other.
const CELL_CHARS_MAX: usize = 60;

/// So many differences are shown, the rest is counted. A guess: two screens.
const SHOWN_MAX: usize = 60;

/// Larger tables are compared from both ends only, not by their longest common part, which costs the product of the lengths.
const ALIGNED_MAX: usize = 4_000_000;

enum Change<'a> {
    Missing(&'a Cells),
    Extra(&'a Cells),
    Differs(&'a Cells, &'a Cells),
}

/// The difference as text without a line end after it; `None` if there is none.
#[must_use]
pub fn diff(columns: &[String], expected: &[Cells], found: &[Cells], order: Order) -> Option<String> {
    let changes = match order {
        Order::Any => in_any_order(expected, found),
        Order::Exact => in_order(expected, found),
    };
    if changes.is_empty() {
        return None;
    }
    let only_order = order == Order::Exact && in_any_order(expected, found).is_empty();
    let note = if only_order { "the rows are right, but come in another order\n" } else { "" };
    Some(format!("{note}{}{}", table(columns, &changes), legend(expected.len(), &changes)))
}

fn legend(expected: usize, changes: &[Change<'_>]) -> String {
    let count = |of: fn(&Change<'_>) -> bool| changes.iter().filter(|change| of(change)).count();
    let missing = count(|change| matches!(change, Change::Missing(_)));
    let extra = count(|change| matches!(change, Change::Extra(_)));
    let differs = count(|change| matches!(change, Change::Differs(..)));
    let rest = changes.len().saturating_sub(SHOWN_MAX);
    let rest = if rest > 0 { format!("... and {rest} more differences\n") } else { String::new() };
    let same = expected - missing - differs;
    let rows = if same == 1 { "row" } else { "rows" };
    let (differ, missing_is, extra_is) =
        (verb(differs, "differs", "differ"), verb(missing, "is", "are"), verb(extra, "is", "are"));
    format!(
        "{rest}{same} {rows} as expected; {differs} {differ} (^), {missing} {missing_is} missing (-), {extra} {extra_is} not expected (+)"
    )
}

fn verb(count: usize, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

/// Each row finds an equal one; of what is left, the most alike are taken for one row that differs.
fn in_any_order<'a>(expected: &'a [Cells], found: &'a [Cells]) -> Vec<Change<'a>> {
    let mut unmatched: HashMap<&Cells, usize> = HashMap::new();
    for row in found {
        *unmatched.entry(row).or_default() += 1;
    }
    let mut missing = Vec::new();
    for row in expected {
        match unmatched.get_mut(row).filter(|count| **count > 0) {
            Some(count) => *count -= 1,
            None => missing.push(row),
        }
    }
    let mut extra = Vec::new();
    for row in found.iter().rev() {
        if let Some(count) = unmatched.get_mut(row).filter(|count| **count > 0) {
            *count -= 1;
            extra.push(row);
        }
    }
    extra.reverse();
    paired(missing, extra)
}

/// The longest common part stays; rows between two of its rows are paired with each other.
fn in_order<'a>(expected: &'a [Cells], found: &'a [Cells]) -> Vec<Change<'a>> {
    let start = expected.iter().zip(found).take_while(|(left, right)| left == right).count();
    let (expected, found) = (&expected[start..], &found[start..]);
    let end = expected.iter().rev().zip(found.iter().rev()).take_while(|(left, right)| left == right).count();
    let (expected, found) = (&expected[..expected.len() - end], &found[..found.len() - end]);
    let mut changes = Vec::new();
    let (mut left, mut right) = (0, 0);
    for (in_expected, in_found) in common(expected, found).into_iter().chain([(expected.len(), found.len())]) {
        let (missing, extra) = (expected[left..in_expected].iter(), found[right..in_found].iter());
        changes.extend(paired(missing.collect(), extra.collect()));
        (left, right) = (in_expected + 1, in_found + 1);
    }
    changes
}

/// Places of a longest common subsequence.
fn common(left: &[Cells], right: &[Cells]) -> Vec<(usize, usize)> {
    if left.len().saturating_mul(right.len()) > ALIGNED_MAX {
        return Vec::new();
    }
    let width = right.len() + 1;
    let mut longest = vec![0_u32; (left.len() + 1) * width];
    for (i, row) in left.iter().enumerate().rev() {
        for (j, other) in right.iter().enumerate().rev() {
            longest[i * width + j] = match row == other {
                true => longest[(i + 1) * width + j + 1] + 1,
                false => longest[(i + 1) * width + j].max(longest[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j, mut places) = (0, 0, Vec::new());
    while i < left.len() && j < right.len() {
        if left[i] == right[j] {
            places.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if longest[(i + 1) * width + j] >= longest[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    places
}

fn paired<'a>(missing: Vec<&'a Cells>, mut extra: Vec<&'a Cells>) -> Vec<Change<'a>> {
    let mut changes = Vec::new();
    for row in missing {
        let alike = extra.iter().enumerate().map(|(at, other)| (likeness(row, other), at));
        // Of those that are equally alike, the first.
        let best = alike.max_by_key(|(likeness, at)| (*likeness, std::cmp::Reverse(*at)));
        match best.filter(|(likeness, _)| *likeness > 0) {
            Some((_, at)) => changes.push(Change::Differs(row, extra.remove(at))),
            None => changes.push(Change::Missing(row)),
        }
    }
    changes.extend(extra.into_iter().map(Change::Extra));
    changes
}

/// 0 = nothing tells that the two are one row. The first column counts most: it is the key where there is one.
fn likeness(row: &Cells, other: &Cells) -> usize {
    let equal = row.iter().zip(other).filter(|(left, right)| left == right).count();
    let is_key_equal = row.len() > 1 && row.first() == other.first();
    if is_key_equal {
        row.len() + equal
    } else if equal * 2 > row.len() {
        equal
    } else {
        0
    }
}

fn table(columns: &[String], changes: &[Change<'_>]) -> String {
    let mut lines: Vec<(char, Vec<String>)> = vec![(' ', columns.iter().map(|name| cut(name)).collect())];
    for change in changes.iter().take(SHOWN_MAX) {
        let cells = |row: &Cells| row.iter().map(|cell| cut(cell)).collect::<Vec<_>>();
        match change {
            Change::Missing(row) => lines.push(('-', cells(row))),
            Change::Extra(row) => lines.push(('+', cells(row))),
            Change::Differs(row, other) => {
                lines.extend([('-', cells(row)), ('+', cells(other))]);
                let mark = |(left, right): (&String, &String)| match left == right {
                    true => String::new(),
                    false => "^".repeat(cut(left).chars().count().max(cut(right).chars().count()).max(1)),
                };
                lines.push((' ', row.iter().zip(*other).map(mark).collect()));
            }
        }
    }
    let count = lines.iter().map(|(_, cells)| cells.len()).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|(_, cells)| cells.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for (sign, cells) in &lines {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect::<Vec<_>>();
        text.push_str(format!("  {sign} {}", padded.join("  ")).trim_end());
        text.push('\n');
    }
    text
}

fn cut(cell: &str) -> String {
    let mut text: String = cell.chars().take(CELL_CHARS_MAX).collect();
    if text.len() < cell.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[(&str, &str)]) -> Vec<Cells> {
        rows.iter().map(|(key, value)| vec![(*key).to_owned(), (*value).to_owned()]).collect()
    }

    fn columns() -> Vec<String> {
        vec!["word".to_owned(), "count".to_owned()]
    }

    #[test]
    fn equal_rows_have_no_difference() {
        let (left, right) = (rows(&[("a", "1"), ("b", "2"), ("a", "1")]), rows(&[("a", "1"), ("a", "1"), ("b", "2")]));
        assert_eq!(diff(&columns(), &left, &right, Order::Any), None);
        assert_eq!(diff(&columns(), &left, &left, Order::Exact), None);
        let text = diff(&columns(), &left, &right, Order::Exact).unwrap();
        assert!(text.starts_with("the rows are right, but come in another order\n"), "{text}");
    }

    #[test]
    fn how_often_a_row_comes_counts() {
        let (once, twice) = (rows(&[("a", "1")]), rows(&[("a", "1"), ("a", "1")]));
        let text = diff(&columns(), &once, &twice, Order::Any).unwrap();
        assert_eq!(
            text,
            "    word  count\n  + a     1\n1 row as expected; 0 differ (^), 0 are missing (-), 1 is not expected (+)"
        );
    }

    #[test]
    fn missing_extra_and_different_rows_stand_in_one_table() {
        let expected = rows(&[("be", "2"), ("not", "1"), ("or", "1"), ("to", "2")]);
        let found = rows(&[("to", "2"), ("be", "13"), ("ox", "7"), ("or", "1")]);
        let text = diff(&columns(), &expected, &found, Order::Any).unwrap();
        let shown = [
            "    word  count",
            "  - be    2",
            "  + be    13",
            "          ^^",
            "  - not   1",
            "  + ox    7",
            "2 rows as expected; 1 differs (^), 1 is missing (-), 1 is not expected (+)",
        ];
        assert_eq!(text, shown.join("\n"));
    }

    #[test]
    fn in_order_a_row_too_many_does_not_shift_the_rest() {
        let expected = rows(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]);
        let found = rows(&[("a", "1"), ("x", "9"), ("b", "1"), ("c", "1"), ("d", "2")]);
        let text = diff(&columns(), &expected, &found, Order::Exact).unwrap();
        let shown = [
            "    word  count",
            "  + x     9",
            "  - d     1",
            "  + d     2",
            "          ^",
            "3 rows as expected; 1 differs (^), 0 are missing (-), 1 is not expected (+)",
        ];
        assert_eq!(text, shown.join("\n"));
    }

    #[test]
    fn what_is_long_is_cut_and_counted() {
        let found: Vec<Cells> = (0..100).map(|row| vec![format!("{row} {}", "x".repeat(100))]).collect();
        let text = diff(&["line".to_owned()], &[], &found, Order::Exact).unwrap();
        assert!(text.lines().all(|line| line.chars().count() < 80) || text.ends_with("(+)"), "{text}");
        assert!(text.contains("\n... and 40 more differences\n0 rows as expected"), "{text}");
    }
}
