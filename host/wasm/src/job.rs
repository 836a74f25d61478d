//! A component of world `job`, as the engine sees it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use millpond_core::accumulator::Update;
use millpond_core::function::FunctionUsage;
use millpond_core::{
    Accumulator, BoxError, MapOutput, Node, NodeId, Operator, Plan, StageOutput, TaskInfo, UpdateInput, UpdateOutput,
    UserFunction,
};
use wasmtime::Store;
use wasmtime::component::Instance;

use crate::bindings::job::Job;
use crate::bindings::job::exports::millpond::plugin::job_guest as exports;
use crate::bindings::job::millpond::plugin::{dataflow, types};
use crate::call::HostState;
use crate::convert::lower::{LowerError, Lowered};
use crate::convert::{lift, lower, plan};
use crate::engine::WasmEngine;
use crate::error::{Error, Place, Result};
use crate::load::{LoadOptions, World};
use crate::pool::{Guest, Pool};

/// A job's component: its plan, and its functions over a pool of instances. Clones share the pool.
#[derive(Clone)]
pub struct JobComponent {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool<JobGuest>,
    /// By node: the columns behind the key.
    value_schemas: Vec<SchemaRef>,
}

impl WasmEngine {
    /// Loads a job: checks the component, compiles it, makes one instance and asks it for its plan.
    ///
    /// **Errors**: `MP0201` to `MP0206` for a component that is none, of another version or world, that imports what it may
    /// not, that does not compile or refuses its settings; `MP0401` and `MP0402` for a plan with wrong sizes or names; those
    /// of a call for a component that fails while it is asked.
    pub fn load_job(&self, options: &LoadOptions, component: &[u8]) -> Result<JobComponent> {
        let pool = Pool::<JobGuest>::load(self, options, component)?;
        let plan = pool.contract();
        let value_schemas = plan.nodes.iter().map(|node| value_schema(plan, node)).collect();
        Ok(JobComponent { inner: Arc::new(Inner { pool, value_schemas }) })
    }
}

/// The columns behind the key: of a node's rows, or of its states where those are something else.
fn value_schema(plan: &Plan, node: &Node) -> SchemaRef {
    let (schema, key_columns) = match &node.operator {
        Operator::MapWithState(map) => {
            let input = node.inputs.first().and_then(|input| plan.nodes.get(input.index()));
            (&map.state, input.map_or(0, |input| input.key_columns))
        }
        // Its last two columns are times, of which the component knows nothing.
        Operator::ReduceSession(_) => {
            let fields = node.schema.fields();
            let values = fields.iter().take(fields.len().saturating_sub(2)).skip(node.key_columns).cloned();
            return Arc::new(Schema::new(values.collect::<Vec<_>>()));
        }
        _ => (&node.schema, node.key_columns),
    };
    let values = schema.fields().iter().skip(key_columns).cloned();
    Arc::new(Schema::new(values.collect::<Vec<_>>()))
}

