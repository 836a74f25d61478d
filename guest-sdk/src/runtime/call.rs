//! What a call from outside is checked for before any code of the job sees it.

use std::sync::{Arc, PoisonError, RwLock};

use crate::accumulator::Accumulating;
use crate::bindings::millpond::plugin::dataflow::{Node, Operator, Plan};
use crate::bindings::millpond::plugin::types::{Batch, Failure, Field, StageOutput, TaskInfo};
use crate::broadcast::{InBroadcasts, Load, Values};
use crate::chain::{Input, StageCx};
use crate::failure::{bad_input, unknown_node};
use crate::plan::{Code, Finished, StageFn};
use crate::row;

/// A plan that was handed out, with its code.
pub(super) struct Planned {
    plan: Plan,
    code: Vec<Code>,
    /// By broadcast.
    loads: Vec<Arc<Load>>,
    values: RwLock<Arc<Values>>,
}

impl Planned {
    pub(super) fn new(finished: Finished) -> Self {
        let values = RwLock::new(Arc::new(vec![None; finished.loads.len()]));
        Self { plan: finished.plan, code: finished.code, loads: finished.loads, values }
    }

    /// Makes a broadcast's value ready for the calls after this one.
    pub(super) fn set_broadcast(&self, number: u32, value: Batch) -> Result<(), Failure> {
        let index = number as usize;
        let (Some(broadcast), Some(load)) = (self.plan.broadcasts.get(index), self.loads.get(index)) else {
            let broadcasts = self.plan.broadcasts.len();
            return Err(bad_input(format!("there is no broadcast {number}: the plan has {broadcasts}")));
        };
        let loaded = load(value, &broadcast.schema).map_err(|failure| Failure {
            message: format!("broadcast `{}`: {}", broadcast.name, failure.message),
            ..failure
        })?;
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        // Calls that are under way natively keep the values that they began with.
        Arc::make_mut(&mut values)[index] = Some(loaded);
        Ok(())
    }

    /// The values that a call sees.
    pub(super) fn values(&self) -> InBroadcasts {
        InBroadcasts::enter(Arc::clone(&self.values.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// What a call needs around it besides the batch's time.
    pub(super) fn accumulating(&self) -> Accumulating<'_> {
        Accumulating::enter(&self.plan.accumulators)
    }

    pub(super) fn node(&self, node: u32) -> Result<(&Node, &Code), Failure> {
        let found = self.plan.nodes.get(node as usize).zip(self.code.get(node as usize));
        found.ok_or_else(|| {
            unknown_node(format!("there is no node {node}: the plan has {} nodes", self.plan.nodes.len()))
        })
    }

    /// How many key columns a node's first input has.
    pub(super) fn input_key_columns(&self, node: &Node) -> u32 {
        node.inputs.first().and_then(|input| self.plan.nodes.get(*input as usize)).map_or(0, |input| input.key_columns)
    }

    /// The schema of a node's first input.
    pub(super) fn input_fields(&self, node: &Node) -> &[Field] {
        self.inputs_fields(node).next().unwrap_or(&[])
    }

    /// The schemas of a node's inputs.
    pub(super) fn inputs_fields(&self, node: &Node) -> impl Iterator<Item = &[Field]> {
        node.inputs.iter().filter_map(|input| self.plan.nodes.get(*input as usize)).map(|input| &*input.schema)
    }
}

/// The columns that a node's merge is about: those behind the key, without the times of a session.
pub(super) fn merged_fields(node: &Node) -> &[Field] {
    let values = value_fields(&node.schema, node.key_columns);
    match &node.operator {
        Operator::ReduceSession(_) => &values[..values.len().saturating_sub(2)],
        _ => values,
    }
}

/// The failure of a call that the node is not made for.
pub(super) fn wrong_call(node: &Node, call: &str) -> Failure {
    unknown_node(format!("node `{}` has nothing to do for a {call} call", node.name))
}

/// The value columns of a node.
pub(super) fn value_fields(fields: &[Field], key_columns: u32) -> &[Field] {
    row::top_level(fields).nth(key_columns as usize).map_or(&[], |first| &fields[first..])
}

/// The key columns of a node.
pub(super) fn key_fields(fields: &[Field], key_columns: u32) -> &[Field] {
    row::top_level(fields).nth(key_columns as usize).map_or(fields, |end| &fields[..end])
}

/// Runs a stage's code over a batch.
pub(super) fn run(code: &StageFn, task: &TaskInfo, batch: Batch, fields: &[Field]) -> Result<StageOutput, Failure> {
    let cx = StageCx::new(task.partition);
    let batch = code(Input { batch, fields }, &cx)?;
    Ok(StageOutput { batch, rejected: cx.into_rejected() })
}

/// Checks that groups cover `rows` rows in order.
pub(super) fn check_groups(groups: &[u32], rows: u32, may_be_empty: bool) -> Result<(), Failure> {
    if groups.first() != Some(&0) || groups.last() != Some(&rows) {
        return Err(bad_input(format!("the groups do not run from row 0 to row {rows}")));
    }
    let in_order = |pair: &[u32]| pair[0] < pair[1] || (may_be_empty && pair[0] == pair[1]);
    if groups.windows(2).all(in_order) {
        Ok(())
    } else if may_be_empty {
        Err(bad_input("the groups' rows go back"))
    } else {
        Err(bad_input("a group is empty, or the groups' rows go back"))
    }
}
