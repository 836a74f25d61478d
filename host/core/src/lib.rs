//! Nouns and ports of Millpond: what every crate speaks of.
//!
//! The nouns: a stream is cut into [`MicroBatch`](batch)es, one per [`BatchTime`]; each is a list of
//! [`PartitionBatch`]es, one Arrow record batch per [`PartitionId`]. A plugin's [`Plan`] says which operators the rows go
//! through. The ports: [`Receiver`], [`Sink`], [`UserFunction`], [`StateStore`], [`Clock`] and [`Listener`] are traits
//! that `engine` drives and that `connectors`, `wasm` and `state` implement; `millpond-testkit` has a fake of each.
//!
//! There is no I/O here and no knowledge of any adapter. What enters this crate is needed by two others.

pub mod accumulator;
pub mod batch;
pub mod broadcast;
pub mod clock;
pub mod error;
pub mod function;
pub mod ids;
pub mod listener;
pub mod maps;
pub mod plan;
pub mod receiver;
pub mod schema;
pub mod sink;
pub mod store;
pub mod text;

pub use accumulator::{Accumulator, AccumulatorKind, AccumulatorTotal, Number};
pub use batch::PartitionBatch;
pub use broadcast::{BroadcastPoll, BroadcastSource};
pub use clock::{Clock, StopSignal, SystemClock};
pub use error::{BoxError, Classify, Code, Domain, Retry};
pub use function::{MapOutput, Rejection, StageOutput, TransformFunction, UpdateInput, UpdateOutput, UserFunction};
pub use ids::{BatchTime, Epoch, NodeId, PartitionId, TaskInfo};
pub use listener::{BatchReport, Listener, PhaseTimes, Report};
pub use plan::{Broadcast, Node, Operator, Plan};
pub use receiver::{BadRecord, Decoded, Poll, PollRequest, Receiver, Split, SplitReader};
pub use sink::{OutputMode, Sink, SinkBatch, SinkToken};
pub use store::{CommitRecord, Recovered, StateChange, StateDelta, StateStore};
