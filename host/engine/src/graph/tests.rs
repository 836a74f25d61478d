//! Every rule of a plan, broken once.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use millpond_core::plan::{
    ColumnMerge, Join, JoinKind, MapWithState, Merge, Ordering, Reduce, ReduceSession, ReduceWindow, Sort, Window,
};
use millpond_core::{Accumulator, AccumulatorKind, Broadcast, Classify, Node, NodeId, Operator, Plan};

use super::StreamGraph;
use crate::Error;

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), false);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

fn pairs() -> SchemaRef {
    schema(&[("word", DataType::Utf8), ("count", DataType::Int64)])
}

fn node(name: &str, operator: Operator, inputs: &[u32], schema: SchemaRef, key_columns: usize) -> Node {
    Node {
        name: name.to_owned(),
        operator,
        inputs: inputs.iter().map(|input| NodeId(*input)).collect(),
        schema,
        key_columns,
    }
}

/// source -> stage -> (the node under test) -> sink
fn plan(operator: Operator, columns: SchemaRef, key_columns: usize) -> Plan {
    let sink_columns = Arc::clone(&columns);
    Plan {
        nodes: vec![
            node("source lines", Operator::Source("lines".to_owned()), &[], schema(&[("line", DataType::Utf8)]), 0),
            node("split", Operator::Stage("flat_map".to_owned()), &[0], pairs(), 1),
            node("it", operator, &[1], columns, key_columns),
            node("sink counts", Operator::Sink("counts".to_owned()), &[2], sink_columns, 0),
        ],
        ..Plan::default()
    }
}

fn sums() -> Merge {
    Merge::Columns(vec![ColumnMerge::Sum])
}

fn reduce(merge: Merge, zero_when_empty: bool) -> Operator {
    Operator::Reduce(Reduce { merge, zero_when_empty })
}

fn window(length_ms: u64, slide_ms: u64) -> Operator {
    Operator::Window(Window { length_ms, slide_ms })
}

fn refused(plan: Plan) -> (String, String) {
    let error: Error = StreamGraph::try_new(plan, 1000).expect_err("the plan is wrong");
    (error.code().to_string(), error.to_string())
}

#[track_caller]
fn refused_with(plan: Plan, code: &str, part: &str) {
    let (found, message) = refused(plan);
    assert_eq!(found, code, "{message}");
    assert!(message.contains(part), "`{message}` says nothing of `{part}`");
}

#[test]
fn good_plan_passes() {
    let graph = StreamGraph::try_new(plan(reduce(sums(), false), pairs(), 1), 1000).unwrap();
    assert_eq!(graph.sources()[0].0, "lines");
    assert_eq!(graph.sinks()[0].0, "counts");
    assert_eq!(graph.consumers(NodeId(1)), [NodeId(2)]);
    assert_eq!(graph.slide_ms(NodeId(3)), 1000);
}

#[test]
fn empty_plan_is_refused() {
    refused_with(Plan::default(), "MP0401", "no nodes");
}

#[test]
fn plan_without_sink_is_refused() {
    let mut plan = plan(reduce(sums(), false), pairs(), 1);
    plan.nodes.pop();
    refused_with(plan, "MP0401", "no sink");
}

#[test]
fn huge_plan_is_refused() {
    let mut plan = plan(reduce(sums(), false), pairs(), 1);
    for number in 0..1024 {
        plan.nodes.push(node(&format!("n{number}"), Operator::Stage(String::new()), &[1], pairs(), 1));
    }
    refused_with(plan, "MP0401", "more than 1024");
}

#[test]
fn duplicate_name_is_refused() {
    let mut plan = plan(reduce(sums(), false), pairs(), 1);
    plan.nodes[2].name = "split".to_owned();
    refused_with(plan, "MP0402", "so is node 1");
}

#[test]
fn accumulators_have_names_of_their_own() {
    let with = |names: &[String]| {
        let mut plan = plan(reduce(sums(), false), pairs(), 1);
        let accumulator = |name: &String| Accumulator { name: name.clone(), kind: AccumulatorKind::Counter };
        plan.accumulators = names.iter().map(accumulator).collect();
        plan
    };
    let names: Vec<String> = (0..257).map(|number| format!("a{number}")).collect();
    StreamGraph::try_new(with(&names[..256]), 1000).unwrap();
    refused_with(with(&names), "MP0401", "257 accumulators, more than 256");
    refused_with(
        with(&["a".to_owned(), "b".to_owned(), "a".to_owned()]),
        "MP0402",
        "accumulator 2 is called `a`: so is",
    );
    refused_with(with(&[String::new()]), "MP0402", "a name has 1 to 128 bytes");
    refused_with(with(&["x".repeat(129)]), "MP0402", "a name has 1 to 128 bytes");
    refused_with(with(&["a\nb".to_owned()]), "MP0402", "no control characters");
}

