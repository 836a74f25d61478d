//! A guest in another language: the hand-written one of `tests/guests/upper`, and components that do not fit.

mod common;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, StringArray};
use arrow::datatypes::Schema;
use common::{batch, component_of_wat, engine, hostile, options, task, upper, utf8};
use millpond_core::{Classify, TransformFunction};
use millpond_wasm::{ComponentKind, Contents, Limits, TransformComponent, inspect};

fn load() -> TransformComponent {
    engine().load_transform(&options(&[], Limits::default()), upper()).unwrap_or_else(|error| panic!("{error}"))
}

fn text(lines: &[&str]) -> arrow::array::RecordBatch {
    batch(vec![("text", Arc::new(StringArray::from(lines.to_vec())) as ArrayRef)])
}

#[test]
fn hand_written_guest_declares_its_columns() {
    let expected = Arc::new(Schema::new(vec![utf8("text")]));
    assert_eq!(load().input_schema(), expected);
    assert_eq!(load().output_schema(), expected);
}

#[test]
fn hand_written_guest_runs() {
    let transform = load();
    let output = transform.run(&task(), &text(&["Hello, wörld", "", "z{a`"])).unwrap();
    assert_eq!(output.batch, text(&["HELLO, WöRLD", "", "Z{A`"]));
    assert!(output.rejected.is_empty());
    assert_eq!(transform.run(&task(), &text(&[])).unwrap().batch, text(&[]));
    assert_eq!(transform.usage().calls, 2);
}

#[test]
fn hand_written_guest_gets_memory_for_large_input_again_and_again() {
    let transform = load();
    let line = "abc ".repeat(500_000);
    for _ in 0..5 {
        let output = transform.run(&task(), &text(&[&line, "x"])).unwrap();
        let column = output.batch.column(0).as_any().downcast_ref::<StringArray>().unwrap();
        assert_eq!(column.value(0).len(), line.len());
        assert!(column.value(0).starts_with("ABC ABC") && column.value(1) == "X");
    }
}

#[test]
fn hand_written_guest_refuses_other_columns() {
    let numbers = batch(vec![("text", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    let error = load().run(&task(), &numbers).unwrap_err();
    assert_eq!(error.code().0, "MP0309");
    let message = error.full_message();
    assert!(message.starts_with("job `shady`, run, partition 2, batch 5000: "), "{message}");
    assert!(message.contains("one utf8 column, please (code bad-input)"), "{message}");
}

#[test]
fn worlds_are_not_mixed_up() {
    let error = engine().load_job(&options(&[], Limits::default()), upper()).err().unwrap();
    assert_eq!(error.code().0, "MP0204");
    assert!(error.to_string().contains("[transforms.NAME]"), "{error}");
    let error = engine().load_transform(&options(&[], Limits::default()), hostile()).err().unwrap();
    assert_eq!(error.code().0, "MP0204");
}

#[test]
fn inspection_shows_a_transform_and_a_job() {
    let inspection = inspect(upper()).unwrap();
    assert_eq!(inspection.kind, ComponentKind::Transform);
    assert_eq!(inspection.wit_version.as_deref(), Some("0.1.0"));
    assert!(matches!(inspection.contents, Contents::Signature { .. }));
    assert!(inspection.to_string().ends_with("input        text: utf8\noutput       text: utf8"), "{inspection}");

    let inspection = engine().inspect(hostile()).unwrap();
    assert_eq!(inspection.kind, ComponentKind::Job);
    assert_eq!(inspection.digest.len(), 64);
    assert!(inspection.imports.contains(&"millpond:plugin/log@0.1.0".to_owned()));
    assert!(!inspection.imports.iter().any(|import| import.starts_with("wasi:")), "{:?}", inspection.imports);
    assert!(inspection.to_string().contains("  1  pass (stage): line: utf8"), "{inspection}");
}

#[test]
fn inspection_of_what_must_not_run_says_why() {
    let wasi = wat::parse_str(r#"(component (import "wasi:cli/environment@0.2.0" (instance)))"#).unwrap();
    let inspection = inspect(&wasi).unwrap();
    assert_eq!(inspection.kind, ComponentKind::Other);
    assert_eq!(inspection.imports, ["wasi:cli/environment@0.2.0"]);
    assert_eq!(inspect(b"text").unwrap_err().code().0, "MP0201");
}

#[test]
fn interface_with_other_types_is_refused() {
    let job = r#"(component
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i "f")))
        (instance $job (export "plan" (func $f)) (export "run-stage" (func $f)) (export "merge" (func $f))
            (export "subtract" (func $f)) (export "update" (func $f)) (export "run-batch" (func $f))
            (export "map-with-state" (func $f)) (export "set-broadcast" (func $f)))
        (export "millpond:plugin/job-guest@0.1.0" (instance $job)))"#;
    let refused = |text: &str| {
        let bytes = wat::parse_str(text).unwrap();
        let error = engine().load_job(&options(&[], Limits::default()), &bytes).err().unwrap();
        (error.code().0, error.to_string())
    };
    let (code, message) = refused(job);
    assert_eq!(code, "MP0204");
    assert!(message.contains("do not fit `millpond:plugin/job-guest@0.1.0`"), "{message}");
    let (code, message) = refused(&job.replace("(export \"update\" (func $f))", ""));
    assert_eq!(code, "MP0204");
    assert!(message.contains("`update`"), "{message}");
    let import = r#"(component (import "millpond:plugin/log@0.1.0" (instance (export "read" (func))))"#;
    let (code, message) = refused(&job.replacen("(component", import, 1));
    assert_eq!(code, "MP0203");
    assert!(message.contains("read"), "{message}");
    let import = r#"(component (import "wasi:clocks/wall-clock@0.2.0" (instance))"#;
    assert_eq!(refused(&job.replacen("(component", import, 1)).0, "MP0203");
}

