//! What every receiver must do. Each check is a claim of the port's documentation.

use std::collections::BTreeMap;

use millpond_core::receiver::Reliability;
use millpond_core::{BatchTime, Clock, Decoded, Poll, PollRequest, Receiver, Split, SplitReader, SystemClock};

use crate::rows::to_texts;

/// How long a check waits for rows that were fed, microseconds. A bound for a hanging test, not a measure.
const WAIT_US: u64 = 30_000_000;

/// An input that a receiver under test reads: one text column.
pub trait ReceiverFixture {
    /// A receiver over this input, not yet restored; called again for a restarted job.
    fn open(&mut self) -> Box<dyn Receiver>;

    /// Adds rows. They may take a while to arrive.
    fn feed(&mut self, rows: &[&str]);

    /// Whether a receiver without rows says that there is more, because its input is still open and will come to an end.
    fn waits_for_an_end(&self) -> bool {
        false
    }
}

/// An input that makes its own rows, of one text column, and comes to an end after some. It can be read again.
pub trait GeneratorFixture {
    /// A receiver over this input, not yet restored; called again for a restarted job.
    fn open(&mut self) -> Box<dyn Receiver>;
}

/// Entries of progress as a state store keeps them.
type Progress = BTreeMap<Vec<u8>, Vec<u8>>;

/// Runs every check, each on an input of its own.
///
/// # Panics
/// If the receiver breaks the contract; the message says which claim.
pub fn all<F: ReceiverFixture>(mut fixture: impl FnMut() -> F) {
    nothing_to_give_is_an_ordinary_answer(&mut fixture());
    fed_rows_come_once_and_in_order(&mut fixture());
    a_split_may_be_read_again_and_from_other_threads(&mut fixture());
    a_reader_goes_on_reading_when_there_were_more_polls(&mut fixture());
    partitions_do_not_change_the_rows(&mut fixture());
    progress_tells_changes_once(&mut fixture());
    stopping_twice_is_fine(&mut fixture());
    let mut replayable = fixture();
    if replayable.open().reliability() == Reliability::Replayable {
        committed_rows_do_not_come_again(&mut replayable);
        uncommitted_rows_come_again(&mut fixture());
        progress_survives_many_restarts(&mut fixture());
    }
}

/// Runs the checks that are for receivers which make their own rows.
///
/// # Panics
/// If the receiver breaks the contract; the message says which claim.
pub fn generator(fixture: &mut impl GeneratorFixture) {
    let mut whole = restored(fixture.open(), &Progress::new());
    assert_eq!(whole.reliability(), Reliability::Replayable, "made-up rows can be made again");
    let (all, splits) = to_the_end(&mut *whole, 3);
    assert!(!all.is_empty(), "some rows come");
    reads_again(&*whole.reader(), &splits);
    whole.stop();
    whole.stop();
    for partitions in [1, 7] {
        let mut receiver = restored(fixture.open(), &Progress::new());
        assert!(to_the_end(&mut *receiver, partitions).0 == all, "{partitions} partitions: the same rows in order");
    }
    let (mut progress, mut found) = (Progress::new(), Vec::new());
    loop {
        // A batch that is never committed, and the crash.
        poll(&mut *restored(fixture.open(), &progress), 2);
        let mut receiver = restored(fixture.open(), &progress);
        let poll = poll(&mut *receiver, 2);
        found.extend(rows(&*receiver, &poll));
        commit(&mut *receiver, &mut progress);
        assert_eq!(receiver.take_progress(), [], "progress that was taken is not told again");
        if poll.ended {
            break;
        }
    }
    assert!(found == all, "over restarts every row comes once, in order");
}

/// All rows, and the splits of the first batch.
fn to_the_end(receiver: &mut dyn Receiver, partitions: usize) -> (Vec<String>, Vec<Split>) {
    let (clock, mut all, mut first) = (SystemClock::new(), Vec::new(), Vec::new());
    loop {
        assert!(clock.monotonic_us() < WAIT_US, "the input comes to an end");
        let poll = poll(receiver, partitions);
        assert_eq!(poll.more, !poll.ended, "there is more until the end");
        all.extend(rows(receiver, &poll));
        if first.is_empty() {
            first.clone_from(&poll.splits);
        }
        if poll.ended {
            return (all, first);
        }
    }
}

fn open(fixture: &mut impl ReceiverFixture, progress: &Progress) -> Box<dyn Receiver> {
    restored(fixture.open(), progress)
}