/// source -> stage -> broadcast 0, and a sink beside it
fn broadcasting() -> Plan {
    let mut plan = plan(Operator::Broadcast(0), pairs(), 0);
    plan.nodes[3].inputs = vec![NodeId(1)];
    plan.broadcasts = vec![Broadcast { name: "rates".to_owned(), schema: pairs() }];
    plan
}

#[test]
fn broadcasts_have_names_of_their_own_and_at_most_one_node() {
    let graph = StreamGraph::try_new(broadcasting(), 1000).unwrap();
    assert_eq!(graph.broadcasts(), [], "the node makes the value");
    let with = |change: fn(&mut Plan)| {
        let mut plan = broadcasting();
        change(&mut plan);
        plan
    };
    let other = |name: &str| Broadcast { name: name.to_owned(), schema: pairs() };
    let mut outside = broadcasting();
    outside.broadcasts.push(other("names"));
    assert_eq!(StreamGraph::try_new(outside, 1000).unwrap().broadcasts()[0].0, "names");
    let mut many = broadcasting();
    many.broadcasts.extend((0..256).map(|number| other(&format!("b{number}"))));
    refused_with(many, "MP0401", "257 broadcasts, more than 256");
    let mut twice = broadcasting();
    twice.broadcasts.push(other("rates"));
    refused_with(twice, "MP0402", "broadcast 1 is called `rates`: so is broadcast 0");
    refused_with(with(|plan| plan.broadcasts[0].name.clear()), "MP0402", "a name has 1 to 128 bytes");
    refused_with(with(|plan| plan.broadcasts.clear()), "MP0407", "is for broadcast 0, and the plan has 0");
    refused_with(
        with(|plan| plan.broadcasts[0].schema = schema(&[("line", DataType::Utf8)])),
        "MP0404",
        "its columns and those of the broadcast `rates` differ",
    );
    refused_with(
        with(|plan| plan.nodes.push(node("again", Operator::Broadcast(0), &[1], pairs(), 0))),
        "MP0407",
        "is for broadcast `rates`; so is node `it`",
    );
    refused_with(with(|plan| plan.nodes[3].inputs = vec![NodeId(2)]), "MP0407", "takes rows from `it`");
    let nothing = with(|plan| plan.broadcasts.push(Broadcast { name: "b".to_owned(), schema: schema(&[]) }));
    refused_with(nothing, "MP0401", "has 0 columns at `broadcast b`");
}

#[test]
fn sink_used_twice_is_refused() {
    let mut plan = plan(reduce(sums(), false), pairs(), 1);
    plan.nodes.push(node("again", Operator::Sink("counts".to_owned()), &[2], pairs(), 0));
    refused_with(plan, "MP0402", "used twice");
}

#[test]
fn cycle_is_refused() {
    let mut plan = plan(reduce(sums(), false), pairs(), 1);
    plan.nodes[1].inputs = vec![NodeId(2)];
    refused_with(plan, "MP0403", "`split`");
}

#[test]
fn unknown_input_is_refused() {
    let mut plan = plan(reduce(sums(), false), pairs(), 1);
    plan.nodes[2].inputs = vec![NodeId(77)];
    refused_with(plan, "MP0403", "node 77");
}

#[test]
fn schemas_that_are_too_wide_or_too_deep_are_refused() {
    let stage = |columns: SchemaRef| plan(Operator::Stage(String::new()), columns, 0);
    let names: Vec<String> = (0..1025).map(|number| format!("c{number}")).collect();
    let wide: Vec<(&str, DataType)> = names.iter().map(|name| (name.as_str(), DataType::Int64)).collect();
    refused_with(stage(schema(&wide)), "MP0401", "the plan has 1025 columns at `it`; 1 to 1024 are possible");
    refused_with(stage(schema(&[])), "MP0401", "has 0 columns");
    let nested = |levels: usize| (1..levels).fold(DataType::Int64, |inner, _| DataType::new_list(inner, false));
    let deep = |levels| stage(schema(&[("deep", nested(levels))]));
    refused_with(deep(17), "MP0401", "on 17 levels at `it`, and 16 are possible");
    StreamGraph::try_new(deep(16), 1000).unwrap();
}

