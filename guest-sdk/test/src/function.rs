//! A native job as the engine's user function. It fails as the job's component would: a panic of a closure is an error of the job, and
//! not one of the host.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Schema, SchemaRef};
use millpond::runtime::{self, Failure, Param};
use millpond::{Job, Transform};
use millpond_core::accumulator::{Ledger, Update};
use millpond_core::function::FunctionUsage;
use millpond_core::{
    BoxError, Classify, Code, Domain, MapOutput, NodeId, Operator, Plan, Rejection, StageOutput, TaskInfo,
    TransformFunction, UpdateInput, UpdateOutput, UserFunction,
};

use crate::convert;

/// Calls a job's code in this process.
pub(crate) struct NativeFunction {
    job: Job,
    plan: Plan,
    ledger: Ledger,
}

impl NativeFunction {
    /// Plans the job anew, as every instance of a component does.
    pub(crate) fn try_new(job: &Job, params: &[Param]) -> Result<Self, String> {
        let job = job.again();
        let plan = convert::plan(job.plan(params)?);
        Ok(Self { job, plan, ledger: Ledger::default() })
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Calls the job for a node. A failure names the node; after an answer, what the call had for accumulators is noted.
    fn call<T>(
        &self,
        node: NodeId,
        info: &TaskInfo,
        call: impl FnOnce(&Job, &runtime::TaskInfo) -> Result<T, Failure>,
    ) -> Result<T, BoxError> {
        let name = &self.plan.nodes[node.index()].name;
        let answer = guarded(format_args!("node `{name}`"), || call(&self.job, &task(info)));
        let updates = runtime::take_updates();
        let answer = answer?;
        self.ledger.note(name, info.partition, updates.into_iter().map(convert::update).collect());
        Ok(answer)
    }

    /// The value columns of a node.
    fn values(&self, node: NodeId) -> SchemaRef {
        let node = &self.plan.nodes[node.index()];
        let mut fields = node.schema.fields()[node.key_columns..].to_vec();
        if let Operator::ReduceSession(_) = node.operator {
            // The times of a session are the host's.
            fields.truncate(fields.len() - 2);
        }
        Arc::new(Schema::new(fields))
    }

    /// The state columns of a node that maps with state.
    fn states(&self, node: NodeId) -> SchemaRef {
        let node = &self.plan.nodes[node.index()];
        let Operator::MapWithState(map) = &node.operator else { return Arc::clone(&node.schema) };
        let key_columns = self.plan.nodes[node.inputs[0].index()].key_columns;
        Arc::new(Schema::new(map.state.fields()[key_columns..].to_vec()))
    }
}

/// A native transform as the engine's.
pub(crate) struct NativeTransform {
    name: String,
    transform: Transform,
    input: SchemaRef,
    output: SchemaRef,
}

impl NativeTransform {
    pub(crate) fn try_new(name: &str, transform: &Transform, params: &[Param]) -> Result<Self, String> {
        let transform = transform.again();
        let signature = transform.describe(params)?;
        let (input, output) = (convert::schema(signature.input), convert::schema(signature.output));
        Ok(Self { name: name.to_owned(), transform, input, output })
    }
}

impl TransformFunction for NativeTransform {
    fn input_schema(&self) -> SchemaRef {
        Arc::clone(&self.input)
    }

    fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.output)
    }

    fn run(&self, info: &TaskInfo, input: &RecordBatch) -> Result<StageOutput, BoxError> {
        let place = format_args!("transform `{}`", self.name);
        let output = guarded(place, || self.transform.run(&task(info), convert::to_wire(input)));
        stage_output(&self.output, output?)
    }

    fn usage(&self) -> FunctionUsage {
        FunctionUsage::default()
    }
}

fn update_input(input: &UpdateInput) -> runtime::UpdateInput {
    runtime::UpdateInput {
        keys: convert::to_wire(&input.keys),
        groups: input.groups.clone(),
        values: convert::to_wire(&input.values),
        states: convert::to_wire(&input.states),
        present: convert::bitmap(input.present.values()),
    }
}

fn stage_output(schema: &SchemaRef, output: runtime::StageOutput) -> Result<StageOutput, BoxError> {
    let rejection = |rejection: runtime::Rejection| Rejection { row: rejection.row, reason: rejection.reason };
    let rejected = output.rejected.into_iter().map(rejection).collect();
    Ok(StageOutput { batch: back(schema, output.batch)?, rejected })
}

