//! Runs a Millpond job natively in cargo test: manual clock, in-memory sources and sinks
