//! Write Millpond stream jobs in Rust and compile them to WebAssembly components.
//!
//! A job is a function that puts streams together. The SDK fuses neighbouring operators into stages, tells the host the plan,
//! and runs the stages when the host calls, once per partition of a batch. The host does the rest: receiving,
//! shuffling, windows, state, recovery, output.
//!
//! ```
//! use std::cmp::Reverse;
//!
//! use millpond::StreamingContext;
//!
//! millpond::job!(|ctx: &mut StreamingContext| {
//!     ctx.text("lines")
//!         .flat_map::<String>(|line, out| line.split(' ').for_each(|word| out.push(word)))
//!         .count_by_value()
//!         .update_state_by_key(|counts, total: Option<i64>| Some(total.unwrap_or(0) + counts.sum()))
//!         .top_by(10, |(word, count)| (Reverse(count), word))
//!         .columns(["word", "count"])
//!         .sink("counts");
//! });
//! # fn main() {
//! assert_eq!(millpond_job().plan(&[]).unwrap().nodes.len(), 6);
//! # }
//! ```
//!
//! **Rows** are anything that implements [`Row`]: text, numbers, tuples, structs with `#[derive(Row)]`. Closures see *views*
//! of them, borrowed straight from the batch's columns: `&str` for a `String`, so nothing is allocated per row.
//!
//! **Closures** must be pure: no clock, no randomness, no state of their own (they are `Fn + Send + Sync`, so the compiler
//! catches most of it). The same input then gives the same output after every restart. The time that they may know is the
//! batch's: [`batch_time`].
//!
//! **Totals on the side**: [`StreamingContext::counter`] and its likes make accumulators, which closures add to and the run's
//! summary shows. **Values from beside the stream** (rates, a model) come as broadcasts: [`StreamingContext::broadcast_map`].
//!
//! **Testing**: the same job runs natively in `cargo test`; see the crate `millpond-test`.
//!
//! A plugin's crate has `crate-type = ["cdylib", "rlib"]` and calls [`job!`] once in its `lib.rs`; `millpond build` makes a
//! component of it.

#![deny(missing_docs)]

// The derive macro writes `::millpond::...`, in this crate's own tests too.
extern crate self as millpond;

mod accumulator;
mod batch_time;
pub mod bindings;
mod bitmap;
mod broadcast;
mod chain;
mod combine;
mod context;
mod dstream;
mod failure;
mod hash;
pub mod log;
mod param;
mod plan;
mod row;
mod rows;
pub mod runtime;
mod sortkey;
mod spans;
pub mod text;
mod topn;

pub use accumulator::{Accumulated, Accumulator, Counter};
pub use batch_time::batch_time;
pub use broadcast::{Broadcast, BroadcastEntries, BroadcastMap, BroadcastRows};
pub use chain::Emit;
pub use context::StreamingContext;
pub use dstream::{DStream, MapFn, MappedWithState, State, TryMapFn, Values};
pub use failure::RowError;
pub use millpond_macros::Row;
pub use param::Param;
pub use row::{
    Comparable, Date, Decimal, DecimalError, Element, Key, ListRef, MapRef, Names, Number, Ordered, Row, Single, Sum,
    TimeDelta, Timestamp, Value,
};
pub use rows::{Rows, RowsIter};
pub use runtime::{Job, Transform, TransformContext};
pub use sortkey::{ColumnOf, SortKey, SortKeyFn, SortOrder};

/// What the derive macro's output names.
#[doc(hidden)]
pub mod __private {
    pub use std::cmp::Ordering;
    pub use std::vec::Vec;

    pub use crate::bindings::millpond::plugin::types::{Column, DataType, Failure, Field};
    pub use crate::row::{
        ColumnReader, NameColumn, Validity, hash_name, leaf_field, order_names, part_name, read_struct, struct_field,
        write_struct,
    };
    pub use crate::sortkey::{Plain, pick};
}

