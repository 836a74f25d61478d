//! The contract (`wit/`) as Rust types, generated at compile time.
//!
//! Two worlds, one set of row types: `transform` uses the types of `job`. Types that go into a guest borrow (`BatchParam`),
//! so that an Arrow buffer is copied once, into the guest's memory; types that come out are owned (`BatchResult`).

/// World `job`.
pub(crate) mod job {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "job",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// World `transform`.
pub(crate) mod transform {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "transform",
        ownership: Borrowing { duplicate_if_necessary: true },
        with: {
            "millpond:plugin/types@0.1.0": super::job::millpond::plugin::types,
            "millpond:plugin/log@0.1.0": super::job::millpond::plugin::log,
        },
    });
}
