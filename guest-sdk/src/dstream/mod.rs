//! `DStream`: the handle to a stream of batches, and how chains of operators become nodes.
//!
//! A stream is a node and the narrow operators after it that are not in a node yet. Narrow operators (`narrow.rs`,
//! `fallible.rs`) only make that chain longer. A wide operator, a sink or `cache` ends the chain with a stage node. Two
//! consumers of a chain each run it; `cache` runs it once.

mod aggregate;
mod broadcast;
mod fallible;
mod group;
mod join;
mod keyed;
mod mapped;
mod narrow;
mod output;
mod partitions;
mod session;
mod sort;
mod state;
#[cfg(test)]
mod tests;
mod whole;
mod window;

use std::rc::Rc;
use std::sync::Arc;

pub use fallible::TryMapFn;
pub use mapped::{MappedWithState, State};
pub use narrow::MapFn;
pub use state::Values;

use crate::bindings::millpond::plugin::dataflow::{Operator, Stage};
use crate::bindings::millpond::plugin::types::{Batch, Failure, Field};
use crate::chain::{Chain, Input, Push, Rows, SharedChain, StageCx, Step};
use crate::plan::{Code, Draft, DraftNode, NodeName, SharedDraft, make_unique, renamed};
use crate::row::{self, Row};

/// A stream of batches of rows `T`.
///
/// Operators take the stream by reference and give a new one, so a stream can be used several times. Nothing
/// runs while a job is put together; what is not led to a sink never runs.
///
/// **Order**: rows keep their order within a partition; between partitions there is none.
/// **Source**: `org.apache.spark.streaming.dstream.DStream`.
pub struct DStream<T: Row> {
    draft: SharedDraft,
    /// The node whose rows the chain reads.
    base: usize,
    chain: SharedChain<T>,
    /// What is in the chain; empty = the base's own rows.
    operators: Vec<&'static str>,
    names: Vec<String>,
    /// Name for the stage that will hold the chain.
    stage_name: Option<NodeName>,
    /// The node that the latest operator made, if it made one: what `named` and other settings mean.
    latest: Option<usize>,
}

impl<T: Row> Clone for DStream<T> {
    fn clone(&self) -> Self {
        Self {
            draft: Rc::clone(&self.draft),
            base: self.base,
            chain: Arc::clone(&self.chain),
            operators: self.operators.clone(),
            names: self.names.clone(),
            stage_name: self.stage_name.clone(),
            latest: self.latest,
        }
    }
}

/// A node that the host runs, for [`DStream::then`].
pub(crate) struct HostNode {
    pub(crate) name: NodeName,
    pub(crate) operator: Operator,
    pub(crate) inputs: Vec<usize>,
    pub(crate) schema: Vec<Field>,
    pub(crate) key_columns: usize,
    pub(crate) code: Code,
}

impl<T: Row> DStream<T> {
    /// The rows of a node.
    pub(crate) fn from_node(draft: &SharedDraft, node: usize) -> Self {
        let names = draft.borrow().names(node);
        Self {
            draft: Rc::clone(draft),
            base: node,
            chain: Arc::new(Rows::<T>::new()),
            operators: Vec::new(),
            names,
            stage_name: None,
            latest: Some(node),
        }
    }

    /// The same stream with one more operator in the chain.
    fn extend<U: Row>(
        &self,
        operator: &'static str,
        names: Vec<String>,
        step: impl Fn(T::Ref<'_>, &StageCx, &mut Push<'_, U>) + Send + Sync + 'static,
    ) -> DStream<U> {
        self.extend_chain(operator, names, Arc::new(Step::new(&self.chain, step)))
    }

    /// The same stream with one more operator, which is a chain of its own making.
    fn extend_chain<U: Row>(&self, operator: &'static str, names: Vec<String>, chain: SharedChain<U>) -> DStream<U> {
        let mut operators = self.operators.clone();
        operators.push(operator);
        DStream {
            draft: Rc::clone(&self.draft),
            base: self.base,
            chain,
            operators,
            names,
            stage_name: self.stage_name.clone(),
            latest: None,
        }
    }

    /// The same stream, ready for an operator that may refuse rows: what tells rows apart no longer begins a stage of its own.
    fn with_known_rows(&self) -> Self {
        if self.chain.knows_rows() { self.clone() } else { self.cache() }
    }

