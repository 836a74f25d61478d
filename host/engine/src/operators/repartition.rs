//! The rows of a batch in another number of partitions, each of as many rows as any other or one more.
//!
//! The batch is cut where its rows stand: the first partition has the first rows, and so on. So rows keep their order even
//! across partitions, the same input is always cut alike, and a partition that lies within one of the input's shares its
//! memory. Source: `DStream.repartition`, whose rows change places.

use arrow::array::RecordBatch;
use millpond_core::PartitionBatch;
use millpond_core::batch::{partitions, row_count};

use super::{BatchContext, NodeRef, Rows};
use crate::error::Result;
use crate::shuffle::concat;

pub(crate) fn run(context: &BatchContext<'_>, node: NodeRef<'_>, input: &Rows, count: u32) -> Result<Rows> {
    let rows = row_count(&input.partitions) as u64;
    let bound = |partition: u32| (rows * u64::from(partition) / u64::from(count)) as usize;
    let ranges = (0..count).map(|partition| (bound(partition), bound(partition + 1)));
    let pieces: Vec<_> = ranges.map(|(start, end)| pieces(&input.partitions, start, end)).collect();
    let cut = |pieces: Vec<RecordBatch>| concat(node.name(), &node.node.schema, &pieces);
    Ok(Rows::new(partitions(context.pool.run(pieces, cut)?)))
}

/// Rows `start..end` of all, as they lie in the input's partitions.
fn pieces(input: &[PartitionBatch], start: usize, end: usize) -> Vec<RecordBatch> {
    let mut first = 0;
    let mut pieces = Vec::new();
    for batch in input {
        let rows = batch.rows.num_rows();
        let (from, to) = (start.clamp(first, first + rows), end.clamp(first, first + rows));
        if from < to {
            pieces.push(batch.rows.slice(from - first, to - from));
        }
        first += rows;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use millpond_testkit::rows::lines;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_are_the_rows_in_their_order(
            sizes in proptest::collection::vec(0usize..20, 0..6),
            count in 1usize..9,
        ) {
            let mut next = 0;
            let input = partitions(sizes.iter().map(|size| {
                let names: Vec<String> = (next..next + size).map(|row| row.to_string()).collect();
                next += size;
                lines(&names.iter().map(String::as_str).collect::<Vec<_>>())
            }).collect());
            let cut: Vec<_> = (0..count)
                .map(|partition| pieces(&input, next * partition / count, next * (partition + 1) / count))
                .collect();
            let sizes = cut.iter().map(|pieces| pieces.iter().map(RecordBatch::num_rows).sum::<usize>());
            prop_assert!(sizes.clone().all(|size| size == next / count || size == next / count + 1));
            let found: Vec<RecordBatch> = cut.into_iter().flatten().collect();
            let all = lines(&[]).schema();
            let input: Vec<_> = input.into_iter().map(|batch| batch.rows).collect();
            prop_assert_eq!(concat("it", &all, &found).unwrap(), concat("it", &all, &input).unwrap());
        }
    }
}
