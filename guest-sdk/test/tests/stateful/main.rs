//! Windows, sessions and state that maps rows, against models that a reader believes at once: random batches and pauses, restarts,
//! partition counts and batch intervals.

mod crashes;
mod initial;
mod map_with_state;
mod sessions;
mod types;
mod windows;

use std::collections::BTreeSet;
use std::time::Duration;

use millpond::{Job, Row, StreamingContext};
use millpond_test::{JobTest, RunningJob};
use proptest::prelude::*;

type Pair = (String, i64);

/// A batch, and when it came.
#[derive(Clone, Debug)]
struct Batch {
    time_ms: i64,
    rows: Vec<Pair>,
}

/// How a job is run.
#[derive(Clone, Debug)]
struct Run {
    /// Rows of each batch, and for how many intervals the job stands still before it.
    batches: Vec<(Vec<Pair>, u64)>,
    restarts: BTreeSet<usize>,
    parallelism: usize,
    /// Whether a restart changes the number of partitions.
    changes_parallelism: bool,
    interval_ms: u64,
}

fn runs() -> impl Strategy<Value = Run> {
    let rows = proptest::collection::vec(("[a-d]{1,2}", -3i64..5), 0..7);
    // Most batches follow one another.
    let pause = prop_oneof![8 => Just(0u64), 1 => 1u64..12];
    let batches = proptest::collection::vec((rows, pause), 1..16);
    let restarts = proptest::collection::btree_set(0usize..16, 0..4);
    // Of an odd interval the job's start is no multiple.
    let intervals_ms = prop_oneof![Just(1000u64), Just(500), Just(2000), Just(1), 100u64..3000];
    (batches, restarts, 1usize..4, any::<bool>(), intervals_ms).prop_map(
        |(batches, restarts, parallelism, changes_parallelism, interval_ms)| Run {
            batches,
            restarts,
            parallelism,
            changes_parallelism,
            interval_ms,
        },
    )
}

/// Runs a job; after each batch `look` is shown the job and all batches so far.
fn run(
    run: &Run,
    define: fn(&mut StreamingContext),
    params: &[(&str, u64)],
    mut look: impl FnMut(&RunningJob, &[Batch]) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let mut test = JobTest::new(Job::new(define)).parallelism(run.parallelism).batch_interval_ms(run.interval_ms);
    for (name, value) in params {
        test = test.param(name, value);
    }
    let mut job = test.start();
    let mut batches = Vec::new();
    for (number, (rows, pause)) in run.batches.iter().enumerate() {
        if run.restarts.contains(&number) {
            let other = if run.changes_parallelism { run.parallelism % 3 + 1 } else { run.parallelism };
            job.restart_with_parallelism(other);
        }
        // Two partitions, that come one after the other.
        let (left, right) = rows.split_at(rows.len() / 2);
        job.feed("in", left.to_vec());
        job.feed("in", right.to_vec());
        if *pause > 0 {
            job.advance(Duration::from_millis((pause + 1) * run.interval_ms));
        }
        let time_ms = job.batch().batch_time_ms;
        batches.push(Batch { time_ms, rows: rows.clone() });
        look(&job, &batches)?;
    }
    Ok(())
}

fn sorted<T: PartialOrd>(mut rows: Vec<T>) -> Vec<T> {
    rows.sort_by(|left, right| left.partial_cmp(right).expect("no NaN in these tests"));
    rows
}

fn rows<T: Row + PartialOrd>(job: &RunningJob, sink: &str) -> Vec<T> {
    sorted(job.rows::<T>(sink))
}

fn last(batches: &[Batch]) -> &Batch {
    batches.last().expect("a model is asked for a batch")
}
