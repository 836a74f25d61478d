//! The contract's types and export macros, generated from `wit/`.
//!
//! Jobs, transforms and the test kit share one set of plain types: a `Batch` here is the `batch` of `wit/types.wit`,
//! natively as well as in a component. Nothing in this file is written by hand but the options.

#![allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, reason = "generated code")]

wit_bindgen::generate!({
    path: "../wit",
    world: "job",
    pub_export_macro: true,
    generate_unused_types: true,
    additional_derives: [PartialEq],
});

/// World `transform`; its types are those of world `job`.
pub mod transform {
    wit_bindgen::generate!({
        path: "../wit",
        world: "transform",
        pub_export_macro: true,
        export_macro_name: "export_transform",
        with: {
            "millpond:plugin/types@0.1.0": crate::bindings::millpond::plugin::types,
            "millpond:plugin/log@0.1.0": crate::bindings::millpond::plugin::log,
        },
        additional_derives: [PartialEq],
    });
}
