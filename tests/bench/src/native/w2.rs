//! W2: plays per video over the last six batches, the most played first after every batch.
//!
//! Each thread counts its half of every file; a batch's counts are a dense row by number of the key, so that adding what comes
//! and taking off what leaves are two loops over arrays. The first ten are found as in W1.

use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow};

use super::block::{Block, Blocks};
use super::keys::{Keys, Probe};
use super::team::Meeting;
use super::top::{by_value_then_key, nth_largest};
use super::{NativeOptions, write_batch};

/// Batches of a window: 60 s every 10 s.
pub(super) const WINDOW: usize = 6;

/// No comma yet.
const NONE: usize = usize::MAX;

struct Counter {
    keys: Keys,
    /// Counts of this batch, by number of the key.
    pane: Vec<u32>,
    /// Counts of the batches before, oldest first.
    panes: VecDeque<Vec<u32>>,
    totals: Vec<u64>,
    candidates: Vec<usize>,
    rejected: u64,
}

impl Counter {
    fn new() -> Self {
        Self {
            keys: Keys::new(),
            pane: vec![0],
            panes: VecDeque::new(),
            totals: vec![0],
            candidates: Vec::new(),
            rejected: 0,
        }
    }

    fn count(&mut self, block: Block<'_>) {
        let (mut start, mut comma) = (0, NONE);
        let (keys, pane, rejected) = (&mut self.keys, &mut self.pane, &mut self.rejected);
        block.separators(b',', b'\n', |place| {
            if block.bytes[place] == b'\n' {
                *rejected += u64::from(comma == NONE);
                (start, comma) = (place + 1, NONE);
            } else if comma == NONE {
                comma = place;
                let probe = Probe::new(block.bytes, start, place);
                let number = keys.number(block.bytes, &probe);
                match pane.get_mut(number) {
                    Some(count) => *count += 1,
                    None => {
                        pane.resize(number, 0);
                        pane.push(1);
                    }
                }
            }
        });
    }

    /// Adds the batch to the totals and takes off the one that leaves.
    fn slide(&mut self) {
        let end = self.keys.end();
        self.pane.resize(end, 0);
        self.totals.resize(end, 0);
        for (total, count) in self.totals.iter_mut().zip(&self.pane) {
            *total += u64::from(*count);
        }
        let mut free = Vec::new();
        if self.panes.len() == WINDOW
            && let Some(leaving) = self.panes.pop_front()
        {
            for (total, count) in self.totals.iter_mut().zip(&leaving) {
                *total -= u64::from(*count);
            }
            free = leaving;
        }
        free.clear();
        free.resize(end, 0);
        self.panes.push_back(std::mem::replace(&mut self.pane, free));
    }

    fn find_candidates(&mut self, top: usize, threads: usize) {
        self.candidates.clear();
        let least = if top == 0 { 0 } else { nth_largest(&self.totals, top) };
        let is_candidate = |total: u64| total > 0 && total * threads as u64 >= least;
        self.candidates.extend((0..self.totals.len()).filter(|number| is_candidate(self.totals[*number])));
    }
}

/// Does the job.
pub(super) fn run(options: &NativeOptions) -> Result<()> {
    let batches = options.batches()?;
    let threads = options.threads.max(1);
    let counters: Vec<Mutex<Counter>> = (0..threads).map(|_| Mutex::new(Counter::new())).collect();
    let meeting = Meeting::new(threads);
    let mut out = Some(options.create_out()?);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let out = out.take();
                let (batches, counters, meeting) = (&batches, &counters, &meeting);
                scope.spawn(move || work(thread, options, batches, counters, meeting, out))
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a thread panicked"))?)
    })?;
    let rejected: u64 = counters.iter().map(|counter| lock(counter).rejected).sum();
    if rejected > 0 {
        eprintln!("{rejected} lines without a comma");
    }
    Ok(())
}

fn work(
    thread: usize,
    options: &NativeOptions,
    batches: &[Vec<PathBuf>],
    counters: &[Mutex<Counter>],
    meeting: &Meeting,
    mut out: Option<impl Write>,
) -> Result<()> {
    let mut blocks = Blocks::default();
    let mut failed = None;
    for batch in batches {
        {
            let mut counter = lock(&counters[thread]);
            for path in batch {
                let read = blocks.read(path, thread, counters.len(), |block| counter.count(block));
                failed = failed.or(read.with_context(|| format!("cannot read {}", path.display())).err());
            }
            counter.slide();
            counter.find_candidates(options.top, counters.len());
        }
        meeting.wait();
        if let Some(out) = &mut out {
            let rows = merge(counters, options.top);
            let written = write_batch(out, &rows, |text, count| write!(text, "{count}"));
            failed = failed.or(written.context("cannot write the answers").err());
        }
        meeting.wait();
    }
    failed.map_or(Ok(()), Err)
}

fn merge(counters: &[Mutex<Counter>], top: usize) -> Vec<(Vec<u8>, u64)> {
    let counters: Vec<_> = counters.iter().map(lock).collect();
    let mut rows: Vec<(Vec<u8>, u64)> = Vec::new();
    for (own, counter) in counters.iter().enumerate() {
        for number in &counter.candidates {
            let key = counter.keys.key(*number);
            let others = counters.iter().enumerate().filter(|(other, _)| *other != own);
            let elsewhere: u64 = others.filter_map(|(_, other)| Some(other.totals[other.keys.find(&key)?])).sum();
            rows.push((key, counter.totals[*number] + elsewhere));
        }
    }
    rows.sort_unstable_by(by_value_then_key(u64::cmp));
    rows.dedup();
    if top > 0 {
        rows.truncate(top);
    }
    rows
}

fn lock(mutex: &Mutex<Counter>) -> MutexGuard<'_, Counter> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
