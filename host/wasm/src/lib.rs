//! Runs WebAssembly components as user functions: the only crate that names wasmtime.
//!
//! [`WasmEngine`] is shared by all jobs of a process. It loads a component as a [`JobComponent`] or a
//! [`TransformComponent`], which implement the core's ports `UserFunction` and `TransformFunction`. The contract between
//! host and component is `wit/`.
//!
//! Nothing about a guest is believed: what it imports is checked before it is compiled, every call runs within
//! [`Limits`], and every answer is checked before it becomes an Arrow batch. Whatever goes wrong is an [`Error`] with a
//! code, the place of the call and a remedy; the host and its other jobs go on.
//!
//! ```no_run
//! use millpond_wasm::{EngineOptions, LoadOptions, WasmEngine};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = WasmEngine::try_new(EngineOptions::default())?;
//! let options = LoadOptions { job: "wordcount".into(), ..LoadOptions::default() };
//! let job = engine.load_job(&options, &std::fs::read("wordcount.wasm")?)?;
//! println!("{} nodes", job.plan().nodes.len());
//! # Ok(())
//! # }
//! ```

mod accumulate;
mod bindings;
mod cache;
mod call;
mod componentize;
mod convert;
mod engine;
mod error;
mod inspect;
mod job;
mod limits;
mod load;
mod log;
mod pool;
mod transform;

pub use componentize::componentize;
pub use engine::{EngineOptions, WasmEngine};
pub use error::{Bytes, Error, GuestTrace, Place, Result};
pub use inspect::{ComponentKind, Contents, Inspection, inspect};
pub use job::JobComponent;
pub use limits::Limits;
pub use load::{LoadOptions, WIT_VERSION};
pub use transform::TransformComponent;
