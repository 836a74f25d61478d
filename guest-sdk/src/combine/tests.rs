//! The combine against a plain map.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::row::{ColumnReader, fields};

/// Reads a finished batch back as rows.
fn rows<T: Row + Clone>(batch: Batch) -> Vec<T> {
    let fields = fields::<T>("");
    let mut reader = ColumnReader::try_new(batch, &fields).expect("the columns fit");
    let columns = T::read(&mut reader).expect("the columns are well formed");
    (0..reader.rows()).map(|row| T::from_ref(T::get(&columns, row))).collect()
}

fn count(words: &[String], limits: CombineLimits) -> Vec<(String, i64)> {
    let mut combiner = Combiner::<String, i64, SumOf>::new(&SumOf, limits, 0);
    words.iter().for_each(|word| combiner.add(word, 1));
    rows(combiner.finish().expect("no overflow"))
}

/// Counts the words as the pieces of a text.
fn count_pieces(words: &[String], limits: CombineLimits) -> Vec<(String, i64)> {
    let text = words.join(" ");
    let mut counter = PieceCounter::new(limits, 0);
    crate::spans::spans(&text, &[0, text.len() as u32], ' ', |starts, ends| counter.add_spans(&text, starts, ends));
    rows(counter.finish().expect("no overflow"))
}

fn model(words: &[String]) -> HashMap<String, i64> {
    let mut counts = HashMap::new();
    words.iter().for_each(|word| *counts.entry(word.clone()).or_default() += 1);
    counts
}

fn merged(rows: Vec<(String, i64)>) -> HashMap<String, i64> {
    let mut counts = HashMap::new();
    rows.into_iter().for_each(|(word, n)| *counts.entry(word).or_default() += n);
    counts
}

