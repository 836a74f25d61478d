//! Between Arrow and the contract's types.
//!
//! `lower` borrows from Arrow buffers, so that wasmtime copies each once into the guest. `lift` checks what came out and
//! makes it Arrow arrays without another copy. `plan` turns a component's plan and signature into the core's nouns.

pub(crate) mod lift;
pub(crate) mod lower;
pub(crate) mod plan;

#[cfg(test)]
pub(crate) mod strategies;
#[cfg(test)]
mod tests;