fn restored(mut receiver: Box<dyn Receiver>, progress: &Progress) -> Box<dyn Receiver> {
    let entries = progress.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    receiver.restore(entries).expect("a receiver takes back its own progress");
    receiver
}

fn poll(receiver: &mut dyn Receiver, partitions: usize) -> Poll {
    receiver.poll(&PollRequest::new(BatchTime(1000), partitions)).expect("polling a sound input works")
}

fn read(receiver: &dyn Receiver, split: &Split) -> Decoded {
    let decoded = receiver.reader().read(split).expect("a split of the latest poll can be read");
    assert!(decoded.bad_records.is_empty(), "sound rows decode: {:?}", decoded.bad_records);
    decoded
}

fn rows(receiver: &dyn Receiver, poll: &Poll) -> Vec<String> {
    poll.splits.iter().flat_map(|split| to_texts(&read(receiver, split).batch)).collect()
}

fn commit(receiver: &mut dyn Receiver, progress: &mut Progress) {
    for (key, value) in receiver.take_progress() {
        match value {
            Some(value) => progress.insert(key, value),
            None => progress.remove(&key),
        };
    }
}

/// Polls until so many rows came; gives all that came.
fn collect(receiver: &mut dyn Receiver, count: usize, partitions: usize) -> Vec<String> {
    let clock = SystemClock::new();
    let mut all = Vec::new();
    while all.len() < count {
        assert!(clock.monotonic_us() < WAIT_US, "fed rows arrive: {} of {count} came", all.len());
        let poll = poll(receiver, partitions);
        all.extend(rows(receiver, &poll));
        std::thread::yield_now();
    }
    let last = poll(receiver, partitions);
    all.extend(rows(receiver, &last));
    all
}

fn nothing_to_give_is_an_ordinary_answer(fixture: &mut impl ReceiverFixture) {
    let mut receiver = open(fixture, &Progress::new());
    let poll = poll(&mut *receiver, 4);
    assert!(rows(&*receiver, &poll).is_empty(), "an input without rows gives none");
    assert!(!poll.more || fixture.waits_for_an_end(), "and there is not more than none");
    receiver.stop();
}

fn fed_rows_come_once_and_in_order(fixture: &mut impl ReceiverFixture) {
    let mut receiver = open(fixture, &Progress::new());
    fixture.feed(&["a", "b", "", "d é"]);
    assert_eq!(collect(&mut *receiver, 4, 4), ["a", "b", "", "d é"], "rows come once, in order");
    fixture.feed(&["e", "f"]);
    assert_eq!(collect(&mut *receiver, 2, 4), ["e", "f"], "later rows come alone");
    receiver.stop();
}

fn a_split_may_be_read_again_and_from_other_threads(fixture: &mut impl ReceiverFixture) {
    let mut receiver = open(fixture, &Progress::new());
    fixture.feed(&["a", "b"]);
    let poll = poll_for_rows(&mut *receiver);
    reads_again(&*receiver.reader(), &poll.splits);
    receiver.stop();
}

/// Polls until something came.
fn poll_for_rows(receiver: &mut dyn Receiver) -> Poll {
    let clock = SystemClock::new();
    loop {
        assert!(clock.monotonic_us() < WAIT_US, "fed rows arrive");
        let poll = poll(receiver, 2);
        if !poll.splits.is_empty() {
            return poll;
        }
        std::thread::yield_now();
    }
}

fn a_reader_goes_on_reading_when_there_were_more_polls(fixture: &mut impl ReceiverFixture) {
    let mut receiver = open(fixture, &Progress::new());
    fixture.feed(&["a", "b"]);
    let (mut first, mut reads) = (Vec::new(), Vec::new());
    while first.len() < 2 {
        let poll = poll_for_rows(&mut *receiver);
        first.extend(rows(&*receiver, &poll));
        reads.push((receiver.reader(), poll));
    }
    fixture.feed(&["c"]);
    poll_for_rows(&mut *receiver);
    poll(&mut *receiver, 2);
    let read = |reader: &dyn SplitReader, poll: &Poll| {
        let rows = |split| to_texts(&reader.read(split).expect("splits of an earlier poll can be read").batch);
        poll.splits.iter().flat_map(rows).collect::<Vec<_>>()
    };
    let again: Vec<String> = reads.iter().flat_map(|(reader, poll)| read(&**reader, poll)).collect();
    assert_eq!(again, first, "a reader reads the splits of its own poll after later ones");
    receiver.stop();
}

