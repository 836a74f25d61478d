//! Of each sensor: how many readings there were, their sum, and the highest one. Readings that are no numbers are refused.

use millpond::{Row, StreamingContext};

millpond::job!(dataflow);

/// What is kept for each sensor from batch to batch.
#[derive(Row, Clone, Debug, PartialEq)]
pub struct Seen {
    pub readings: i64,
    pub sum: i64,
    pub highest: i64,
}

/// Lines are a sensor and a reading, with a space between.
pub fn dataflow(ctx: &mut StreamingContext) {
    ctx.text("readings")
        .try_map::<(String, i64)>(|line| {
            let (sensor, reading) = line.split_once(' ').ok_or("expected a sensor, a space and a reading")?;
            Ok((sensor, reading.parse()?))
        })
        .update_state_by_key(|readings, seen: Option<Seen>| {
            let mut seen = seen.unwrap_or(Seen { readings: 0, sum: 0, highest: i64::MIN });
            for reading in readings {
                seen.readings += 1;
                seen.sum += reading;
                seen.highest = seen.highest.max(reading);
            }
            Some(seen)
        })
        .named("seen")
        .columns(["sensor", "readings", "sum", "highest"])
        .sink("sensors");
}

#[cfg(test)]
mod tests {
    use millpond_test::JobTest;

    use super::*;

    #[test]
    fn what_was_seen_survives_a_restart() {
        let mut job = JobTest::new(millpond_job()).start();
        job.feed("readings", ["attic 21".to_owned(), "attic 24".to_owned(), "cellar 12".to_owned()]);
        job.batch();
        job.restart_with_parallelism(3);
        job.feed("readings", ["attic 19".to_owned(), "attic warm".to_owned()]);
        job.batch();
        let attic = Seen { readings: 3, sum: 64, highest: 24 };
        let cellar = Seen { readings: 1, sum: 12, highest: 12 };
        job.assert_rows("sensors", [("attic".to_owned(), attic.clone()), ("cellar".to_owned(), cellar.clone())]);
        job.assert_state("seen", [("attic".to_owned(), attic), ("cellar".to_owned(), cellar)]);
        job.assert_rejected(["invalid digit found in string"]);
    }
}
