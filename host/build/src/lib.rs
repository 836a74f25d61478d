//! Turns a plugin folder into a component: what `millpond build` does, for the command line and for tests of jobs.
//!
//! Cargo compiles the crate (`plugin`) with whatever on this machine compiles for WebAssembly (`toolchain`); `millpond-wasm` wraps
//! the module. This crate runs no component and reads no job file.

mod error;
mod plugin;
mod toolchain;

pub use error::{Error, Result};
pub use plugin::{Built, PluginFolder};
pub use toolchain::{GuestToolchain, TARGET};