/// Calls the job's code. What it keeps between calls is as it was before a call that panicked.
fn guarded<T>(place: fmt::Arguments<'_>, call: impl FnOnce() -> Result<T, Failure>) -> Result<T, BoxError> {
    let failure = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(failure)) => JobFailure::Refused(format!("{place}: {}", failure.message)),
        Err(panic) => JobFailure::Panicked { place: place.to_string(), message: panic_message(&*panic) },
    };
    Err(failure.into())
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// A failure of the job's code.
#[derive(Debug)]
enum JobFailure {
    /// A call returned a failure, or an answer that cannot be.
    Refused(String),
    /// A call panicked. The component would trap.
    Panicked {
        /// The node or the transform.
        place: String,
        /// The panic's message.
        message: String,
    },
}

impl fmt::Display for JobFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(message) => f.write_str(message),
            Self::Panicked { place, message } => write!(f, "{place}: the job's code panicked: {message}"),
        }
    }
}

impl std::error::Error for JobFailure {}

impl Classify for JobFailure {
    fn code(&self) -> Code {
        Code(match self {
            Self::Refused(_) => "MP0309",
            Self::Panicked { .. } => "MP0301",
        })
    }

    fn domain(&self) -> Domain {
        Domain::User
    }
}

fn back(schema: &SchemaRef, batch: runtime::Batch) -> Result<RecordBatch, BoxError> {
    convert::from_wire(schema, batch).map_err(|reason| JobFailure::Refused(reason).into())
}

fn task(task: &TaskInfo) -> runtime::TaskInfo {
    runtime::TaskInfo {
        batch_time_ms: task.batch_time.0,
        partition: task.partition.0,
        partitions: task.partitions,
        attempt: task.attempt,
    }
}

impl UserFunction for NativeFunction {
    fn run_stage(&self, node: NodeId, info: &TaskInfo, input: &RecordBatch) -> Result<StageOutput, BoxError> {
        let output = self.call(node, info, |job, task| job.run_stage(node.0, task, convert::to_wire(input)))?;
        stage_output(&self.plan.nodes[node.index()].schema, output)
    }

    fn merge(
        &self,
        node: NodeId,
        info: &TaskInfo,
        groups: &[u32],
        values: &RecordBatch,
    ) -> Result<RecordBatch, BoxError> {
        let merged = self.call(node, info, |job, task| job.merge(node.0, task, groups, convert::to_wire(values)))?;
        back(&self.values(node), merged)
    }

    fn subtract(
        &self,
        node: NodeId,
        info: &TaskInfo,
        totals: &RecordBatch,
        leaving: &RecordBatch,
    ) -> Result<RecordBatch, BoxError> {
        let (totals, leaving) = (convert::to_wire(totals), convert::to_wire(leaving));
        let left = self.call(node, info, |job, task| job.subtract(node.0, task, totals, leaving))?;
        back(&self.values(node), left)
    }

    fn update(&self, node: NodeId, info: &TaskInfo, input: &UpdateInput) -> Result<UpdateOutput, BoxError> {
        let output = self.call(node, info, |job, task| job.update(node.0, task, update_input(input)))?;
        let groups = input.present.len();
        let keep = BooleanBuffer::new(output.keep.into(), 0, groups);
        Ok(UpdateOutput { states: back(&self.values(node), output.states)?, keep: BooleanArray::new(keep, None) })
    }

    fn run_batch(&self, node: NodeId, info: &TaskInfo, inputs: &[RecordBatch]) -> Result<RecordBatch, BoxError> {
        let inputs = inputs.iter().map(convert::to_wire).collect();
        let batch = self.call(node, info, |job, task| job.run_batch(node.0, task, inputs))?;
        back(&self.plan.nodes[node.index()].schema, batch)
    }

    fn set_broadcast(&self, number: usize, value: &RecordBatch) -> Result<(), BoxError> {
        let number = u32::try_from(number).expect("a plan has few broadcasts");
        // The caller names the broadcast.
        guarded(format_args!("set-broadcast"), || self.job.set_broadcast(number, convert::to_wire(value)))
    }

    fn take_updates(&self) -> Vec<Update> {
        self.ledger.take()
    }

    fn map_with_state(&self, node: NodeId, info: &TaskInfo, input: &UpdateInput) -> Result<MapOutput, BoxError> {
        let output = self.call(node, info, |job, task| job.map_with_state(node.0, task, update_input(input)))?;
        let flags = |bytes: Vec<u8>, length| BooleanArray::new(BooleanBuffer::new(bytes.into(), 0, length), None);
        let groups = input.present.len();
        let output = MapOutput {
            rows: back(&self.plan.nodes[node.index()].schema, output.rows)?,
            mapped: flags(output.mapped, MapOutput::calls(input)),
            states: back(&self.states(node), output.states)?,
            keep: flags(output.keep, groups),
            written: flags(output.written, groups),
        };
        match output.check(input) {
            Ok(()) => Ok(output),
            Err(reason) => Err(JobFailure::Refused(reason).into()),
        }
    }

    fn usage(&self) -> FunctionUsage {
        FunctionUsage::default()
    }
}
