//! One batch through the graph, node by node; the tasks of a node run at the same time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millpond_core::batch::{partitions, row_count};
use millpond_core::receiver::{Poll, SplitReader};
use millpond_core::{
    BatchTime, NodeId, Operator, OutputMode, PartitionBatch, PartitionId, PhaseTimes, Report, SinkBatch, Split,
    StopSignal,
};

use super::{Evaluated, JobRunner, Operation, Polled};
use crate::OnBadRecord;
use crate::error::{Error, Result};
use crate::operators::stage::{self, StageInput};
use crate::operators::window::memory;
use crate::operators::{
    BatchContext, BatchCounts, NodeRef, PARTITION_BYTES_MAX, Rows, TimedPool, group, join, reduce, repartition, sink,
    sort, take, union, whole_batch,
};

/// A batch on its way: rows, or splits that the next stage will read.
#[derive(Clone)]
enum Output {
    Rows(Rows),
    Splits(Arc<SourceBatch>),
}

/// A source's splits of one batch.
struct SourceBatch {
    name: String,
    schema: SchemaRef,
    reader: Arc<dyn SplitReader>,
    splits: Vec<Split>,
    on_bad_record: OnBadRecord,
}

impl SourceBatch {
    /// Whether every split is known to be small enough for one call.
    fn is_bounded(&self) -> bool {
        // A split ends at the first record end past its own, so it may be a little more.
        let fits = |split: &Split| split.bytes.is_some_and(|bytes| bytes <= 2 * PARTITION_BYTES_MAX as u64);
        self.splits.iter().all(fits)
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

impl JobRunner {
    /// Runs all nodes.
    pub(super) fn evaluate(&mut self, batch_time: BatchTime, polled: Polled, stop: &StopSignal) -> Result<Evaluated> {
        self.take_progress();
        let (pool, clock) = (Arc::clone(&self.pool), Arc::clone(&self.clock));
        let function = Arc::clone(&self.function);
        let graph = Arc::clone(&self.graph);
        let context = BatchContext {
            batch_time,
            start: self.start,
            is_commit: self.pending.batches + 1 >= self.options.commit_every,
            clock: &*clock,
            pool: TimedPool::new(&pool, &*clock),
            function: &*function,
            parallelism: self.options.parallelism,
            counts: Mutex::new(BatchCounts::default()),
        };
        let (began_us, guest_before_us) = (context.pool.busy_us(), self.guest_us());
        let mut deliveries = Vec::new();
        let mut sources = self.source_batches(polled);
        let mut outputs: Vec<Option<Output>> = Vec::with_capacity(graph.plan().nodes.len());
        let mut users: Vec<usize> =
            (0..).map(NodeId).take(graph.plan().nodes.len()).map(|id| graph.consumers(id).len()).collect();
        for (id, node) in (0..).map(NodeId).zip(&graph.plan().nodes) {
            if stop.is_abort() {
                return Err(Error::Aborted { batch_time: batch_time.0 });
            }
            let mut inputs = Vec::with_capacity(node.inputs.len());
            for input in &node.inputs {
                users[input.index()] -= 1;
                // The last user takes the rows away, so that memory is free as soon as it can be.
                let output = &mut outputs[input.index()];
                inputs.push(if users[input.index()] == 0 { output.take() } else { output.clone() });
            }
            let node = NodeRef { id, node };
            let output = if let Operator::Source(name) = &node.node.operator {
                let at = sources.iter().position(|source| source.name == *name);
                at.map(|at| self.source(&context, node, sources.swap_remove(at))).transpose()?
            } else {
                // One input that gives nothing at this time, and the node gives nothing.
                match inputs.into_iter().collect::<Option<Vec<Output>>>() {
                    Some(inputs) => match &node.node.operator {
                        Operator::Sink(name) => {
                            deliveries.extend(self.sink(&context, node, name, inputs)?);
                            None
                        }
                        _ => self.node(&context, node, inputs)?.map(Output::Rows),
                    },
                    None => None,
                }
            };
            outputs.push(output);
        }
        let busy_us = context.pool.busy_us().saturating_sub(began_us);
        let guest_us = self.guest_us().saturating_sub(guest_before_us);
        let counts = context.counts.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (decode_us, shuffle_us) = (counts.decode_us, counts.shuffle_us);
        // All other work is that of the host's operators.
        let state_us = busy_us.saturating_sub(decode_us + shuffle_us + guest_us);
        let phases = PhaseTimes { decode_us, guest_us, shuffle_us, state_us, ..PhaseTimes::default() };
        Ok(Evaluated { counts, phases, outputs: deliveries })
    }

    pub(super) fn take_progress(&mut self) {
        for source in &mut self.sources {
            let entries = source.receiver.take_progress();
            if !entries.is_empty() {
                self.pending.progress.entry(source.name.clone()).or_default().extend(entries);
            }
        }
    }

    fn source_batches(&self, polled: Polled) -> Vec<SourceBatch> {
        let schemas: BTreeMap<&str, &SchemaRef> = self.graph.sources().into_iter().collect();
        let batch = |(source, poll): (&super::Source, Poll)| {
            // A source that the plan does not name gives no rows to anyone.
            let schema = Arc::clone(schemas.get(source.name.as_str())?);
            Some(SourceBatch {
                name: source.name.clone(),
                schema,
                reader: source.receiver.reader(),
                splits: poll.splits,
                on_bad_record: source.on_bad_record,
            })
        };
        self.sources.iter().zip(polled).filter_map(batch).collect()
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

    fn rows(&self, context: &BatchContext<'_>, output: Output) -> Result<Rows> {
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

    fn node(&mut self, context: &BatchContext<'_>, node: NodeRef<'_>, mut inputs: Vec<Output>) -> Result<Option<Rows>> {
        let operator = node.node.operator.clone();
        match operator {
            Operator::Stage(_) => {
                let function = context.function;
                let call = |task: &_, rows: &RecordBatch| function.run_stage(node.id, task, rows);
                return self.stage(context, node, inputs.remove(0), call).map(Some);
            }
            Operator::Transform(name) => {
                let transform = Arc::clone(&self.transforms[&name]);
                let call = |task: &_, rows: &RecordBatch| transform.run(task, rows);
                return self.stage(context, node, inputs.remove(0), call).map(Some);
            }
            _ => {}
        }
        if operator == Operator::StateSnapshots
            && let Operation::MapWithState(state) = &self.operators[node.node.inputs[0].index()]
        {
            // Nodes run in order, so the state is that after this batch.
            return state.snapshots(context, node).map(Some);
        }
        let mut inputs = inputs.into_iter().map(|input| self.rows(context, input)).collect::<Result<Vec<_>>>()?;
        let with_nodes = |inputs: Vec<Rows>| {
            let nodes = node.node.inputs.iter().map(|input| &self.graph.plan().nodes[input.index()]);
            nodes.zip(inputs).collect::<Vec<_>>()
        };
        match &operator {
            Operator::Union => return union::run(node, inputs).map(Some),
            Operator::Join(settings) => return join::run(context, node, with_nodes(inputs), settings).map(Some),
            Operator::Group => return group::run(context, node, with_nodes(inputs)).map(Some),
            _ => {}
        }
        if let Operator::WholeBatch(_) = operator {
            let schema = |input: &NodeId| Arc::clone(&self.graph.plan().nodes[input.index()].schema);
            let schemas: Vec<SchemaRef> = node.node.inputs.iter().map(schema).collect();
            return whole_batch::run(context, node, &schemas, &inputs).map(Some);
        }
        let input = inputs.remove(0);
        match (&operator, &mut self.operators[node.id.index()]) {
            // The rows are merged where they go.
            (Operator::Reduce(_), _) if self.graph.merged_in_state(node.id).is_some() => Ok(Some(input)),
            (Operator::Reduce(settings), _) => reduce::run(context, node, input, settings).map(Some),
            (Operator::Sort(settings), _) => sort::run(node, &input, settings).map(Some),
            (Operator::Take(rows), _) => take::run(node, &input, *rows).map(Some),
            (Operator::Repartition(count), _) => repartition::run(context, node, &input, *count).map(Some),
            (_, Operation::Broadcast(broadcast)) => broadcast.run(context, &input).map(|()| None),
            (_, Operation::Window(window)) => window.run(context, node, input),
            (_, Operation::ReduceWindow(window)) => window.run(context, node, input),
            (_, Operation::ReduceSession(sessions)) => sessions.run(context, node, input).map(Some),
            (_, Operation::MapWithState(state)) => {
                let above = &self.graph.plan().nodes[node.node.inputs[0].index()];
                state.run(context, node, above, input).map(Some)
            }
            (_, Operation::UpdateState(state)) => {
                let above = node.node.inputs[0];
                let merges = self.graph.merged_in_state(above);
                state.run(context, node, &self.graph.plan().nodes[above.index()], input, merges).map(Some)
            }
            (other, _) => unreachable!("{} nodes are handled above", other.kind()),
        }
    }

    fn stage(
        &self,
        context: &BatchContext<'_>,
        node: NodeRef<'_>,
        input: Output,
        call: impl Fn(&millpond_core::TaskInfo, &RecordBatch) -> Result<millpond_core::StageOutput, millpond_core::BoxError>
        + Send
        + Sync,
    ) -> Result<Rows> {
        let on_bad_record = self.options.on_bad_record;
        let input = match input {
            // How much it will be is only known when it is read: then it may be cut before user code sees it.
            Output::Splits(source) if !source.is_bounded() => Output::Rows(self.rows(context, Output::Splits(source))?),
            other => other,
        };
        match input {
            Output::Rows(rows) => {
                let fetch = |rows: PartitionBatch| Ok(StageInput { rows, place: None });
                stage::run(context, node, rows.partitions, on_bad_record, fetch, call)
            }
            Output::Splits(source) => {
                let fetch = |(partition, split): (PartitionId, &Split)| {
                    let rows = read(context, &source, split)?;
                    Ok(StageInput { rows: PartitionBatch { partition, rows }, place: Some(split.place.clone()) })
                };
                stage::run(context, node, numbered(&source.splits), on_bad_record, fetch, call)
            }
        }
    }

    /// What the sink is to be given, if anything.
    fn sink(
        &mut self,
        context: &BatchContext<'_>,
        node: NodeRef<'_>,
        name: &str,
        mut inputs: Vec<Output>,
    ) -> Result<Option<(String, SinkBatch)>> {
        let mut rows = sink::renamed(node, self.rows(context, inputs.remove(0))?)?;
        if let Operation::UpdateFilter(filter) = &mut self.operators[node.id.index()] {
            rows = filter.changed(rows)?;
        }
        let count = row_count(&rows);
        context.count(|counts| counts.rows_out += count as u64);
        if count == 0 && self.modes[name] != OutputMode::Complete {
            return Ok(None);
        }
        let batch =
            SinkBatch { batch_time: context.batch_time, schema: Arc::clone(&node.node.schema), partitions: rows };
        Ok(Some((name.to_owned(), batch)))
    }
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