#[test]
fn schemas_that_disagree_are_shown_both() {
    let wrong = schema(&[("word", DataType::Utf8), ("count", DataType::Float64)]);
    refused_with(
        plan(reduce(sums(), false), wrong, 1),
        "MP0404",
        "\n  expected: word: utf8, count: float64\n  found:    word: utf8, count: int64\n                               ^^^^^^^",
    );
}

#[test]
fn wrong_number_of_inputs_is_refused() {
    refused_with(plan(Operator::Union, pairs(), 1), "MP0407", "two inputs or more");
}

#[test]
fn keys_that_do_not_fit_are_refused() {
    refused_with(
        plan(Operator::UpdateState { every_batch: false, with_keys: true, initial: None }, pairs(), 0),
        "MP0405",
        "needs a key",
    );
    refused_with(
        plan(Operator::UpdateState { every_batch: false, with_keys: true, initial: None }, pairs(), 2),
        "MP0405",
        "key columns",
    );
    refused_with(plan(reduce(sums(), false), pairs(), 3), "MP0405", "declares 3");
}

fn map_with_state(state: SchemaRef, timeout_ms: Option<u64>) -> Operator {
    Operator::MapWithState(MapWithState { state, timeout_ms, initial: None })
}

#[test]
fn states_that_do_not_fit_are_refused() {
    let words = schema(&[("word", DataType::Utf8)]);
    refused_with(plan(map_with_state(Arc::clone(&words), None), words, 0), "MP0405", "at least one state column");
    let numbers = schema(&[("number", DataType::Int64), ("count", DataType::Int64)]);
    refused_with(plan(map_with_state(numbers, None), pairs(), 0), "MP0404", "its key and that of its input");
    let mut keyless = plan(map_with_state(pairs(), None), pairs(), 0);
    keyless.nodes[1].key_columns = 0;
    refused_with(keyless, "MP0405", "needs a key");
    let twice = schema(&[("a", DataType::Utf8), ("a", DataType::Int64)]);
    refused_with(plan(map_with_state(twice, None), pairs(), 0), "MP0407", "two columns are called `a`");
}

#[test]
fn initial_states_that_do_not_fit_are_refused() {
    let update =
        |initial: RecordBatch| Operator::UpdateState { every_batch: false, with_keys: true, initial: Some(initial) };
    let twice = millpond_testkit::rows::pairs(&[("a", 1), ("b", 2), ("a", 3)]);
    refused_with(plan(update(twice.clone()), pairs(), 1), "MP0407", "rows 0 and 2 (from 0) of the initial state");
    let map = MapWithState { state: pairs(), timeout_ms: None, initial: Some(twice.clone()) };
    refused_with(plan(Operator::MapWithState(map), pairs(), 1), "MP0407", "give each key once");
    let other = twice.project(&[0]).unwrap();
    refused_with(plan(update(other), pairs(), 1), "MP0404", "the columns of the initial state");
}

#[test]
fn timeouts_and_gaps_of_nothing_or_longer_than_time_are_refused() {
    for ms in [0, u64::MAX] {
        let reason = format!("{ms} ms; it is at least 1 ms");
        refused_with(plan(map_with_state(pairs(), Some(ms)), pairs(), 0), "MP0407", &format!("a timeout of {reason}"));
        refused_with(plan(session(ms), session_columns(), 1), "MP0407", &format!("a gap of {reason}"));
    }
}

fn session(gap_ms: u64) -> Operator {
    Operator::ReduceSession(ReduceSession { merge: sums(), gap_ms })
}

fn session_columns() -> SchemaRef {
    let time = millpond_core::schema::TIMESTAMP;
    schema(&[("word", DataType::Utf8), ("count", DataType::Int64), ("start", time.clone()), ("end", time)])
}

#[test]
fn sessions_have_a_key_and_two_times() {
    StreamGraph::try_new(plan(session(1000), session_columns(), 1), 1000).unwrap();
    refused_with(plan(session(1000), pairs(), 1), "MP0407", "start and end");
    refused_with(plan(session(1000), session_columns(), 0), "MP0405", "sessions are those of a key");
    let mut other = plan(session(1000), session_columns(), 1);
    other.nodes[1].schema = schema(&[("word", DataType::Utf8), ("count", DataType::Float64)]);
    refused_with(other, "MP0404", "differ");
}

