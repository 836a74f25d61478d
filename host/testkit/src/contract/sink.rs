//! What every sink must do. Each check is a claim of the port's documentation.

use millpond_core::{BatchTime, OutputMode, Sink, SinkBatch, SinkToken};

use crate::rows::{pair_schema, pairs};

/// An outside world that a sink under test writes to. Rows have a text column `key` and an integer column `value`.
pub trait SinkFixture {
    /// A sink over this world, not yet recovered; called again for a restarted job.
    fn open(&mut self) -> Box<dyn Sink>;

    /// The mode that `open` gives the sink.
    fn mode(&self) -> OutputMode {
        OutputMode::Append
    }

    /// Whether what was prepared outlives the process. If not (a terminal), a commit after a restart may show nothing.
    fn is_durable(&self) -> bool;

    /// What somebody outside sees: the keys of all visible rows, sorted.
    fn visible(&mut self) -> Vec<String>;
}

/// Runs every check, each on a world of its own.
///
/// # Panics
/// If the sink breaks the contract; the message says which claim.
pub fn all<F: SinkFixture>(mut fixture: impl FnMut() -> F) {
    output_appears_with_the_commit(&mut fixture());
    committing_twice_shows_once(&mut fixture());
    aborted_output_never_appears(&mut fixture());
    a_batch_without_rows_is_ordinary(&mut fixture());
    rows_of_all_partitions_appear(&mut fixture());
    output_that_was_never_committed_is_cleaned_up(&mut fixture());
    recovery_after_a_commit_shows_nothing_again(&mut fixture());
    let mut durable = fixture();
    if durable.is_durable() {
        recovery_finishes_the_last_commit(&mut durable);
    }
}

fn open(fixture: &mut impl SinkFixture, last: Option<&SinkToken>) -> Box<dyn Sink> {
    let mut sink = fixture.open();
    sink.recover(last).expect("a sink recovers in a sound world");
    sink
}

fn batch(time: i64, partitions: &[&[&str]]) -> SinkBatch {
    let rows = |keys: &&[&str]| pairs(&keys.iter().map(|key| (*key, 1)).collect::<Vec<_>>());
    SinkBatch {
        batch_time: BatchTime(time),
        schema: pair_schema("key", "value"),
        partitions: millpond_core::batch::partitions(partitions.iter().map(rows).collect()),
    }
}

fn prepare(sink: &mut dyn Sink, time: i64, partitions: &[&[&str]]) -> SinkToken {
    let token = sink.prepare(&batch(time, partitions)).expect("a sound batch can be prepared");
    assert_eq!(token.batch_time, BatchTime(time), "a token names its batch");
    token
}

fn output_appears_with_the_commit(fixture: &mut impl SinkFixture) {
    let mut sink = open(fixture, None);
    let token = prepare(&mut *sink, 1000, &[&["a", "b"]]);
    assert_eq!(fixture.visible(), [""; 0], "prepared output is invisible");
    sink.commit(&token).expect("prepared output can be committed");
    assert_eq!(fixture.visible(), ["a", "b"], "committed output is visible");
    let token = prepare(&mut *sink, 2000, &[&["c"]]);
    sink.commit(&token).expect("the next batch can be committed");
    assert_eq!(fixture.visible(), ["a", "b", "c"], "batches follow each other");
}

fn committing_twice_shows_once(fixture: &mut impl SinkFixture) {
    let mut sink = open(fixture, None);
    let token = prepare(&mut *sink, 1000, &[&["a"]]);
    sink.commit(&token).expect("prepared output can be committed");
    sink.commit(&token).expect("commit is idempotent");
    assert_eq!(fixture.visible(), ["a"], "a second commit shows nothing again");
}

fn aborted_output_never_appears(fixture: &mut impl SinkFixture) {
    let mut sink = open(fixture, None);
    let token = prepare(&mut *sink, 1000, &[&["a"]]);
    sink.abort(&token).expect("prepared output can be dropped");
    assert_eq!(fixture.visible(), [""; 0]);
    let token = prepare(&mut *sink, 1000, &[&["b"]]);
    sink.commit(&token).expect("the batch can be tried again");
    assert_eq!(fixture.visible(), ["b"], "only the second try is visible");
}

fn a_batch_without_rows_is_ordinary(fixture: &mut impl SinkFixture) {
    let mut sink = open(fixture, None);
    for (time, partitions) in [(1000, &[][..]), (2000, &[&[][..], &[][..]][..])] {
        let token = prepare(&mut *sink, time, partitions);
        sink.commit(&token).expect("a batch without rows can be committed");
    }
    assert_eq!(fixture.visible(), [""; 0]);
}

fn rows_of_all_partitions_appear(fixture: &mut impl SinkFixture) {
    let mut sink = open(fixture, None);
    let token = prepare(&mut *sink, 1000, &[&["a"], &[], &["b", "c"]]);
    sink.commit(&token).expect("prepared output can be committed");
    assert_eq!(fixture.visible(), ["a", "b", "c"]);
}

fn output_that_was_never_committed_is_cleaned_up(fixture: &mut impl SinkFixture) {
    let mut sink = open(fixture, None);
    let first = prepare(&mut *sink, 1000, &[&["a"]]);
    sink.commit(&first).expect("prepared output can be committed");
    prepare(&mut *sink, 2000, &[&["lost"]]);
    // The job crashes here, before the batch's commit.
    drop(sink);
    let mut sink = open(fixture, Some(&first));
    assert_eq!(fixture.visible(), ["a"], "what was not committed stays invisible");
    let token = prepare(&mut *sink, 2000, &[&["b"]]);
    sink.commit(&token).expect("the batch can be run again");
    assert_eq!(fixture.visible(), ["a", "b"], "and is gone");
}

fn recovery_after_a_commit_shows_nothing_again(fixture: &mut impl SinkFixture) {
    let mut sink = open(fixture, None);
    let token = prepare(&mut *sink, 1000, &[&["a"]]);
    sink.commit(&token).expect("prepared output can be committed");
    drop(sink);
    for _ in 0..2 {
        drop(open(fixture, Some(&token)));
    }
    assert_eq!(fixture.visible(), ["a"], "recovery repeats nothing");
}

fn recovery_finishes_the_last_commit(fixture: &mut impl SinkFixture) {
    let mut sink = open(fixture, None);
    let token = prepare(&mut *sink, 1000, &[&["a"], &["b"]]);
    // The job crashes here, after the batch's commit and before the sink's.
    drop(sink);
    let mut sink = open(fixture, Some(&token));
    assert_eq!(fixture.visible(), ["a", "b"], "a committed batch's output appears after a restart");
    sink.commit(&token).expect("and committing it once more is fine");
    assert_eq!(fixture.visible(), ["a", "b"]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CollectSink;
    use crate::rows::to_pairs;

    struct Collect(CollectSink);

    impl SinkFixture for Collect {
        fn open(&mut self) -> Box<dyn Sink> {
            Box::new(self.0.clone())
        }

        fn is_durable(&self) -> bool {
            true
        }

        fn visible(&mut self) -> Vec<String> {
            let batches = self.0.batches();
            let mut keys: Vec<_> =
                batches.iter().flat_map(|(_, rows)| rows).flat_map(to_pairs).map(|(key, _)| key).collect();
            keys.sort();
            keys
        }
    }

    #[test]
    fn the_fake_keeps_the_contract() {
        all(|| Collect(CollectSink::new()));
    }
}
