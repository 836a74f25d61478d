//! Guest code over whole batches: one call with all rows of each input, in batches without rows too; one partition comes out.
//!
//! Source: `DStream.transform` and `DStream.transformWith`, whose function sees the batch as a whole.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millpond_core::batch::partitions;
use millpond_core::{PartitionId, UserFunction};

use super::{BatchContext, NodeRef, Rows};
use crate::error::{Error, Result};
use crate::shuffle::concat;

pub(crate) fn run(
    context: &BatchContext<'_>,
    node: NodeRef<'_>,
    schemas: &[SchemaRef],
    inputs: &[Rows],
) -> Result<Rows> {
    let whole =
        |(schema, input): (&_, &Rows)| concat(node.name(), schema, input.partitions.iter().map(|batch| &batch.rows));
    let inputs: Vec<RecordBatch> = schemas.iter().zip(inputs).map(whole).collect::<Result<_>>()?;
    let task = context.task(PartitionId(0), 1);
    let called = context
        .pool
        .run(vec![inputs], |inputs| context.function.run_batch(node.id, &task, &inputs).map_err(Error::user_code))?;
    Ok(Rows::new(partitions(called)))
}
