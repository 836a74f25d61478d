//! Narrow guest code: one call per partition, empty partitions left out.

use millpond_core::{Operator, PartitionBatch, Rejection, Report, StageOutput, TaskInfo};

use super::{BatchContext, NodeRef, Rows};
use crate::OnBadRecord;
use crate::error::{Error, Result};

use arrow::array::RecordBatch;

/// A partition of a stage's input, and where its rows come from.
pub(crate) struct StageInput {
    pub(crate) rows: PartitionBatch,
    /// `data/a.txt bytes 0..1000`; `None` = somewhere inside the job.
    pub(crate) place: Option<String>,
}

/// Runs user code over all partitions. `fetch` makes an item into rows in the task that uses them (decoding a split, say), so
/// that rows go from the input into user code without a stop in between.
pub(crate) fn run<T: Send>(
    context: &BatchContext<'_>,
    node: NodeRef<'_>,
    items: Vec<T>,
    on_bad_record: OnBadRecord,
    fetch: impl Fn(T) -> Result<StageInput> + Send + Sync,
    call: impl Fn(&TaskInfo, &RecordBatch) -> Result<StageOutput, millpond_core::BoxError> + Send + Sync,
) -> Result<Rows> {
    let partitions = items.len();
    let outputs = context.pool.run(items, |item| {
        let input = fetch(item)?;
        if input.rows.rows.num_rows() == 0 {
            let rows = RecordBatch::new_empty(std::sync::Arc::clone(&node.node.schema));
            return Ok((PartitionBatch { partition: input.rows.partition, rows }, Vec::new()));
        }
        let task = context.task(input.rows.partition, partitions);
        let output = call(&task, &input.rows.rows).map_err(|error| match node.node.operator {
            // A transform's component knows nothing of the plan: its errors name no node.
            Operator::Transform(_) => Error::port(format!("node `{}`", node.name()))(error),
            _ => Error::user_code(error),
        })?;
        let reports = output.rejected.into_iter().map(|rejection| report(context, node, &input, rejection)).collect();
        Ok((PartitionBatch { partition: input.rows.partition, rows: output.batch }, reports))
    })?;
    let (rows, reports): (Vec<_>, Vec<Vec<Report>>) = outputs.into_iter().unzip();
    rejected(context, reports.into_iter().flatten().collect(), on_bad_record)?;
    Ok(Rows::new(rows))
}

fn report(context: &BatchContext<'_>, node: NodeRef<'_>, input: &StageInput, rejection: Rejection) -> Report {
    let place = match &input.place {
        Some(place) => format!("decoded row {} (from 0) of {place}", rejection.row),
        None => format!("row {} (from 0) of partition {}", rejection.row, input.rows.partition),
    };
    Report::Rejected { node: node.name().to_owned(), batch_time: context.batch_time, place, reason: rejection.reason }
}

fn rejected(context: &BatchContext<'_>, reports: Vec<Report>, on_bad_record: OnBadRecord) -> Result<()> {
    if let (OnBadRecord::Fail, Some(Report::Rejected { node, batch_time, place, reason })) =
        (on_bad_record, reports.first())
    {
        return Err(Error::RowRejected {
            node: node.clone(),
            batch_time: batch_time.0,
            place: place.clone(),
            reason: reason.clone(),
        });
    }
    context.count(|counts| {
        counts.rejected += reports.len() as u64;
        counts.reports.extend(reports);
    });
    Ok(())
}
