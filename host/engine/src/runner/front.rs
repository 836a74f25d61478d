//! The front of a batch: its sources, and the stages that nothing but they feed.
//!
//! It needs no state of the job. So the fronts of the next batches can be computed while the one at hand is at shuffles and
//! keyed state (`ahead.rs`): then no core waits at the end of a round for the last task of the other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millpond_core::batch::partitions;
use millpond_core::receiver::SplitReader;
use millpond_core::{
    BatchTime, Clock, NodeId, Operator, PartitionBatch, PartitionId, Plan, Report, Split, TransformFunction,
    UserFunction,
};

use crate::error::{Error, Result};
use crate::operators::stage::{self, StageInput};
use crate::operators::timed::TimedFunction;
use crate::operators::window::memory;
use crate::operators::{BatchContext, BatchCounts, NodeRef, PARTITION_BYTES_MAX, Rows, TimedPool};
use crate::{ComputePool, OnBadRecord, StreamGraph};

/// What a batch is computed with, besides the job's state.
pub(super) struct Shared {
    pub(super) graph: StreamGraph,
    pub(super) function: Arc<dyn UserFunction>,
    pub(super) transforms: BTreeMap<String, Arc<dyn TransformFunction>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) pool: Arc<ComputePool>,
    /// The job's very first moment; windows count from here.
    pub(super) start: BatchTime,
    pub(super) parallelism: usize,
    pub(super) on_bad_record: OnBadRecord,
    /// Of each node: whether it belongs to the front.
    pub(super) is_front: Vec<bool>,
}

/// A batch on its way: rows, or splits that the next stage will read.
#[derive(Clone)]
pub(super) enum Output {
    Rows(Rows),
    Splits(Arc<SourceBatch>),
}

/// A source's splits of one batch.
pub(super) struct SourceBatch {
    pub(super) name: String,
    pub(super) schema: SchemaRef,
    pub(super) reader: Arc<dyn SplitReader>,
    pub(super) splits: Vec<Split>,
    pub(super) on_bad_record: OnBadRecord,
}

/// What nodes gave so far, and who has not taken it yet.
pub(super) struct Outputs {
    outputs: Vec<Option<Output>>,
    users: Vec<usize>,
}

/// A front that was computed.
pub(super) struct Front {
    pub(super) outputs: Outputs,
    pub(super) counts: BatchCounts,
    /// Time of all of it, summed over threads.
    pub(super) busy_us: u64,
    pub(super) guest_us: u64,
}

impl SourceBatch {
    /// Whether every split is known to be small enough for one call.
    fn is_bounded(&self) -> bool {
        // A split ends at the first record end past its own, so it may be a little more.
        let fits = |split: &Split| split.bytes.is_some_and(|bytes| bytes <= 2 * PARTITION_BYTES_MAX as u64);
        self.splits.iter().all(fits)
    }
}

impl Outputs {
    fn new(graph: &StreamGraph) -> Self {
        let nodes = graph.plan().nodes.len();
        let users = (0..).map(NodeId).take(nodes).map(|id| graph.consumers(id).len()).collect();
        Self { outputs: vec![None; nodes], users }
    }

    /// What a node's inputs gave; `None` = one of them gives nothing at this time, and so does the node.
    pub(super) fn take(&mut self, inputs: &[NodeId]) -> Option<Vec<Output>> {
        let taken: Vec<Option<Output>> = inputs
            .iter()
            .map(|input| {
                self.users[input.index()] -= 1;
                // The last user takes the rows away, so that memory is free as soon as it can be.
                let output = &mut self.outputs[input.index()];
                if self.users[input.index()] == 0 { output.take() } else { output.clone() }
            })
            .collect();
        taken.into_iter().collect()
    }

    pub(super) fn put(&mut self, node: NodeId, output: Option<Output>) {
        self.outputs[node.index()] = output;
    }
}

