//! Write Millpond stream jobs in Rust and compile them to WebAssembly components
