//! How much each page was visited in the last three seconds, every second.

use std::time::Duration;

use millpond::{Row, StreamingContext};

millpond::job!(dataflow);

/// A row of the input; its fields are the columns.
#[derive(Row, Clone, Debug, PartialEq)]
pub struct Visit {
    pub page: String,
    pub bytes: i64,
}

/// Both durations are multiples of the job's batch interval.
pub fn dataflow(ctx: &mut StreamingContext) {
    let window = ctx.param_or("window", Duration::from_secs(3));
    let slide = ctx.param_or("slide", Duration::from_secs(1));
    ctx.source::<Visit>("visits")
        .map::<(String, i64)>(|visit| (visit.page, visit.bytes))
        .reduce_by_key_and_window_with_inverse(
            |total, bytes| total + bytes,
            |total, bytes| total - bytes,
            window,
            slide,
        )
        .columns(["page", "bytes"])
        .sink("traffic");
}

#[cfg(test)]
mod tests {
    use millpond_test::JobTest;

    use super::*;

    fn visit(page: &str, bytes: i64) -> Visit {
        Visit { page: page.to_owned(), bytes }
    }

    #[test]
    fn visits_leave_the_window() {
        let mut job = JobTest::new(millpond_job()).batch_interval_ms(1000).start();
        job.feed("visits", [visit("/", 10), visit("/about", 5)]);
        job.batch();
        job.feed("visits", [visit("/", 1)]);
        job.batch();
        job.assert_rows("traffic", [("/".to_owned(), 11_i64), ("/about".to_owned(), 5)]);
        job.batch();
        job.batch();
        job.assert_rows("traffic", [("/".to_owned(), 1_i64)]);
    }
}
