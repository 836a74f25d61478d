//! User code as closures.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use arrow::array::RecordBatch;
use millpond_core::accumulator::{Ledger, Update};
use millpond_core::function::FunctionUsage;
use millpond_core::{
    BoxError, Classify, Code, Domain, MapOutput, NodeId, StageOutput, TaskInfo, UpdateInput, UpdateOutput, UserFunction,
};

type Stage = dyn Fn(&TaskInfo, &RecordBatch) -> Result<StageOutput, BoxError> + Send + Sync;
type Merge = dyn Fn(&[u32], &RecordBatch) -> RecordBatch + Send + Sync;
type Subtract = dyn Fn(&RecordBatch, &RecordBatch) -> RecordBatch + Send + Sync;
type NewStates = dyn Fn(&TaskInfo, &UpdateInput) -> UpdateOutput + Send + Sync;
type Map = dyn Fn(&TaskInfo, &UpdateInput) -> MapOutput + Send + Sync;
type WholeBatch = dyn Fn(&TaskInfo, &[RecordBatch]) -> RecordBatch + Send + Sync;
type Updates = dyn Fn(NodeId, &TaskInfo) -> Vec<Update> + Send + Sync;

/// A [`UserFunction`] made of closures, one for each node that needs one.
#[derive(Default)]
pub struct FakeFunction {
    stages: HashMap<u32, Box<Stage>>,
    merges: HashMap<u32, Box<Merge>>,
    subtracts: HashMap<u32, Box<Subtract>>,
    updates: HashMap<u32, Box<NewStates>>,
    maps: HashMap<u32, Box<Map>>,
    batches: HashMap<u32, Box<WholeBatch>>,
    updated: Option<Box<Updates>>,
    broadcasts: Mutex<Vec<(usize, RecordBatch)>>,
    ledger: Ledger,
    calls: AtomicU64,
}

/// An error that a test's closure may return.
#[derive(Debug)]
pub struct FakeError(pub String);

impl std::fmt::Display for FakeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FakeError {}

impl Classify for FakeError {
    fn code(&self) -> Code {
        Code("MP0301")
    }

    fn domain(&self) -> Domain {
        Domain::User
    }
}

impl FakeFunction {
    /// No user code at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Code of a stage.
    #[must_use]
    pub fn stage(
        mut self,
        node: u32,
        code: impl Fn(&TaskInfo, &RecordBatch) -> Result<StageOutput, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.stages.insert(node, Box::new(code));
        self
    }

    /// Code of a custom merge.
    #[must_use]
    pub fn merge(
        mut self,
        node: u32,
        code: impl Fn(&[u32], &RecordBatch) -> RecordBatch + Send + Sync + 'static,
    ) -> Self {
        self.merges.insert(node, Box::new(code));
        self
    }

    /// Code of an inverse.
    #[must_use]
    pub fn subtract(
        mut self,
        node: u32,
        code: impl Fn(&RecordBatch, &RecordBatch) -> RecordBatch + Send + Sync + 'static,
    ) -> Self {
        self.subtracts.insert(node, Box::new(code));
        self
    }

    /// Code of an update.
    #[must_use]
    pub fn update(
        mut self,
        node: u32,
        code: impl Fn(&TaskInfo, &UpdateInput) -> UpdateOutput + Send + Sync + 'static,
    ) -> Self {
        self.updates.insert(node, Box::new(code));
        self
    }

    /// Code of a map with state.
    #[must_use]
    pub fn map_with_state(
        mut self,
        node: u32,
        code: impl Fn(&TaskInfo, &UpdateInput) -> MapOutput + Send + Sync + 'static,
    ) -> Self {
        self.maps.insert(node, Box::new(code));
        self
    }

    /// Code of a whole-batch node.
    #[must_use]
    pub fn whole_batch(
        mut self,
        node: u32,
        code: impl Fn(&TaskInfo, &[RecordBatch]) -> RecordBatch + Send + Sync + 'static,
    ) -> Self {
        self.batches.insert(node, Box::new(code));
        self
    }

    /// What every call that succeeds has for the accumulators.
    #[must_use]
    pub fn accumulating(mut self, updates: impl Fn(NodeId, &TaskInfo) -> Vec<Update> + Send + Sync + 'static) -> Self {
        self.updated = Some(Box::new(updates));
        self
    }

    /// Every value that a broadcast got, with the broadcast's number.
    #[must_use]
    pub fn broadcasts(&self) -> Vec<(usize, RecordBatch)> {
        self.broadcasts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn called(&self, node: NodeId, task: &TaskInfo) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if let Some(updated) = &self.updated {
            self.ledger.note(&node.to_string(), task.partition, updated(node, task));
        }
    }
}

fn missing(what: &str, node: NodeId) -> BoxError {
    FakeError(format!("the test gave no {what} for node {node}")).into()
}

impl UserFunction for FakeFunction {
    fn run_stage(&self, node: NodeId, task: &TaskInfo, input: &RecordBatch) -> Result<StageOutput, BoxError> {
        self.called(node, task);
        self.stages.get(&node.0).ok_or_else(|| missing("stage", node))?(task, input)
    }

    fn merge(
        &self,
        node: NodeId,
        task: &TaskInfo,
        groups: &[u32],
        values: &RecordBatch,
    ) -> Result<RecordBatch, BoxError> {
        self.called(node, task);
        Ok(self.merges.get(&node.0).ok_or_else(|| missing("merge", node))?(groups, values))
    }

    fn subtract(
        &self,
        node: NodeId,
        task: &TaskInfo,
        totals: &RecordBatch,
        leaving: &RecordBatch,
    ) -> Result<RecordBatch, BoxError> {
        self.called(node, task);
        Ok(self.subtracts.get(&node.0).ok_or_else(|| missing("subtract", node))?(totals, leaving))
    }

    fn update(&self, node: NodeId, task: &TaskInfo, input: &UpdateInput) -> Result<UpdateOutput, BoxError> {
        self.called(node, task);
        Ok(self.updates.get(&node.0).ok_or_else(|| missing("update", node))?(task, input))
    }

    fn run_batch(&self, node: NodeId, task: &TaskInfo, inputs: &[RecordBatch]) -> Result<RecordBatch, BoxError> {
        self.called(node, task);
        Ok(self.batches.get(&node.0).ok_or_else(|| missing("whole-batch code", node))?(task, inputs))
    }

    fn set_broadcast(&self, number: usize, value: &RecordBatch) -> Result<(), BoxError> {
        self.broadcasts.lock().unwrap_or_else(PoisonError::into_inner).push((number, value.clone()));
        Ok(())
    }

    fn take_updates(&self) -> Vec<Update> {
        self.ledger.take()
    }

    fn map_with_state(&self, node: NodeId, task: &TaskInfo, input: &UpdateInput) -> Result<MapOutput, BoxError> {
        self.called(node, task);
        Ok(self.maps.get(&node.0).ok_or_else(|| missing("map with state", node))?(task, input))
    }

    fn usage(&self) -> FunctionUsage {
        FunctionUsage { calls: self.calls.load(Ordering::Relaxed), ..FunctionUsage::default() }
    }
}
