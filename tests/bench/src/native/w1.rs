//! W1: how often each word has come so far, the most frequent first after every batch.
//!
//! Each thread counts its half of every file in a table of its own and never merges: a word that is among the first ten of all
//! has, in one of `n` tables, at least an `n`th of what the tenth there has, so a few dozen candidates are looked up in the
//! other tables, and that is all the threads do together.

use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow};

use super::block::{Block, Blocks};
use super::keys::{Keys, Probe};
use super::state::{Changes, StateFile};
use super::team::Meeting;
use super::top::{by_value_then_key, nth_largest};
use super::{NativeOptions, write_batch};

/// What one thread has counted.
struct Counter {
    keys: Keys,
    /// By number of the key.
    counts: Vec<u64>,
    /// As they were when the state was last written.
    written: Vec<u64>,
    /// Numbers of keys that may be among the first.
    candidates: Vec<usize>,
    /// What changed in the batch, if state is written.
    changes: Option<Changes>,
}

impl Counter {
    fn new() -> Self {
        Self { keys: Keys::new(), counts: vec![0], written: vec![0], candidates: Vec::new(), changes: None }
    }

    fn count(&mut self, block: Block<'_>) {
        let mut start = 0;
        let (keys, counts) = (&mut self.keys, &mut self.counts);
        block.separators(b' ', b'\n', |end| {
            if end > start {
                let probe = Probe::new(block.bytes, start, end);
                let number = keys.number(block.bytes, &probe);
                match counts.get_mut(number) {
                    Some(count) => *count += 1,
                    None => counts.push(1),
                }
            }
            start = end + 1;
        });
    }

    fn find_candidates(&mut self, top: usize, threads: usize) {
        self.candidates.clear();
        if top == 0 {
            return self.candidates.extend(1..self.counts.len());
        }
        let least = nth_largest(&self.counts, top);
        let is_candidate = |count: &u64| *count > 0 && *count * threads as u64 >= least;
        self.candidates.extend((0..self.counts.len()).filter(|number| is_candidate(&self.counts[*number])));
    }

    /// Every count that changed since the last time.
    fn write_changes(&mut self, mut changes: Changes) {
        let (known, end) = (self.written.len(), self.counts.len());
        changes.restart(end - known, 8, known);
        for (number, (count, written)) in self.counts.iter().zip(&mut self.written).enumerate() {
            if count != written {
                changes.change(number as u32, count.to_le_bytes());
                *written = *count;
            }
        }
        let mut key = Vec::new();
        for number in known..end {
            key.clear();
            self.keys.write(number, &mut key);
            changes.add(&key, self.counts[number].to_le_bytes());
        }
        self.written.extend_from_slice(&self.counts[known..]);
        self.changes = Some(changes);
    }
}

/// A batch's answer, and what changed in it by thread, if state is written.
struct Commit {
    rows: Vec<(Vec<u8>, u64)>,
    changes: Vec<Changes>,
}

/// Does the job.
pub(super) fn run(options: &NativeOptions) -> Result<()> {
    let batches = options.batches()?;
    let threads = options.threads.max(1);
    let counters: Vec<Mutex<Counter>> = (0..threads).map(|_| Mutex::new(Counter::new())).collect();
    let meeting = Meeting::new(threads);
    // One batch may be on its way to the disk while the next one is counted.
    let (commits, arriving) = sync_channel(1);
    let (written, spares): (Vec<_>, Vec<_>) = (0..threads).map(|_| channel()).unzip();
    let (state, out) = (options.create_state()?, options.create_out()?);
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || write_commits(&arriving, &written, state, out));
        let workers: Vec<_> = (0..threads)
            .zip(spares)
            .map(|(thread, spares)| {
                let commits = (thread == 0).then(|| commits.clone());
                let (batches, counters, meeting) = (&batches, &counters, &meeting);
                scope.spawn(move || work(thread, options, batches, counters, meeting, &spares, commits.as_ref()))
            })
            .collect();
        drop(commits);
        let worked = workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow!("a thread panicked"))?);
        let worked = worked.collect::<Result<Vec<()>>>();
        writer.join().map_err(|_| anyhow!("the writer panicked"))??;
        worked.map(|_| ())
    })
}

fn work(
    thread: usize,
    options: &NativeOptions,
    batches: &[Vec<PathBuf>],
    counters: &[Mutex<Counter>],
    meeting: &Meeting,
    spares: &Receiver<Changes>,
    commits: Option<&SyncSender<Commit>>,
) -> Result<()> {
    let mut blocks = Blocks::default();
    let mut failed = None;
    for batch in batches {
        {
            let mut counter = lock(&counters[thread]);
            for path in batch {
                let read = blocks.read(path, thread, counters.len(), |block| counter.count(block));
                // The others must not wait in vain, so a thread that failed goes on meeting them.
                failed = failed.or(read.with_context(|| format!("cannot read {}", path.display())).err());
            }
            counter.find_candidates(options.top, counters.len());
            if options.state.is_some() {
                counter.write_changes(spares.try_recv().unwrap_or_else(|_| Changes::new(thread)));
            }
        }
        meeting.wait();
        if let Some(commits) = commits {
            // The writer is gone when it failed; it says why.
            commits.send(merge(counters, options.top)).ok();
        }
        meeting.wait();
    }
    failed.map_or(Ok(()), Err)
}

/// What the threads have counted, taken together.
fn merge(counters: &[Mutex<Counter>], top: usize) -> Commit {
    let mut counters: Vec<_> = counters.iter().map(lock).collect();
    let mut rows: Vec<(Vec<u8>, u64)> = Vec::new();
    for (own, counter) in counters.iter().enumerate() {
        for number in &counter.candidates {
            let key = counter.keys.key(*number);
            let others = counters.iter().enumerate().filter(|(other, _)| *other != own);
            let elsewhere: u64 = others.filter_map(|(_, other)| Some(other.counts[other.keys.find(&key)?])).sum();
            rows.push((key, counter.counts[*number] + elsewhere));
        }
    }
    rows.sort_unstable_by(by_value_then_key(u64::cmp));
    rows.dedup();
    if top > 0 {
        rows.truncate(top);
    }
    Commit { rows, changes: counters.iter_mut().filter_map(|counter| counter.changes.take()).collect() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_commits(
    arriving: &Receiver<Commit>,
    written: &[Sender<Changes>],
    mut state: Option<StateFile>,
    mut out: impl Write,
) -> Result<()> {
    for Commit { rows, mut changes } in arriving {
        if let Some(state) = &mut state {
            state.commit(&mut changes)?;
        }
        for (written, changes) in written.iter().zip(changes) {
            // A thread that is at its end needs them no more.
            written.send(changes).ok();
        }
        write_batch(&mut out, &rows, |text, count| write!(text, "{count}"))?;
    }
    Ok(())
}