#[test]
fn component_that_does_not_validate_is_not_compiled() {
    let bytes = wat::parse_str(
        r#"(component
            (core module $m (func (result i32) i64.const 1))
            (instance $job)
            (export "millpond:plugin/job-guest@0.1.0" (instance $job)))"#,
    )
    .unwrap();
    let error = engine().load_job(&options(&[], Limits::default()), &bytes).err().unwrap();
    assert_eq!(error.code().0, "MP0205");
    assert!(error.to_string().contains("type mismatch"), "{error}");
}

#[test]
fn start_function_runs_within_the_limits() {
    let text = common_start(r#"(func $start (loop br 0)) (start $start)"#);
    let limits = Limits { call_time_ms: 30, ..Limits::default() };
    let error = engine().load_transform(&options(&[], limits), &component_of_wat(&text, "transform")).err().unwrap();
    assert_eq!(error.code().0, "MP0302", "{error}");
    let text = common_start(r#"(func $start unreachable) (start $start)"#);
    let error =
        engine().load_transform(&options(&[], Limits::default()), &component_of_wat(&text, "transform")).err().unwrap();
    assert_eq!(error.code().0, "MP0301", "{error}");
}

/// The hand-written guest with something added.
fn common_start(more: &str) -> String {
    let text = millpond_testkit::guests::source_file("upper/upper.wat");
    let end = text.rfind(')').expect("the guest is a module in brackets");
    format!("{} {more})", &text[..end])
}

#[test]
fn table_that_grows_for_ever_is_a_resource_error() {
    let grow = r#"(table $t 1 funcref)
        (func $start (loop $more
            (drop (table.grow $t (ref.null func) (i32.const 2000000)))
            unreachable)) (start $start)"#;
    let component = component_of_wat(&common_start(grow), "transform");
    let error = engine().load_transform(&options(&[], Limits::default()), &component).err().unwrap();
    assert_eq!(error.code().0, "MP0310", "{error}");
    assert!(error.to_string().contains("2000001 elements"), "{error}");
}

#[test]
fn component_too_large_for_the_pool_is_run_without_it() {
    let component = component_of_wat(&common_start("(table 100000 funcref)"), "transform");
    let transform =
        engine().load_transform(&options(&[], Limits::default()), &component).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(transform.run(&task(), &text(&["a"])).unwrap().batch, text(&["A"]));
}
