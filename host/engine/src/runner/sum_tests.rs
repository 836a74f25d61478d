//! Sums near the ends of their range: the answer, or that there is none, is that of wider numbers however rows are spread.

use std::collections::BTreeMap;

use millpond_core::plan::{ColumnMerge, Merge, Reduce, ReduceWindow, Window};
use millpond_core::{Classify, Operator};
use millpond_testkit::FakeFunction;
use proptest::prelude::*;

use super::tests::{World, plan};
type Rows = Vec<(String, i64)>;

fn sums() -> Merge {
    Merge::Columns(vec![ColumnMerge::Sum])
}

fn rows() -> impl Strategy<Value = Rows> {
    let value = prop_oneof![any::<i64>(), Just(i64::MAX), Just(i64::MIN), -2i64..3];
    proptest::collection::vec(("[a-c]", value), 0..12)
}

/// What comes out at the last batch; the code of the error otherwise.
fn run(operator: Operator, batches: &[Rows], spread: usize, parallelism: usize) -> Result<Rows, &'static str> {
    let world = World::new(plan(operator), FakeFunction::new());
    world.push_all(batches, spread);
    let mut runner = world.runner_with(parallelism, Box::new(world.store.clone())).unwrap();
    let ran = batches.iter().try_for_each(|_| runner.run_batch(runner.next_batch_time()).map(drop));
    ran.and_then(|()| runner.finish().map(drop)).map_err(|error| error.code().0)?;
    Ok(world.output().pop().unwrap_or_default())
}

/// The sums as they are; an error if one does not fit.
fn model(batches: &[Rows]) -> Result<Rows, &'static str> {
    let mut sums: BTreeMap<String, i128> = BTreeMap::new();
    batches.iter().flatten().for_each(|(key, value)| *sums.entry(key.clone()).or_default() += i128::from(*value));
    let narrow = |(key, sum): (String, i128)| i64::try_from(sum).map(|sum| (key, sum)).map_err(|_| "MP0802");
    sums.into_iter().map(narrow).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn sums_of_a_batch_depend_on_neither_order_nor_partitions(rows in rows(), shuffled in any::<u64>()) {
        let expected = model(std::slice::from_ref(&rows));
        let mut rows = rows;
        for (spread, parallelism) in [(1, 1), (2, 3), (3, 2), (4, 1)] {
            let reduce = Operator::Reduce(Reduce { merge: sums(), zero_when_empty: false });
            prop_assert_eq!(run(reduce, std::slice::from_ref(&rows), spread, parallelism), expected.clone());
            rows.sort_by_key(|(key, value)| (shuffled ^ value.cast_unsigned()).wrapping_mul(0x9e37_79b9_7f4a_7c15 + key.len() as u64));
        }
    }

    #[test]
    fn sums_of_a_window_that_no_batch_is_twice_in_depend_on_the_sums_of_its_batches_only(
        batches in proptest::collection::vec(rows(), 1..5), spread in 1usize..4, parallelism in 1usize..4,
    ) {
        let length = batches.len() as u64 * 1000;
        let window = Window { length_ms: length, slide_ms: length };
        let reduce = ReduceWindow { window, merge: sums(), invertible: false, keep_empty_keys: false, zero_when_empty: false };
        let each: Result<Vec<Rows>, &str> = batches.iter().map(|batch| model(std::slice::from_ref(batch))).collect();
        let expected = each.and_then(|_| model(&batches));
        prop_assert_eq!(run(Operator::ReduceWindow(reduce), &batches, spread, parallelism), expected);
    }
}

#[test]
fn a_sum_may_leave_its_range_on_the_way() {
    let row = |value| ("a".to_owned(), value);
    let rows = vec![row(i64::MAX), row(1), row(-5)];
    let reduce = Operator::Reduce(Reduce { merge: sums(), zero_when_empty: false });
    assert_eq!(run(reduce, &[rows], 1, 1), Ok(vec![row(i64::MAX - 4)]));
}
