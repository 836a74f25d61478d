//! Nodes that take a batch as a whole or cut it anew, between a source and a sink.

use arrow::array::RecordBatch;
use millpond_core::{BatchTime, NodeId, Operator};
use millpond_testkit::FakeFunction;
use millpond_testkit::rows::{pairs, to_pairs};

use super::tests::{World, plan};

fn row(name: &str, number: i64) -> (String, i64) {
    (name.to_owned(), number)
}

#[test]
fn a_whole_batch_call_has_all_rows_of_each_input_and_comes_without_rows_too() {
    let mut plan = plan(Operator::WholeBatch("both".to_owned()));
    plan.nodes[1].inputs = vec![NodeId(0), NodeId(0)];
    let function = FakeFunction::new().whole_batch(1, |task, inputs| {
        let names: Vec<String> =
            inputs.iter().map(|input| to_pairs(input).into_iter().map(|(name, _)| name).collect()).collect();
        assert_eq!((task.partition.0, task.partitions), (0, 1));
        pairs(&[(names.join("|"), task.batch_time.0)])
    });
    let world = World::new(plan, function);
    let batch = |names: &str| names.chars().map(|name| row(&name.to_string(), 1)).collect::<Vec<_>>();
    world.push_all(&[batch("adbecf"), Vec::new()], 3);
    world.push_all(&[Vec::new()], 0);
    let mut runner = world.runner_with(2, Box::new(world.store.clone())).unwrap();
    let times: Vec<BatchTime> = (0..3)
        .map(|_| {
            let time = runner.next_batch_time();
            runner.run_batch(time).unwrap();
            time
        })
        .collect();
    runner.finish().unwrap();
    // Rows were dealt out to three partitions, and come partition after partition.
    let names = ["aedcbf|aedcbf", "|", "|"];
    let expected: Vec<_> = names.iter().zip(&times).map(|(names, time)| vec![row(names, time.0)]).collect();
    assert_eq!(world.output(), expected);
}

#[test]
fn rows_are_cut_anew_and_keep_their_order() {
    let world = World::new(plan(Operator::Repartition(4)), FakeFunction::new());
    world.push_all(&[(0..10).map(|n| row("a", n)).collect()], 1);
    let mut runner = world.runner_with(2, Box::new(world.store.clone())).unwrap();
    runner.run_batch(runner.next_batch_time()).unwrap();
    runner.finish().unwrap();
    let partitions: Vec<RecordBatch> = world.sink.batches().remove(0).1;
    assert_eq!(partitions.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [2, 3, 2, 3]);
    let numbers: Vec<i64> = partitions.iter().flat_map(to_pairs).map(|(_, n)| n).collect();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    // What lies together shares its memory with the input.
    let first = partitions[0].column(0).to_data().buffers()[1].as_ptr();
    assert!(partitions.iter().all(|rows| rows.column(0).to_data().buffers()[1].as_ptr() == first));
}
