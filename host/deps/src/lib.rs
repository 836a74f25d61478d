//! Nothing but a list of dependencies.
//!
//! Cargo unifies the features of a dependency over the packages that one command selects, so `cargo test -p millpond-state`
//! and `cargo build -p millpond-cli` would each compile their own Arrow. Selecting this crate as well
//! (`-p millpond-deps`, as every recipe of the justfile does) makes the features the same each time. No crate depends on it.
