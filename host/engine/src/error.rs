//! What can go wrong with a plan or a running job, and whose fault it is.

use arrow::error::ArrowError;
use millpond_core::{BoxError, Classify, Code, Domain, Retry};

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Columns have signed 32-bit offsets (`wit/types.wit` has unsigned ones, Arrow has not).
pub(crate) const OFFSETS_MAX: u64 = i32::MAX as u64;

/// An error of the engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan has no nodes, too many, or no sink.
    #[error("the plan {reason}")]
    PlanShape {
        /// What is wrong.
        reason: String,
    },
    /// A node's name is empty, too long or used twice.
    #[error(
        "node {index} is called `{name}`: {reason}; every node needs a name of its own (`.named(\"...\")` gives one)"
    )]
    NodeName {
        /// The node's number.
        index: usize,
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// An accumulator's name is empty, too long or used twice.
    #[error("accumulator {index} is called `{name}`: {reason}; give it a name of its own")]
    AccumulatorName {
        /// The accumulator's number.
        index: usize,
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A broadcast's name is empty, too long or used twice.
    #[error("broadcast {index} is called `{name}`: {reason}; give it a name of its own")]
    BroadcastName {
        /// The broadcast's number.
        index: usize,
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// An input does not come before its node.
    #[error(
        "node `{node}` takes rows from node {input}, which does not come before it: a plan must not have cycles, and a node comes after its inputs"
    )]
    Cycle {
        /// The node.
        node: String,
        /// The number it names.
        input: u32,
    },
    /// Two schemas that must agree do not.
    #[error("node `{node}`: {what}\n{difference}")]
    SchemaMismatch {
        /// The node.
        node: String,
        /// Which schemas.
        what: String,
        /// Both, and where they differ: `schema::difference`.
        difference: String,
    },
    /// A key where there must be none, or the other way round.
    #[error("node `{node}`: {reason}")]
    KeyColumns {
        /// The node.
        node: String,
        /// What is wrong.
        reason: String,
    },
    /// A window does not fit the batches.
    #[error("node `{node}`: {reason}")]
    WindowInterval {
        /// The node.
        node: String,
        /// What is wrong.
        reason: String,
    },
    /// An operator's settings make no sense.
    #[error("node `{node}` ({operator}): {reason}")]
    OperatorSettings {
        /// The node.
        node: String,
        /// The operator.
        operator: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The plan names something that the job was not given.
    #[error("the plan uses the {kind} `{name}`, which the job was not given")]
    MissingPart {
        /// source, sink or transform.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A sink in mode update needs to know rows apart.
    #[error(
        "sink `{sink}` has mode = \"update\", which needs rows with a key, and those that reach it have none; use append or complete, or a stream of (key, value)"
    )]
    UpdateNeedsKey {
        /// The sink.
        sink: String,
    },
    /// State was written by a plan with other columns.
    #[error(
        "the state of node `{node}` is of another kind or has other columns than the plan's; rename the node to start it afresh, go back to the old code, or start over with --fresh\n{difference}"
    )]
    StateSchema {
        /// The node.
        node: String,
        /// Both, and where they differ: `schema::difference`.
        difference: String,
    },
    /// State cannot be understood.
    #[error("the state of node `{node}` cannot be read back: {reason}")]
    StateContent {
        /// The node.
        node: String,
        /// Why.
        reason: String,
    },
    /// A record could not be decoded, and the job does not go on from that.
    #[error(
        "source `{source_name}`: bad record at {place}: {reason} (sources.{source_name}.on-bad-record = \"skip\" goes on without it)"
    )]
    BadRecord {
        /// The source.
        source_name: String,
        /// Where.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// User code refused a row, and the job does not go on from that.
    #[error(
        "node `{node}` refused a row of batch {batch_time} ({place}): {reason} (job.on-bad-record = \"skip\" goes on without it)"
    )]
    RowRejected {
        /// The node.
        node: String,
        /// The batch.
        batch_time: i64,
        /// Where the row is.
        place: String,
        /// Why.
        reason: String,
    },
    /// A sum left the range of its type.
    #[error(
        "node `{node}`: the sum of column `{column}` leaves the range of {data_type} at key {key}; use a wider type or float64, or a merge of your own"
    )]
    SumOverflow {
        /// The node.
        node: String,
        /// The column.
        column: String,
        /// Its type, as the contract calls it.
        data_type: String,
        /// The key, readable.
        key: String,
    },
    /// An accumulator's total left the range of its type.
    #[error(
        "accumulator `{accumulator}` leaves the range of a 64-bit integer in batch {batch_time}; use a sum of float64, or count in a coarser unit"
    )]
    AccumulatorOverflow {
        /// The accumulator.
        accumulator: String,
        /// The batch.
        batch_time: i64,
    },
    /// An accumulator's recorded total is of another kind.
    #[error(
        "the accumulator `{accumulator}` is a {expected} in the plan, and the state has a {found} of that name; give the new one another name, go back to the old code, or start over with --fresh"
    )]
    AccumulatorKind {
        /// The accumulator.
        accumulator: String,
        /// Now.
        expected: &'static str,
        /// Then.
        found: String,
    },
    /// More than one call can take.
    #[error(
        "node `{node}`: {what} of one partition would be {size} {unit}, more than the {limit} that fit one call; take less per batch, or raise job.parallelism where rows are spread by key"
    )]
    TooLarge {
        /// The node.
        node: String,
        /// What.
        what: String,
        /// How much.
        size: u64,
        /// Of what: bytes, or values of lists.
        unit: &'static str,
        /// The most.
        limit: u64,
    },
    /// A join whose output would be larger than a batch may be.
    #[error(
        "node `{node}`: the join of `{left}` and `{right}` would give {rows} rows, about {bytes} bytes, more than the {limit} that it may give in a batch; keys that many rows of both sides have multiply: merge or filter the rows of one side by key first, or take less per batch"
    )]
    JoinTooLarge {
        /// The node.
        node: String,
        /// One input.
        left: String,
        /// The other.
        right: String,
        /// How many rows.
        rows: u64,
        /// How much.
        bytes: u64,
        /// The most.
        limit: u64,
    },
    /// A defect: a task panicked.
    #[error("a task of batch {batch_time} panicked: {message}; this is a defect of Millpond")]
    TaskPanicked {
        /// The batch.
        batch_time: i64,
        /// The panic's message.
        message: String,
    },
    /// The job was told to stop at once.
    #[error("the job was stopped before batch {batch_time} was complete; the batch will run again at the next start")]
    Aborted {
        /// The batch.
        batch_time: i64,
    },
    /// Threads could not be started.
    #[error("the compute pool cannot start {threads} threads: {reason}")]
    Pool {
        /// How many.
        threads: usize,
        /// Why.
        reason: String,
    },
    /// The thread that commits could not be started.
    #[error("the thread that commits cannot be started: {reason}")]
    OutputThread {
        /// Why.
        reason: String,
    },
    /// Arrow refused something that the engine took for granted.
    #[error("node `{node}`: {source}")]
    Arrow {
        /// The node.
        node: String,
        /// Arrow's error.
        #[source]
        source: ArrowError,
    },
    /// A call into user code failed; the error names node, partition and batch by itself.
    #[error("{source}")]
    UserCode {
        /// The call's error.
        source: PortError,
    },
    /// An error of an adapter, as it came; the context says where in the job.
    #[error("{context}: {source}")]
    Port {
        /// Where in the job.
        context: String,
        /// The adapter's error.
        source: PortError,
    },
}

