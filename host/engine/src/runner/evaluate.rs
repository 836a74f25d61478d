//! One batch through the graph, node by node, behind its front; the tasks of a node run at the same time.

use std::sync::{Arc, PoisonError};

use arrow::datatypes::SchemaRef;
use millpond_core::batch::row_count;
use millpond_core::{BatchTime, NodeId, Operator, OutputMode, PhaseTimes, SinkBatch, StopSignal};

use super::front::{Front, Output, Shared};
use super::{Evaluated, JobRunner, Operation};
use crate::error::{Error, Result};
use crate::operators::timed::TimedFunction;
use crate::operators::{
    BatchContext, NodeRef, Rows, group, join, reduce, repartition, sink, sort, take, union, whole_batch,
};

impl JobRunner {
    /// Runs all nodes behind the front.
    pub(super) fn evaluate(&mut self, batch_time: BatchTime, front: Front, stop: &StopSignal) -> Result<Evaluated> {
        let Front { mut outputs, counts, busy_us: front_busy_us, guest_us: front_guest_us } = front;
        let shared = Arc::clone(&self.shared);
        let function = TimedFunction::new(&*shared.function, &*shared.clock);
        let is_commit = self.pending.batches + 1 >= self.options.commit_every;
        let context = shared.context(&function, batch_time, is_commit, counts);
        let began_us = context.pool.busy_us();
        let mut deliveries = Vec::new();
        let nodes = (0..).map(NodeId).zip(&shared.graph.plan().nodes);
        for (id, node) in nodes.filter(|(id, _)| !shared.is_front[id.index()]) {
            if stop.is_abort() {
                return Err(Error::Aborted { batch_time: batch_time.0 });
            }
            let node = NodeRef { id, node };
            let Some(inputs) = outputs.take(&node.node.inputs) else { continue };
            if let Operator::Sink(name) = &node.node.operator {
                deliveries.extend(self.sink(&context, node, name, inputs)?);
            } else {
                outputs.put(id, self.node(&shared, &context, node, inputs, stop)?.map(Output::Rows));
            }
        }
        let busy_us = front_busy_us + context.pool.busy_us().saturating_sub(began_us);
        let guest_us = front_guest_us + function.guest_us();
        let counts = context.counts.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (decode_us, shuffle_us) = (counts.decode_us, counts.shuffle_us);
        // All other work is that of the host's operators.
        let state_us = busy_us.saturating_sub(decode_us + shuffle_us + guest_us);
        let phases = PhaseTimes { decode_us, guest_us, shuffle_us, state_us, ..PhaseTimes::default() };
        Ok(Evaluated { counts, phases, outputs: deliveries })
    }

    fn node(
        &mut self,
        shared: &Shared,
        context: &BatchContext<'_>,
        node: NodeRef<'_>,
        mut inputs: Vec<Output>,
        stop: &StopSignal,
    ) -> Result<Option<Rows>> {
        let operator = &node.node.operator;
        if let Operator::Stage(_) | Operator::Transform(_) = operator {
            return shared.stage(context, node, inputs.remove(0), &|| stop.is_abort()).map(Some);
        }
        if *operator == Operator::StateSnapshots
            && let Operation::MapWithState(state) = &self.operators[node.node.inputs[0].index()]
        {
            // Nodes run in order, so the state is that after this batch.
            return state.snapshots(context, node).map(Some);
        }
        let mut inputs = inputs.into_iter().map(|input| shared.rows(context, input)).collect::<Result<Vec<_>>>()?;
        let with_nodes = |inputs: Vec<Rows>| {
            let nodes = node.node.inputs.iter().map(|input| &shared.graph.plan().nodes[input.index()]);
            nodes.zip(inputs).collect::<Vec<_>>()
        };
        match operator {
            Operator::Union => return union::run(node, inputs).map(Some),
            Operator::Join(settings) => return join::run(context, node, with_nodes(inputs), settings).map(Some),
            Operator::Group => return group::run(context, node, with_nodes(inputs)).map(Some),
            _ => {}
        }
        if let Operator::WholeBatch(_) = operator {
            let schema = |input: &NodeId| Arc::clone(&shared.graph.plan().nodes[input.index()].schema);
            let schemas: Vec<SchemaRef> = node.node.inputs.iter().map(schema).collect();
            return whole_batch::run(context, node, &schemas, &inputs).map(Some);
        }
        let input = inputs.remove(0);
        match (operator, &mut self.operators[node.id.index()]) {
            // The rows are merged where they go.
            (Operator::Reduce(_), _) if shared.graph.merged_in_state(node.id).is_some() => Ok(Some(input)),
            (Operator::Reduce(settings), _) => reduce::run(context, node, input, settings).map(Some),
            (Operator::Sort(settings), _) => sort::run(node, &input, settings).map(Some),
            (Operator::Take(rows), _) => take::run(node, &input, *rows).map(Some),
            (Operator::Repartition(count), _) => repartition::run(context, node, &input, *count).map(Some),
            (_, Operation::Broadcast(broadcast)) => broadcast.run(context, &input).map(|()| None),
            (_, Operation::Window(window)) => window.run(context, node, input),
            (_, Operation::ReduceWindow(window)) => window.run(context, node, input),
            (_, Operation::ReduceSession(sessions)) => sessions.run(context, node, input).map(Some),
            (_, Operation::MapWithState(state)) => {
                let above = &shared.graph.plan().nodes[node.node.inputs[0].index()];
                state.run(context, node, above, input).map(Some)
            }
            (_, Operation::UpdateState(state)) => {
                let above = node.node.inputs[0];
                let merges = shared.graph.merged_in_state(above);
                state.run(context, node, &shared.graph.plan().nodes[above.index()], input, merges).map(Some)
            }
            (other, _) => unreachable!("{} nodes are handled above", other.kind()),
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
        let mut rows = sink::renamed(node, self.shared.rows(context, inputs.remove(0))?)?;
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
