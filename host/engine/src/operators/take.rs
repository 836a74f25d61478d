//! The first rows of a batch, in the order of its partitions; one partition comes out.
//!
//! Source: `RDD.take` inside `DStream.transform`.

use millpond_core::batch::partitions;

use super::{NodeRef, Rows};
use crate::error::Result;
use crate::shuffle::concat;

pub(crate) fn run(node: NodeRef<'_>, input: &Rows, rows: u64) -> Result<Rows> {
    let mut left = usize::try_from(rows).unwrap_or(usize::MAX);
    let mut taken = Vec::new();
    for batch in &input.partitions {
        let count = left.min(batch.rows.num_rows());
        left -= count;
        taken.push(batch.rows.slice(0, count));
    }
    Ok(Rows::new(partitions(vec![concat(node.name(), &node.node.schema, &taken)?])))
}