fn reads_again(reader: &dyn SplitReader, splits: &[Split]) {
    for split in splits {
        assert!(!split.place.is_empty(), "a split says where it is");
        let first = reader.read(split).expect("a split can be read");
        std::thread::scope(|scope| {
            let others: Vec<_> = (0..2).map(|_| scope.spawn(|| reader.read(split))).collect();
            for other in others {
                let other = other.join().expect("reading does not panic").expect("a split can be read again");
                assert_eq!(other.batch, first.batch, "a split gives the same rows again");
            }
        });
    }
}

fn partitions_do_not_change_the_rows(fixture: &mut impl ReceiverFixture) {
    // Enough for a receiver that cuts only what is large.
    let many: Vec<String> = (0..40_000).map(|row| format!("row {row} with some text behind it")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for partitions in [1, 2, 7] {
        let mut receiver = open(fixture, &Progress::new());
        let before = if receiver.reliability() == Reliability::Replayable { partitions_fed(partitions) } else { 0 };
        fixture.feed(&many);
        let came = collect(&mut *receiver, (before + 1) * many.len(), partitions);
        assert_eq!(came.len(), (before + 1) * many.len(), "{partitions} partitions: every row comes once");
        assert!(came.chunks(many.len()).all(|part| part == many), "{partitions} partitions: splits are in order");
        receiver.stop();
    }
}

/// How many times the rows were fed before the round with so many partitions: a receiver without progress reads them all.
fn partitions_fed(partitions: usize) -> usize {
    [1, 2, 7].iter().take_while(|round| **round < partitions).count()
}

fn progress_tells_changes_once(fixture: &mut impl ReceiverFixture) {
    let mut receiver = open(fixture, &Progress::new());
    fixture.feed(&["a"]);
    collect(&mut *receiver, 1, 2);
    receiver.take_progress();
    assert_eq!(receiver.take_progress(), [], "progress that was taken is not told again");
    receiver.stop();
}

fn stopping_twice_is_fine(fixture: &mut impl ReceiverFixture) {
    let mut receiver = open(fixture, &Progress::new());
    receiver.stop();
    receiver.stop();
}

fn committed_rows_do_not_come_again(fixture: &mut impl ReceiverFixture) {
    let mut progress = Progress::new();
    fixture.feed(&["a", "b"]);
    let mut receiver = open(fixture, &progress);
    assert_eq!(collect(&mut *receiver, 2, 2), ["a", "b"]);
    commit(&mut *receiver, &mut progress);
    receiver.stop();
    fixture.feed(&["c"]);
    let mut receiver = open(fixture, &progress);
    assert_eq!(collect(&mut *receiver, 1, 2), ["c"], "after a restart only new rows come");
    receiver.stop();
}

fn uncommitted_rows_come_again(fixture: &mut impl ReceiverFixture) {
    let mut progress = Progress::new();
    let mut receiver = open(fixture, &progress);
    fixture.feed(&["a"]);
    assert_eq!(collect(&mut *receiver, 1, 2), ["a"]);
    commit(&mut *receiver, &mut progress);
    fixture.feed(&["b", "c"]);
    assert_eq!(collect(&mut *receiver, 2, 2), ["b", "c"]);
    // No commit: the job crashes here.
    drop(receiver);
    let mut receiver = open(fixture, &progress);
    assert_eq!(collect(&mut *receiver, 2, 2), ["b", "c"], "what was not committed comes again");
    receiver.stop();
}

fn progress_survives_many_restarts(fixture: &mut impl ReceiverFixture) {
    let mut progress = Progress::new();
    for round in 0..5 {
        let row = format!("row {round}");
        fixture.feed(&[&row]);
        let mut receiver = open(fixture, &progress);
        assert_eq!(collect(&mut *receiver, 1, 2), [row], "round {round}");
        commit(&mut *receiver, &mut progress);
        commit(&mut *receiver, &mut progress);
        receiver.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScriptReceiver;
    use crate::rows::{lines, text_schema};

    struct Script(ScriptReceiver);

    impl ReceiverFixture for Script {
        fn open(&mut self) -> Box<dyn Receiver> {
            Box::new(self.0.again())
        }

        fn feed(&mut self, rows: &[&str]) {
            self.0.push(vec![lines(rows)]);
        }
    }

    #[test]
    fn the_fake_keeps_the_contract() {
        all(|| Script(ScriptReceiver::new(text_schema("line"))));
    }
}
