//! A job: its function, and the plan and code that the function made.

use std::sync::{Arc, PoisonError, RwLock};

use super::call::{Planned, check_groups, key_fields, merged_fields, run, value_fields, wrong_call};
use crate::StreamingContext;
use crate::batch_time::InBatch;
use crate::bindings::exports::millpond::plugin::job_guest::{MapOutput, UpdateInput, UpdateOutput};
use crate::bindings::millpond::plugin::dataflow::{Operator, Plan};
use crate::bindings::millpond::plugin::types::{Batch, Failure, Param, StageOutput, TaskInfo};
use crate::chain::Input;
use crate::failure::{bad_input, internal};
use crate::plan::{Code, UpdateFields};

/// A job that can be planned and called: what [`job!`](crate::job) makes of a function.
///
/// `plan` comes first; the other calls mean its nodes. All of them may come from several threads at once, since nothing
/// is carried from one call to the next.
pub struct Job {
    define: fn(&mut StreamingContext),
    planned: RwLock<Option<Arc<Planned>>>,
}

impl Job {
    /// A job from the function that puts it together.
    #[must_use]
    pub fn new(define: fn(&mut StreamingContext)) -> Self {
        Self { define, planned: RwLock::new(None) }
    }

    /// The same job, not yet planned: what another instance of the component would be.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::new(self.define)
    }

    /// Runs the job's function: the dataflow for these settings.
    ///
    /// # Errors
    /// Sentences for the user, one a line: settings that cannot be read, names that clash, no sink.
    pub fn plan(&self, params: &[Param]) -> Result<Plan, String> {
        let mut context = StreamingContext::new(params);
        (self.define)(&mut context);
        let finished = context.finish()?;
        let plan = finished.plan.clone();
        *self.planned.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(Planned::new(finished)));
        Ok(plan)
    }

    /// Replaces the value of broadcast `number`, for the calls after this one.
    ///
    /// # Errors
    /// `bad-input` if there is no such broadcast, or the rows are not of its schema.
    pub fn set_broadcast(&self, number: u32, value: Batch) -> Result<(), Failure> {
        self.planned()?.set_broadcast(number, value)
    }

    /// Runs a stage over one partition.
    ///
    /// # Errors
    /// `unknown-node` if the node is no stage, `bad-input` if the batch is not of its input's schema, `user` if the output is too
    /// large. The message does not name the node: the caller knows it.
    pub fn run_stage(&self, node: u32, task: &TaskInfo, input: Batch) -> Result<StageOutput, Failure> {
        self.call(task, |planned| {
            let (node, code) = planned.node(node)?;
            let Code::Stage(stage) = code else { return Err(wrong_call(node, "run-stage")) };
            run(&**stage, task, input, planned.input_fields(node))
        })
    }

    /// Merges groups of values: group `g` is rows `groups[g]..groups[g + 1]`.
    ///
    /// # Errors
    /// `unknown-node` if the node merges nothing by itself, `bad-input` if values or groups are malformed.
    pub fn merge(&self, node: u32, task: &TaskInfo, groups: &[u32], values: Batch) -> Result<Batch, Failure> {
        self.call(task, |planned| {
            let (node, code) = planned.node(node)?;
            let Code::Merge { merge, .. } = code else { return Err(wrong_call(node, "merge")) };
            let fields = merged_fields(node);
            check_groups(groups, values.rows, false)?;
            merge(groups, Input { batch: values, fields })
        })
    }

    /// Takes rows off totals, row by row.
    ///
    /// # Errors
    /// `unknown-node` if the node has no inverse, `bad-input` if the batches are malformed.
    pub fn subtract(&self, node: u32, task: &TaskInfo, totals: Batch, leaving: Batch) -> Result<Batch, Failure> {
        self.call(task, |planned| {
            let (node, code) = planned.node(node)?;
            let Code::Merge { subtract: Some(subtract), .. } = code else { return Err(wrong_call(node, "subtract")) };
            let fields = value_fields(&node.schema, node.key_columns);
            subtract(Input { batch: totals, fields }, Input { batch: leaving, fields })
        })
    }

    /// New states for keys.
    ///
    /// # Errors
    /// `unknown-node` if the node keeps no state, `bad-input` if the input is malformed, `user` if a sum overflows.
    pub fn update(&self, node: u32, task: &TaskInfo, input: UpdateInput) -> Result<UpdateOutput, Failure> {
        self.call(task, |planned| {
            let (node, code) = planned.node(node)?;
            let Code::Update(update) = code else { return Err(wrong_call(node, "update")) };
            let fields = UpdateFields {
                keys: key_fields(&node.schema, node.key_columns),
                values: value_fields(planned.input_fields(node), node.key_columns),
                states: value_fields(&node.schema, node.key_columns),
            };
            check_update(&input)?;
            update(input, &fields)
        })
    }

    /// Runs a whole-batch node: one batch for each of its inputs.
    ///
    /// # Errors
    /// `unknown-node` if the node is of another kind, `bad-input` if the batches are not those of its inputs, `user` if the output
    /// is too large.
    pub fn run_batch(&self, node: u32, task: &TaskInfo, inputs: Vec<Batch>) -> Result<Batch, Failure> {
        self.call(task, |planned| {
            let (node, code) = planned.node(node)?;
            let Code::Batch(batch) = code else { return Err(wrong_call(node, "run-batch")) };
            if inputs.len() != node.inputs.len() {
                return Err(bad_input(format!("{} batches for {} inputs", inputs.len(), node.inputs.len())));
            }
            let input = |(batch, fields)| Input { batch, fields };
            batch(inputs.into_iter().zip(planned.inputs_fields(node)).map(input).collect())
        })
    }

    /// One call from outside: what closures may ask for (the batch's time, broadcast values) and add to (accumulators) is there as long as it lasts.
    fn call<T>(&self, task: &TaskInfo, work: impl FnOnce(&Planned) -> Result<T, Failure>) -> Result<T, Failure> {
        let _in_batch = InBatch::enter(task);
        let planned = self.planned()?;
        let _values = planned.values();
        let accumulating = planned.accumulating();
        let answer = work(&planned)?;
        accumulating.hand_over()?;
        Ok(answer)
    }

    /// Maps rows with the states of their keys.
    ///
    /// # Errors
    /// `unknown-node` if the node maps nothing with state, `bad-input` if the input is malformed, `user` if the function writes a state
    /// that it has removed, or one that is timing out.
    pub fn map_with_state(&self, node: u32, task: &TaskInfo, input: UpdateInput) -> Result<MapOutput, Failure> {
        self.call(task, |planned| {
            let (node, code) = planned.node(node)?;
            let (Code::Map(map), Operator::MapWithState(settings)) = (code, &node.operator) else {
                return Err(wrong_call(node, "map-with-state"));
            };
            let key_columns = planned.input_key_columns(node);
            let fields = UpdateFields {
                keys: key_fields(&settings.state, key_columns),
                values: value_fields(planned.input_fields(node), key_columns),
                states: value_fields(&settings.state, key_columns),
            };
            check_update(&input)?;
            map(input, &fields)
        })
    }

    fn planned(&self) -> Result<Arc<Planned>, Failure> {
        let planned = self.planned.read().unwrap_or_else(PoisonError::into_inner);
        planned.clone().ok_or_else(|| internal("a call came before plan, or plan failed"))
    }
}

fn check_update(input: &UpdateInput) -> Result<(), Failure> {
    check_groups(&input.groups, input.values.rows, true)?;
    let keys = input.groups.len() - 1;
    if input.keys.rows as usize == keys && input.states.rows as usize == keys {
        Ok(())
    } else {
        Err(bad_input(format!("{} keys and {} states for {keys} groups", input.keys.rows, input.states.rows)))
    }
}

/// Plans a job and panics with what is wrong with it: for examples and for tests that only want the plan.
///
/// # Panics
/// If the plan fails.
pub fn check_job(define: fn(&mut StreamingContext)) -> Plan {
    Job::new(define).plan(&[]).unwrap_or_else(|sentence| panic!("the job has no plan: {sentence}"))
}