/// A [`BoxError`] as the source of another error.
#[derive(Debug)]
pub struct PortError(pub BoxError);

impl std::fmt::Display for PortError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.full_message())
    }
}

impl std::error::Error for PortError {}

impl Error {
    /// Wraps an adapter's error with where in the job it happened.
    pub fn port(context: impl Into<String>) -> impl FnOnce(BoxError) -> Self {
        let context = context.into();
        move |error| Self::Port { context, source: PortError(error) }
    }

    pub(crate) fn user_code(error: BoxError) -> Self {
        Self::UserCode { source: PortError(error) }
    }

    pub(crate) fn arrow(node: &str) -> impl FnOnce(ArrowError) -> Self {
        let node = node.to_owned();
        move |source| match source {
            // Wherever Arrow finds that columns do not fit 32-bit offsets.
            ArrowError::OffsetOverflowError(size) => Self::TooLarge {
                node,
                what: "a column".to_owned(),
                size: size as u64,
                unit: "bytes",
                limit: OFFSETS_MAX,
            },
            source => Self::Arrow { node, source },
        }
    }
}

impl Classify for Error {
    fn code(&self) -> Code {
        Code(match self {
            Self::PlanShape { .. } => "MP0401",
            Self::NodeName { .. } | Self::AccumulatorName { .. } | Self::BroadcastName { .. } => "MP0402",
            Self::Cycle { .. } => "MP0403",
            Self::SchemaMismatch { .. } => "MP0404",
            Self::KeyColumns { .. } => "MP0405",
            Self::WindowInterval { .. } => "MP0406",
            Self::OperatorSettings { .. } => "MP0407",
            Self::MissingPart { .. } => "MP0105",
            Self::UpdateNeedsKey { .. } => "MP0603",
            Self::StateSchema { .. } | Self::AccumulatorKind { .. } => "MP0706",
            Self::StateContent { .. } => "MP0704",
            Self::BadRecord { .. } => "MP0504",
            Self::RowRejected { .. } => "MP0801",
            Self::SumOverflow { .. } | Self::AccumulatorOverflow { .. } => "MP0802",
            Self::TaskPanicked { .. } => "MP0803",
            Self::Aborted { .. } => "MP0804",
            Self::TooLarge { .. } | Self::JoinTooLarge { .. } => "MP0805",
            Self::Pool { .. } | Self::OutputThread { .. } | Self::Arrow { .. } => "MP0901",
            Self::Port { source, .. } | Self::UserCode { source } => return source.0.code(),
        })
    }

    fn domain(&self) -> Domain {
        match self {
            Self::Port { source, .. } | Self::UserCode { source } => source.0.domain(),
            Self::TaskPanicked { .. } | Self::Arrow { .. } | Self::StateContent { .. } => Domain::Internal,
            Self::Pool { .. } | Self::OutputThread { .. } => Domain::External,
            _ => Domain::User,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Port { source, .. } | Self::UserCode { source } => source.0.retry(),
            Self::Aborted { .. } => Retry::Backoff,
            Self::TaskPanicked { .. } | Self::Arrow { .. } | Self::StateContent { .. } => Retry::No,
            _ => Retry::AfterAction,
        }
    }
}
