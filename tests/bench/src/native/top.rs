//! The largest of many, by value and then by key.

use std::cmp::Ordering;

/// The value that `n` others of `values` do not exceed; 0 if there are fewer than `n`.
pub(super) fn nth_largest(values: &[u64], n: usize) -> u64 {
    let mut best: Vec<u64> = Vec::with_capacity(n + 1);
    let mut least = 0;
    for value in values {
        if *value > least {
            let place = best.partition_point(|other| other >= value);
            best.insert(place, *value);
            best.truncate(n);
            if best.len() == n {
                least = best[n - 1];
            }
        }
    }
    least
}

/// A row of an answer: key and value.
pub(super) type Row<V> = (Vec<u8>, V);

/// Largest value first; equal ones by key.
pub(super) fn by_value_then_key<V>(order: impl Fn(&V, &V) -> Ordering) -> impl Fn(&Row<V>, &Row<V>) -> Ordering {
    move |left, right| order(&right.1, &left.1).then_with(|| left.0.cmp(&right.0))
}
