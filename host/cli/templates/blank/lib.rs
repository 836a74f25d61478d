//! Passes on the lines that are not empty: put your own dataflow in its place.

use millpond::StreamingContext;

millpond::job!(dataflow);

/// What is done with the rows: `lines` and `out` are named in `millpond.toml`.
pub fn dataflow(ctx: &mut StreamingContext) {
    ctx.text("lines").filter(|line| !line.is_empty()).sink("out");
}

#[cfg(test)]
mod tests {
    use millpond_test::JobTest;

    use super::*;

    #[test]
    fn empty_lines_are_left_out() {
        let mut job = JobTest::new(millpond_job()).start();
        job.feed("lines", ["one".to_owned(), String::new(), "two".to_owned()]);
        job.batch();
        job.assert_rows("out", ["one".to_owned(), "two".to_owned()]);
    }
}