impl JobComponent {
    /// The dataflow.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        self.inner.pool.contract()
    }

    /// From now on, also for clones, each call gets a fresh instance: what a plugin keeps in its memory between calls is lost, so a test
    /// sees whether it matters.
    pub fn never_reuse_instances(&self) {
        self.inner.pool.never_reuse();
    }

    /// Where a call takes place, the node's columns and those behind its key.
    fn node(&self, export: &'static str, node: NodeId, task: &TaskInfo) -> Result<(Place, &SchemaRef, &SchemaRef)> {
        let found = self.plan().nodes.get(node.index()).zip(self.inner.value_schemas.get(node.index()));
        let place = self.inner.pool.place(export, found.map(|(node, _)| node.name.as_str()), task);
        match found {
            Some((node, values)) => Ok((place, &node.schema, values)),
            None => Err(internal(&place, format!("the plan has no node {node}"))),
        }
    }

    fn try_run_stage(&self, node: NodeId, task: &TaskInfo, input: &RecordBatch) -> Result<StageOutput> {
        let (place, schema, _) = self.node("run-stage", node, task)?;
        let lowered = cross(&place, input)?;
        let columns = lowered.columns();
        self.inner.pool.call(
            &place,
            |guest, store| guest.0.call_run_stage(store, node.0, lower::task(task), lowered.batch(&columns)),
            |raw| lift::stage_output(&place, schema, input.num_rows(), raw),
        )
    }

    fn try_merge(&self, node: NodeId, task: &TaskInfo, groups: &[u32], values: &RecordBatch) -> Result<RecordBatch> {
        let (place, _, schema) = self.node("merge", node, task)?;
        let lowered = cross(&place, values)?;
        let columns = lowered.columns();
        self.inner.pool.call(
            &place,
            |guest, store| guest.0.call_merge(store, node.0, lower::task(task), groups, lowered.batch(&columns)),
            |raw| lift::batch(&place, schema, Some(groups.len().saturating_sub(1)), raw),
        )
    }

    fn try_subtract(
        &self,
        node: NodeId,
        task: &TaskInfo,
        totals: &RecordBatch,
        leaving: &RecordBatch,
    ) -> Result<RecordBatch> {
        let (place, _, schema) = self.node("subtract", node, task)?;
        let lowered = [cross(&place, totals)?, cross(&place, leaving)?];
        let columns = lowered.each_ref().map(Lowered::columns);
        let [totals_raw, leaving_raw] = [0, 1].map(|side| lowered[side].batch(&columns[side]));
        self.inner.pool.call(
            &place,
            |guest, store| guest.0.call_subtract(store, node.0, lower::task(task), totals_raw, leaving_raw),
            |raw| lift::batch(&place, schema, Some(totals.num_rows()), raw),
        )
    }

    fn try_update(&self, node: NodeId, task: &TaskInfo, input: &UpdateInput) -> Result<UpdateOutput> {
        let (place, _, schema) = self.node("update", node, task)?;
        let lowered = [cross(&place, &input.keys)?, cross(&place, &input.values)?, cross(&place, &input.states)?];
        let columns = lowered.each_ref().map(Lowered::columns);
        let [keys, values, states] = [0, 1, 2].map(|side| lowered[side].batch(&columns[side]));
        let present = lower::flags(&input.present);
        let raw = exports::UpdateInput { keys, groups: &input.groups, values, states, present: &present };
        let rows = input.present.len();
        self.inner.pool.call(
            &place,
            |guest, store| guest.0.call_update(store, node.0, lower::task(task), raw),
            |raw| {
                let keep = lift::flags(&place, "the flags `keep`", rows, raw.keep)?;
                Ok(UpdateOutput { states: lift::batch(&place, schema, Some(rows), raw.states)?, keep })
            },
        )
    }

    fn try_map_with_state(&self, node: NodeId, task: &TaskInfo, input: &UpdateInput) -> Result<MapOutput> {
        let (place, schema, states) = self.node("map-with-state", node, task)?;
        let lowered = [cross(&place, &input.keys)?, cross(&place, &input.values)?, cross(&place, &input.states)?];
        let columns = lowered.each_ref().map(Lowered::columns);
        let [keys, values, state_rows] = [0, 1, 2].map(|side| lowered[side].batch(&columns[side]));
        let present = lower::flags(&input.present);
        let raw = exports::UpdateInput { keys, groups: &input.groups, values, states: state_rows, present: &present };
        let (groups, calls) = (input.present.len(), MapOutput::calls(input));
        self.inner.pool.call(
            &place,
            |guest, store| guest.0.call_map_with_state(store, node.0, lower::task(task), raw),
            |raw| {
                let output = MapOutput {
                    mapped: lift::flags(&place, "the flags `mapped`", calls, raw.mapped)?,
                    keep: lift::flags(&place, "the flags `keep`", groups, raw.keep)?,
                    written: lift::flags(&place, "the flags `written`", groups, raw.written)?,
                    rows: lift::batch(&place, schema, None, raw.rows)?,
                    states: lift::batch(&place, states, Some(groups), raw.states)?,
                };
                match output.check(input) {
                    Ok(()) => Ok(output),
                    Err(reason) => Err(Error::Malformed { place: Box::new(place.clone()), reason }),
                }
            },
        )
    }

    fn try_run_batch(&self, node: NodeId, task: &TaskInfo, inputs: &[RecordBatch]) -> Result<RecordBatch> {
        let (place, schema, _) = self.node("run-batch", node, task)?;
        let lowered = inputs.iter().map(|input| cross(&place, input)).collect::<Result<Vec<_>>>()?;
        let columns: Vec<_> = lowered.iter().map(Lowered::columns).collect();
        let raw: Vec<_> = lowered.iter().zip(&columns).map(|(input, columns)| input.batch(columns)).collect();
        self.inner.pool.call(
            &place,
            |guest, store| guest.0.call_run_batch(store, node.0, lower::task(task), &raw),
            |raw| lift::batch(&place, schema, None, raw),
        )
    }

    #[cfg(test)]
    pub(crate) fn idle(&self) -> usize {
        self.inner.pool.idle()
    }

    #[cfg(test)]
    pub(crate) fn pretend(&mut self, plan: Plan) {
        Arc::get_mut(&mut self.inner).expect("not shared in a test").pool.pretend(plan);
    }
}