/// Cuts rows into as many pieces as they have `PARTITION_BYTES_MAX`.
fn cut(rows: &RecordBatch) -> Vec<RecordBatch> {
    let bytes = usize::try_from(memory(rows)).unwrap_or(usize::MAX);
    let pieces = bytes.div_ceil(PARTITION_BYTES_MAX).max(1);
    let length = rows.num_rows().div_ceil(pieces).max(1);
    let starts = (0..rows.num_rows().max(1)).step_by(length);
    starts.map(|start| rows.slice(start, length.min(rows.num_rows() - start))).collect()
}

/// Of each node of a plan, whose nodes come behind their inputs: whether it belongs to the front.
pub(super) fn fronts(plan: &Plan) -> Vec<bool> {
    let mut is_front = Vec::with_capacity(plan.nodes.len());
    for node in &plan.nodes {
        is_front.push(match node.operator {
            Operator::Source(_) => true,
            // A stage may look at a broadcast, whose value a node before it may just have replaced.
            Operator::Stage(_) | Operator::Transform(_) if plan.broadcasts.is_empty() => {
                node.inputs.iter().all(|input| is_front[input.index()])
            }
            _ => false,
        });
    }
    is_front
}

impl Shared {
    /// What the operators of a batch, or of a part of it, share.
    pub(super) fn context<'a>(
        &'a self,
        function: &'a TimedFunction<'a>,
        batch_time: BatchTime,
        is_commit: bool,
        counts: BatchCounts,
    ) -> BatchContext<'a> {
        BatchContext {
            batch_time,
            start: self.start,
            is_commit,
            clock: &*self.clock,
            pool: TimedPool::new(&self.pool, &*self.clock),
            function,
            parallelism: self.parallelism,
            counts: Mutex::new(counts),
        }
    }

    /// Computes a front, unless it `is_over`: that is asked before each node and each partition.
    pub(super) fn front(
        &self,
        batch_time: BatchTime,
        mut sources: Vec<SourceBatch>,
        is_over: &(dyn Fn() -> bool + Sync),
    ) -> Result<Front> {
        let function = TimedFunction::new(&*self.function, &*self.clock);
        let context = self.context(&function, batch_time, false, BatchCounts::default());
        let began_us = context.pool.busy_us();
        let mut outputs = Outputs::new(&self.graph);
        for (id, node) in (0..).map(NodeId).zip(&self.graph.plan().nodes).filter(|(id, _)| self.is_front[id.index()]) {
            go_on(batch_time, is_over)?;
            let node = NodeRef { id, node };
            let output = if let Operator::Source(name) = &node.node.operator {
                let at = sources.iter().position(|source| source.name == *name);
                at.map(|at| self.source(&context, node, sources.swap_remove(at))).transpose()?
            } else {
                let input = outputs.take(&node.node.inputs).and_then(|mut inputs| inputs.pop());
                input.map(|input| self.stage(&context, node, input, is_over)).transpose()?.map(Output::Rows)
            };
            outputs.put(id, output);
        }
        let busy_us = context.pool.busy_us().saturating_sub(began_us);
        let counts = context.counts.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Front { outputs, counts, busy_us, guest_us: function.guest_us() })
    }

    /// Splits stay splits when one stage will read them; otherwise they are read here.
    fn source(&self, context: &BatchContext<'_>, node: NodeRef<'_>, source: SourceBatch) -> Result<Output> {
        let plan = self.graph.plan();
        let read_by_stage = match self.graph.consumers(node.id) {
            [only] => matches!(plan.nodes[only.index()].operator, Operator::Stage(_) | Operator::Transform(_)),
            _ => false,
        };
        let source = Arc::new(source);
        if read_by_stage {
            Ok(Output::Splits(source))
        } else {
            self.rows(context, Output::Splits(source)).map(Output::Rows)
        }
    }

    pub(super) fn rows(&self, context: &BatchContext<'_>, output: Output) -> Result<Rows> {
        match output {
            Output::Rows(rows) => Ok(rows),
            Output::Splits(source) => {
                let rows = context.pool.run(source.splits.iter().collect(), |split| {
                    let rows = read(context, &source, split)?;
                    Ok(cut(&crate::shuffle::rename(&source.name, &source.schema, &rows)?))
                })?;
                Ok(Rows::new(partitions(rows.into_iter().flatten().collect())))
            }
        }
    }

    /// Runs a stage, or another component, over its input.
    pub(super) fn stage(
        &self,
        context: &BatchContext<'_>,
        node: NodeRef<'_>,
        input: Output,
        is_over: &(dyn Fn() -> bool + Sync),
    ) -> Result<Rows> {
        let function = context.function;
        match &node.node.operator {
            Operator::Transform(name) => {
                let transform = &self.transforms[name];
                let call = |task: &_, rows: &RecordBatch| function.timed(|| transform.run(task, rows));
                self.run_stage(context, node, input, is_over, call)
            }
            _ => self.run_stage(context, node, input, is_over, |task, rows| function.run_stage(node.id, task, rows)),
        }
    }

    fn run_stage(
        &self,
        context: &BatchContext<'_>,
        node: NodeRef<'_>,
        input: Output,
        is_over: &(dyn Fn() -> bool + Sync),
        call: impl Fn(&millpond_core::TaskInfo, &RecordBatch) -> Result<millpond_core::StageOutput, millpond_core::BoxError>
        + Send
        + Sync,
    ) -> Result<Rows> {
        let on_bad_record = self.on_bad_record;
        let input = match input {
            // How much it will be is only known when it is read: then it may be cut before user code sees it.
            Output::Splits(source) if !source.is_bounded() => Output::Rows(self.rows(context, Output::Splits(source))?),
            other => other,
        };
        match input {
            Output::Rows(rows) => {
                let fetch = |rows: PartitionBatch| {
                    go_on(context.batch_time, is_over)?;
                    Ok(StageInput { rows, place: None })
                };
                stage::run(context, node, rows.partitions, on_bad_record, fetch, call)
            }
            Output::Splits(source) => {
                let fetch = |(partition, split): (PartitionId, &Split)| {
                    go_on(context.batch_time, is_over)?;
                    let rows = read(context, &source, split)?;
                    Ok(StageInput { rows: PartitionBatch { partition, rows }, place: Some(split.place.clone()) })
                };
                stage::run(context, node, numbered(&source.splits), on_bad_record, fetch, call)
            }
        }
    }
}

