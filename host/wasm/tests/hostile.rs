//! Every misbehaviour of a guest becomes its own error, with place, figure and key, and the host goes on.

mod common;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use arrow::json::ReaderBuilder;
use common::{STAGE, counts, engine, hostile, lines, load, misbehave, options, run, task, try_load};
use millpond_core::accumulator::Update;
use millpond_core::schema::{list_of, map_of};
use millpond_core::{Classify, Domain, NodeId, UpdateInput, UserFunction};
use millpond_wasm::{Error, Limits};

const PLACE: &str = "job `shady`, node `pass` (run-stage), partition 2, batch 5000: ";

#[track_caller]
fn expect(behaviour: &str, limits: Limits, code: &str, parts: &[&str]) -> String {
    let (found, message) = misbehave(&[("behaviour", behaviour)], limits);
    assert_eq!(found, code, "{behaviour}: {message}");
    assert!(message.starts_with(PLACE), "{behaviour}: {message}");
    for part in parts {
        assert!(message.contains(part), "{behaviour}: `{part}` is not in: {message}");
    }
    assert!(!message.contains('\u{1b}'), "{behaviour}: a control character came through: {message}");
    message
}

#[test]
fn well_behaved_guest_passes_rows_on_and_is_reused() {
    let job = load(&[], Limits::default());
    let input = lines(&["to", "be", "", "ö"]);
    for _ in 0..3 {
        let output = run(&job, &input).unwrap();
        assert_eq!(output.batch, input);
        assert!(output.rejected.is_empty());
    }
    assert_eq!(run(&job, &lines(&[])).unwrap().batch.num_rows(), 0);
    assert_eq!(job.usage().calls, 4);
    assert!(job.usage().time_us > 0);
}

#[test]
fn instance_serves_call_after_call() {
    let job = load(&[("behaviour", "count-calls")], Limits::default());
    let reasons: Vec<_> = (0..3).map(|_| run(&job, &lines(&["a"])).unwrap().rejected[0].reason.clone()).collect();
    assert_eq!(reasons, ["1", "2", "3"]);
}

#[test]
fn trap_names_the_functions_it_was_in() {
    let message =
        expect("trap", Limits::default(), "MP0301", &["wasm `unreachable` instruction executed", "backtrace"]);
    assert!(message.contains("run_stage") || message.contains("run-stage"), "{message}");
    assert!(message.lines().count() <= 2 + 10, "{message}");
}

#[test]
fn panic_brings_its_message_along() {
    let parts = ["last error message: panicked: this job panics on purpose", "\n    0: hostile::behaviour::before"];
    expect("panic", Limits::default(), "MP0301", &parts);
    let limits = Limits { log_bytes: 1000, ..Limits::default() };
    expect("log-flood-then-panic", limits, "MP0301", &["last error message: panicked: after the flood"]);
}

