//! W1: how often each word has come so far, the most frequent first after every batch.
//!
//! Each thread counts its half of every file in a table of its own and never merges: a word that is among the first ten of all
//! has, in one of `n` tables, at least an `n`th of what the tenth there has, so a few dozen candidates are looked up in the
//! other tables, and that is all the threads do together.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow};

use super::block::{Block, Blocks};
use super::keys::{Keys, Probe};
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
    /// What changed in the batch.
    changes: Vec<u8>,
}

impl Counter {
    fn new() -> Self {
        Self { keys: Keys::new(), counts: vec![0], written: vec![0], candidates: Vec::new(), changes: Vec::new() }
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

    /// Keys that are new, then every count that changed: number of keys, each with its length; number of counts, each with the
    /// number of its key.
    fn write_changes(&mut self) {
        let (known, end) = (self.written.len(), self.counts.len());
        let out = &mut self.changes;
        out.clear();
        out.extend_from_slice(&((end - known) as u32).to_le_bytes());
        let mut key = Vec::new();
        for number in known..end {
            key.clear();
            self.keys.write(number, &mut key);
            out.extend_from_slice(&(key.len() as u32).to_le_bytes());
            out.extend_from_slice(&key);
        }
        self.written.resize(end, 0);
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        let mut changed = 0_u32;
        for (number, (count, written)) in self.counts.iter().zip(&mut self.written).enumerate() {
            if count != written {
                out.extend_from_slice(&(number as u32).to_le_bytes());
                out.extend_from_slice(&count.to_le_bytes());
                *written = *count;
                changed += 1;
            }
        }
        out[at..at + 4].copy_from_slice(&changed.to_le_bytes());
    }
}

/// A batch's changes and its answer.
type Commit = (Vec<u8>, Vec<(Vec<u8>, u64)>);

/// Does the job.
pub(super) fn run(options: &NativeOptions) -> Result<()> {
    let batches = options.batches()?;
    let threads = options.threads.max(1);
    let counters: Vec<Mutex<Counter>> = (0..threads).map(|_| Mutex::new(Counter::new())).collect();
    let meeting = Meeting::new(threads);
    // One batch may be on its way to the disk while the next one is counted.
    let (commits, arriving) = sync_channel(1);
    let state = options.state.as_deref().map(create_state).transpose()?;
    let out = options.create_out()?;
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || write_commits(&arriving, state, out));
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let commits = (thread == 0).then(|| commits.clone());
                let (batches, counters, meeting) = (&batches, &counters, &meeting);
                scope.spawn(move || work(thread, options, batches, counters, meeting, commits.as_ref()))
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
                counter.write_changes();
            }
        }
        meeting.wait();
        if let Some(commits) = commits {
            let (rows, changes) = merge(counters, options.top);
            // The writer is gone when it failed; it says why.
            commits.send((changes, rows)).ok();
        }
        meeting.wait();
    }
    failed.map_or(Ok(()), Err)
}

/// The answer of a batch, and what changed in it.
fn merge(counters: &[Mutex<Counter>], top: usize) -> (Vec<(Vec<u8>, u64)>, Vec<u8>) {
    let counters: Vec<_> = counters.iter().map(lock).collect();
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
    (rows, counters.iter().flat_map(|counter| counter.changes.iter().copied()).collect())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn create_state(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("cannot make {}", path.display()))
}

fn write_commits(arriving: &Receiver<Commit>, mut state: Option<File>, mut out: impl Write) -> Result<()> {
    for (changes, rows) in arriving {
        if let Some(state) = &mut state {
            state.write_all(&changes).and_then(|()| state.sync_data()).context("cannot write the state")?;
        }
        write_batch(&mut out, &rows, |text, count| write!(text, "{count}"))?;
    }
    Ok(())
}
