//! The plans, good ones and bad ones.

use crate::bindings::exports::millpond::plugin::job_guest::JobPlan;
use crate::bindings::millpond::plugin::dataflow::{
    Accumulator, AccumulatorKind, Broadcast, MapWithState, Merge, Node, Operator, Reduce, ReduceWindow, Stage, UpdateState, Window,
};
use crate::bindings::millpond::plugin::types::{DataType, Field};
use crate::settings::Settings;

pub fn plan(settings: &Settings) -> Result<JobPlan, String> {
    let mut nodes = match settings.graph.as_str() {
        "keyed" => keyed(),
        "mapped" => mapped(),
        "types" => pass(every_type()),
        "whole" => whole(),
        "nested" => pass(nested()),
        _ => pass(vec![field("line", DataType::Utf8, false)]),
    };
    match settings.behaviour.as_str() {
        "plan-error" => return Err("the setting `top` is missing\u{1b}[2J".into()),
        "plan-empty" => nodes.clear(),
        "plan-no-sink" => nodes.truncate(2),
        "plan-too-large" => nodes = (0..1025).map(|number| copy(&nodes[0], &format!("n{number}"))).collect(),
        "plan-cycle" => nodes[1].inputs = vec![1],
        "plan-forward-input" => nodes[1].inputs = vec![2],
        "plan-unknown-input" => nodes[1].inputs = vec![4_000_000_000],
        "plan-duplicate" => nodes[1].name = nodes[0].name.clone(),
        "plan-empty-name" => nodes[1].name.clear(),
        "plan-long-name" => nodes[1].name = "x".repeat(129),
        "plan-bad-name" => nodes[1].name = "two\nlines".into(),
        "plan-no-columns" => nodes[1].schema.clear(),
        "plan-many-columns" => {
            nodes[1].schema = (0..1025).map(|number| field(&format!("c{number}"), DataType::Int64, false)).collect();
        }
        "plan-duplicate-column" => {
            nodes[1].schema = ["a", "a"].map(|name| field(name, DataType::Int64, false)).to_vec();
        }
        "plan-too-deep" => nodes[1].schema = deep(17),
        "plan-deep" => nodes.iter_mut().for_each(|node| node.schema = deep(16)),
        "plan-endless-struct" => nodes[1].schema = vec![parent("a", DataType::Struct, false, u32::MAX)],
        "plan-list-of-two" => {
            nodes[1].schema = vec![parent("a", DataType::List, false, 2), field("", DataType::Int64, false)];
        }
        "plan-child-of-text" => nodes[1].schema = vec![parent("a", DataType::Utf8, false, 1)],
        "plan-struct-of-none" => nodes[1].schema = vec![parent("a", DataType::Struct, false, 0)],
        "plan-map-of-lists" => {
            nodes[1].schema = nested().split_off(10);
            nodes[1].schema[2] = parent("key", DataType::List, false, 1);
            nodes[1].schema.insert(3, field("", DataType::Int64, false));
        }
        "plan-schemas" => nodes[2].schema = vec![field("line", DataType::Int64, false)],
        "plan-keys" => nodes[1].key_columns = 7,
        "plan-not-utf8" => nodes[1].name = unsafe { String::from_utf8_unchecked(vec![0xff, 0xfe]) },
        _ => {}
    }
    Ok(JobPlan { nodes, accumulators: accumulators(settings), broadcasts: broadcasts(settings) })
}

/// A value of lines, where it matters.
fn broadcasts(settings: &Settings) -> Vec<Broadcast> {
    let lines = |name: &str| Broadcast { name: name.into(), schema: vec![field("line", DataType::Utf8, false)] };
    match settings.behaviour.as_str() {
        "plan-broadcast-empty-name" => vec![lines("")],
        "plan-broadcasts-many" => (0..257).map(|number| lines(&format!("b{number}"))).collect(),
        "count-broadcasts" => vec![lines("known")],
        _ if settings.call == "set-broadcast" => vec![lines("known")],
        _ => Vec::new(),
    }
}

/// Some only where they matter: a summary shows them.
fn accumulators(settings: &Settings) -> Vec<Accumulator> {
    let accumulator = |name: &str, kind| Accumulator { name: name.into(), kind };
    let two = vec![
        accumulator("calls", AccumulatorKind::Counter),
        accumulator("peak", AccumulatorKind::MaxFloat64),
    ];
    match settings.behaviour.as_str() {
        "plan-accumulator-twice" => vec![two[0].clone(), two[0].clone()],
        "plan-accumulator-empty-name" => vec![accumulator("", AccumulatorKind::Counter)],
        "plan-accumulators-many" => {
            (0..257).map(|number| accumulator(&format!("a{number}"), AccumulatorKind::Counter)).collect()
        }
        other if other.starts_with("accumulat") => two,
        _ => Vec::new(),
    }
}

