//! Runs WebAssembly components as user functions: the only crate that names wasmtime
