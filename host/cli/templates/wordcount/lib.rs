//! How often each word has come so far, the most frequent first.

use std::cmp::Reverse;

use millpond::StreamingContext;

millpond::job!(dataflow);

/// Lines become words, words are counted per batch, counts are added to each word's total, which is state.
pub fn dataflow(ctx: &mut StreamingContext) {
    let top: usize = ctx.param_or("top", 10);
    ctx.text("lines")
        .split(' ')
        .count_by_value()
        .update_state_by_key(|counts, total: Option<i64>| Some(total.unwrap_or(0) + counts.sum()))
        .named("totals")
        .columns(["word", "count"])
        .top_by(top, |(word, count)| (Reverse(count), word))
        .sink("counts");
}

#[cfg(test)]
mod tests {
    use millpond_test::JobTest;

    use super::*;

    #[test]
    fn counts_go_on_after_a_restart() {
        let mut job = JobTest::new(millpond_job()).param("top", 2).start();
        job.feed("lines", ["to be or not to be".to_owned()]);
        job.batch();
        job.assert_rows_in_order("counts", [("be".to_owned(), 2_i64), ("to".to_owned(), 2)]);
        job.restart();
        job.feed("lines", ["to err".to_owned()]);
        job.batch();
        job.assert_rows_in_order("counts", [("to".to_owned(), 3_i64), ("be".to_owned(), 2)]);
    }
}
