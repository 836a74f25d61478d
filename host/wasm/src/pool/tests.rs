//! Tests of leasing, reuse and replacement, with the test guest.

use std::sync::{Arc, OnceLock};

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use millpond_core::{BatchTime, Classify, NodeId, PartitionId, Plan, UserFunction};
use millpond_testkit::guests;

use super::*;
use crate::engine::{Allocation, EngineOptions};
use crate::{JobComponent, componentize};

fn component() -> &'static [u8] {
    static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();
    COMPONENT.get_or_init(|| componentize(&guests::core_module("hostile")).unwrap())
}

fn load(engine: &WasmEngine, params: &[(&str, &str)], limits: Limits) -> JobComponent {
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    engine.load_job(&LoadOptions { job: "test".into(), params, limits }, component()).unwrap()
}

fn job(params: &[(&str, &str)], limits: Limits) -> JobComponent {
    load(&WasmEngine::try_new(EngineOptions::default()).unwrap(), params, limits)
}

fn run(job: &JobComponent) -> Result<RecordBatch, &'static str> {
    let schema = Arc::new(Schema::new(vec![Field::new("line", DataType::Utf8, false)]));
    let input = RecordBatch::try_new(schema, vec![Arc::new(StringArray::from(vec!["a"]))]).unwrap();
    let task = TaskInfo { batch_time: BatchTime(1), partition: PartitionId(0), partitions: 1, attempt: 0 };
    job.run_stage(NodeId(1), &task, &input).map(|output| output.batch).map_err(|error| error.code().0)
}

#[test]
fn loading_leaves_one_idle_instance_and_calls_reuse_it() {
    let job = job(&[], Limits::default());
    assert_eq!(job.idle(), 1);
    run(&job).unwrap();
    run(&job).unwrap();
    assert_eq!(job.idle(), 1);
}

#[test]
fn instances_are_as_many_as_calls_at_the_same_time() {
    let job = job(&[], Limits::default());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..100).for_each(|_| drop(run(&job).unwrap())));
        }
    });
    assert!((1..=4).contains(&job.idle()), "{}", job.idle());
    assert_eq!(job.usage().calls, 400);
}

#[test]
fn instance_is_dropped_after_every_kind_of_error() {
    for (behaviour, code) in
        [("trap", "MP0301"), ("wrong-type", "MP0308"), ("failure", "MP0309"), ("bad-utf8", "MP0307")]
    {
        let job = job(&[("behaviour", behaviour)], Limits::default());
        assert_eq!(run(&job).unwrap_err(), code);
        assert_eq!(job.idle(), 0, "{behaviour}");
    }
}

#[test]
fn instance_that_grew_past_the_mark_is_replaced() {
    let limits = Limits { memory_bytes: 16 << 20, ..Limits::default() };
    let job = job(&[("behaviour", "leak"), ("bytes", "3000000")], limits);
    let idle: Vec<_> = (0..30).map(|_| run(&job).map(|_| job.idle()).unwrap()).collect();
    assert!(idle.contains(&0), "it is replaced: {idle:?}");
    assert!(idle.contains(&1), "but not after each call: {idle:?}");
}

#[test]
fn another_plan_than_the_first_is_refused() {
    let mut job = job(&[], Limits::default());
    let mut nodes = job.plan().nodes.clone();
    nodes[1].name = "renamed".into();
    job.pretend(Plan { nodes, ..Plan::default() });
    assert_eq!(run(&job).unwrap_err(), "MP0207");
    let fewer = job.plan().nodes[..2].to_vec();
    job.pretend(Plan { nodes: fewer, ..Plan::default() });
    assert_eq!(run(&job).unwrap_err(), "MP0207");
}

#[test]
fn every_way_to_allocate_runs_guests() {
    for allocation in [Allocation::Pooled, Allocation::OnDemand, Allocation::Small] {
        let engine = WasmEngine::with_allocation(EngineOptions::default(), allocation).unwrap();
        run(&load(&engine, &[], Limits::default())).unwrap();
        let limits = Limits { memory_bytes: 8 << 20, ..Limits::default() };
        let error = run(&load(&engine, &[("behaviour", "allocate")], limits)).unwrap_err();
        assert_eq!(error, "MP0303", "{allocation:?}");
        let error = run(&load(&engine, &[("behaviour", "pointer-past-end")], limits)).unwrap_err();
        assert_eq!(error, "MP0306", "{allocation:?}");
    }
}

#[test]
fn pool_without_free_slots_is_a_named_error_and_recovers() {
    let engine = WasmEngine::try_new(EngineOptions::default()).unwrap();
    let mut jobs = Vec::new();
    let error = loop {
        let options = LoadOptions { job: "many".into(), ..LoadOptions::default() };
        match engine.load_job(&options, component()) {
            Ok(job) => jobs.push(job),
            Err(error) => break error,
        }
        assert!(jobs.len() < 1000, "there is a limit");
    };
    assert_eq!(error.code().0, "MP0310", "{error}");
    assert!(error.to_string().contains("run fewer jobs in one process"), "{error}");
    jobs.truncate(10);
    run(&load(&engine, &[], Limits::default())).unwrap();
}

#[test]
fn memory_mark_is_half_way_to_the_limit() {
    let limits = Limits { memory_bytes: 100 << 20, ..Limits::default() };
    assert_eq!(memory_mark(0, &limits), 50 << 20);
    assert_eq!(memory_mark(60 << 20, &limits), 80 << 20);
}
