//! Finishing a plan: names, renames, nodes that nobody needs.

use std::time::Duration;

use super::make_unique;
use crate::runtime::{Job, Node, Operator, Plan};
use crate::{DStream, StreamingContext};

fn plan(define: fn(&mut StreamingContext)) -> Plan {
    Job::new(define).plan(&[]).expect("a plan")
}

fn refused(define: fn(&mut StreamingContext)) -> String {
    Job::new(define).plan(&[]).expect_err("no plan")
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.nodes.iter().map(|node| node.name.as_str()).collect()
}

fn columns(node: &Node) -> Vec<&str> {
    node.schema.iter().map(|field| field.name.as_str()).collect()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn nodes_are_named_by_operator_and_number() {
    let plan = plan(|ctx| ctx.text("lines").count_by_value().sort_by(|(_, n)| n).sink("counts"));
    assert_eq!(names(&plan), ["source lines", "stage-1", "reduce-2", "sort-3", "sink counts"]);
}

#[test]
fn stateful_nodes_take_their_operators_name() {
    let plan = plan(|ctx| {
        ctx.text("lines")
            .count_by_value()
            .update_state_by_key(|counts, total: Option<i64>| Some(total.unwrap_or(0) + counts.sum()))
            .window(SECOND, SECOND)
            .sink("out");
    });
    assert_eq!(names(&plan), ["source lines", "stage-1", "reduce-2", "update_state_by_key", "window", "sink out"]);
}

#[test]
fn a_second_stateful_node_of_a_kind_must_be_named() {
    let sentence = refused(|ctx| {
        let lines = ctx.text("lines");
        lines.count_by_window(SECOND, SECOND).sink("short");
        lines.count_by_window(SECOND * 60, SECOND).sink("long");
    });
    assert_eq!(
        sentence,
        "there are two count_by_window operators, and state is kept by name: name one of them, right after it, with .named(\"...\")"
    );
    let plan = plan(|ctx| {
        let lines = ctx.text("lines");
        lines.count_by_window(SECOND, SECOND).sink("short");
        lines.count_by_window(SECOND * 60, SECOND).named("minute").sink("long");
    });
    assert!(names(&plan).contains(&"minute"));
}

#[test]
fn a_name_given_twice_is_refused() {
    let sentence = refused(|ctx| {
        let counts = ctx.text("lines").count_by_value().named("counts");
        counts.count().named("counts").sink("out");
    });
    assert_eq!(sentence, "two nodes are called `counts`: give one of them another name with .named(\"...\")");
}

#[test]
fn numbered_names_step_aside_for_given_ones() {
    let plan = plan(|ctx| ctx.text("lines").count().named("stage-1").sink("out"));
    assert_eq!(names(&plan), ["source lines", "stage-1'", "stage-1", "sink out"]);
}

#[test]
fn naming_a_chain_names_its_stage() {
    let plan = plan(|ctx| ctx.text("lines").filter(|_| true).named("picked").sink("out"));
    assert_eq!(names(&plan), ["source lines", "picked", "sink out"]);
}

#[test]
fn a_named_chain_with_two_consumers_is_two_stages_with_two_names() {
    let plan = plan(|ctx| {
        let clean = ctx.text("lines").filter(|_| true).named("clean");
        clean.sink("a");
        clean.count().sink("b");
        clean.map::<String>(|line| line).sink("c");
    });
    assert_eq!(names(&plan), ["source lines", "clean", "sink a", "clean-2", "reduce-4", "sink b", "clean-3", "sink c"]);
    let other = refused(|ctx| {
        ctx.text("left").filter(|_| true).named("clean").sink("a");
        ctx.text("right").filter(|_| true).named("clean").sink("b");
    });
    assert_eq!(other, "two nodes are called `clean`: give one of them another name with .named(\"...\")");
}

#[test]
fn a_second_stage_of_the_longest_name_still_has_a_valid_one() {
    let plan = plan(|ctx| {
        let clean = ctx.text("lines").filter(|_| true).named(&"é".repeat(64));
        clean.sink("a");
        clean.sink("b");
    });
    assert_eq!(plan.nodes[3].name, format!("{}-2", "é".repeat(63)));
}

#[test]
fn a_second_name_for_a_node_is_refused() {
    let twice = refused(|ctx| {
        let counts = ctx.text("lines").count();
        counts.named("first").sink("a");
        counts.named("second").sink("b");
    });
    assert!(twice.starts_with("named(\"second\"): what it names is one node, which is called `first`"), "{twice}");
    let fused =
        refused(|ctx| ctx.text("lines").filter(|_| true).named("a").map::<String>(|line| line).named("b").sink("out"));
    assert!(fused.contains("called `a` already"), "{fused}");
    let cached = refused(|ctx| ctx.text("lines").filter(|_| true).named("a").cache().named("b").sink("out"));
    assert!(cached.contains("called `a` already"), "{cached}");
    let same = plan(|ctx| ctx.text("lines").count().named("n").named("n").sink("out"));
    assert_eq!(names(&same), ["source lines", "stage-1", "n", "sink out"]);
}

#[test]
fn naming_after_a_filter_variant_names_the_window() {
    let plan = plan(|ctx| {
        ctx.source::<(String, i64)>("pairs")
            .reduce_by_key_and_window_with_inverse_and_filter(
                |a, b| a + b,
                |a, b| a - b,
                SECOND,
                SECOND,
                |(_, n)| n > 0,
            )
            .named("plays")
            .sink("out");
    });
    let window = plan.nodes.iter().find(|node| node.name == "plays").expect("a node of that name");
    assert!(matches!(window.operator, Operator::ReduceWindow(_)));
}

#[test]
fn bad_names_are_refused() {
    assert!(
        refused(|ctx| ctx.text("lines").count().named("").sink("out"))
            .starts_with("named(\"\"): a node's name has 1 to 128 bytes")
    );
    assert_eq!(
        refused(|ctx| ctx.text("lines").named("x").sink("out")),
        "named(\"x\"): a source is called as in the job file"
    );
}

#[test]
fn a_job_without_a_sink_is_refused() {
    let sentence = refused(|ctx| {
        ctx.text("lines").count();
    });
    assert_eq!(sentence, "the job has no sink: nothing runs until a stream ends with .sink(\"name\")");
}

#[test]
fn two_streams_to_one_sink_are_refused() {
    let sentence = refused(|ctx| {
        ctx.text("lines").sink("out");
        ctx.text("lines").sink("out");
    });
    assert!(sentence.starts_with("two streams go to the sink `out`"), "{sentence}");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let sentence = refused(|ctx| {
        ctx.refuse("first");
        ctx.text("lines").top_by(0, |line| line).columns(["a", "b"]).window(Duration::ZERO, SECOND);
    });
    assert_eq!(sentence.lines().count(), 5, "{sentence}");
}

#[test]
fn nodes_that_lead_to_no_sink_are_left_out() {
    let plan = plan(|ctx| {
        ctx.text("unused").count_by_value().sort_by(|(word, _)| word);
        ctx.text("lines").sink("out");
    });
    assert_eq!(names(&plan), ["source lines", "sink out"]);
}

#[test]
fn a_source_used_twice_is_one_node() {
    let plan = plan(|ctx| {
        ctx.text("lines").sink("left");
        ctx.text("lines").sink("right");
    });
    assert_eq!(names(&plan), ["source lines", "sink left", "sink right"]);
    let sentence = refused(|ctx| {
        ctx.text("lines").sink("left");
        ctx.source::<i64>("lines").sink("right");
    });
    assert!(sentence.contains("`lines` is used twice, with different columns"), "{sentence}");
}

#[test]
fn renames_move_up_to_the_stage_that_makes_the_columns() {
    let plan = plan(|ctx| {
        ctx.text("lines")
            .count_by_value()
            .update_state_by_key(|counts, total: Option<i64>| Some(total.unwrap_or(0) + counts.sum()))
            .top_by(3, |(word, _)| word)
            .columns(["word", "total"])
            .sink("out");
    });
    assert_eq!(names(&plan), ["source lines", "stage-1", "reduce-2", "update_state_by_key", "sort-4", "sink out"]);
    for node in &plan.nodes[3..] {
        assert_eq!(columns(node), ["word", "total"], "{}", node.name);
    }
    for node in &plan.nodes[1..3] {
        assert_eq!(columns(node), ["word", "count"], "{}", node.name);
    }
}

#[test]
fn a_rename_stays_a_stage_where_others_need_the_old_names() {
    fn both(counts: &DStream<(String, i64)>) {
        counts.columns(["word", "n"]).sink("renamed");
        counts.sink("plain");
    }
    let plan = plan(|ctx| both(&ctx.text("lines").count_by_value()));
    let stage =
        plan.nodes.iter().find(|node| matches!(&node.operator, Operator::Stage(stage) if stage.label == "columns"));
    assert_eq!(columns(stage.expect("a stage that renames")), ["word", "n"]);
    let plain = plan.nodes.iter().find(|node| node.name == "sink plain").expect("the other sink");
    assert_eq!(columns(plain), ["line", "count"]);
}

#[test]
fn a_source_keeps_its_names() {
    let plan = plan(|ctx| ctx.text("lines").columns(["text"]).sink("out"));
    assert_eq!(plan.nodes.len(), 3);
    assert_eq!(columns(&plan.nodes[0]), ["line"]);
    assert_eq!(columns(&plan.nodes[1]), ["text"]);
}

#[test]
fn wrong_renames_are_refused() {
    let count = refused(|ctx| ctx.text("lines").count_by_value().columns(["a"]).sink("out"));
    assert_eq!(count, "columns([a]) gives 1 names to 2 columns (line, count): give one name per column");
    let twice = refused(|ctx| ctx.text("lines").count_by_value().columns(["a", "a"]).sink("out"));
    assert_eq!(twice, "columns([a, a]) names two columns `a`: names must differ");
    let empty = refused(|ctx| ctx.text("lines").columns([""]).sink("out"));
    assert!(empty.contains("1 to 256 bytes"), "{empty}");
}

#[test]
fn repeated_names_get_numbers() {
    let mut names = ["count", "count", "count_2", "count"].map(str::to_owned);
    make_unique(&mut names);
    assert_eq!(names, ["count", "count_2", "count_2_2", "count_3"]);
}