#[test]
fn snapshots_are_those_of_a_map_with_state() {
    refused_with(plan(Operator::StateSnapshots, pairs(), 1), "MP0407", "`split` is a stage");
    let snapshots = |columns: SchemaRef, key_columns| {
        let mut plan = plan(map_with_state(pairs(), None), schema(&[("mapped", DataType::Int64)]), 0);
        plan.nodes.insert(3, node("states", Operator::StateSnapshots, &[2], Arc::clone(&columns), key_columns));
        plan.nodes[4] = node("sink counts", Operator::Sink("counts".to_owned()), &[3], columns, 0);
        plan
    };
    StreamGraph::try_new(snapshots(pairs(), 1), 1000).unwrap();
    refused_with(snapshots(pairs(), 0), "MP0405", "the states of `it` have 1");
    refused_with(snapshots(schema(&[("word", DataType::Utf8)]), 1), "MP0404", "the states of `it`");
}

#[test]
fn merges_that_do_not_fit_are_refused() {
    refused_with(plan(reduce(Merge::Columns(vec![]), false), pairs(), 1), "MP0407", "merges 0 columns");
    refused_with(plan(reduce(sums(), true), pairs(), 1), "MP0407", "zero-when-empty");
}

#[test]
fn windows_that_do_not_fit_the_batches_are_refused() {
    refused_with(plan(window(1500, 1000), pairs(), 1), "MP0406", "use 1000 ms or 2000 ms");
    refused_with(plan(window(2000, 300), pairs(), 1), "MP0406", "slide of 300 ms");
    refused_with(plan(window(0, 1000), pairs(), 1), "MP0406", "at least one");
}

#[test]
fn union_of_different_slides_is_refused() {
    let mut plan = plan(window(4000, 2000), pairs(), 1);
    plan.nodes[3] = node("both", Operator::Union, &[1, 2], pairs(), 1);
    plan.nodes.push(node("out", Operator::Sink("counts".to_owned()), &[3], pairs(), 0));
    refused_with(plan, "MP0406", "every 1000 ms");
}

#[test]
fn window_over_a_window_must_fit_its_slide() {
    let mut plan = plan(window(4000, 2000), pairs(), 1);
    plan.nodes[3] = node("second", window(3000, 3000), &[2], pairs(), 1);
    plan.nodes.push(node("out", Operator::Sink("counts".to_owned()), &[3], pairs(), 0));
    refused_with(plan, "MP0406", "slide of the window above");
}

#[test]
fn inverse_of_floats_is_refused() {
    let floats = schema(&[("word", DataType::Utf8), ("mean", DataType::Float64)]);
    let window = Window { length_ms: 2000, slide_ms: 1000 };
    let operator = Operator::ReduceWindow(ReduceWindow {
        window,
        merge: sums(),
        invertible: true,
        keep_empty_keys: false,
        zero_when_empty: false,
    });
    let mut plan = plan(operator, Arc::clone(&floats), 1);
    plan.nodes[1].schema = floats;
    refused_with(plan, "MP0407", "only sums without floats");
}

#[test]
fn sort_must_leave_its_visible_columns() {
    let order = vec![Ordering { column: 9, descending: false }];
    refused_with(
        plan(Operator::Sort(Sort { order, limit: None, hidden_columns: 0 }), pairs(), 0),
        "MP0407",
        "column 9",
    );
    refused_with(
        plan(Operator::Sort(Sort { order: vec![], limit: None, hidden_columns: 1 }), pairs(), 0),
        "MP0404",
        "hidden",
    );
    refused_with(
        plan(Operator::Sort(Sort { order: vec![], limit: None, hidden_columns: 2 }), pairs(), 0),
        "MP0407",
        "hides 2 of 2",
    );
}

#[test]
fn partitions_are_1_to_1024() {
    refused_with(plan(Operator::Repartition(0), pairs(), 1), "MP0407", "asks for 0 partitions; 1 to 1024");
    refused_with(plan(Operator::Repartition(1025), pairs(), 1), "MP0407", "asks for 1025 partitions");
    StreamGraph::try_new(plan(Operator::Repartition(1024), pairs(), 1), 1000).unwrap();
    let other = schema(&[("word", DataType::Utf8)]);
    refused_with(plan(Operator::Repartition(2), other, 1), "MP0404", "its input `split`");
}

