//! Plan shapes: what fuses, what each operator becomes, and what is refused.

use std::cmp::Reverse;
use std::time::Duration;

use crate::StreamingContext;
use crate::runtime::{ColumnMerge, Job, Merge, Node, Operator, Ordering, Plan, ReduceWindow};

fn plan(define: fn(&mut StreamingContext)) -> Plan {
    Job::new(define).plan(&[]).expect("a plan")
}

fn refused(define: fn(&mut StreamingContext)) -> String {
    Job::new(define).plan(&[]).expect_err("no plan")
}

/// Nodes in a line: `stage(flat_map, combine)`, `reduce` ...
fn shape(plan: &Plan) -> Vec<String> {
    let kind = |node: &Node| match &node.operator {
        Operator::Source(name) => format!("source({name})"),
        Operator::Stage(stage) => format!("stage({})", stage.label),
        Operator::Transform(name) => format!("transform({name})"),
        Operator::Union => "union".to_owned(),
        Operator::Reduce(_) => "reduce".to_owned(),
        Operator::Window(window) => format!("window({}, {})", window.length_ms, window.slide_ms),
        Operator::ReduceWindow(_) => "reduce-window".to_owned(),
        Operator::UpdateState(_) => "update-state".to_owned(),
        Operator::Sort(_) => "sort".to_owned(),
        Operator::Take(n) => format!("take({n})"),
        Operator::Sink(name) => format!("sink({name})"),
        Operator::MapWithState(_) => "map-with-state".to_owned(),
        Operator::StateSnapshots => "state-snapshots".to_owned(),
        Operator::ReduceSession(_) => "reduce-session".to_owned(),
        Operator::Repartition(n) => format!("repartition({n})"),
        Operator::WholeBatch(stage) => format!("whole-batch({})", stage.label),
        Operator::Join(join) => format!("join({:?}, {})", join.kind, join.on),
        Operator::Group => "group".to_owned(),
        Operator::Broadcast(number) => format!("broadcast({number})"),
    };
    plan.nodes.iter().map(kind).collect()
}

fn node<'a>(plan: &'a Plan, kind: &str) -> &'a Node {
    let shape = shape(plan);
    let index = shape.iter().position(|node| node.starts_with(kind)).expect("a node of this kind");
    &plan.nodes[index]
}

