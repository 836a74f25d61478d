//! A reduce that leaves its merge to the keyed state behind it, and whole runs with batches that are begun ahead, against naive
//! models.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use arrow::array::{AsArray, BooleanArray};
use arrow::datatypes::Int64Type;
use millpond_core::plan::{ColumnMerge, Merge, Reduce};
use millpond_core::{Classify, Operator, Plan, StageOutput, StopSignal, UpdateOutput};
use millpond_testkit::FakeFunction;
use millpond_testkit::rows::pairs;
use proptest::prelude::*;

use super::tests::{World, batches, node, restarts, schema, values_batch};

/// States are sums at this node; a sum of zero deletes the key. `is_merged`: no key comes with more than one row.
fn summing_at(function: FakeFunction, node: u32, is_merged: bool) -> FakeFunction {
    function.update(node, move |_, input| {
        let values = input.values.column(0).as_primitive::<Int64Type>();
        let states = input.states.column(0).as_primitive::<Int64Type>();
        assert_eq!(input.groups.len(), input.keys.num_rows() + 1);
        let sum = |group: usize| {
            let old = if input.present.value(group) { states.value(group) } else { 0 };
            let rows = input.groups[group] as usize..input.groups[group + 1] as usize;
            assert!(!is_merged || rows.len() <= 1, "the reduce left a key with several rows");
            old + rows.map(|row| values.value(row)).sum::<i64>()
        };
        let sums: Vec<i64> = (0..input.keys.num_rows()).map(sum).collect();
        let keep: BooleanArray = sums.iter().map(|sum| Some(*sum != 0)).collect();
        UpdateOutput { states: values_batch(sums), keep }
    })
}

fn reduce(merge: ColumnMerge) -> Operator {
    Operator::Reduce(Reduce { merge: Merge::Columns(vec![merge]), zero_when_empty: false })
}

fn update(every_batch: bool) -> Operator {
    Operator::UpdateState { every_batch, with_keys: true, initial: None }
}

/// source -> the operators, each by the same key -> sink
fn line(operators: Vec<Operator>) -> Plan {
    let last = operators.len() as u32;
    let mut nodes = vec![node("source in", Operator::Source("in".to_owned()), &[], schema(), 1)];
    nodes
        .extend((0..).zip(operators).map(|(at, operator)| node(&format!("n{}", at + 1), operator, &[at], schema(), 1)));
    nodes.push(node("sink out", Operator::Sink("out".to_owned()), &[last], schema(), 0));
    Plan { nodes, ..Plan::default() }
}

type Model = BTreeMap<String, i64>;

fn add(model: &mut Model, rows: impl IntoIterator<Item = (String, i64)>) {
    rows.into_iter().for_each(|(key, value)| *model.entry(key).or_default() += value);
    model.retain(|_, sum| *sum != 0);
}

fn rows(model: &Model) -> Vec<(String, i64)> {
    model.clone().into_iter().collect()
}

proptest! {
    #[test]
    fn a_reduce_that_is_merged_in_the_state_is_a_reduce(
        batches in batches(),
        restarts in restarts(),
        every_batch: bool,
        with_initial: bool,
        is_max: bool,
    ) {
        let initial = vec![("b".to_owned(), 2), ("z".to_owned(), 9)];
        let state = Operator::UpdateState { every_batch, with_keys: true, initial: with_initial.then(|| pairs(&initial)) };
        let merge = if is_max { ColumnMerge::Max } else { ColumnMerge::Sum };
        let world = World::new(line(vec![reduce(merge), state]), summing_at(FakeFunction::new(), 2, true));
        world.push_all(&batches, 3);
        let output = world.run_with_restarts(batches.len(), &restarts, &[2, 1, 3]);
        let mut model = Model::new();
        if with_initial {
            add(&mut model, initial);
        }
        for (batch, found) in batches.iter().zip(&output) {
            let mut merged = Model::new();
            for (key, value) in batch {
                let with = |old: i64| if is_max { old.max(*value) } else { old + value };
                merged.entry(key.clone()).and_modify(|old| *old = with(*old)).or_insert(*value);
            }
            add(&mut model, merged);
            prop_assert_eq!(found, &rows(&model));
        }
    }

    #[test]
    fn rows_that_lie_where_their_keys_belong_are_merged_there(batches in batches(), restarts in restarts()) {
        let function = summing_at(summing_at(FakeFunction::new(), 1, false), 3, true);
        let world = World::new(line(vec![update(false), reduce(ColumnMerge::Sum), update(false)]), function);
        world.push_all(&batches, 3);
        let output = world.run_with_restarts(batches.len(), &restarts, &[2, 1, 3]);
        let (mut first, mut second) = (Model::new(), Model::new());
        for (batch, found) in batches.iter().zip(&output) {
            add(&mut first, batch.clone());
            add(&mut second, first.clone());
            prop_assert_eq!(found, &rows(&second));
        }
    }

    /// A stop at any call, commits over several batches, and another run that goes on.
    #[test]
    fn looking_ahead_changes_nothing(
        batches in batches(),
        partitions in 1usize..4,
        commit_every in 1u64..4,
        stop_after in 0usize..14,
    ) {
        let stop = StopSignal::new();
        let (raise, calls) = (stop.clone(), AtomicUsize::new(0));
        let stages = FakeFunction::new().stage(1, move |_, rows| {
            if calls.fetch_add(1, SeqCst) == stop_after {
                raise.finish();
            }
            Ok(StageOutput { batch: rows.clone(), rejected: Vec::new() })
        });
        let plan = line(vec![Operator::Stage(String::new()), reduce(ColumnMerge::Sum), update(true)]);
        let mut world = World::new(plan, summing_at(stages, 3, true));
        world.commit_every = commit_every;
        world.push_all(&batches, partitions);
        let first = world.runner_with(2, Box::new(world.store.clone())).unwrap().run(&stop).unwrap();
        let second = world.run(3).unwrap();
        prop_assert_eq!(first.batches + second.batches, batches.len() as u64);
        prop_assert_eq!(first.rows_in + second.rows_in, batches.iter().map(|batch| batch.len() as u64).sum::<u64>());
        prop_assert_eq!(world.output().len(), batches.len());
        let mut model = Model::new();
        for (batch, found) in batches.iter().zip(&world.output()) {
            add(&mut model, batch.clone());
            prop_assert_eq!(found, &rows(&model));
        }
    }
}

#[test]
fn a_sum_that_overflows_is_the_reduces_wherever_it_is_merged() {
    let world =
        World::new(line(vec![reduce(ColumnMerge::Sum), update(false)]), summing_at(FakeFunction::new(), 2, true));
    world.push_all(&[vec![("b".to_owned(), 1), ("a".to_owned(), i64::MAX), ("a".to_owned(), 1)]], 3);
    let error = world.run(2).unwrap_err();
    assert_eq!(error.code().0, "MP0802");
    assert!(error.to_string().contains("`n1`") && error.to_string().contains("(a)"), "{error}");
}