fn pass(schema: Vec<Field>) -> Vec<Node> {
    vec![
        node("lines", Operator::Source("lines".into()), &[], &schema, 0),
        node("pass", Operator::Stage(Stage { label: "map".into() }), &[0], &schema, 0),
        node("out", Operator::Sink("out".into()), &[1], &schema, 0),
    ]
}

/// Lines through a whole-batch node that has them twice.
fn whole() -> Vec<Node> {
    let mut nodes = pass(vec![field("line", DataType::Utf8, false)]);
    nodes[1].operator = Operator::WholeBatch(Stage { label: "transform_with".into() });
    nodes[1].inputs = vec![0, 0];
    nodes
}

/// Lines as words, and their counts: in the batch, over all batches (sink `out`), over a sliding window (sink `windowed`).
fn keyed() -> Vec<Node> {
    let line = [field("line", DataType::Utf8, false)];
    let counts = [field("word", DataType::Utf8, false), field("count", DataType::Int64, false)];
    let reduce = Reduce { merge: Merge::Custom, zero_when_empty: false };
    let window = ReduceWindow {
        window: Window { length_ms: 3000, slide_ms: 1000 },
        merge: Merge::Custom,
        invertible: true,
        keep_empty_keys: false,
        zero_when_empty: false,
    };
    vec![
        node("lines", Operator::Source("lines".into()), &[], &line, 0),
        node("words", Operator::Stage(Stage { label: "map".into() }), &[0], &counts, 1),
        node("merged", Operator::Reduce(reduce), &[1], &counts, 1),
        node("totals", Operator::UpdateState(UpdateState { every_batch: false, with_keys: true, initial: None }), &[2], &counts, 1),
        node("window", Operator::ReduceWindow(window), &[1], &counts, 1),
        node("out", Operator::Sink("out".into()), &[3], &counts, 1),
        node("windowed", Operator::Sink("windowed".into()), &[4], &counts, 1),
    ]
}

/// Lines as words, each with how often it was there before.
fn mapped() -> Vec<Node> {
    let line = [field("line", DataType::Utf8, false)];
    let counts = [field("word", DataType::Utf8, false), field("count", DataType::Int64, false)];
    let map = MapWithState { state: counts.to_vec(), timeout_ms: Some(1000), initial: None };
    vec![
        node("lines", Operator::Source("lines".into()), &[], &line, 0),
        node("words", Operator::Stage(Stage { label: "map".into() }), &[0], &counts, 1),
        node("mapped", Operator::MapWithState(map), &[1], &counts[1..], 0),
        node("out", Operator::Sink("out".into()), &[2], &counts[1..], 0),
    ]
}

/// A column of every type, once nullable and once not.
fn every_type() -> Vec<Field> {
    let types = [
        ("boolean", DataType::Boolean),
        ("int64", DataType::Int64),
        ("float64", DataType::Float64),
        ("utf8", DataType::Utf8),
        ("binary", DataType::Binary),
        ("timestamp", DataType::Timestamp),
    ];
    let both = |(name, data_type): (&str, DataType)| {
        [field(name, data_type, false), field(&format!("{name}-or-null"), data_type, true)]
    };
    types.into_iter().flat_map(both).collect()
}

/// Lists, structs and a map, in each other.
fn nested() -> Vec<Field> {
    let user = |name: &str, nullable| {
        vec![
            parent(name, DataType::Struct, nullable, 2),
            field("id", DataType::Int64, false),
            parent("tags", DataType::List, false, 1),
            field("", DataType::Utf8, true),
        ]
    };
    let by = vec![
        parent("by", DataType::Map, true, 1),
        parent("", DataType::Struct, false, 2),
        field("key", DataType::Utf8, false),
        parent("value", DataType::List, true, 1),
        field("", DataType::Float64, false),
    ];
    let first = vec![field("line", DataType::Utf8, false), parent("users", DataType::List, false, 1)];
    [first, user("", true), user("user", true), by].concat()
}

/// Lists in each other, on so many levels.
fn deep(levels: usize) -> Vec<Field> {
    let lists = (1..levels).map(|_| parent("line", DataType::List, false, 1));
    lists.chain([field("line", DataType::Utf8, false)]).collect()
}

fn parent(name: &str, data_type: DataType, nullable: bool, children: u32) -> Field {
    Field { children, ..field(name, data_type, nullable) }
}

fn field(name: &str, data_type: DataType, nullable: bool) -> Field {
    Field { name: name.into(), data_type, nullable, children: 0 }
}

fn node(name: &str, operator: Operator, inputs: &[u32], schema: &[Field], key_columns: u32) -> Node {
    Node { name: name.into(), operator, inputs: inputs.to_vec(), schema: schema.to_vec(), key_columns }
}

fn copy(original: &Node, name: &str) -> Node {
    node(name, Operator::Source(name.into()), &[], &original.schema, 0)
}
