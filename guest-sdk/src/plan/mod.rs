//! The plan while a job's function builds it: nodes with their code, and what is wrong so far.
//!
//! A mistake does not stop the job's function: it is noted, and `finish` returns all of them. `finish` also leaves out
//! nodes that no sink needs, moves column names to where they cost nothing (`rename.rs`) and names what has no name.

mod finish;
mod rename;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::bindings::exports::millpond::plugin::job_guest::{MapOutput, UpdateInput, UpdateOutput};
use crate::bindings::millpond::plugin::dataflow::{Accumulator, AccumulatorKind, Broadcast, Operator};
use crate::bindings::millpond::plugin::types::{Batch, Failure, Field};
use crate::broadcast::Load;
use crate::chain::{Input, StageCx};
use crate::row;

pub(crate) use finish::Finished;

pub(crate) use crate::row::renamed;

/// A stage's code.
pub(crate) type StageFn = dyn Fn(Input<'_>, &StageCx) -> Result<Batch, Failure> + Send + Sync;
/// Merges groups (`groups`, values) of a node whose value columns are `fields`.
pub(crate) type MergeFn = dyn Fn(&[u32], Input<'_>) -> Result<Batch, Failure> + Send + Sync;
/// Takes rows off totals.
pub(crate) type SubtractFn = dyn Fn(Input<'_>, Input<'_>) -> Result<Batch, Failure> + Send + Sync;
/// New states.
pub(crate) type UpdateFn = dyn Fn(UpdateInput, &UpdateFields<'_>) -> Result<UpdateOutput, Failure> + Send + Sync;

/// Maps rows with the states of their keys.
pub(crate) type MapFn = dyn Fn(UpdateInput, &UpdateFields<'_>) -> Result<MapOutput, Failure> + Send + Sync;
/// Makes one batch of one of each input.
pub(crate) type BatchFn = dyn Fn(Vec<Input<'_>>) -> Result<Batch, Failure> + Send + Sync;

/// The schemas that an update call's batches have.
pub(crate) struct UpdateFields<'a> {
    pub(crate) keys: &'a [Field],
    pub(crate) values: &'a [Field],
    pub(crate) states: &'a [Field],
}

/// What the component does for a node.
#[derive(Clone)]
pub(crate) enum Code {
    /// Nothing: the host runs it.
    None,
    Stage(Arc<StageFn>),
    Merge {
        merge: Arc<MergeFn>,
        subtract: Option<Arc<SubtractFn>>,
    },
    Update(Arc<UpdateFn>),
    Map(Arc<MapFn>),
    Batch(Arc<BatchFn>),
}

/// The contract's limit on a node's name.
pub(crate) const NAME_BYTES_MAX: usize = 128;

/// Where a node's name comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodeName {
    /// The author.
    Given(String),
    /// The author, for narrow operators: each consumer's stage has it, with a number from the second on.
    Chain {
        name: String,
        /// Which call of `named` it was: stages of different calls must not share a name.
        naming: usize,
    },
    /// Its operator, because state is kept under it; two of a kind must be named by the author.
    Stateful(&'static str),
    /// A source or sink.
    Fixed(String),
    /// Its operator and number.
    Numbered(&'static str),
}

/// A node as it is being built.
pub(crate) struct DraftNode {
    pub(crate) name: NodeName,
    pub(crate) operator: Operator,
    pub(crate) inputs: Vec<usize>,
    pub(crate) schema: Vec<Field>,
    pub(crate) key_columns: usize,
    pub(crate) code: Code,
    /// A stage that does nothing but give columns other names.
    pub(crate) only_renames: bool,
}

/// A plan as it is being built.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) nodes: Vec<DraftNode>,
    pub(crate) accumulators: Vec<Accumulator>,
    /// With what makes their values ready.
    pub(crate) broadcasts: Vec<(Broadcast, Arc<Load>)>,
    pub(crate) errors: Vec<String>,
    namings: usize,
}

/// The plan that a context and all its streams write to.
pub(crate) type SharedDraft = Rc<RefCell<Draft>>;

impl Draft {
    pub(crate) fn add(&mut self, node: DraftNode) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// The number of an accumulator; one that is made twice is one.
    pub(crate) fn accumulator(&mut self, name: &str, kind: AccumulatorKind) -> u32 {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            self.error(format!(
                "an accumulator's name has 1 to {NAME_BYTES_MAX} bytes, and `{name}` has {}",
                name.len()
            ));
        }
        if let Some(known) = self.accumulators.iter().position(|known| known.name == name) {
            if self.accumulators[known].kind != kind {
                self.error(format!(
                    "the accumulator `{name}` is made twice, as two kinds: give one of them another name"
                ));
            }
            return known as u32;
        }
        self.accumulators.push(Accumulator { name: name.to_owned(), kind });
        self.accumulators.len() as u32 - 1
    }

    /// The number of a broadcast.
    pub(crate) fn broadcast(&mut self, name: &str, schema: Vec<Field>, load: Arc<Load>) -> u32 {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            self.error(format!("a broadcast's name has 1 to {NAME_BYTES_MAX} bytes, and `{name}` has {}", name.len()));
        }
        if self.broadcasts.iter().any(|(known, _)| known.name == name) {
            self.error(format!(
                "the broadcast `{name}` is made twice: make it once, its handle may be copied into any closure"
            ));
        }
        self.broadcasts.push((Broadcast { name: name.to_owned(), schema }, load));
        self.broadcasts.len() as u32 - 1
    }

    /// A number for a call of `named`.
    pub(crate) fn next_naming(&mut self) -> usize {
        self.namings += 1;
        self.namings
    }

    /// Notes a mistake, once.
    pub(crate) fn error(&mut self, sentence: impl Into<String>) {
        let sentence = sentence.into();
        if !self.errors.contains(&sentence) {
            self.errors.push(sentence);
        }
    }

    pub(crate) fn names(&self, node: usize) -> Vec<String> {
        row::names(&self.nodes[node].schema)
    }
}

/// Makes names differ, by a number behind later ones: `count`, `count_2`.
pub(crate) fn make_unique(names: &mut [String]) {
    for index in 1..names.len() {
        let (before, rest) = names.split_at_mut(index);
        let name = &mut rest[0];
        let wanted = name.clone();
        let mut number = 2;
        while before.contains(name) {
            *name = format!("{wanted}_{number}");
            number += 1;
        }
    }
}