fn go_on(batch_time: BatchTime, is_over: &dyn Fn() -> bool) -> Result<()> {
    if is_over() { Err(Error::Aborted { batch_time: batch_time.0 }) } else { Ok(()) }
}

fn numbered(splits: &[Split]) -> Vec<(PartitionId, &Split)> {
    (0..).map(PartitionId).zip(splits).collect()
}

/// Reads and decodes one split, in the task that needs its rows.
fn read(context: &BatchContext<'_>, source: &SourceBatch, split: &Split) -> Result<RecordBatch> {
    let began_us = context.clock.monotonic_us();
    let decoded = source.reader.read(split).map_err(Error::port(format!("source `{}`", source.name)))?;
    let decode_us = context.clock.monotonic_us().saturating_sub(began_us);
    if let (OnBadRecord::Fail, Some(bad)) = (source.on_bad_record, decoded.bad_records.first()) {
        return Err(Error::BadRecord {
            source_name: source.name.clone(),
            place: bad.place.clone(),
            reason: bad.reason.clone(),
        });
    }
    context.count(|counts| {
        counts.decode_us += decode_us;
        counts.rows_in += decoded.batch.num_rows() as u64;
        counts.bytes_in += decoded.bytes;
        counts.bad_records += decoded.bad_records.len() as u64;
        let report = |bad: millpond_core::BadRecord| Report::BadRecord {
            source: source.name.clone(),
            place: bad.place,
            reason: bad.reason,
        };
        counts.reports.extend(decoded.bad_records.into_iter().map(report));
    });
    Ok(decoded.batch)
}

#[cfg(test)]
mod tests {
    use millpond_testkit::rows::lines;

    use super::*;

    #[test]
    fn large_batches_are_cut_and_small_ones_are_not() {
        let large = "x".repeat(PARTITION_BYTES_MAX / 2);
        let rows = lines(&[&large, &large, &large, &large, "end"]);
        let pieces = cut(&rows);
        assert_eq!(pieces.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(cut(&lines(&["a", "b"])).len(), 1);
        assert_eq!(cut(&lines(&[])).len(), 1);
    }
}
