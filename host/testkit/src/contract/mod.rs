//! Contract suites: what every adapter of a port must pass, the fakes included.
//!
//! A suite is a set of functions that panic when a claim of the port does not hold; each has an `all` that runs the whole.

pub mod receiver;
pub mod sink;
pub mod state_store;
