//! A native join: two threads, both sides split by the hash of their keys until a part fits into the first caches, a chained table
//! for each part of the right side.
//!
//! ```text
//! each thread: its half of either side -> counted, then laid out by part   (no thread writes where another does)
//! each thread: every second part: rows of the right side -> chains; rows of the left side look for theirs
//! ```
//!
//! Source: Balkesen and others, "Main-memory hash joins on multi-core CPUs: tuning to the underlying hardware" (2013).

use std::ops::Range;

/// A side of a join: a key and a value in each row.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a> {
    pub keys: &'a [i64],
    pub values: &'a [i64],
}

/// The rows that come out of a thread, by column.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    pub keys: Vec<i64>,
    pub left: Vec<i64>,
    pub right: Vec<i64>,
}

/// Of a million rows a part has 4000: 64 KiB, and as much for its table.
const PARTS: usize = 256;

const THREADS: usize = 2;

const NONE: u32 = u32::MAX;

/// Where a key goes: the high bits name its part, those below them its place in the part's table.
#[inline]
fn hash(key: i64) -> u64 {
    let hash = key.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

#[inline]
fn part(hash: u64) -> usize {
    (hash >> 56) as usize
}

/// Rows in the order of their parts.
struct Parted {
    rows: Vec<(i64, i64)>,
    starts: Vec<usize>,
}

impl Parted {
    fn new(side: Side<'_>, range: Range<usize>) -> Self {
        let (keys, values) = (&side.keys[range.clone()], &side.values[range]);
        let mut starts = vec![0; PARTS + 1];
        keys.iter().for_each(|key| starts[part(hash(*key)) + 1] += 1);
        (0..PARTS).for_each(|part| starts[part + 1] += starts[part]);
        let mut next = starts.clone();
        let mut rows = vec![(0, 0); keys.len()];
        for (key, value) in keys.iter().zip(values) {
            let next = &mut next[part(hash(*key))];
            rows[*next] = (*key, *value);
            *next += 1;
        }
        Self { rows, starts }
    }

    fn part(&self, part: usize) -> &[(i64, i64)] {
        &self.rows[self.starts[part]..self.starts[part + 1]]
    }
}

/// All pairs of rows with equal keys.
pub(crate) fn join(left: Side<'_>, right: Side<'_>) -> Vec<Joined> {
    let half = |side: Side<'_>, thread: usize| {
        let rows = side.keys.len();
        rows * thread / THREADS..rows * (thread + 1) / THREADS
    };
    let parted: Vec<[Parted; 2]> =
        on_threads(|thread| [Parted::new(left, half(left, thread)), Parted::new(right, half(right, thread))]);
    on_threads(|thread| {
        let mut table = Table::default();
        let mut joined = Joined::default();
        let expected = left.keys.len() / THREADS;
        for column in [&mut joined.keys, &mut joined.left, &mut joined.right] {
            column.reserve(expected + expected / 8);
        }
        for part in (thread..PARTS).step_by(THREADS) {
            table.fill(parted.iter().flat_map(|[_, right]| right.part(part)));
            for (key, value) in parted.iter().flat_map(|[left, _]| left.part(part)) {
                table.partners(*key, |right| {
                    joined.keys.push(*key);
                    joined.left.push(*value);
                    joined.right.push(right);
                });
            }
        }
        joined
    })
}

fn on_threads<T: Send>(work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let work = &work;
        let others: Vec<_> = (1..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
        let mut answers = vec![work(0)];
        answers.extend(others.into_iter().map(|other| other.join().expect("a thread of the native join panicked")));
        answers
    })
}

/// The right rows of a part, in chains of the same place.
#[derive(Default)]
struct Table {
    heads: Vec<u32>,
    rows: Vec<(i64, i64, u32)>,
}

impl Table {
    fn fill<'a>(&mut self, rows: impl Iterator<Item = &'a (i64, i64)>) {
        self.rows.clear();
        self.rows.extend(rows.map(|(key, value)| (*key, *value, NONE)));
        self.heads.clear();
        self.heads.resize((self.rows.len() * 2).next_power_of_two().max(2), NONE);
        for number in 0..self.rows.len() {
            let head = self.head(self.rows[number].0);
            self.rows[number].2 = self.heads[head];
            self.heads[head] = number as u32;
        }
    }

    #[inline]
    fn head(&self, key: i64) -> usize {
        (hash(key) >> 16) as usize & (self.heads.len() - 1)
    }

    #[inline]
    fn partners(&self, key: i64, mut give: impl FnMut(i64)) {
        let mut next = self.heads[self.head(key)];
        while next != NONE {
            let (found, value, behind) = self.rows[next as usize];
            if found == key {
                give(value);
            }
            next = behind;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_what_a_nested_loop_gives() {
        let keys = |rows: i64, step: i64| (0..rows).map(|row| row * step % 37 - 5).collect::<Vec<i64>>();
        let values = |rows: i64| (0..rows).collect::<Vec<i64>>();
        for (left_rows, right_rows) in [(0, 0), (1, 0), (0, 3), (100, 70), (501, 1)] {
            let (left_keys, left_values) = (keys(left_rows, 3), values(left_rows));
            let (right_keys, right_values) = (keys(right_rows, 5), values(right_rows));
            let left = Side { keys: &left_keys, values: &left_values };
            let right = Side { keys: &right_keys, values: &right_values };
            let mut found: Vec<(i64, i64, i64)> = Vec::new();
            for joined in join(left, right) {
                let rows = joined.keys.into_iter().zip(joined.left).zip(joined.right);
                found.extend(rows.map(|((key, left), right)| (key, left, right)));
            }
            found.sort_unstable();
            let mut expected = Vec::new();
            for (key, left) in left_keys.iter().zip(&left_values) {
                let partners = right_keys.iter().zip(&right_values).filter(|(other, _)| *other == key);
                expected.extend(partners.map(|(_, right)| (*key, *left, *right)));
            }
            expected.sort_unstable();
            assert_eq!(found, expected);
        }
    }
}
