//! Fakes of the ports, and the contract suites that every adapter must pass.
//!
//! The fakes keep their contents behind an `Arc`, so a test holds a second handle to look inside, and a restarted job can be
//! given the same store.

pub mod broadcast;
pub mod clock;
pub mod contract;
pub mod diff;
pub mod function;
pub mod guests;
pub mod listener;
pub mod receiver;
pub mod rows;
pub mod sink;
pub mod store;

pub use broadcast::SetBroadcast;
pub use clock::ManualClock;
pub use function::FakeFunction;
pub use listener::CollectListener;
pub use receiver::ScriptReceiver;
pub use sink::CollectSink;
pub use store::MemoryStore;
