//! A plan that was found to make sense: every rule of `wit/dataflow.wit` holds.

mod check;
#[cfg(test)]
mod tests;

use arrow::datatypes::SchemaRef;
use millpond_core::plan::{ColumnMerge, Merge, Reduce};
use millpond_core::{Node, NodeId, Operator, Plan};

use crate::error::{Error, Result};

/// A validated plan, and what follows from it.
///
/// **Source**: `org.apache.spark.streaming.DStreamGraph`.
#[derive(Clone, Debug)]
pub struct StreamGraph {
    plan: Plan,
    batch_interval_ms: u64,
    /// Of each node: how often it gives a batch.
    slides_ms: Vec<u64>,
    /// Of each node: who takes its rows.
    consumers: Vec<Vec<NodeId>>,
}

impl StreamGraph {
    /// Checks a plan.
    ///
    /// # Errors
    /// The first rule that is broken, with the node's name: `PlanShape`, `NodeName`, `Cycle`, `SchemaMismatch`, `KeyColumns`,
    /// `WindowInterval` or `OperatorSettings`.
    pub fn try_new(plan: Plan, batch_interval_ms: u64) -> Result<Self> {
        check::check(&plan)?;
        let slides_ms = check::slides(&plan, batch_interval_ms)?;
        let mut consumers = vec![Vec::new(); plan.nodes.len()];
        for (number, node) in (0..).map(NodeId).zip(&plan.nodes) {
            for input in &node.inputs {
                consumers[input.index()].push(number);
            }
        }
        Ok(Self { plan, batch_interval_ms, slides_ms, consumers })
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Milliseconds.
    #[must_use]
    pub fn batch_interval_ms(&self) -> u64 {
        self.batch_interval_ms
    }

    /// How often a node gives a batch, in milliseconds: the batch interval, or the slide of the window above it.
    #[must_use]
    pub fn slide_ms(&self, node: NodeId) -> u64 {
        self.slides_ms[node.index()]
    }

    /// The nodes that take a node's rows.
    #[must_use]
    pub fn consumers(&self, node: NodeId) -> &[NodeId] {
        &self.consumers[node.index()]
    }

    /// What a reduce merges, if nothing but keyed state of the same key takes its rows: then that merges them, in the table that
    /// finds the states.
    pub(crate) fn merged_in_state(&self, reduce: NodeId) -> Option<&[ColumnMerge]> {
        let node = &self.plan.nodes[reduce.index()];
        let Operator::Reduce(Reduce { merge: Merge::Columns(merges), .. }) = &node.operator else { return None };
        let [only] = self.consumers(reduce) else { return None };
        let state = &self.plan.nodes[only.index()];
        let has_same_key = node.key_columns > 0 && state.key_columns == node.key_columns;
        (matches!(state.operator, Operator::UpdateState { .. }) && has_same_key).then_some(merges)
    }

    /// Names and columns of the sources, each name once.
    #[must_use]
    pub fn sources(&self) -> Vec<(&str, &SchemaRef)> {
        self.named(|operator| if let Operator::Source(name) = operator { Some(name) } else { None })
    }

    /// Names and columns of the sinks.
    #[must_use]
    pub fn sinks(&self) -> Vec<(&str, &SchemaRef)> {
        self.named(|operator| if let Operator::Sink(name) = operator { Some(name) } else { None })
    }

    /// Names and columns of the broadcasts whose values come from outside.
    #[must_use]
    pub fn broadcasts(&self) -> Vec<(&str, &SchemaRef)> {
        let of_node = |number| self.plan.nodes.iter().any(|node| node.operator == Operator::Broadcast(number));
        let outside = self.plan.broadcasts.iter().enumerate().filter(|(number, _)| !of_node(*number));
        outside.map(|(_, broadcast)| (broadcast.name.as_str(), &broadcast.schema)).collect()
    }

    /// Names of the components that serve as steps, with the columns that go in and come out.
    #[must_use]
    pub fn transforms<'a>(&'a self) -> Vec<(&'a str, &'a SchemaRef, &'a SchemaRef)> {
        let transform = |node: &'a Node| match &node.operator {
            Operator::Transform(name) => {
                Some((name.as_str(), &self.plan.nodes[node.inputs[0].index()].schema, &node.schema))
            }
            _ => None,
        };
        self.plan.nodes.iter().filter_map(transform).collect()
    }

    /// Whether a sink may be in mode `update`: the rows that reach it need a key and something besides.
    ///
    /// # Errors
    /// `UpdateNeedsKey`.
    pub fn check_update_mode(&self, sink: &str) -> Result<()> {
        let of_sink = |node: &&Node| matches!(&node.operator, Operator::Sink(name) if name == sink);
        let Some(node) = self.plan.nodes.iter().find(of_sink) else { return Ok(()) };
        let input = &self.plan.nodes[node.inputs[0].index()];
        if input.key_columns == 0 || input.key_columns == input.schema.fields().len() {
            return Err(Error::UpdateNeedsKey { sink: sink.to_owned() });
        }
        Ok(())
    }

    fn named<'a>(&'a self, pick: impl Fn(&'a Operator) -> Option<&'a String>) -> Vec<(&'a str, &'a SchemaRef)> {
        self.plan.nodes.iter().filter_map(|node| Some((pick(&node.operator)?.as_str(), &node.schema))).collect()
    }
}
