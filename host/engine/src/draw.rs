//! Pictures of a graph: text for terminals, Graphviz, Mermaid.
//!
//! Nodes between two shuffles belong to one stage, as in Spark: what runs without moving rows between partitions.

use std::fmt::Write;

use millpond_core::plan::Merge;
use millpond_core::{Node, Operator, schema};

use crate::StreamGraph;

/// The graph as indented text, a line a node.
#[must_use]
pub fn text(graph: &StreamGraph) -> String {
    let mut out = String::new();
    let stages = stages(graph);
    let width = graph.plan().nodes.iter().map(|node| node.name.chars().count()).max().unwrap_or(0);
    let mut current = None;
    for (number, node) in graph.plan().nodes.iter().enumerate() {
        if current != Some(stages[number]) {
            current = Some(stages[number]);
            line(&mut out, format_args!("stage {}", stages[number]));
        }
        let inputs: Vec<String> = node.inputs.iter().map(ToString::to_string).collect();
        let from = if inputs.is_empty() { String::new() } else { format!(" <- {}", inputs.join(", ")) };
        let name = format!("{:width$}", node.name);
        line(&mut out, format_args!("  [{number:>2}] {name}  {}{from}", describe(node)));
        line(&mut out, format_args!("       {:width$}  {}", "", columns(node)));
    }
    out
}

/// The graph in Graphviz's language.
#[must_use]
pub fn graphviz(graph: &StreamGraph) -> String {
    let mut out = String::from("digraph job {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n");
    let stages = stages(graph);
    for stage in 0..=stages.iter().copied().max().unwrap_or(0) {
        line(&mut out, format_args!("  subgraph cluster_{stage} {{\n    label=\"stage {stage}\";"));
        for (number, node) in graph.plan().nodes.iter().enumerate().filter(|(number, _)| stages[*number] == stage) {
            let label = format!("{}\n{}", node.name, describe(node))
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            line(&mut out, format_args!("    n{number} [label=\"{label}\"];"));
        }
        out.push_str("  }\n");
    }
    for (number, node) in graph.plan().nodes.iter().enumerate() {
        for input in &node.inputs {
            let label = columns(&graph.plan().nodes[input.index()]).replace('\\', "\\\\").replace('"', "\\\"");
            line(&mut out, format_args!("  n{input} -> n{number} [label=\"{label}\"];"));
        }
    }
    out.push_str("}\n");
    out
}

/// The graph in Mermaid's language.
#[must_use]
pub fn mermaid(graph: &StreamGraph) -> String {
    let mut out = String::from("graph LR\n");
    let stages = stages(graph);
    for stage in 0..=stages.iter().copied().max().unwrap_or(0) {
        line(&mut out, format_args!("  subgraph s{stage} [\"stage {stage}\"]"));
        for (number, node) in graph.plan().nodes.iter().enumerate().filter(|(number, _)| stages[*number] == stage) {
            let label = format!("{}<br/>{}", escape_html(&node.name), escape_html(&describe(node)));
            line(&mut out, format_args!("    n{number}[\"{label}\"]"));
        }
        out.push_str("  end\n");
    }
    for (number, node) in graph.plan().nodes.iter().enumerate() {
        for input in &node.inputs {
            line(&mut out, format_args!("  n{input} --> n{number}"));
        }
    }
    out
}

/// Of each node: its stage. A node that shuffles opens a new one.
fn stages(graph: &StreamGraph) -> Vec<usize> {
    let mut stages: Vec<usize> = Vec::new();
    for node in &graph.plan().nodes {
        let above = node.inputs.iter().map(|input| stages[input.index()]).max().unwrap_or(0);
        stages.push(above + usize::from(shuffles(&node.operator)));
    }
    stages
}

fn shuffles(operator: &Operator) -> bool {
    matches!(
        operator,
        Operator::Reduce(_)
            | Operator::ReduceWindow(_)
            | Operator::UpdateState { .. }
            | Operator::Sort(_)
            | Operator::Take(_)
            | Operator::MapWithState(_)
            | Operator::ReduceSession(_)
            | Operator::Repartition(_)
            | Operator::WholeBatch(_)
            | Operator::Join(_)
            | Operator::Group
    )
}