proptest! {
    #[test]
    fn an_unbounded_table_is_a_map_in_order_of_first_sight(words in proptest::collection::vec("[a-c]{0,3}|[a-z]{9,12}", 0..400)) {
        let counted = count(&words, COMBINE_LIMITS);
        let mut first_seen: Vec<String> = Vec::new();
        for word in &words {
            if !first_seen.contains(word) {
                first_seen.push(word.clone());
            }
        }
        prop_assert_eq!(counted.iter().map(|(word, _)| word.clone()).collect::<Vec<_>>(), first_seen);
        prop_assert_eq!(merged(counted), model(&words));
    }

    #[test]
    fn a_bounded_table_gives_partial_sums_of_the_same(words in proptest::collection::vec("[a-c]{0,3}", 0..400), keys in 1usize..8, bytes in 1usize..64) {
        let counted = count(&words, CombineLimits { keys, bytes });
        prop_assert_eq!(merged(counted), model(&words));
    }

    #[test]
    fn pieces_of_a_text_are_counted_as_the_words_they_are(
        words in proptest::collection::vec("[a-c]{1,3}|[a-b]{9,18}|[\\u{e9}]{1,9}|\\x00{1,13}", 0..300),
        keys in 1usize..200,
    ) {
        let counted = count_pieces(&words, CombineLimits { keys, ..COMBINE_LIMITS });
        // Row for row, unless the table was given up in between: where that happens depends on the bound.
        if counted.len() < keys {
            prop_assert_eq!(&counted, &count(&words, COMBINE_LIMITS));
        }
        prop_assert_eq!(merged(counted), model(&words));
    }

    #[test]
    fn keys_of_several_columns_are_told_apart(pairs in proptest::collection::vec((0i64..3, proptest::option::of("[ab]{0,2}"), any::<bool>()), 0..200)) {
        let mut combiner = Combiner::<(i64, Option<String>, bool), i64, SumOf>::new(&SumOf, COMBINE_LIMITS, 0);
        let mut expected: HashMap<(i64, Option<String>, bool), i64> = HashMap::new();
        for pair in &pairs {
            combiner.add(pair.to_ref(), 2);
            *expected.entry(pair.clone()).or_default() += 2;
        }
        let found: HashMap<_, _> = rows::<((i64, Option<String>, bool), i64)>(combiner.finish().expect("fits")).into_iter().collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn the_table_grows_past_its_first_slots() {
    let words: Vec<String> = (0..50_000).map(|n| format!("key-{}", n % 20_000)).collect();
    let counted = count(&words, COMBINE_LIMITS);
    assert_eq!(counted.len(), 20_000);
    assert_eq!(merged(counted), model(&words));
    // Short pieces, and long ones.
    for words in [words.clone(), words.iter().map(|word| format!("a-long-{word}")).collect()] {
        assert_eq!(count_pieces(&words, COMBINE_LIMITS), count(&words, COMBINE_LIMITS));
    }
}

#[test]
fn more_keys_than_the_bound_are_still_counted_right() {
    let words: Vec<String> = (0..200_000).map(|n| format!("{}", n % 100_000)).collect();
    assert_eq!(merged(count(&words, COMBINE_LIMITS)), model(&words));
    assert_eq!(merged(count_pieces(&words, COMBINE_LIMITS)), model(&words));
    let few_bytes = CombineLimits { bytes: 1000, ..COMBINE_LIMITS };
    assert_eq!(merged(count_pieces(&words, few_bytes)), model(&words));
}

#[test]
fn keys_that_crowd_together_cost_rows_and_not_time() {
    // Keys whose hashes share their top bits: 17 bits are what the largest table uses.
    let crowded: Vec<i64> = (0..i64::MAX).filter(|n| <i64 as Key>::digest(*n).hash() >> 50 == 0).take(400).collect();
    let mut combiner = Combiner::<i64, i64, SumOf>::new(&SumOf, COMBINE_LIMITS, 0);
    (0..3).for_each(|_| crowded.iter().for_each(|key| combiner.add(*key, 1)));
    let counted = rows::<(i64, i64)>(combiner.finish().expect("fits"));
    assert_eq!(counted.iter().map(|(_, n)| n).sum::<i64>(), 1200);
    assert!(counted.len() > 400, "the table was given up at least once");
}

#[test]
fn a_sum_that_would_overflow_starts_its_key_anew() {
    let mut combiner = Combiner::<String, i64, SumOf>::new(&SumOf, COMBINE_LIMITS, 0);
    [("a", i64::MAX), ("b", 1), ("a", 1), ("a", 2), ("b", 1), ("a", i64::MAX)]
        .into_iter()
        .for_each(|(key, value)| combiner.add(key, value));
    let sums = rows::<(String, i64)>(combiner.finish().expect("fits"));
    let expected = [("a", i64::MAX), ("b", 2), ("a", 3), ("a", i64::MAX)];
    assert_eq!(sums, expected.map(|(key, sum)| (key.to_owned(), sum)));
}

#[test]
fn no_part_of_a_sum_is_added_when_another_part_would_overflow() {
    let mut combiner = Combiner::<(), (i64, i64), SumOf>::new(&SumOf, COMBINE_LIMITS, 0);
    [(1, i64::MIN), (1, -1), (1, 1)].into_iter().for_each(|value| combiner.add((), value));
    let sums = rows::<((), (i64, i64))>(combiner.finish().expect("fits"));
    assert_eq!(sums, [((), (1, i64::MIN)), ((), (2, 0))]);
}

#[test]
fn a_full_table_takes_a_key_that_starts_anew() {
    let limits = CombineLimits { keys: 2, bytes: 1024 };
    let mut combiner = Combiner::<i64, i64, SumOf>::new(&SumOf, limits, 0);
    [(1, i64::MAX), (2, 1), (1, 1), (2, 1), (1, 1)].into_iter().for_each(|(key, value)| combiner.add(key, value));
    let sums = rows::<(i64, i64)>(combiner.finish().expect("fits"));
    assert_eq!(sums, [(1, i64::MAX), (2, 1), (1, 2), (2, 1)]);
}

#[test]
fn extremes_of_two_zeros_do_not_depend_on_which_came_first() {
    for zeros in [[0.0, -0.0], [-0.0, 0.0]] {
        for (extreme, negative) in [(Extreme::Min, true), (Extreme::Max, false)] {
            let mut combiner = Combiner::<i64, f64, Extreme>::new(&extreme, COMBINE_LIMITS, 0);
            zeros.into_iter().for_each(|value| combiner.add(1, value));
            let found = rows::<(i64, f64)>(combiner.finish().expect("fits"));
            assert_eq!(found[0].1.is_sign_negative(), negative, "{zeros:?}");
        }
    }
}

#[test]
fn extremes_put_nan_last() {
    let lowest = {
        let mut combiner = Combiner::<i64, f64, Extreme>::new(&Extreme::Min, COMBINE_LIMITS, 0);
        [f64::NAN, 2.0, 1.0].into_iter().for_each(|value| combiner.add(1, value));
        rows::<(i64, f64)>(combiner.finish().expect("fits"))
    };
    let highest = {
        let mut combiner = Combiner::<i64, f64, Extreme>::new(&Extreme::Max, COMBINE_LIMITS, 0);
        [2.0, f64::NAN, 1.0].into_iter().for_each(|value| combiner.add(1, value));
        rows::<(i64, f64)>(combiner.finish().expect("fits"))
    };
    assert_eq!(lowest, [(1, 1.0)]);
    assert!(highest[0].1.is_nan());
}

#[test]
fn a_merge_function_gets_the_total_owned_and_the_next_value_as_a_view() {
    let join = Custom(|mut total: String, next: &str| {
        total.push_str(next);
        total
    });
    let mut combiner = Combiner::<i64, String, _>::new(&join, COMBINE_LIMITS, 0);
    [(1, "a"), (2, "x"), (1, "b"), (1, "c")].into_iter().for_each(|(key, text)| combiner.add(key, text));
    let joined = rows::<(i64, String)>(combiner.finish().expect("fits"));
    assert_eq!(joined, [(1, "abc".to_owned()), (2, "x".to_owned())]);
}
