//! A job's plan: the graph of operators that a component declares, as `wit/dataflow.wit` describes it.
//!
//! These are plain facts as the component gave them. `millpond-engine` checks them (`StreamGraph`) and runs them.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::NodeId;
use crate::accumulator::Accumulator;

/// A directed acyclic graph; a node comes after its inputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The nodes; a node's number is its place here.
    pub nodes: Vec<Node>,
    /// What the job counts on the side; an accumulator's number is its place here.
    pub accumulators: Vec<Accumulator>,
    /// Values that every call may read; a broadcast's number is its place here.
    pub broadcasts: Vec<Broadcast>,
}

/// A value that every call may read.
#[derive(Clone, Debug, PartialEq)]
pub struct Broadcast {
    /// Unique among the plan's broadcasts.
    pub name: String,
    /// The columns of its rows.
    pub schema: SchemaRef,
}

/// One operator of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Unique in the plan; state is kept under it.
    pub name: String,
    /// What it does.
    pub operator: Operator,
    /// Whose rows come in.
    pub inputs: Vec<NodeId>,
    /// Columns of the rows that come out; of a sink, of the rows that go in.
    pub schema: SchemaRef,
    /// How many leading columns are the key; 0 = none.
    pub key_columns: usize,
}

/// What a node does. See `wit/dataflow.wit` for the meaning of each.
#[derive(Clone, Debug, PartialEq)]
pub enum Operator {
    /// Rows from the receiver under this name in `[sources]`.
    Source(String),
    /// Guest code over one partition; the label says what is fused in it.
    Stage(String),
    /// The component under this name in `[transforms]`.
    Transform(String),
    /// The rows of all inputs.
    Union,
    /// Merges rows of equal keys within a batch.
    Reduce(Reduce),
    /// All rows of a sliding window, at every slide.
    Window(Window),
    /// A window and a reduce over it, kept incrementally.
    ReduceWindow(ReduceWindow),
    /// Keyed state.
    UpdateState {
        /// Called for every key that has state, not only for those with rows.
        every_batch: bool,
        /// Whether the plugin is given the keys.
        with_keys: bool,
        /// What a job begins with: rows of the node's columns, each key once.
        initial: Option<RecordBatch>,
    },
    /// Orders the rows of a batch.
    Sort(Sort),
    /// The first so many rows of a batch.
    Take(u64),
    /// Rows to the sink under this name in `[sinks]`.
    Sink(String),
    /// Keyed state, row by row.
    MapWithState(MapWithState),
    /// Every key of a map-with-state node with its state.
    StateSnapshots,
    /// Rows of a key at most one gap apart, merged.
    ReduceSession(ReduceSession),
    /// The same rows in so many partitions.
    Repartition(u32),
    /// Guest code over all rows of a batch, of one input or more; the label says what it is.
    WholeBatch(String),
    /// Rows of two inputs with equal keys.
    Join(Join),
    /// The values of each key as lists, one for each input.
    Group,
    /// The rows are the value of the broadcast of this number.
    Broadcast(usize),
}

impl Operator {
    /// The operator's name, for messages and pictures.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Source(_) => "source",
            Self::Stage(_) => "stage",
            Self::Transform(_) => "transform",
            Self::Union => "union",
            Self::Reduce(_) => "reduce",
            Self::Window(_) => "window",
            Self::ReduceWindow(_) => "reduce-window",
            Self::UpdateState { .. } => "update-state",
            Self::Sort(_) => "sort",
            Self::Take(_) => "take",
            Self::Sink(_) => "sink",
            Self::MapWithState(_) => "map-with-state",
            Self::StateSnapshots => "state-snapshots",
            Self::ReduceSession(_) => "reduce-session",
            Self::Repartition(_) => "repartition",
            Self::WholeBatch(_) => "whole-batch",
            Self::Join(_) => "join",
            Self::Group => "group",
            Self::Broadcast(_) => "broadcast",
        }
    }
}