/// Makes a function or closure the job of this plugin.
///
/// On WebAssembly it writes the component's exports. On every target it writes `pub fn millpond_job() -> millpond::Job`, by which
/// a native test gets the job.
///
/// ```
/// fn errors(ctx: &mut millpond::StreamingContext) {
///     ctx.text("lines").filter(|line| line.contains("ERROR")).sink("errors");
/// }
///
/// millpond::job!(errors);
/// # fn main() { assert!(millpond_job().plan(&[]).is_ok()); }
/// ```
#[macro_export]
macro_rules! job {
    ($define:expr $(,)?) => {
        /// The job of this plugin, for native tests.
        #[must_use]
        pub fn millpond_job() -> $crate::Job {
            $crate::Job::new($define)
        }

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::exports::millpond::plugin::job_guest as contract;
            use $crate::runtime::{Batch, Failure, Job, Param, Plan, StageOutput, TaskInfo};

            static JOB: ::std::sync::LazyLock<Job> = ::std::sync::LazyLock::new(|| {
                $crate::runtime::install_panic_hook();
                millpond_job()
            });

            struct Component;

            impl contract::Guest for Component {
                fn plan(params: ::std::vec::Vec<Param>) -> ::std::result::Result<Plan, ::std::string::String> {
                    JOB.plan(&params)
                }

                fn set_broadcast(number: u32, value: Batch) -> ::std::result::Result<(), Failure> {
                    JOB.set_broadcast(number, value)
                }

                fn run_stage(node: u32, task: TaskInfo, input: Batch) -> ::std::result::Result<StageOutput, Failure> {
                    JOB.run_stage(node, &task, input)
                }

                fn merge(
                    node: u32,
                    task: TaskInfo,
                    groups: ::std::vec::Vec<u32>,
                    values: Batch,
                ) -> ::std::result::Result<Batch, Failure> {
                    JOB.merge(node, &task, &groups, values)
                }

                fn subtract(
                    node: u32,
                    task: TaskInfo,
                    totals: Batch,
                    leaving: Batch,
                ) -> ::std::result::Result<Batch, Failure> {
                    JOB.subtract(node, &task, totals, leaving)
                }

                fn update(
                    node: u32,
                    task: TaskInfo,
                    input: contract::UpdateInput,
                ) -> ::std::result::Result<contract::UpdateOutput, Failure> {
                    JOB.update(node, &task, input)
                }

                fn map_with_state(
                    node: u32,
                    task: TaskInfo,
                    input: contract::UpdateInput,
                ) -> ::std::result::Result<contract::MapOutput, Failure> {
                    JOB.map_with_state(node, &task, input)
                }

                fn run_batch(
                    node: u32,
                    task: TaskInfo,
                    inputs: ::std::vec::Vec<Batch>,
                ) -> ::std::result::Result<Batch, Failure> {
                    JOB.run_batch(node, &task, inputs)
                }
            }

    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}

/// Makes a function or closure the transform of this plugin: a step that jobs use with
/// [`transform_by`](crate::DStream::transform_by).
///
/// On WebAssembly it writes the component's exports. On every target it writes
/// `pub fn millpond_transform() -> millpond::Transform`, by which a native test gets it.
///
/// ```
/// millpond::transform!(|ctx: &mut millpond::TransformContext| {
///     ctx.input::<String>().map_owned(|text| text.to_uppercase()).output();
/// });
/// # fn main() { assert!(millpond_transform().describe(&[]).is_ok()); }
/// ```
#[macro_export]
macro_rules! transform {
    ($define:expr $(,)?) => {
        /// The transform of this plugin, for native tests.
        #[must_use]
        pub fn millpond_transform() -> $crate::Transform {
            $crate::Transform::new($define)
        }

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::transform::exports::millpond::plugin::transform_guest as contract;
            use $crate::runtime::{Batch, Failure, Param, StageOutput, TaskInfo, Transform};

            static TRANSFORM: ::std::sync::LazyLock<Transform> = ::std::sync::LazyLock::new(|| {
                $crate::runtime::install_panic_hook();
                millpond_transform()
            });

            struct Component;

            impl contract::Guest for Component {
                fn describe(
                    params: ::std::vec::Vec<Param>,
                ) -> ::std::result::Result<contract::Signature, ::std::string::String> {
                    TRANSFORM.describe(&params)
                }

                fn run(task: TaskInfo, input: Batch) -> ::std::result::Result<StageOutput, Failure> {
                    TRANSFORM.run(&task, input)
                }
            }

    $crate::bindings::transform::export_transform!(Component with_types_in $crate::bindings::transform);
        };
    };
}

/// Plans a job inside an example.
#[doc(hidden)]
#[macro_export]
macro_rules! check_job {
    ($define:expr) => {
        $crate::runtime::check_job($define)
    };
}

// The README's job is the first thing that anybody copies, so it must compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct ReadmeCompiles;

// So must what the pages about the SDK show.
#[cfg(doctest)]
#[doc = include_str!("../../docs/model.md")]
struct ModelPageCompiles;