#[test]
fn whole_batches_have_one_input_to_16_of_one_slide() {
    let whole = |inputs: &[u32]| {
        let mut plan = plan(Operator::WholeBatch("transform".to_owned()), schema(&[("any", DataType::Float64)]), 0);
        plan.nodes[2].inputs = inputs.iter().map(|input| NodeId(*input)).collect();
        plan
    };
    StreamGraph::try_new(whole(&[1]), 1000).unwrap();
    StreamGraph::try_new(whole(&[1, 0, 1]), 1000).unwrap();
    refused_with(whole(&[]), "MP0407", "one input to 16");
    refused_with(whole(&[1; 17]), "MP0407", "one input to 16");
    let mut slides = plan(window(4000, 2000), pairs(), 1);
    slides.nodes[3] = node("both", Operator::WholeBatch(String::new()), &[1, 2], pairs(), 1);
    slides.nodes.push(node("out", Operator::Sink("counts".to_owned()), &[3], pairs(), 0));
    refused_with(slides, "MP0406", "every 1000 ms and `it` every 2000 ms");
}

#[test]
fn only_a_reduce_by_column_may_have_nothing_to_merge() {
    let plan = |operator, columns, key_columns| {
        let mut plan = plan(operator, columns, key_columns);
        plan.nodes[1].key_columns = key_columns;
        plan
    };
    StreamGraph::try_new(plan(reduce(Merge::Columns(vec![]), false), pairs(), 2), 1000).unwrap();
    refused_with(plan(reduce(Merge::Custom, false), pairs(), 2), "MP0407", "no value columns");
    let windowed = Operator::ReduceWindow(ReduceWindow {
        window: Window { length_ms: 2000, slide_ms: 1000 },
        merge: Merge::Columns(vec![]),
        invertible: false,
        keep_empty_keys: false,
        zero_when_empty: false,
    });
    refused_with(plan(windowed, pairs(), 2), "MP0407", "no value columns");
}

#[test]
fn repeated_column_names_are_refused() {
    let twice = schema(&[("a", DataType::Utf8), ("a", DataType::Int64)]);
    refused_with(plan(Operator::Stage(String::new()), twice, 0), "MP0407", "two columns are called `a`");
}

#[test]
fn foreign_types_are_refused() {
    let foreign = schema(&[("a", DataType::Utf8), ("b", DataType::LargeUtf8)]);
    refused_with(plan(Operator::Stage(String::new()), foreign, 0), "MP0407", "cannot cross");
}

/// Two inputs -> the node under test -> sink. The left one's key is text, the right one's of the type given.
fn plan_of_two(operator: Operator, right_key: DataType, columns: SchemaRef, key_columns: usize) -> Plan {
    let sink_columns = Arc::clone(&columns);
    let right = schema(&[("id", right_key), ("price", DataType::Float64)]);
    Plan {
        nodes: vec![
            node("source counts", Operator::Source("counts".to_owned()), &[], pairs(), 1),
            node("source prices", Operator::Source("prices".to_owned()), &[], right, 1),
            node("it", operator, &[0, 1], columns, key_columns),
            node("sink out", Operator::Sink("out".to_owned()), &[2], sink_columns, 0),
        ],
        ..Plan::default()
    }
}

fn join(kind: JoinKind) -> Operator {
    Operator::Join(Join { kind, on: 1, null_equals_null: false })
}

fn joined_columns() -> SchemaRef {
    schema(&[("word", DataType::Utf8), ("count", DataType::Int64), ("price", DataType::Float64)])
}

#[test]
fn joins_whose_columns_follow_from_their_inputs_pass() {
    let optional = |name: &str, data_type| Field::new(name, data_type, true);
    let (word, count) = (Field::new("word", DataType::Utf8, false), Field::new("count", DataType::Int64, false));
    let outer = vec![word.clone(), optional("count", DataType::Int64), optional("price", DataType::Float64)];
    let boxed = DataType::Struct(vec![Field::new("price", DataType::Float64, false)].into());
    for (kind, columns) in [
        (JoinKind::Inner, joined_columns()),
        (JoinKind::LeftSemi, pairs()),
        (JoinKind::LeftAnti, pairs()),
        (JoinKind::FullOuter, Arc::new(Schema::new(outer))),
        (JoinKind::LeftOuter, Arc::new(Schema::new(vec![word, count, optional("right", boxed)]))),
    ] {
        StreamGraph::try_new(plan_of_two(join(kind), DataType::Utf8, columns, 1), 1000).unwrap();
    }
}

