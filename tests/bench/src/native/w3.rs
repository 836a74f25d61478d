//! W3: an exponentially weighted moving average per sensor, the highest first after every batch.
//!
//! Sensors belong to threads by their hash. Every thread looks at every line and keeps to its own sensors: finding the keys of a
//! line costs a few nanoseconds, less than handing the line over, and it keeps the order of a sensor's values. The tables are
//! larger than the caches, so lines are worked on in groups: first the table is read at all their places, so that the waits for
//! memory overlap, and then the averages are moved. Threads do not wait for each other.

use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context, Result, anyhow};

use super::averages::Averages;
use super::block::{Block, Blocks};
use super::keys::Probe;
use super::top::by_value_then_key;
use super::{NativeOptions, number, write_batch};

/// How far a value moves the average.
const A: f64 = 0.3;

/// Lines of a group: enough for the memory to be busy, few enough for the level 1 cache.
const GROUP: usize = 64;

/// No comma yet.
const NONE: usize = usize::MAX;

/// A line of this thread's.
#[derive(Clone, Copy, Default)]
struct Line {
    probe: Probe,
    value_start: u32,
    value_end: u32,
}

struct Worker {
    averages: Averages,
    group: [Line; GROUP],
    held: usize,
    rejected: u64,
}

impl Worker {
    fn new() -> Self {
        Self { averages: Averages::new(), group: [Line::default(); GROUP], held: 0, rejected: 0 }
    }

    /// Takes the lines of this thread's sensors.
    fn take(&mut self, block: Block<'_>, thread: u64, threads: u64) {
        let (mut start, mut comma) = (0, NONE);
        block.separators(b',', b'\n', |place| {
            if block.bytes[place] != b'\n' {
                comma = comma.min(place);
                return;
            }
            if comma == NONE {
                self.rejected += u64::from(thread == 0);
            } else {
                let probe = Probe::new(block.bytes, start, comma);
                self.group[self.held % GROUP] = Line { probe, value_start: comma as u32 + 1, value_end: place as u32 };
                // No branch: which sensors are this thread's cannot be predicted.
                let owner = ((probe.hash >> 32) * threads) >> 32;
                self.held += usize::from(owner == thread);
                if self.held == GROUP {
                    self.work(block.bytes);
                }
            }
            (start, comma) = (place + 1, NONE);
        });
        self.work(block.bytes);
    }

    /// Moves the averages of the group.
    fn work(&mut self, bytes: &[u8]) {
        let held = std::mem::take(&mut self.held);
        let touched = self.group[..held].iter().fold(0, |touched, line| touched ^ self.averages.touch(&line.probe));
        std::hint::black_box(touched);
        for line in &self.group[..held] {
            let (start, end) = (line.value_start as usize, line.value_end as usize);
            let value = number::parse(bytes, start, end).or_else(|| number::parse_slowly(bytes, start, end));
            let Some(value) = value else {
                self.rejected += 1;
                continue;
            };
            self.averages.update(bytes, &line.probe, value, |average| A * value + (1.0 - A) * average);
        }
    }
}

/// A thread's part of a batch's answer.
type Part = Vec<(Vec<u8>, f64)>;

/// Does the job.
pub(super) fn run(options: &NativeOptions) -> Result<()> {
    let batches = options.batches()?;
    let threads = options.threads.max(1);
    let out = options.create_out()?;
    std::thread::scope(|scope| {
        let (mut workers, mut parts) = (Vec::new(), Vec::new());
        for thread in 0..threads {
            let (sender, receiver) = sync_channel(batches.len());
            let batches = &batches;
            parts.push(receiver);
            workers.push(scope.spawn(move || work(thread as u64, options, batches, &sender)));
        }
        let written = write_answers(batches.len(), &parts, options.top, out);
        drop(parts);
        let worked = workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow!("a thread panicked"))?);
        worked.collect::<Result<Vec<()>>>()?;
        written
    })
}

fn work(thread: u64, options: &NativeOptions, batches: &[Vec<PathBuf>], parts: &SyncSender<Part>) -> Result<()> {
    let mut blocks = Blocks::default();
    let mut worker = Worker::new();
    for batch in batches {
        for path in batch {
            let read = blocks.read(path, 0, 1, |block| worker.take(block, thread, options.threads.max(1) as u64));
            read.with_context(|| format!("cannot read {}", path.display()))?;
        }
        // The writer is gone when it failed; it says why.
        parts.send(worker.averages.highest(options.top)).ok();
    }
    if worker.rejected > 0 {
        eprintln!("{} lines that are no readings", worker.rejected);
    }
    Ok(())
}

fn write_answers(batches: usize, parts: &[Receiver<Part>], top: usize, mut out: impl Write) -> Result<()> {
    for _ in 0..batches {
        let mut rows = Vec::new();
        for part in parts {
            rows.extend(part.recv().context("a thread ended early")?);
        }
        rows.sort_unstable_by(by_value_then_key(f64::total_cmp));
        if top > 0 {
            rows.truncate(top);
        }
        write_batch(&mut out, &rows, |text, average| write!(text, "{average:?}"))?;
    }
    Ok(())
}