/// How one value column of two rows becomes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnMerge {
    /// int64 or float64; an int64 sum that overflows fails the job.
    Sum,
    /// Any type but boolean and binary; text by its bytes, NaN last.
    Min,
    /// As `Min`.
    Max,
}

/// How rows of one key are merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merge {
    /// By the host, one entry a value column.
    Columns(Vec<ColumnMerge>),
    /// By the component.
    Custom,
}

/// Settings of [`Operator::Reduce`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reduce {
    /// How rows are merged.
    pub merge: Merge,
    /// Without a key and without a row: one row of zeros.
    pub zero_when_empty: bool,
}

/// A sliding window `(t - length, t]`, at every multiple of `slide` from the job's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Milliseconds; a multiple of the batch interval.
    pub length_ms: u64,
    /// Milliseconds; a multiple of the batch interval.
    pub slide_ms: u64,
}

/// Settings of [`Operator::ReduceWindow`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReduceWindow {
    /// The window.
    pub window: Window,
    /// How rows are merged.
    pub merge: Merge,
    /// Rows that leave may be taken off the total.
    pub invertible: bool,
    /// Keys without rows in the window still come out.
    pub keep_empty_keys: bool,
    /// Without a key and without a row: one row of zeros.
    pub zero_when_empty: bool,
}

/// Which rows of a join come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// Every pair with equal keys.
    Inner,
    /// And left rows without a partner.
    LeftOuter,
    /// And right rows without a partner.
    RightOuter,
    /// And all rows without a partner.
    FullOuter,
    /// Left rows with a partner, each once.
    LeftSemi,
    /// Left rows without one.
    LeftAnti,
}

impl JoinKind {
    /// As `wit/dataflow.wit` calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Inner => "inner",
            Self::LeftOuter => "left-outer",
            Self::RightOuter => "right-outer",
            Self::FullOuter => "full-outer",
            Self::LeftSemi => "left-semi",
            Self::LeftAnti => "left-anti",
        }
    }

    /// Whether rows of the left input may be absent from a row that comes out.
    #[must_use]
    pub fn left_is_optional(self) -> bool {
        matches!(self, Self::RightOuter | Self::FullOuter)
    }

    /// Whether rows of the right input may be absent from a row that comes out.
    #[must_use]
    pub fn right_is_optional(self) -> bool {
        matches!(self, Self::LeftOuter | Self::FullOuter)
    }

    /// Whether only rows of the left input come out.
    #[must_use]
    pub fn is_left_only(self) -> bool {
        matches!(self, Self::LeftSemi | Self::LeftAnti)
    }
}

/// Settings of [`Operator::Join`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join {
    /// Which rows come out.
    pub kind: JoinKind,
    /// How many leading columns of both inputs must be equal.
    pub on: usize,
    /// false: a key with a null in it has no partner.
    pub null_equals_null: bool,
}

/// One column of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordering {
    /// A column of the input.
    pub column: usize,
    /// Turns the whole order round, nulls included.
    pub descending: bool,
}

/// Settings of [`Operator::Sort`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// The first decides, the next breaks ties, the encoded row decides last.
    pub order: Vec<Ordering>,
    /// Keep so many rows from the start.
    pub limit: Option<u64>,
    /// How many trailing columns of the input are dropped after sorting.
    pub hidden_columns: usize,
}

/// Settings of [`Operator::MapWithState`].
#[derive(Clone, Debug, PartialEq)]
pub struct MapWithState {
    /// Columns of the state: the input's key, then the state's own.
    pub state: SchemaRef,
    /// Milliseconds without a row after which a key is let go; `None` = never.
    pub timeout_ms: Option<u64>,
    /// What a job begins with: rows of `state`, each key once.
    pub initial: Option<RecordBatch>,
}

/// Settings of [`Operator::ReduceSession`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReduceSession {
    /// How rows are merged.
    pub merge: Merge,
    /// Milliseconds; rows at most so far apart are one session.
    pub gap_ms: u64,
}