    /// Default names of `U`, as the row it stands in calls it.
    fn default_names<U: Row>(name: &str) -> Vec<String> {
        row::names(&row::fields::<U>(name))
    }

    /// The stream's schema, with its names.
    fn schema(&self) -> Vec<Field> {
        renamed(row::fields::<T>(""), &self.names)
    }

    /// Adds a stage that runs the chain and ends in `terminal`; the label is what is fused in it.
    fn stage(
        &self,
        ends_in: Option<&'static str>,
        schema: Vec<Field>,
        key_columns: usize,
        terminal: impl Fn(&dyn Chain<T>, Input<'_>, &StageCx) -> Result<Batch, Failure> + Send + Sync + 'static,
    ) -> usize {
        let chain = Arc::clone(&self.chain);
        let fused: Vec<&str> = self.operators.iter().copied().chain(ends_in).collect();
        let mut draft = self.draft.borrow_mut();
        draft.add(DraftNode {
            name: self.stage_name.clone().unwrap_or(NodeName::Numbered("stage")),
            operator: Operator::Stage(Stage { label: fused.join(", ") }),
            inputs: vec![self.base],
            schema,
            key_columns,
            code: Code::Stage(Arc::new(move |input, cx| terminal(&*chain, input, cx))),
            only_renames: false,
        })
    }

    /// A node whose rows are exactly this stream's, with this many key columns.
    fn node(&self, key_columns: usize) -> usize {
        if self.operators.is_empty() {
            let draft = self.draft.borrow();
            let base = &draft.nodes[self.base];
            if base.key_columns == key_columns && draft.names(self.base) == self.names {
                return self.base;
            }
        }
        let only_renames = self.operators.is_empty();
        let label = only_renames.then_some("columns");
        let node = self.stage(label, self.schema(), key_columns, move |chain, input, cx| {
            if only_renames { unchanged::<T>(input) } else { collect(chain, input, cx) }
        });
        self.draft.borrow_mut().nodes[node].only_renames = only_renames;
        node
    }

    /// A node of the host after this stream's nodes.
    fn then<U: Row>(&self, node: HostNode) -> DStream<U> {
        let HostNode { name, operator, inputs, schema, key_columns, code } = node;
        let node = DraftNode { name, operator, inputs, schema, key_columns, code, only_renames: false };
        let node = self.draft.borrow_mut().add(node);
        DStream::from_node(&self.draft, node)
    }

    /// How many key columns the stream's rows have.
    fn key_columns(&self) -> usize {
        if self.operators.is_empty() { self.draft.borrow().nodes[self.base].key_columns } else { T::KEY_COLUMNS }
    }

    /// Notes a mistake in the plan.
    fn refuse(&self, sentence: impl Into<String>) {
        self.draft.borrow_mut().error(sentence);
    }

    /// Changes what the node that the latest operator made does; notes a mistake if `change` refuses it, or if a stream that
    /// was led on already would change too.
    fn change_latest(&self, setting: &str, misplaced: &str, change: impl FnOnce(&mut DraftNode) -> Result<(), String>) {
        let mut draft = self.draft.borrow_mut();
        let draft: &mut Draft = &mut draft;
        let Some(latest) = self.latest else { return draft.error(misplaced) };
        let is_used = draft.nodes.iter().any(|node| node.inputs.contains(&latest));
        match change(&mut draft.nodes[latest]) {
            Err(sentence) => draft.error(sentence),
            Ok(()) if is_used => draft.error(format!(
                "{setting} changes the operator before it, which another operator uses already: put {setting} right after it, before anything else uses the stream"
            )),
            Ok(()) => {}
        }
    }
}

/// Ends a stage with plain columns.
fn collect<T: Row>(chain: &dyn Chain<T>, input: Input<'_>, cx: &StageCx) -> Result<Batch, Failure> {
    let (rows, columns) = chain.columns(input, cx)?;
    row::write_batch::<T>(rows, columns)
}

/// Checks a batch and returns it: no row is touched.
fn unchanged<T: Row>(input: Input<'_>) -> Result<Batch, Failure> {
    let (rows, columns) = row::read_batch::<T>(input.batch, input.fields)?;
    row::write_batch::<T>(rows, columns)
}

/// Names of keys with names of values behind them, made to differ.
fn joined_names(keys: &[String], values: Vec<String>) -> Vec<String> {
    let mut names = keys.to_vec();
    names.extend(values);
    make_unique(&mut names);
    names
}
