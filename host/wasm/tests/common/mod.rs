//! What the tests with guests share: the guests as components, and batches for them.

#![allow(dead_code, unreachable_pub, reason = "a module that several test files include, each using a part of it")]

use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use millpond_core::{BatchTime, BoxError, NodeId, PartitionId, StageOutput, TaskInfo, UserFunction};
use millpond_testkit::guests;
use millpond_wasm::{EngineOptions, Error, JobComponent, Limits, LoadOptions, WasmEngine, componentize};
use wit_component::StringEncoding;

pub const STAGE: NodeId = NodeId(1);

pub fn hostile() -> &'static [u8] {
    static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();
    COMPONENT.get_or_init(|| componentize(&guests::core_module("hostile")).expect("the test guest is a job"))
}

/// A core module in text form as a component of a world.
pub fn component_of_wat(text: &str, world: &str) -> Vec<u8> {
    let mut module = wat::parse_str(text).expect("the guest is valid text");
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_dir(guests::repository().join("wit")).expect("the contract is valid");
    let world = resolve.select_world(&[package], Some(world)).expect("the contract has this world");
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .expect("metadata can be added to a module");
    componentize(&module).expect("the guest implements the world")
}

pub fn upper() -> &'static [u8] {
    static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();
    COMPONENT.get_or_init(|| component_of_wat(&guests::source_file("upper/upper.wat"), "transform"))
}

/// One engine for a test's process, as in the host.
pub fn engine() -> &'static WasmEngine {
    static ENGINE: OnceLock<WasmEngine> = OnceLock::new();
    ENGINE.get_or_init(|| WasmEngine::try_new(EngineOptions::default()).expect("the engine starts"))
}

pub fn options(params: &[(&str, &str)], limits: Limits) -> LoadOptions {
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    LoadOptions { job: "shady".into(), params, limits }
}

pub fn try_load(params: &[(&str, &str)], limits: Limits) -> Result<JobComponent, Error> {
    engine().load_job(&options(params, limits), hostile())
}

pub fn load(params: &[(&str, &str)], limits: Limits) -> JobComponent {
    try_load(params, limits).unwrap_or_else(|error| panic!("{error}"))
}

pub fn task() -> TaskInfo {
    TaskInfo { batch_time: BatchTime(5000), partition: PartitionId(2), partitions: 4, attempt: 0 }
}

pub fn lines(lines: &[&str]) -> RecordBatch {
    batch(vec![("line", Arc::new(StringArray::from(lines.to_vec())))])
}

pub fn counts(counts: &[i64]) -> RecordBatch {
    batch(vec![("count", Arc::new(Int64Array::from(counts.to_vec())))])
}

pub fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let field = |(name, array): &(&str, ArrayRef)| Field::new(*name, array.data_type().clone(), false);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, array)| array).collect())
        .expect("equal lengths")
}

pub fn utf8(name: &str) -> Field {
    Field::new(name, DataType::Utf8, false)
}

pub fn run(job: &JobComponent, input: &RecordBatch) -> Result<StageOutput, BoxError> {
    job.run_stage(STAGE, &task(), input)
}

/// The code and message of what a behaviour leads to.
pub fn misbehave(params: &[(&str, &str)], limits: Limits) -> (&'static str, String) {
    let error = run(&load(params, limits), &lines(&["a", "bc"])).expect_err("it misbehaves");
    (error.code().0, error.full_message())
}
