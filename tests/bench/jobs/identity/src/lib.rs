//! Lines out as they came in: what is left of a job when its own work is taken away.
//!
//! The setting `rows` says how: false (the default) passes the column through whole, so that nothing is measured but the
//! crossing; true touches every row, as any real stage does.

use millpond::StreamingContext;

millpond::job!(identity);

/// The dataflow.
pub fn identity(ctx: &mut StreamingContext) {
    let lines = ctx.text("lines");
    if ctx.param_or("rows", false) {
        lines.filter(|_| true).sink("out");
    } else {
        // A source keeps its name, so this is a stage that does nothing but rename.
        lines.columns(["text"]).sink("out");
    }
}

#[cfg(test)]
mod tests {
    use millpond::runtime::{Operator, Param, TaskInfo, batch_to_rows, rows_to_batch};

    use super::*;

    #[test]
    fn lines_come_out_as_they_went_in() {
        let lines = ["", "mill pond", "ä"].map(str::to_owned);
        for rows in ["false", "true"] {
            let job = millpond_job();
            let plan = job.plan(&[Param { name: "rows".to_owned(), value: rows.to_owned() }]).expect("a plan");
            assert!(matches!(plan.nodes[1].operator, Operator::Stage(_)), "{rows}");
            let task = TaskInfo { batch_time_ms: 1000, partition: 0, partitions: 1, attempt: 0 };
            let output =
                job.run_stage(1, &task, rows_to_batch(lines.clone()).expect("a batch")).expect("it refuses nothing");
            assert_eq!(batch_to_rows::<String>(output.batch).expect("lines"), lines, "{rows}");
            assert!(output.rejected.is_empty());
        }
    }
}
