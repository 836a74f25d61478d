//! Crashes between commits: everything that keeps state at once, with a commit after every few batches, batch times that are left out,
//! and other numbers of partitions. What was not committed is computed again, and nothing comes out twice or is missing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millpond::{Job, Row, State, StreamingContext, Timestamp, Values};
use millpond_test::{JobTest, RunningJob};
use proptest::prelude::*;

use super::{Pair, sorted};

type Totals = BTreeMap<String, i64>;
/// Key, sum, first and last time.
type Session = (String, (i64, Timestamp, Timestamp));

/// What happens after a batch.
#[derive(Clone, Copy, Debug)]
enum Event {
    Nothing,
    /// As after kill -9; then so many partitions.
    Crash(usize),
    /// So many seconds in which no batch is made.
    Pause(u64),
}

#[derive(Clone, Debug)]
struct Run {
    batches: Vec<Vec<Pair>>,
    events: Vec<Event>,
    commit_every: u64,
    parallelism: usize,
}

fn runs() -> impl Strategy<Value = Run> {
    let batches = proptest::collection::vec(proptest::collection::vec(("[a-d]", -3i64..6), 0..6), 1..14);
    let event = prop_oneof![
        4 => Just(Event::Nothing),
        2 => (1usize..5).prop_map(Event::Crash),
        1 => (0u64..5).prop_map(Event::Pause),
    ];
    (batches, proptest::collection::vec(event, 30), 1u64..5, 1usize..5)
        .prop_map(|(batches, events, commit_every, parallelism)| Run { batches, events, commit_every, parallelism })
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn job(ctx: &mut StreamingContext) {
    let rows = ctx.source::<Pair>("in");
    rows.count().sink("count");
    rows.window(seconds(3), seconds(1)).sink("window");
    rows.max_by_key_and_window(seconds(3), seconds(1)).sink("max");
    rows.sum_by_key_and_window(seconds(3), seconds(1)).sink("sum");
    let most = rows.max_by_key_and_window(seconds(4), seconds(1)).named("most");
    most.top_by(2, |(key, n)| (Reverse(n), key)).sink("top");
    let kept = rows.reduce_by_key_and_window_with_inverse(|a, b| a + b, |a, b| a - b, seconds(2), seconds(1));
    kept.keep_empty_keys().sink("kept");
    rows.sum_by_key_and_session(seconds(1)).sink("session");
    let state =
        rows.update_state_by_key(|values: Values<'_, i64>, old: Option<i64>| Some(old.unwrap_or(0) + values.sum() + 1));
    state.every_batch().initial_state([("z".to_owned(), 5)]).sink("state");
    let mapped = rows.map_with_state(|key, value: Option<i64>, state: &mut State<'_, i64>| {
        let old = state.get().unwrap_or(0);
        let Some(value) = value else { return Some((key.to_owned(), -1000 - old)) };
        state.update(old + value);
        Some((key.to_owned(), old + value))
    });
    let mapped = mapped.timeout(seconds(2)).initial_state([("a".to_owned(), 100), ("y".to_owned(), 7)]);
    mapped.sink("mapped");
    mapped.state_snapshots().sink("snapshots");
}

/// The batches that came out, with their times in milliseconds. A batch that a crash took away runs anew, with what it had.
fn play(run: &Run) -> (RunningJob, Vec<(i64, Vec<Pair>)>) {
    let test = JobTest::new(Job::new(job)).commit_every(run.commit_every).parallelism(run.parallelism);
    let mut job = test.start();
    let mut batches = run.batches.iter();
    for event in &run.events {
        if let Some(batch) = batches.next() {
            let (left, right) = batch.split_at(batch.len() / 2);
            job.feed("in", left.to_vec());
            job.feed("in", right.to_vec());
        }
        job.batch();
        match event {
            Event::Nothing => {}
            Event::Crash(parallelism) => job.restart_with_parallelism(*parallelism),
            Event::Pause(length) => job.advance(seconds(*length)),
        }
    }
    let times = job.batches::<i64>("count").into_iter().map(|(time, _)| time.0);
    let rows = run.batches.iter().cloned().chain(std::iter::repeat(Vec::new()));
    let history = times.zip(rows).collect();
    (job, history)
}

fn found<T: Row + PartialOrd>(job: &RunningJob, sink: &str, time: i64) -> Vec<T> {
    let batches = job.batches::<T>(sink).into_iter().filter(|(found, _)| found.0 == time);
    sorted(batches.flat_map(|(_, rows)| rows).collect())
}

fn fold(rows: impl IntoIterator<Item = Pair>, with: fn(i64, i64) -> i64) -> Totals {
    let mut totals = Totals::new();
    for (key, value) in rows {
        totals.entry(key).and_modify(|old| *old = with(*old, value)).or_insert(value);
    }
    totals
}

fn pairs(totals: &Totals) -> Vec<Pair> {
    totals.clone().into_iter().collect()
}

/// Sessions with a gap of a second that are over in the last batch, and were not in the one before.
fn ended_sessions(history: &[(i64, Vec<Pair>)]) -> Vec<Session> {
    let mut by_key: BTreeMap<&String, Vec<(i64, i64)>> = BTreeMap::new();
    for (time, rows) in history {
        rows.iter().for_each(|(key, n)| by_key.entry(key).or_default().push((*time, *n)));
    }
    let now = history.last().map_or(0, |(time, _)| *time);
    let before = history.iter().rev().nth(1).map_or(i64::MIN, |(time, _)| *time);
    let mut ended = Vec::new();
    for (key, rows) in by_key {
        for session in rows.chunk_by(|left, right| right.0 - left.0 <= 1000) {
            let (start, end) = (session[0].0, session[session.len() - 1].0);
            if now > end + 1000 && before <= end + 1000 {
                let sum = session.iter().map(|(_, n)| n).sum();
                ended.push((key.clone(), (sum, Timestamp(start * 1000), Timestamp(end * 1000))));
            }
        }
    }
    sorted(ended)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn crashes_between_commits_change_nothing(run in runs()) {
        let (job, history) = play(&run);
        let mut states = Totals::from([("z".to_owned(), 5)]);
        // The sum of each key, and when it was touched last.
        let mut mapped: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        let mut seen: BTreeSet<String> = BTreeSet::new();
        for (number, (time, rows)) in history.iter().enumerate() {
            let window = |length: i64| {
                let inside = history[..=number].iter().filter(move |(then, _)| *then > time - length * 1000);
                inside.flat_map(|(_, rows)| rows.clone())
            };
            prop_assert_eq!(found::<i64>(&job, "count", *time), [rows.len() as i64]);
            prop_assert_eq!(found::<Pair>(&job, "window", *time), sorted(window(3).collect()));
            prop_assert_eq!(found::<Pair>(&job, "max", *time), pairs(&fold(window(3), i64::max)));
            prop_assert_eq!(found::<Pair>(&job, "sum", *time), pairs(&fold(window(3), |a, b| a + b)));
            let mut top = pairs(&fold(window(4), i64::max));
            top.sort_by_key(|(key, n)| (Reverse(*n), key.clone()));
            top.truncate(2);
            prop_assert_eq!(found::<Pair>(&job, "top", *time), sorted(top));
            seen.extend(rows.iter().map(|(key, _)| key.clone()));
            let mut kept = fold(window(2), |a, b| a + b);
            seen.iter().for_each(|key| { kept.entry(key.clone()).or_insert(0); });
            prop_assert_eq!(found::<Pair>(&job, "kept", *time), pairs(&kept));
            prop_assert_eq!(found::<Session>(&job, "session", *time), ended_sessions(&history[..=number]));

            let sums = fold(rows.clone(), |a, b| a + b);
            sums.keys().for_each(|key| { states.entry(key.clone()).or_insert(0); });
            states.iter_mut().for_each(|(key, state)| *state += 1 + sums.get(key).copied().unwrap_or(0));
            prop_assert_eq!(found::<Pair>(&job, "state", *time), pairs(&states));

            if number == 0 {
                mapped.extend([("a".to_owned(), (100, *time)), ("y".to_owned(), (7, *time))]);
            }
            let mut expected = Vec::new();
            for (key, value) in rows {
                let state = mapped.entry(key.clone()).or_insert((0, *time));
                *state = (state.0 + value, *time);
                expected.push((key.clone(), state.0));
            }
            mapped.retain(|key, (sum, touched)| {
                let is_over = *touched < time - 2000;
                expected.extend(is_over.then(|| (key.clone(), -1000 - *sum)));
                !is_over
            });
            prop_assert_eq!(found::<Pair>(&job, "mapped", *time), sorted(expected));
            let snapshots: Vec<Pair> = mapped.iter().map(|(key, (sum, _))| (key.clone(), *sum)).collect();
            prop_assert_eq!(found::<Pair>(&job, "snapshots", *time), snapshots);
        }
    }
}