#[test]
fn endless_loop_is_stopped_at_the_call_time() {
    let limits = Limits { call_time_ms: 50, ..Limits::default() };
    let parts = ["`limits.call-time` is 50 ms", "raise `limits.call-time`", "loop_for_ever"];
    let message = expect("loop", limits, "MP0302", &parts);
    let reached: u64 = message.split("stopped after ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(reached >= 50, "{message}");
}

#[test]
fn endless_recursion_is_a_full_stack_on_either_stack() {
    let parts = ["`limits.stack` is 1 MiB", "raise `limits.stack`", "recurse_for_ever"];
    expect("recurse", Limits::default(), "MP0305", &parts);
    expect("recurse-on-own-stack", Limits::default(), "MP0305", &["recurse_with_arrays"]);
    for stack_bytes in [128 << 10, 16 << 20] {
        expect("recurse", Limits { stack_bytes, ..Limits::default() }, "MP0305", &["`limits.stack`"]);
    }
}

#[test]
fn endless_allocation_is_stopped_at_the_memory_limit() {
    let limits = Limits { memory_bytes: 16 << 20, ..Limits::default() };
    expect("allocate", limits, "MP0303", &["`limits.memory` is 16 MiB", "raise `limits.memory`", "needed 1"]);
}

#[test]
fn input_that_does_not_fit_is_a_memory_error() {
    let job = load(&[], Limits { memory_bytes: 4 << 20, ..Limits::default() });
    let error = run(&job, &lines(&[&"x".repeat(8 << 20)])).unwrap_err();
    assert_eq!(error.code().0, "MP0303", "{}", error.full_message());
}

#[test]
fn component_that_starts_too_large_is_a_memory_error() {
    let error = try_load(&[], Limits { memory_bytes: 64 << 10, ..Limits::default() }).err().unwrap();
    assert_eq!(error.code().0, "MP0303", "{error}");
    assert!(error.to_string().contains("`limits.memory` is 64 KiB"), "{error}");
}

#[test]
fn wrong_lengths_and_offsets_are_named_by_column_and_row() {
    let all = Limits::default();
    expect("wrong-length", all, "MP0306", &["column `line` has 2 offsets"]);
    expect("rows-too-many", all, "MP0306", &["column `line` has 3 offsets, and 4294967295 rows"]);
    expect("offsets-descending", all, "MP0306", &["column `line`, row 1: the offsets go back, from 4 to 3"]);
    expect("offsets-past-end", all, "MP0306", &["the last offset of column `line` is 4, and it has 3 bytes"]);
    expect("offsets-short-of-end", all, "MP0306", &["the last offset of column `line` is 3, and it has 4 bytes"]);
    expect("offsets-not-from-zero", all, "MP0306", &["the first offset of column `line` is 1"]);
    expect("pointer-past-end", all, "MP0306", &["out of bounds"]);
}

#[test]
fn text_that_is_not_utf8_is_named_by_column_and_row() {
    expect("bad-utf8", Limits::default(), "MP0307", &["column `line`, row 0"]);
    expect("split-utf8", Limits::default(), "MP0307", &["column `line`, row 0"]);
    expect("rejection-not-utf8", Limits::default(), "MP0307", &["in a message or name"]);
}

#[test]
fn other_columns_than_declared_are_a_schema_error() {
    let all = Limits::default();
    expect("wrong-type", all, "MP0308", &["column `line` is float64, and was declared utf8"]);
    expect("wrong-nullability", all, "MP0308", &["column `line` came with a validity bitmap"]);
    let counted =
        "it returned 2 columns, and declared 1\n  declared: utf8\n  returned: utf8, int64\n                  ^^^^^";
    expect("too-many-columns", all, "MP0308", &[counted]);
    let counted = "it returned 0 columns, and declared 1\n  declared: utf8\n  returned:\n            ^^^^";
    expect("too-few-columns", all, "MP0308", &[counted]);
}

#[test]
fn a_map_with_a_key_twice_is_named_by_column_and_row() {
    let user = DataType::Struct(
        vec![Field::new("id", DataType::Int64, false), Field::new("tags", list_of(DataType::Utf8, true), false)].into(),
    );
    let schema = Schema::new(vec![
        Field::new("line", DataType::Utf8, false),
        Field::new("users", list_of(user.clone(), true), false),
        Field::new("user", user, true),
        Field::new("by", map_of(DataType::Utf8, list_of(DataType::Float64, false), true), true),
    ]);
    let rows = |json: &str| {
        let reader = ReaderBuilder::new(Arc::new(schema.clone())).build(json.as_bytes()).unwrap();
        reader.collect::<Result<Vec<_>, _>>().unwrap().remove(0)
    };
    let job = load(&[("graph", "nested"), ("behaviour", "map-key-twice")], Limits::default());
    let one = rows(r#"{"line": "a", "users": [], "user": null, "by": {"x": [1.5], "yy": null}}"#);
    assert_eq!(run(&job, &one).unwrap().batch.num_rows(), 1);
    let two = rows(
        r#"{"line": "a", "users": [], "user": null, "by": {"x": [1.5], "yy": null}}
           {"line": "b", "users": [], "user": null, "by": {"x": [], "y": [2.5]}}"#,
    );
    let error = run(&job, &two).unwrap_err();
    assert_eq!(error.code().0, "MP0306");
    let message = error.full_message();
    assert!(message.contains("column `by`, row 1: the map has the key `k` more than once"), "{message}");
}

#[test]
fn output_is_limited_before_it_is_copied() {
    let limits = Limits { output_bytes: 1 << 20, ..Limits::default() };
    let parts = ["more than 1 MiB in one call", "raise `limits.output`"];
    expect("huge-output", Limits { output_bytes: 1000, ..limits }, "MP0304", &["more than 1000 bytes"]);
    for (behaviour, bytes) in [("aliased-output", "100000"), ("rejections-huge", "4000000"), ("huge-output", "1048577")]
    {
        let (code, message) = misbehave(&[("behaviour", behaviour), ("bytes", bytes)], limits);
        assert_eq!(code, "MP0304", "{behaviour}: {message}");
        assert!(parts.iter().all(|part| message.contains(part)), "{behaviour}: {message}");
    }
    let job = load(&[("behaviour", "huge-output"), ("bytes", "1000000")], limits);
    assert_eq!(run(&job, &lines(&["a"])).unwrap().batch.num_rows(), 1);
}

#[test]
fn rejections_are_counted_ordered_and_shortened() {
    let all = Limits::default();
    expect("too-many-rejections", all, "MP0306", &["it refused 3 rows, and was given 2"]);
    expect("rejection-past-end", all, "MP0306", &["it refused row 2, and was given 2 rows"]);
    expect("rejections-unordered", all, "MP0306", &["it refused row 0 after row 1"]);
    expect("rejection-twice", all, "MP0306", &["it refused row 0 after row 0"]);

    let output = run(&load(&[("behaviour", "rejection-long")], all), &lines(&["a"])).unwrap();
    assert_eq!(output.rejected[0].reason, "ä".repeat(512));
    let output = run(&load(&[("behaviour", "reject-all")], all), &lines(&["a", "b"])).unwrap();
    assert_eq!(output.rejected.len(), 2);
    assert_eq!((output.rejected[1].row, output.rejected[1].reason.as_str()), (1, "not today"));
}

#[test]
fn failure_carries_code_and_printable_message() {
    expect("failure", Limits::default(), "MP0309", &["gave up: no more\u{fffd}[31m (code user)"]);
    expect("failure-internal", Limits::default(), "MP0309", &["(code internal)"]);
    expect("failure-bad-input", Limits::default(), "MP0309", &["(code bad-input)"]);
    expect("failure-unknown-node", Limits::default(), "MP0309", &["(code unknown-node)"]);
}

#[test]
fn log_past_its_limit_is_dropped_and_counted() {
    let job = load(&[("behaviour", "log-flood")], Limits { log_bytes: 1000, ..Limits::default() });
    run(&job, &lines(&["a"])).unwrap();
    // Each message is counted with 32 bytes on top: 7 or so with 8 or 7 bytes of text fit.
    assert_eq!(job.usage().log_dropped, 100_000 - 25);
    for behaviour in ["log-huge", "log-fragments", "log-not-utf8"] {
        run(&load(&[("behaviour", behaviour)], Limits::default()), &lines(&["a"])).unwrap();
    }
}

#[test]
fn plan_that_refuses_its_settings_says_why() {
    let error = try_load(&[("behaviour", "plan-error")], Limits::default()).err().unwrap();
    assert_eq!(error.code().0, "MP0206");
    let message = "job `shady`, plan: the plugin refused its settings: the setting `top` is missing\u{fffd}[2J";
    assert!(error.to_string().starts_with(message), "{error}");
}

#[test]
fn plan_runs_within_the_limits_too() {
    let load = |behaviour: &str, limits| {
        let error = try_load(&[("behaviour", behaviour), ("in", "plan")], limits).err().unwrap();
        assert!(error.to_string().starts_with("job `shady`, plan: "), "{error}");
        error.code().0
    };
    assert_eq!(load("slow-start", Limits { call_time_ms: 30, ..Limits::default() }), "MP0302");
    assert_eq!(load("panic", Limits::default()), "MP0301");
    assert_eq!(load("allocate", Limits { memory_bytes: 8 << 20, ..Limits::default() }), "MP0303");
}

#[test]
fn plan_with_wrong_sizes_or_names_is_refused() {
    let refused = |behaviour: &str, code: &str, part: &str| {
        let error = try_load(&[("behaviour", behaviour)], Limits::default()).err().unwrap();
        assert_eq!(error.code().0, code, "{behaviour}: {error}");
        assert!(error.to_string().contains(part), "{behaviour}: {error}");
    };
    refused("plan-empty", "MP0401", "the plan has 0 nodes; there must be 1 to 1024");
    refused("plan-too-large", "MP0401", "the plan has 1025 nodes");
    refused("plan-no-columns", "MP0401", "node `pass` has 0 columns");
    refused("plan-many-columns", "MP0401", "node `pass` has 1025 columns");
    refused("plan-empty-name", "MP0402", "node 1: the node's name `` is empty");
    refused("plan-long-name", "MP0402", "has 129 bytes, and may have 128");
    refused("plan-bad-name", "MP0402", "`two lines` has control characters");
    refused("plan-duplicate-column", "MP0402", "the column `a` is there twice");
    refused("plan-accumulators-many", "MP0401", "the plan has 257 accumulators; there must be 0 to 256");
    refused("plan-accumulator-empty-name", "MP0402", "accumulator 0: the accumulator's name `` is empty");
    refused("plan-broadcasts-many", "MP0401", "the plan has 257 broadcasts; there must be 0 to 256");
    refused("plan-broadcast-empty-name", "MP0402", "broadcast 0: the name in the job file `` is empty");
    refused("plan-not-utf8", "MP0307", "job `shady`, plan");
    refused("plan-too-deep", "MP0401", "node `pass`: column `line");
    refused("plan-too-deep", "MP0401", "is at level 17 of its schema, and 16 are possible");
    refused("plan-endless-struct", "MP0401", "column `a`: the schema ends before its children");
    refused("plan-list-of-two", "MP0401", "column `a`: it declares 2 children, and a list has 1");
    refused("plan-child-of-text", "MP0401", "it declares 1 children, and a column without columns inside has 0");
    refused("plan-struct-of-none", "MP0401", "it declares 0 children, and a struct has at least 1");
    refused("plan-map-of-lists", "MP0401", "column `by`: the child of a map is a struct of two fields");
    load(&[("behaviour", "plan-deep")], Limits::default());
}

#[test]
fn graphs_that_only_the_engine_can_judge_are_passed_on() {
    for behaviour in ["plan-cycle", "plan-duplicate", "plan-schemas", "plan-no-sink", "plan-keys", "plan-unknown-input"]
    {
        try_load(&[("behaviour", behaviour)], Limits::default()).unwrap_or_else(|error| panic!("{behaviour}: {error}"));
    }
}

#[test]
fn keyed_calls_answer_and_are_checked() {
    let job = load(&[("graph", "keyed")], Limits::default());
    assert_eq!(job.merge(NodeId(2), &task(), &[0, 2, 3], &counts(&[1, 2, 4])).unwrap(), counts(&[3, 4]));
    assert_eq!(job.merge(NodeId(2), &task(), &[0], &counts(&[])).unwrap(), counts(&[]));
    assert_eq!(job.subtract(NodeId(4), &task(), &counts(&[5]), &counts(&[2])).unwrap(), counts(&[3]));
    let output = job.update(NodeId(3), &task(), &update_input()).unwrap();
    assert_eq!(output.states, counts(&[11, 2]));
    assert_eq!(output.keep.true_count(), 2);
}

fn update_input() -> UpdateInput {
    UpdateInput {
        keys: lines(&["a", "b"]),
        groups: vec![0, 1, 2],
        values: counts(&[1, 2]),
        states: counts(&[10, 99]),
        present: vec![true, false].into(),
    }
}

#[test]
fn keyed_calls_misbehave_like_stages() {
    let call = |call: &str, behaviour: &str| {
        let job = load(&[("graph", "keyed"), ("in", call), ("behaviour", behaviour)], Limits::default());
        let error = match call {
            "merge" => job.merge(NodeId(2), &task(), &[0, 1, 2], &counts(&[1, 2])).err(),
            "subtract" => job.subtract(NodeId(4), &task(), &counts(&[5, 6]), &counts(&[2, 2])).err(),
            _ => job.update(NodeId(3), &task(), &update_input()).err(),
        };
        let error = error.unwrap_or_else(|| panic!("{call} with {behaviour} went well"));
        assert!(error.full_message().contains(&format!("({call})")), "{}", error.full_message());
        error.code().0
    };
    for name in ["merge", "subtract", "update"] {
        assert_eq!(call(name, "trap"), "MP0301");
        assert_eq!(call(name, "wrong-length"), "MP0306");
        assert_eq!(call(name, "rows-too-few"), "MP0306");
        assert_eq!(call(name, "wrong-type"), "MP0308");
        assert_eq!(call(name, "wrong-nullability"), "MP0308");
        assert_eq!(call(name, "failure"), "MP0309");
    }
    assert_eq!(call("update", "keep-too-long"), "MP0306");
}

#[test]
fn map_with_state_answers_and_is_checked() {
    let job = load(&[("graph", "mapped")], Limits::default());
    // The second key has no rows: it times out.
    let input = UpdateInput { groups: vec![0, 2, 2], present: vec![true, true].into(), ..update_input() };
    let output = job.map_with_state(NodeId(2), &task(), &input).unwrap();
    assert_eq!((output.rows, output.states), (counts(&[11, 13, 99]), counts(&[13, 99])));
    assert_eq!((output.mapped.true_count(), output.keep.true_count(), output.written.true_count()), (3, 2, 2));

    let call = |behaviour: &str, input: &UpdateInput| {
        let params = [("graph", "mapped"), ("in", "map-with-state"), ("behaviour", behaviour)];
        let error = load(&params, Limits::default()).map_with_state(NodeId(2), &task(), input).err();
        let error = error.unwrap_or_else(|| panic!("{behaviour} went well"));
        let message = error.full_message();
        assert!(message.contains("node `mapped` (map-with-state)"), "{message}");
        (error.code().0, message)
    };
    for (behaviour, code, part) in [
        ("trap", "MP0301", "unreachable"),
        ("wrong-length", "MP0306", "column `count`"),
        ("rows-too-few", "MP0306", "3 calls are marked as mapped, and there are 2 mapped rows"),
        ("mapped-too-few", "MP0306", "0 calls are marked as mapped, and there are 3 mapped rows"),
        ("mapped-too-long", "MP0306", "the flags `mapped`"),
        ("keep-too-long", "MP0306", "the flags `keep`"),
        ("written-too-long", "MP0306", "the flags `written`"),
        ("states-too-few", "MP0306", "the batch has 1 rows, and 2 are needed"),
        ("wrong-type", "MP0308", "column `count` is float64"),
        ("failure", "MP0309", "no more"),
    ] {
        let (found, message) = call(behaviour, &input);
        assert!(found == code && message.contains(part), "{behaviour}: {message}");
    }
    let (code, message) = call("written-never", &UpdateInput { present: vec![false, true].into(), ..input });
    assert!(code == "MP0306" && message.contains("group 0 keeps a state that it neither had nor wrote"), "{message}");
}

#[test]
fn whole_batch_calls_answer_and_are_checked() {
    let job = load(&[("graph", "whole")], Limits::default());
    let inputs = [lines(&["a", "bc"]), lines(&[])];
    assert_eq!(job.run_batch(STAGE, &task(), &inputs).unwrap(), inputs[0]);
    let empty = [lines(&[]), lines(&["a"])];
    assert_eq!(job.run_batch(STAGE, &task(), &empty).unwrap(), empty[0]);
    let limits = Limits { output_bytes: 1 << 20, call_time_ms: 50, memory_bytes: 16 << 20, ..Limits::default() };
    for (behaviour, code) in [
        ("trap", "MP0301"),
        ("panic", "MP0301"),
        ("loop", "MP0302"),
        ("allocate", "MP0303"),
        ("aliased-output", "MP0304"),
        ("recurse", "MP0305"),
        ("wrong-length", "MP0306"),
        ("offsets-descending", "MP0306"),
        ("bad-utf8", "MP0307"),
        ("wrong-type", "MP0308"),
        ("too-few-columns", "MP0308"),
        ("failure", "MP0309"),
    ] {
        let job = load(&[("graph", "whole"), ("in", "run-batch"), ("behaviour", behaviour)], limits);
        let error = job.run_batch(STAGE, &task(), &inputs).expect_err(behaviour);
        let message = error.full_message();
        assert_eq!(error.code().0, code, "{behaviour}: {message}");
        assert!(message.starts_with("job `shady`, node `pass` (run-batch), partition 2, batch 5000: "), "{message}");
    }
    let small = load(&[("graph", "whole")], Limits { memory_bytes: 4 << 20, ..Limits::default() });
    let error = small.run_batch(STAGE, &task(), &[lines(&["a"]), lines(&[&"x".repeat(8 << 20)])]).unwrap_err();
    assert_eq!(error.code().0, "MP0303", "{}", error.full_message());
}

#[test]
fn instance_is_gone_after_an_error_and_the_job_goes_on() {
    for behaviour in ["panic", "wrong-type", "failure"] {
        let job = load(&[("behaviour", behaviour), ("on", "poison")], Limits::default());
        run(&job, &lines(&["good"])).unwrap();
        run(&job, &lines(&["good", "poison"])).unwrap_err();
        assert_eq!(run(&job, &lines(&["good"])).unwrap().batch, lines(&["good"]), "{behaviour}");
    }
}

#[test]
fn jobs_do_not_disturb_each_other() {
    std::thread::scope(|scope| {
        let bad = scope.spawn(|| {
            let job = load(&[("behaviour", "loop")], Limits { call_time_ms: 60, ..Limits::default() });
            run(&job, &lines(&["a"])).unwrap_err().code().0
        });
        for _ in 0..3 {
            scope.spawn(|| {
                let job = load(&[], Limits::default());
                for _ in 0..200 {
                    run(&job, &lines(&["a"])).unwrap();
                }
            });
        }
        assert_eq!(bad.join().unwrap(), "MP0302");
    });
}

#[test]
fn node_that_does_not_exist_is_a_defect_of_the_host() {
    let error = load(&[], Limits::default()).run_stage(NodeId(9), &task(), &lines(&[])).unwrap_err();
    assert_eq!((error.code().0, error.domain()), ("MP0901", Domain::Internal));
}

#[test]
fn limit_that_cannot_be_had_is_refused_by_its_key() {
    let error =
        engine().load_job(&options(&[], Limits { stack_bytes: 1, ..Limits::default() }), hostile()).err().unwrap();
    assert!(matches!(error, Error::LimitOutOfRange { key: "limits.stack", .. }), "{error}");
}

#[test]
fn updates_of_accumulators_are_handed_over_once_the_call_is_good() {
    let job = load(&[("behaviour", "accumulate")], Limits::default());
    for _ in 0..2 {
        run(&job, &lines(&["a"])).unwrap();
    }
    let update = |accumulator, number| Update { accumulator, number };
    let call = [update(1, 2.5.into()), update(0, 1.into())];
    assert_eq!(job.take_updates(), [call, call].concat());
    assert_eq!(job.take_updates(), []);
    for behaviour in ["accumulate-then-trap", "failure", "wrong-length"] {
        let job = load(&[("behaviour", behaviour)], Limits::default());
        run(&job, &lines(&["a"])).unwrap_err();
        assert_eq!(job.take_updates(), [], "{behaviour}");
    }
}

#[test]
fn updates_of_accumulators_that_the_plan_does_not_have_are_refused() {
    let refused = |behaviour, reason| {
        expect(behaviour, Limits::default(), "MP0311", &["update of accumulators was refused", reason]);
    };
    refused("accumulator-unknown", "there is no accumulator 7: the plan has 2");
    refused("accumulator-listed-twice", "accumulator `calls` comes twice");
    refused("accumulator-wrong-number", "accumulator `calls` is a counter, and got the float64 1.0");
    refused("accumulator-negative", "accumulator `calls` is a counter, and got the int64 -1");
    refused("accumulators-two-calls", "it came twice in one call");
    refused("accumulators-too-many", "more updates than a plan can have accumulators");
    let limits = Limits { output_bytes: 1 << 20, ..Limits::default() };
    let (code, message) = misbehave(&[("behaviour", "accumulators-huge"), ("bytes", "20000000")], limits);
    assert_eq!(code, "MP0304", "{message}");
    let error = try_load(&[("behaviour", "accumulate"), ("in", "plan")], Limits::default()).err().unwrap();
    assert!(error.code().0 == "MP0311" && error.to_string().contains("while no batch was worked on"), "{error}");
}

#[test]
fn a_broadcast_crosses_once_for_each_version_and_instance() {
    let job = load(&[("behaviour", "count-broadcasts")], Limits::default());
    let crossed = || run(&job, &lines(&["a"])).unwrap().rejected[0].reason.clone();
    assert_eq!(crossed(), "0", "there is none yet");
    job.set_broadcast(0, &lines(&["one"])).unwrap();
    assert_eq!([crossed(), crossed(), crossed()], ["1", "1", "1"]);
    job.set_broadcast(0, &lines(&["two"])).unwrap();
    job.set_broadcast(0, &lines(&["three"])).unwrap();
    assert_eq!([crossed(), crossed()], ["2", "2"], "only the newest");
}

#[test]
fn an_instance_that_refuses_a_value_is_replaced() {
    let job = load(&[("in", "set-broadcast"), ("behaviour", "failure"), ("on", "poison")], Limits::default());
    job.set_broadcast(0, &lines(&["good"])).unwrap();
    run(&job, &lines(&["a"])).unwrap();
    job.set_broadcast(0, &lines(&["poison"])).unwrap();
    let error = run(&job, &lines(&["a"])).unwrap_err();
    assert_eq!((error.code().0, error.full_message().contains("gave up: no more")), ("MP0309", true), "{error}");
    job.set_broadcast(0, &lines(&["good again"])).unwrap();
    run(&job, &lines(&["a"])).unwrap();
}

#[test]
fn a_guest_that_misbehaves_over_a_broadcast_fails_the_call() {
    for (behaviour, code) in [("trap", "MP0301"), ("panic", "MP0301"), ("loop", "MP0302"), ("allocate", "MP0303")] {
        let limits = Limits { call_time_ms: 300, memory_bytes: 16 << 20, ..Limits::default() };
        let job = load(&[("in", "set-broadcast"), ("behaviour", behaviour)], limits);
        job.set_broadcast(0, &lines(&["known"])).unwrap();
        let error = run(&job, &lines(&["a"])).unwrap_err();
        assert_eq!(error.code().0, code, "{behaviour}: {error}");
    }
}

#[test]
fn a_broadcast_beyond_its_limit_is_refused() {
    let job = load(&[("in", "set-broadcast")], Limits { broadcast_bytes: 100, ..Limits::default() });
    job.set_broadcast(0, &lines(&["small"])).unwrap();
    let error = job.set_broadcast(0, &lines(&[&"x".repeat(100)])).unwrap_err();
    let message = error.to_string();
    assert_eq!(error.code().0, "MP0312");
    assert!(message.contains("broadcast `known` has 108 bytes: `limits.broadcast` is 100 bytes"), "{message}");
    run(&job, &lines(&["a"])).unwrap();
}