fn reduce_window(plan: &Plan) -> &ReduceWindow {
    match &node(plan, "reduce-window").operator {
        Operator::ReduceWindow(reduce) => reduce,
        other => panic!("a windowed reduce, not {other:?}"),
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn narrow_operators_and_the_combine_fuse_into_one_stage() {
    let plan = plan(|ctx| {
        ctx.text("lines")
            .flat_map::<String>(|line, out| line.split(' ').for_each(|word| out.push(word)))
            .filter(|word| !word.is_empty())
            .map::<(String, i64)>(|word| (word, 1))
            .sum_by_key()
            .sink("out");
    });
    assert_eq!(shape(&plan), ["source(lines)", "stage(flat_map, filter, map, combine)", "reduce", "sink(out)"]);
    assert_eq!(node(&plan, "reduce").key_columns, 1);
    assert_eq!(node(&plan, "stage").key_columns, 1);
}

#[test]
fn what_follows_a_wide_operator_fuses_into_the_next_stage() {
    let plan = plan(|ctx| {
        ctx.source::<(String, f64)>("readings")
            .mean_by_key()
            .filter(|(_, mean)| mean > 1.0)
            .map_values::<f64>(|mean| mean * 2.0)
            .sink("out");
    });
    assert_eq!(
        shape(&plan),
        ["source(readings)", "stage(combine)", "reduce", "stage(mean, filter, map_values)", "sink(out)"]
    );
    let Operator::Reduce(reduce) = &node(&plan, "reduce").operator else { panic!("a reduce") };
    assert_eq!(reduce.merge, Merge::Columns(vec![ColumnMerge::Sum, ColumnMerge::Sum]));
}

#[test]
fn two_consumers_run_a_chain_twice_unless_it_is_cached() {
    let twice = plan(|ctx| {
        let words = ctx.text("lines").filter(|_| true);
        words.sink("a");
        words.sink("b");
    });
    assert_eq!(shape(&twice), ["source(lines)", "stage(filter)", "sink(a)", "stage(filter)", "sink(b)"]);
    let once = plan(|ctx| {
        let words = ctx.text("lines").filter(|_| true).cache();
        words.sink("a");
        words.sink("b");
    });
    assert_eq!(shape(&once), ["source(lines)", "stage(filter)", "sink(a)", "sink(b)"]);
}

#[test]
fn host_operators_need_no_stage() {
    let plan = plan(|ctx| ctx.text("a").union(&ctx.text("b")).window(SECOND * 3, SECOND).take(5).sink("out"));
    assert_eq!(shape(&plan), ["source(a)", "source(b)", "union", "window(3000, 1000)", "take(5)", "sink(out)"]);
}

#[test]
fn sorting_by_columns_adds_no_stage_of_its_own() {
    let plan = plan(|ctx| {
        ctx.text("lines").count_by_value().top_by(10, |(word, n)| (Reverse(n), word)).sink("out");
    });
    assert_eq!(shape(&plan), ["source(lines)", "stage(combine)", "reduce", "sort", "sink(out)"]);
    let Operator::Sort(sort) = &node(&plan, "sort").operator else { panic!("a sort") };
    assert_eq!(sort.order, [Ordering { column: 1, descending: true }, Ordering { column: 0, descending: false }]);
    assert_eq!((sort.limit, sort.hidden_columns), (Some(10), 0));
    assert_eq!(node(&plan, "sort").key_columns, 1);
}

#[test]
fn reversing_an_order_turns_all_of_it_round() {
    let plan = plan(|ctx| {
        ctx.source::<(i64, (f64, bool))>("rows").sort_by(|(a, (b, c))| Reverse((c, Reverse(a), b))).sink("out");
    });
    let Operator::Sort(sort) = &node(&plan, "sort").operator else { panic!("a sort") };
    let order: Vec<_> = sort.order.iter().map(|order| (order.column, order.descending)).collect();
    assert_eq!(order, [(2, true), (0, false), (1, true)]);
}

#[test]
fn a_minus_sign_turns_a_column_round() {
    let plan = plan(|ctx| ctx.source::<(String, i64)>("pairs").sort_by(|(word, n)| (-n, word)).sink("out"));
    let Operator::Sort(sort) = &node(&plan, "sort").operator else { panic!("a sort") };
    assert_eq!(sort.order, [Ordering { column: 1, descending: true }, Ordering { column: 0, descending: false }]);
}

#[test]
fn computed_sort_keys_are_hidden_columns() {
    let plan = plan(|ctx| {
        ctx.text("lines")
            .sort_by_computed::<(Reverse<i64>, Option<String>)>(|line| (Reverse(line.len() as i64), line.get(1..)))
            .sink("out");
    });
    assert_eq!(shape(&plan), ["source(lines)", "stage(sort_by_computed)", "sort", "sink(out)"]);
    let stage: Vec<_> = node(&plan, "stage").schema.iter().map(|field| (field.name.as_str(), field.nullable)).collect();
    assert_eq!(stage, [("line", false), ("sort.1", false), ("sort.2", true)]);
    let Operator::Sort(sort) = &node(&plan, "sort").operator else { panic!("a sort") };
    assert_eq!(sort.order, [Ordering { column: 1, descending: true }, Ordering { column: 2, descending: false }]);
    assert_eq!((sort.limit, sort.hidden_columns), (None, 2));
    assert_eq!(node(&plan, "sort").schema.len(), 1);
}

#[test]
fn counts_of_nothing_are_zero_and_merges_of_nothing_are_nothing() {
    let counts = plan(|ctx| ctx.text("lines").count().sink("out"));
    let Operator::Reduce(count) = &node(&counts, "reduce").operator else { panic!("a reduce") };
    assert!(count.zero_when_empty);
    assert_eq!(node(&counts, "reduce").key_columns, 0);
    let merges = plan(|ctx| ctx.source::<(i64, i64)>("pairs").reduce(|a, b| (a.0 + b.0, a.1)).sink("out"));
    let Operator::Reduce(merge) = &node(&merges, "reduce").operator else { panic!("a reduce") };
    assert_eq!((merge.zero_when_empty, &merge.merge), (false, &Merge::Custom));
    assert_eq!(node(&merges, "reduce").key_columns, 0);
}

#[test]
fn only_whole_numbers_are_taken_off_by_the_host() {
    let counts = plan(|ctx| ctx.text("words").count_by_value_and_window(SECOND * 5, SECOND).sink("out"));
    assert!(reduce_window(&counts).invertible);
    let whole = plan(|ctx| ctx.source::<(i64, (i64, i64))>("pairs").sum_by_key_and_window(SECOND, SECOND).sink("out"));
    assert!(reduce_window(&whole).invertible);
    let floats = plan(|ctx| ctx.source::<(i64, (i64, f64))>("pairs").sum_by_key_and_window(SECOND, SECOND).sink("out"));
    assert!(!reduce_window(&floats).invertible);
    let highest = plan(|ctx| ctx.source::<(i64, i64)>("pairs").max_by_key_and_window(SECOND, SECOND).sink("out"));
    assert!(!reduce_window(&highest).invertible);
    assert_eq!(reduce_window(&highest).merge, Merge::Columns(vec![ColumnMerge::Max]));
}

#[test]
fn empty_keys_are_kept_only_with_an_inverse() {
    let kept = plan(|ctx| ctx.text("words").count_by_value_and_window(SECOND, SECOND).keep_empty_keys().sink("out"));
    assert!(reduce_window(&kept).keep_empty_keys);
    let sentence = refused(|ctx| {
        ctx.source::<(i64, f64)>("pairs")
            .reduce_by_key_and_window(|a, b| a + b, SECOND, SECOND)
            .keep_empty_keys()
            .sink("out");
    });
    assert!(sentence.starts_with("keep_empty_keys() goes right after"), "{sentence}");
    let sentence = refused(|ctx| {
        ctx.source::<(i64, i64)>("pairs")
            .reduce_by_window_with_inverse(|a, _| a, |a, _| a, SECOND, SECOND)
            .keep_empty_keys()
            .sink("out");
    });
    assert!(sentence.contains("there are no keys to keep"), "{sentence}");
}

#[test]
fn windows_of_whole_rows_have_an_inverse_unless_there_are_floats() {
    let whole = plan(|ctx| {
        let numbers = ctx.source::<i64>("numbers");
        numbers.reduce_by_window_with_inverse(|a, b| a + b, |a, b| a - b, SECOND, SECOND).sink("out");
    });
    assert!(reduce_window(&whole).invertible && !reduce_window(&whole).zero_when_empty);
    assert_eq!(node(&whole, "reduce-window").key_columns, 0);
    let floats = plan(|ctx| {
        let numbers = ctx.source::<f64>("numbers");
        numbers.reduce_by_window_with_inverse(|a, b| a + b, |a, b| a - b, SECOND, SECOND).sink("out");
    });
    assert!(!reduce_window(&floats).invertible);
}

#[test]
fn values_with_floats_are_merged_anew_whatever_their_inverse() {
    let floats = plan(|ctx| {
        ctx.source::<(i64, (i64, Option<f64>))>("pairs")
            .reduce_by_key_and_window_with_inverse(|a, _| a, |a, _| a, SECOND, SECOND)
            .sink("out");
    });
    assert!(!reduce_window(&floats).invertible);
    let whole = plan(|ctx| {
        ctx.source::<(f64, i64)>("pairs")
            .reduce_by_key_and_window_with_inverse(|a, b| a + b, |a, b| a - b, SECOND, SECOND)
            .sink("out");
    });
    assert!(reduce_window(&whole).invertible, "a key may be a float");
}

#[test]
fn empty_keys_of_values_with_floats_are_refused_with_the_reason() {
    for sentence in [
        refused(|ctx| {
            ctx.source::<(i64, f64)>("pairs")
                .reduce_by_key_and_window_with_inverse(|a, b| a + b, |a, b| a - b, SECOND, SECOND)
                .keep_empty_keys()
                .sink("out");
        }),
        refused(|ctx| {
            ctx.source::<(i64, f64)>("pairs").sum_by_key_and_window(SECOND, SECOND).keep_empty_keys().sink("out")
        }),
    ] {
        assert!(sentence.contains("merged as without the inverse"), "{sentence}");
    }
}

#[test]
fn a_separator_that_is_not_ascii_is_refused_with_a_remedy() {
    let sentence = refused(|ctx| ctx.text("lines").split('\u{b7}').sink("out"));
    assert!(sentence.contains("split('·')") && sentence.contains("use flat_map"), "{sentence}");
}

#[test]
fn settings_of_an_operator_that_is_in_use_are_refused() {
    let empty_keys = refused(|ctx| {
        let counts = ctx.text("words").count_by_value_and_window(SECOND, SECOND);
        counts.sink("plain");
        counts.keep_empty_keys().sink("kept");
    });
    assert!(empty_keys.starts_with("keep_empty_keys() changes the operator before it"), "{empty_keys}");
    let every_batch = refused(|ctx| {
        let states = ctx.text("words").count_by_value().update_state_by_key(|_, state: Option<i64>| state);
        states.sink("plain");
        states.every_batch().sink("all");
    });
    assert!(every_batch.starts_with("every_batch() changes the operator before it"), "{every_batch}");
    let narrow = refused(|ctx| ctx.source::<(i64, i64)>("pairs").filter(|_| true).every_batch().sink("out"));
    assert_eq!(narrow, "every_batch() goes right after update_state_by_key");
}

#[test]
fn every_batch_belongs_to_update_state_by_key() {
    let plan = plan(|ctx| {
        ctx.text("words")
            .count_by_value()
            .update_state_by_key(|_, state: Option<(i64, String)>| state)
            .every_batch()
            .sink("out");
    });
    let Operator::UpdateState(update) = &node(&plan, "update-state").operator else { panic!("an update") };
    assert!(update.every_batch);
    let names: Vec<_> = node(&plan, "update-state").schema.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["line", "_1", "_2"]);
    assert_eq!(
        refused(|ctx| ctx.text("words").count_by_value().every_batch().sink("out")),
        "every_batch() goes right after update_state_by_key"
    );
}

#[test]
fn a_union_takes_the_names_of_the_first() {
    let plan = plan(|ctx| {
        let left = ctx.text("a").map::<String>(|line| line).columns(["word"]);
        left.union(&ctx.text("b")).sink("out");
    });
    assert_eq!(
        shape(&plan),
        ["source(a)", "source(b)", "stage(map)", "stage(columns)", "union", "sink(out)"]
            .map(str::to_owned)
            .into_iter()
            .collect::<Vec<_>>()
            .as_slice()
    );
}

#[test]
fn functions_of_partitions_fuse_until_rows_may_be_refused() {
    let fused = plan(|ctx| {
        ctx.text("lines")
            .filter(|line| !line.is_empty())
            .map_partitions::<(String, i64)>(|lines, out| lines.iter().for_each(|line| out.push((line, 1))))
            .sum_by_key()
            .sink("out");
    });
    assert_eq!(shape(&fused), ["source(lines)", "stage(filter, map_partitions, combine)", "reduce", "sink(out)"]);
    let apart = plan(|ctx| {
        let lines =
            ctx.text("lines").map_partitions::<String>(|lines, out| lines.iter().for_each(|line| out.push(line)));
        lines.filter(|line| !line.is_empty()).try_map::<i64>(|line| Ok(line.parse()?)).sink("out");
    });
    assert_eq!(shape(&apart), ["source(lines)", "stage(map_partitions, filter)", "stage(try_map)", "sink(out)"]);
}

#[test]
fn whole_batches_take_what_is_before_them_from_stages() {
    let plan = plan(|ctx| {
        let (lines, words) = (ctx.text("lines").filter(|line| !line.is_empty()), ctx.text("words"));
        let pairs = lines.transform_with::<_, (String, i64)>(&words, |_, _, _| {});
        pairs.repartition(4).columns(["word", "count"]).foreach_batch::<i64>("out", |_, _| {});
    });
    assert_eq!(
        shape(&plan),
        [
            "source(lines)",
            "source(words)",
            "stage(filter)",
            "whole-batch(transform_with)",
            "repartition(4)",
            "whole-batch(transform)",
            "sink(out)"
        ]
    );
    let names: Vec<_> = node(&plan, "whole-batch").schema.iter().map(|field| field.name.as_str()).collect();
    assert_eq!((names, node(&plan, "repartition").key_columns), (vec!["word", "count"], 1));
}

#[test]
fn accumulators_have_columns_of_their_own() {
    let plan = plan(|ctx| {
        ctx.source::<(String, f64)>("readings")
            .aggregate_by_key((0i64, String::new()), |zero, _| zero, |a, _| a)
            .sink("out");
    });
    let reduce = node(&plan, "reduce");
    let names: Vec<_> = reduce.schema.iter().map(|field| field.name.as_str()).collect();
    assert_eq!((names, reduce.key_columns), (vec!["_1", "_2._1", "_2._2"], 1));
}

#[test]
fn all_columns_of_distinct_rows_are_the_key() {
    let plan = plan(|ctx| ctx.source::<(String, f64)>("readings").distinct().sink("out"));
    assert_eq!(shape(&plan), ["source(readings)", "stage(combine)", "reduce", "sink(out)"]);
    let Operator::Reduce(reduce) = &node(&plan, "reduce").operator else { panic!("a reduce") };
    assert_eq!((&reduce.merge, reduce.zero_when_empty), (&Merge::Columns(Vec::new()), false));
    assert_eq!(node(&plan, "reduce").key_columns, 2);
}

#[test]
fn a_union_of_several_is_one_node() {
    let plan = plan(|ctx| ctx.union(&["a", "b", "c"].map(|name| ctx.text(name))).sink("out"));
    assert_eq!(shape(&plan), ["source(a)", "source(b)", "source(c)", "union", "sink(out)"]);
    assert_eq!(node(&plan, "union").inputs, [0, 1, 2]);
}

#[test]
fn windows_are_whole_milliseconds() {
    let sentence = refused(|ctx| ctx.text("a").window(Duration::from_micros(1500), SECOND).sink("out"));
    assert!(sentence.starts_with("window: the window's length is 1.5ms"), "{sentence}");
    let sentence = refused(|ctx| ctx.text("a").count_by_window(SECOND, Duration::ZERO).sink("out"));
    assert!(sentence.starts_with("count_by_window: the slide is 0ns"), "{sentence}");
}

#[test]
fn another_component_is_a_node() {
    let plan = plan(|ctx| ctx.text("a").transform_by::<(String, f64)>("score").columns(["text", "score"]).sink("out"));
    assert_eq!(shape(&plan), ["source(a)", "transform(score)", "stage(columns)", "sink(out)"]);
}
