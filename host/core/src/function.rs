//! The port behind which user code runs: a component, or natively in an author's `cargo test`.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;

use crate::accumulator::Update;
use crate::{BoxError, NodeId, TaskInfo};

/// A job's code. One call is one partition of one batch; calls for different partitions run at the same time.
///
/// Implementations check what user code returns: a batch that comes out of here has the declared schema and is well
/// formed. Errors of user code are of the user's domain and name the node.
pub trait UserFunction: Send + Sync {
    /// Runs a stage. The answer's batch has the node's schema.
    fn run_stage(&self, node: NodeId, task: &TaskInfo, input: &RecordBatch) -> Result<StageOutput, BoxError>;

    /// Merges groups of rows, for [`crate::plan::Merge::Custom`]: group `g` is rows `groups[g]..groups[g + 1]` of `values`
    /// (value columns only). The answer has one row a group.
    fn merge(
        &self,
        node: NodeId,
        task: &TaskInfo,
        groups: &[u32],
        values: &RecordBatch,
    ) -> Result<RecordBatch, BoxError>;

    /// Takes rows off totals, row by row; all batches have value columns only and the same number of rows.
    fn subtract(
        &self,
        node: NodeId,
        task: &TaskInfo,
        totals: &RecordBatch,
        leaving: &RecordBatch,
    ) -> Result<RecordBatch, BoxError>;

    /// New states of keys.
    fn update(&self, node: NodeId, task: &TaskInfo, input: &UpdateInput) -> Result<UpdateOutput, BoxError>;

    /// Maps rows one by one, each with its key's state. A group without rows is a key that is timing out.
    ///
    /// Implementations let no answer through that [`MapOutput::check`] refuses.
    fn map_with_state(&self, node: NodeId, task: &TaskInfo, input: &UpdateInput) -> Result<MapOutput, BoxError>;

    /// Runs a whole-batch node over all rows of each of its inputs. The answer has the node's schema.
    fn run_batch(&self, node: NodeId, task: &TaskInfo, inputs: &[RecordBatch]) -> Result<RecordBatch, BoxError>;

    /// Replaces the value of the plan's broadcast of this number, for the calls after this one.
    fn set_broadcast(&self, number: usize, value: &RecordBatch) -> Result<(), BoxError>;

    /// What the calls that succeeded had for the plan's accumulators since this was asked last, in an order that does not depend
    /// on which of them came first.
    fn take_updates(&self) -> Vec<Update>;

    /// What this function has used so far, over all calls.
    fn usage(&self) -> FunctionUsage;
}

/// One function over a batch: a component of world `transform`.
pub trait TransformFunction: Send + Sync {
    /// Columns that go in.
    fn input_schema(&self) -> SchemaRef;
    /// Columns that come out.
    fn output_schema(&self) -> SchemaRef;
    /// Runs over one partition.
    fn run(&self, task: &TaskInfo, input: &RecordBatch) -> Result<StageOutput, BoxError>;
    /// What this function has used so far, over all calls.
    fn usage(&self) -> FunctionUsage;
}

/// What a stage returns.
#[derive(Clone, Debug)]
pub struct StageOutput {
    /// Its rows.
    pub batch: RecordBatch,
    /// Input rows that user code refused, in order.
    pub rejected: Vec<Rejection>,
}

/// A row that user code refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Which row of the call's input.
    pub row: u32,
    /// Why.
    pub reason: String,
}

/// The input of [`UserFunction::update`]: one group of rows for each key.
#[derive(Clone, Debug)]
pub struct UpdateInput {
    /// Key columns, one row a group; no columns if the node is not to see keys.
    pub keys: RecordBatch,
    /// Group `g` is rows `groups[g]..groups[g + 1]` of `values`; groups may be empty.
    pub groups: Vec<u32>,
    /// Value columns of all rows.
    pub values: RecordBatch,
    /// State columns, one row a group; meaningless where `present` is false.
    pub states: RecordBatch,
    /// Which keys have state. No nulls.
    pub present: BooleanArray,
}

/// The answer of [`UserFunction::update`].
#[derive(Clone, Debug)]
pub struct UpdateOutput {
    /// New states, one row a group.
    pub states: RecordBatch,
    /// false = delete the key. No nulls.
    pub keep: BooleanArray,
}

/// The answer of [`UserFunction::map_with_state`].
///
/// The calls of the plugin's function are the rows, group after group, and one for each group without rows.
#[derive(Clone, Debug)]
pub struct MapOutput {
    /// The mapped rows, in the order of the calls.
    pub rows: RecordBatch,
    /// Of each call: whether it gave a row. No nulls.
    pub mapped: BooleanArray,
    /// States after the call, one row a group; meaningless where `keep` is false.
    pub states: RecordBatch,
    /// Of each group: whether its key has state now. Not looked at for a key that is timing out. No nulls.
    pub keep: BooleanArray,
    /// Of each group: whether its state is another than before. No nulls.
    pub written: BooleanArray,
}

impl MapOutput {
    /// How many calls of the plugin's function an input means.
    #[must_use]
    pub fn calls(input: &UpdateInput) -> usize {
        input.groups.windows(2).map(|group| (group[1] - group[0]).max(1) as usize).sum()
    }

    /// Whether the parts agree with one another and with the input; what is wrong, if they do not.
    ///
    /// # Errors
    /// A sentence.
    pub fn check(&self, input: &UpdateInput) -> Result<(), String> {
        let (mapped, rows) = (self.mapped.true_count(), self.rows.num_rows());
        if mapped != rows {
            return Err(format!("{mapped} calls are marked as mapped, and there are {rows} mapped rows"));
        }
        let there = input.present.values() | self.written.values();
        let unfounded = self.keep.values() & &!&there;
        // A key that is timing out has no rows, and what is said of it does not count.
        match unfounded.set_indices().find(|group| input.groups[*group] < input.groups[group + 1]) {
            Some(group) => Err(format!("group {group} keeps a state that it neither had nor wrote")),
            None => Ok(()),
        }
    }
}

/// Running totals of user code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FunctionUsage {
    /// Calls made.
    pub calls: u64,
    /// Time spent in them, boundary crossing included, summed over threads.
    pub time_us: u64,
    /// Log messages that were dropped because of the log limit.
    pub log_dropped: u64,
}
