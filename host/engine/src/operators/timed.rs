//! User code with a count of the time that its calls take: crossing, the call, and the checks of the answer.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use arrow::array::RecordBatch;
use millpond_core::accumulator::Update;
use millpond_core::function::FunctionUsage;
use millpond_core::{
    BoxError, Clock, MapOutput, NodeId, StageOutput, TaskInfo, UpdateInput, UpdateOutput, UserFunction,
};

/// The calls of one batch, or of a part of it: others may be under way at the same time.
pub(crate) struct TimedFunction<'a> {
    function: &'a dyn UserFunction,
    clock: &'a dyn Clock,
    us: AtomicU64,
}

impl<'a> TimedFunction<'a> {
    pub(crate) fn new(function: &'a dyn UserFunction, clock: &'a dyn Clock) -> Self {
        Self { function, clock, us: AtomicU64::new(0) }
    }

    /// Time of the calls so far, summed over threads.
    pub(crate) fn guest_us(&self) -> u64 {
        self.us.load(Relaxed)
    }

    /// Counts a call's time.
    pub(crate) fn timed<T>(&self, call: impl FnOnce() -> T) -> T {
        let began_us = self.clock.monotonic_us();
        let answer = call();
        self.us.fetch_add(self.clock.monotonic_us().saturating_sub(began_us), Relaxed);
        answer
    }
}

impl UserFunction for TimedFunction<'_> {
    fn run_stage(&self, node: NodeId, task: &TaskInfo, input: &RecordBatch) -> Result<StageOutput, BoxError> {
        self.timed(|| self.function.run_stage(node, task, input))
    }

    fn merge(
        &self,
        node: NodeId,
        task: &TaskInfo,
        groups: &[u32],
        values: &RecordBatch,
    ) -> Result<RecordBatch, BoxError> {
        self.timed(|| self.function.merge(node, task, groups, values))
    }

    fn subtract(
        &self,
        node: NodeId,
        task: &TaskInfo,
        totals: &RecordBatch,
        leaving: &RecordBatch,
    ) -> Result<RecordBatch, BoxError> {
        self.timed(|| self.function.subtract(node, task, totals, leaving))
    }

    fn update(&self, node: NodeId, task: &TaskInfo, input: &UpdateInput) -> Result<UpdateOutput, BoxError> {
        self.timed(|| self.function.update(node, task, input))
    }

    fn map_with_state(&self, node: NodeId, task: &TaskInfo, input: &UpdateInput) -> Result<MapOutput, BoxError> {
        self.timed(|| self.function.map_with_state(node, task, input))
    }

    fn run_batch(&self, node: NodeId, task: &TaskInfo, inputs: &[RecordBatch]) -> Result<RecordBatch, BoxError> {
        self.timed(|| self.function.run_batch(node, task, inputs))
    }

    fn set_broadcast(&self, number: usize, value: &RecordBatch) -> Result<(), BoxError> {
        self.timed(|| self.function.set_broadcast(number, value))
    }

    fn take_updates(&self) -> Vec<Update> {
        self.function.take_updates()
    }

    fn usage(&self) -> FunctionUsage {
        self.function.usage()
    }
}
