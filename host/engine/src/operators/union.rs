//! All rows of several streams: the partitions of the first, then those of the second, and so on.
//!
//! Source: `org.apache.spark.streaming.dstream.UnionDStream`.

use millpond_core::batch::partitions;

use super::{NodeRef, Rows};
use crate::error::Result;
use crate::shuffle::rename;

pub(crate) fn run(node: NodeRef<'_>, inputs: Vec<Rows>) -> Result<Rows> {
    let batches = inputs.into_iter().flat_map(|input| input.partitions);
    let renamed =
        batches.map(|batch| rename(node.name(), &node.node.schema, &batch.rows)).collect::<Result<Vec<_>>>()?;
    Ok(Rows::new(partitions(renamed)))
}
