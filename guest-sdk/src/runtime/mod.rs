//! Plumbing between a job's function and whoever calls it: a component's exports, or the test kit natively.
//!
//! Authors of jobs need none of this. The types are those of `wit/`, so that a native call and a call across the component
//! boundary are the same thing.

mod call;
mod job;
#[cfg(test)]
mod tests;
mod transform;

pub use job::{Job, check_job};
pub use transform::{Transform, TransformContext};

pub use crate::accumulator::take_updates;
pub use crate::bindings::exports::millpond::plugin::job_guest::{MapOutput, UpdateInput, UpdateOutput};
pub use crate::bindings::millpond::plugin::accumulators::{Number, Update};
pub use crate::bindings::millpond::plugin::dataflow::{
    Accumulator, AccumulatorKind, Broadcast, ColumnMerge, Join, JoinKind, MapWithState, Merge, Node, Operator,
    Ordering, Plan, Reduce, ReduceSession, ReduceWindow, Sort, Stage, UpdateState, Window,
};
pub use crate::bindings::millpond::plugin::types::{
    Batch, Column, ColumnData, DataType, DecimalType, Failure, FailureCode, Field, Param, Rejection, StageOutput,
    TaskInfo, VarData,
};
pub use crate::bindings::transform::exports::millpond::plugin::transform_guest::Signature;
pub use crate::log::install_panic_hook;

/// Rows as a batch, for test kits.
///
/// # Errors
/// When they are more than a batch can hold.
pub fn rows_to_batch<T: crate::Row>(rows: impl IntoIterator<Item = T>) -> Result<Batch, Failure> {
    let mut columns = T::Columns::default();
    let mut count = 0;
    for row in rows {
        T::push(&mut columns, row.to_ref());
        count += 1;
    }
    crate::row::write_batch::<T>(count, columns)
}

/// The rows of a batch, for test kits.
///
/// # Errors
/// `bad-input` when its columns are not those of `T`.
pub fn batch_to_rows<T: crate::Row>(batch: Batch) -> Result<Vec<T>, Failure> {
    let (rows, columns) = crate::row::read_batch::<T>(batch, &crate::row::fields::<T>(""))?;
    Ok((0..rows).map(|row| T::from_ref(T::get(&columns, row))).collect())
}