impl UserFunction for JobComponent {
    fn run_stage(&self, node: NodeId, task: &TaskInfo, input: &RecordBatch) -> Result<StageOutput, BoxError> {
        Ok(self.try_run_stage(node, task, input)?)
    }

    fn merge(
        &self,
        node: NodeId,
        task: &TaskInfo,
        groups: &[u32],
        values: &RecordBatch,
    ) -> Result<RecordBatch, BoxError> {
        Ok(self.try_merge(node, task, groups, values)?)
    }

    fn subtract(
        &self,
        node: NodeId,
        task: &TaskInfo,
        totals: &RecordBatch,
        leaving: &RecordBatch,
    ) -> Result<RecordBatch, BoxError> {
        Ok(self.try_subtract(node, task, totals, leaving)?)
    }

    fn update(&self, node: NodeId, task: &TaskInfo, input: &UpdateInput) -> Result<UpdateOutput, BoxError> {
        Ok(self.try_update(node, task, input)?)
    }

    fn run_batch(&self, node: NodeId, task: &TaskInfo, inputs: &[RecordBatch]) -> Result<RecordBatch, BoxError> {
        Ok(self.try_run_batch(node, task, inputs)?)
    }

    fn set_broadcast(&self, number: usize, value: &RecordBatch) -> Result<(), BoxError> {
        let broadcast = self.plan().broadcasts.get(number).map_or("", |broadcast| broadcast.name.as_str());
        Ok(self.inner.pool.set_broadcast(number, broadcast, value)?)
    }

    fn take_updates(&self) -> Vec<Update> {
        self.inner.pool.take_updates()
    }

    fn map_with_state(&self, node: NodeId, task: &TaskInfo, input: &UpdateInput) -> Result<MapOutput, BoxError> {
        Ok(self.try_map_with_state(node, task, input)?)
    }

    fn usage(&self) -> FunctionUsage {
        self.inner.pool.usage()
    }
}

/// A batch ready to cross, or why it cannot.
pub(crate) fn cross<'a>(place: &Place, batch: &'a RecordBatch) -> Result<Lowered<'a>> {
    Lowered::try_new(batch).map_err(|error| match error {
        LowerError::TooManyRows(rows) => Error::TooManyRows { place: Box::new(place.clone()), rows, max: u32::MAX },
        LowerError::UnsupportedType { column, data_type } => {
            internal(place, format!("column `{column}` is {data_type}, which the contract does not have"))
        }
    })
}

fn internal(place: &Place, reason: String) -> Error {
    Error::Internal { place: Box::new(place.clone()), reason }
}

/// The exports of one instance.
struct JobGuest(exports::Guest);

impl Guest for JobGuest {
    type Contract = Plan;
    type Raw = dataflow::Plan;
    const WORLD: World = World::Job;
    const DESCRIBE: &'static str = "plan";

    fn bind(store: &mut Store<HostState>, instance: &Instance) -> wasmtime::Result<Self> {
        Ok(Self(Job::new(store, instance)?.millpond_plugin_job_guest().clone()))
    }

    fn describe(
        &self,
        store: &mut Store<HostState>,
        params: &[types::Param<'_>],
    ) -> wasmtime::Result<Result<dataflow::Plan, String>> {
        self.0.call_plan(store, params)
    }

    fn contract(place: &Place, raw: dataflow::Plan) -> Result<Plan> {
        plan::plan(place, raw)
    }

    fn set_broadcast(
        &self,
        store: &mut Store<HostState>,
        number: u32,
        value: &Lowered<'_>,
    ) -> wasmtime::Result<Result<(), types::Failure>> {
        let columns = value.columns();
        self.0.call_set_broadcast(store, number, value.batch(&columns))
    }

    fn accumulators(plan: &Plan) -> &[Accumulator] {
        &plan.accumulators
    }

    fn difference(first: &Plan, other: &Plan) -> String {
        if first.accumulators != other.accumulators {
            return "the accumulators changed".into();
        }
        if first.broadcasts != other.broadcasts {
            return "the broadcasts changed".into();
        }
        if first.nodes.len() != other.nodes.len() {
            return format!("{} nodes, then {}", first.nodes.len(), other.nodes.len());
        }
        let differs = first.nodes.iter().zip(&other.nodes).find(|(first, other)| first != other);
        differs.map_or_else(|| "nothing".into(), |(node, _)| format!("node `{}` changed", node.name))
    }
}