#[test]
fn keys_of_different_types_are_shown_both() {
    let plan = plan_of_two(join(JoinKind::Inner), DataType::Int64, joined_columns(), 1);
    let (code, message) = refused(plan);
    assert_eq!(code, "MP0404");
    for part in [
        "node `it`",
        "`source counts` and `source prices`",
        "with a map",
        "\n  expected: word: utf8\n  found:    id:   int64\n                  ^^^^^",
    ] {
        assert!(message.contains(part), "`{message}` says nothing of `{part}`");
    }
}

#[test]
fn joins_whose_columns_do_not_follow_from_their_inputs_are_refused() {
    for (kind, columns) in [
        (JoinKind::Inner, pairs()),
        (JoinKind::LeftOuter, joined_columns()),
        (JoinKind::LeftSemi, joined_columns()),
        (
            JoinKind::Inner,
            schema(&[("word", DataType::Int64), ("count", DataType::Int64), ("price", DataType::Float64)]),
        ),
    ] {
        refused_with(
            plan_of_two(join(kind), DataType::Utf8, columns, 1),
            "MP0404",
            "`source prices` (id: utf8, price: float64)",
        );
    }
    let outer = plan_of_two(join(JoinKind::LeftOuter), DataType::Utf8, joined_columns(), 1);
    refused_with(
        outer,
        "MP0404",
        "\n  expected: word: utf8, count: int64, price: float64?\n  found:    word: utf8, count: int64, price: float64\n                                                    ^",
    );
}

#[test]
fn a_join_needs_a_key_that_both_inputs_have() {
    let on = |on| Operator::Join(Join { kind: JoinKind::Inner, on, null_equals_null: false });
    refused_with(plan_of_two(on(0), DataType::Utf8, joined_columns(), 0), "MP0405", "a join needs a key");
    refused_with(plan_of_two(on(1), DataType::Utf8, joined_columns(), 2), "MP0405", "2 columns of 1");
    refused_with(plan_of_two(on(3), DataType::Utf8, joined_columns(), 1), "MP0405", "has 3 columns");
    let lists = Arc::new(Schema::new(vec![Field::new_list("l", Field::new("item", DataType::Utf8, false), false)]));
    let mut listed = plan_of_two(Operator::Union, DataType::Utf8, Arc::clone(&lists), 0);
    listed.nodes[2].operator = Operator::Join(Join { kind: JoinKind::LeftAnti, on: 1, null_equals_null: true });
    listed.nodes[..2].iter_mut().for_each(|source| (source.schema, source.key_columns) = (Arc::clone(&lists), 0));
    refused_with(listed, "MP0405", "lists and maps cannot be keys");
    let mut three = plan_of_two(join(JoinKind::Inner), DataType::Utf8, joined_columns(), 1);
    three.nodes[2].inputs.push(NodeId(0));
    refused_with(three, "MP0407", "takes two inputs");
}

#[test]
fn a_join_of_streams_that_slide_otherwise_is_refused() {
    let mut plan = plan_of_two(join(JoinKind::Inner), DataType::Utf8, joined_columns(), 1);
    plan.nodes.insert(1, node("slow", window(4000, 2000), &[0], pairs(), 1));
    (plan.nodes[3].inputs, plan.nodes[4].inputs) = (vec![NodeId(1), NodeId(2)], vec![NodeId(3)]);
    refused_with(plan, "MP0406", "`slow` gives rows every 2000 ms and `source prices` every 1000 ms");
}

#[test]
fn groups_need_a_key_and_a_list_for_each_input() {
    refused_with(plan_of_two(Operator::Group, DataType::Utf8, joined_columns(), 0), "MP0405", "it has none");
    refused_with(plan_of_two(Operator::Group, DataType::Utf8, joined_columns(), 1), "MP0404", "a list of what else");
    refused_with(
        plan_of_two(Operator::Group, DataType::Utf8, joined_columns(), 1),
        "MP0404",
        "\n  expected: word: utf8, source counts: list<int64>, source prices: list<float64>\n",
    );
    refused_with(plan_of_two(Operator::Group, DataType::Int64, joined_columns(), 1), "MP0404", "different types");
}