fn describe(node: &Node) -> String {
    match &node.operator {
        Operator::Stage(label) => format!("stage: {label}"),
        Operator::Reduce(reduce) => format!("reduce {}", merge(&reduce.merge)),
        Operator::Window(window) => {
            format!("window {} every {}", duration(window.length_ms), duration(window.slide_ms))
        }
        Operator::ReduceWindow(reduce) => format!(
            "reduce {} over {} every {}{}",
            merge(&reduce.merge),
            duration(reduce.window.length_ms),
            duration(reduce.window.slide_ms),
            if reduce.invertible { ", with inverse" } else { "" },
        ),
        Operator::UpdateState { every_batch: true, .. } => "update-state, every key every batch".to_owned(),
        Operator::Sort(sort) => sort.limit.map_or_else(|| "sort".to_owned(), |limit| format!("top {limit}")),
        Operator::Take(rows) => format!("take {rows}"),
        Operator::MapWithState(map) => map
            .timeout_ms
            .map_or_else(|| node.operator.kind().to_owned(), |ms| format!("map-with-state, timeout {}", duration(ms))),
        Operator::ReduceSession(session) => {
            format!("reduce {} by session, gap {}", merge(&session.merge), duration(session.gap_ms))
        }
        Operator::Repartition(partitions) => format!("repartition into {partitions}"),
        Operator::WholeBatch(label) => format!("whole batch: {label}"),
        Operator::Join(join) => format!("{} join", join.kind.name()),
        other => other.kind().to_owned(),
    }
}

pub(crate) fn merge(merge: &Merge) -> String {
    match merge {
        Merge::Custom => "by the plugin".to_owned(),
        Merge::Columns(merges) => {
            merges.iter().map(|merge| format!("{merge:?}").to_lowercase()).collect::<Vec<_>>().join(", ")
        }
    }
}

fn columns(node: &Node) -> String {
    let columns = schema::describe(&node.schema);
    match node.key_columns {
        0 => format!("({columns})"),
        keys => {
            let key: Vec<&str> = node.schema.fields()[..keys].iter().map(|field| field.name().as_str()).collect();
            format!("({columns}) key {}", key.join(", "))
        }
    }
}

/// Milliseconds as people write them: `1500ms`, `10s`, `5m`.
pub(crate) fn duration(ms: u64) -> String {
    match ms {
        ms if ms >= 60_000 && ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        ms if ms >= 1000 && ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use millpond_core::plan::{ColumnMerge, Reduce, ReduceWindow, Window};
    use millpond_core::{NodeId, Plan};

    use super::*;

    fn graph() -> StreamGraph {
        let lines = Arc::new(Schema::new(vec![Field::new("line", DataType::Utf8, false)]));
        let counts = Arc::new(Schema::new(vec![
            Field::new("word", DataType::Utf8, false),
            Field::new("count", DataType::Int64, false),
        ]));
        let node = |name: &str, operator, inputs: &[u32], schema: &Arc<Schema>, key_columns| Node {
            name: name.to_owned(),
            operator,
            inputs: inputs.iter().map(|input| NodeId(*input)).collect(),
            schema: Arc::clone(schema),
            key_columns,
        };
        let merge = Merge::Columns(vec![ColumnMerge::Sum]);
        let window = Window { length_ms: 300_000, slide_ms: 10_000 };
        let windowed = ReduceWindow {
            window,
            merge: merge.clone(),
            invertible: true,
            keep_empty_keys: false,
            zero_when_empty: false,
        };
        let nodes = vec![
            node("source lines", Operator::Source("lines".to_owned()), &[], &lines, 0),
            node("stage-1", Operator::Stage("flat_map \"a\"".to_owned()), &[0], &counts, 1),
            node("reduce", Operator::Reduce(Reduce { merge, zero_when_empty: false }), &[1], &counts, 1),
            node("recent", Operator::ReduceWindow(windowed), &[2], &counts, 1),
            node("sink out", Operator::Sink("out".to_owned()), &[3], &counts, 0),
        ];
        StreamGraph::try_new(Plan { nodes, ..Plan::default() }, 1000).unwrap()
    }

    #[test]
    fn text_shows_stages_and_columns() {
        let expected = "\
stage 0
  [ 0] source lines  source
                     (line: utf8)
  [ 1] stage-1       stage: flat_map \"a\" <- 0
                     (word: utf8, count: int64) key word
stage 1
  [ 2] reduce        reduce sum <- 1
                     (word: utf8, count: int64) key word
stage 2
  [ 3] recent        reduce sum over 5m every 10s, with inverse <- 2
                     (word: utf8, count: int64) key word
  [ 4] sink out      sink <- 3
                     (word: utf8, count: int64)
";
        assert_eq!(text(&graph()), expected);
    }

    #[test]
    fn graphviz_and_mermaid_escape_labels() {
        let dot = graphviz(&graph());
        assert!(dot.contains(r#"n1 [label="stage-1\nstage: flat_map \"a\""];"#), "{dot}");
        assert!(dot.contains("n0 -> n1 [label=\"(line: utf8)\"];"), "{dot}");
        let mermaid = mermaid(&graph());
        assert!(mermaid.contains("n1[\"stage-1<br/>stage: flat_map &quot;a&quot;\"]"), "{mermaid}");
        assert!(mermaid.contains("n3 --> n4"), "{mermaid}");
    }
}
