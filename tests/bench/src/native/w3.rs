//! W3: an exponentially weighted moving average per sensor, the highest first after every batch.
//!
//! Sensors belong to threads by their hash. The threads go through a file in steps: in each, every thread cuts up its part of the step
//! and hands the readings to their owners, then works on what it was handed, part by part, so that a sensor's values keep their
//! order. The tables are larger than the caches, so readings are worked on in groups: first the table is read at all their places, so that the
//! waits for memory overlap, and then the averages are moved.
//!
//! With `--state`, what changed in a batch is appended to a file and synced before its answer is written, by the thread that
//! writes the answers, while the others work on the next batch.

use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{PoisonError, RwLock};

use anyhow::{Context, Result, anyhow};

use super::averages::Averages;
use super::block::{Block, Blocks};
use super::keys::Probe;
use super::state::{Changes, StateFile};
use super::team::Meeting;
use super::top::by_value_then_key;
use super::{NativeOptions, number, write_batch};

/// How far a value moves the average.
const A: f64 = 0.3;

/// Bytes of a file that a thread cuts up in a step: what it hands over stays in the caches.
const STEP_BYTES: u64 = 1 << 19;

/// Readings of a group: enough for the memory to be busy, few enough for the level 1 cache.
const GROUP: usize = 128;

/// No comma yet.
const NONE: usize = usize::MAX;

/// A reading of a sensor whose key fits a word.
#[derive(Clone, Copy, Default)]
struct Reading {
    key: u64,
    hash: u64,
    value: f64,
}

/// What a thread hands to another in a step.
#[derive(Default)]
struct Parcel {
    readings: Vec<Reading>,
    held: usize,
    /// Readings of sensors whose key does not fit.
    others: Vec<(Vec<u8>, f64)>,
}

/// What a thread hands over in a step, by receiver.
struct Parcels {
    parcels: Vec<Parcel>,
    rejected: u64,
}

impl Parcels {
    fn new(threads: usize) -> Self {
        Self { parcels: (0..threads).map(|_| Parcel::default()).collect(), rejected: 0 }
    }

    fn clear(&mut self) {
        for parcel in &mut self.parcels {
            parcel.held = 0;
            parcel.others.clear();
        }
    }

    /// Cuts up lines.
    fn take(&mut self, block: Block<'_>) {
        // A reading has a comma and a line end at least.
        for parcel in &mut self.parcels {
            let enough = parcel.held + block.len / 2 + 1;
            if parcel.readings.len() < enough {
                parcel.readings.resize(enough, Reading::default());
            }
        }
        let (mut start, mut comma) = (0, NONE);
        block.separators(b',', b'\n', |place| {
            if block.bytes[place] == b'\n' {
                if comma == NONE {
                    self.rejected += 1;
                } else {
                    self.reading(block.bytes, start, comma, place);
                }
                (start, comma) = (place + 1, NONE);
            } else {
                comma = comma.min(place);
            }
        });
    }

    #[inline(always)]
    fn reading(&mut self, bytes: &[u8], start: usize, comma: usize, end: usize) {
        let value = number::parse(bytes, comma + 1, end).or_else(|| number::parse_slowly(bytes, comma + 1, end));
        let Some(value) = value else {
            self.rejected += 1;
            return;
        };
        let probe = Probe::new(bytes, start, comma);
        let owner = (((probe.hash >> 32) * self.parcels.len() as u64) >> 32) as usize;
        let parcel = &mut self.parcels[owner];
        match probe.word() {
            Some(key) => {
                parcel.readings[parcel.held] = Reading { key, hash: probe.hash, value };
                parcel.held += 1;
            }
            None => parcel.others.push((bytes[start..comma].to_vec(), value)),
        }
    }
}

/// Works on what a thread was handed.
fn work_on(parcel: &Parcel, averages: &mut Averages) {
    let next = |value: f64| move |average: f64| A * value + (1.0 - A) * average;
    for group in parcel.readings[..parcel.held].chunks(GROUP) {
        let touched = group.iter().fold(0, |touched, reading| touched ^ averages.touch(reading.hash));
        std::hint::black_box(touched);
        for reading in group {
            averages.update(reading.key, reading.hash, reading.value, next(reading.value));
        }
    }
    for (key, value) in &parcel.others {
        averages.update_other(key, *value, next(*value));
    }
}

/// A thread's part of a batch: of its answer, and what changed in it, if state is written.
struct Part {
    rows: Vec<(Vec<u8>, f64)>,
    changes: Option<Changes>,
}

/// What ties a thread to the one that writes.
struct ToWriter {
    parts: SyncSender<Part>,
    /// Changes that are written, so that their memory is used again.
    written: Receiver<Changes>,
}

/// What ties the one that writes to a thread.
struct FromWorker {
    parts: Receiver<Part>,
    written: Sender<Changes>,
}

fn connection() -> (ToWriter, FromWorker) {
    // One batch may be on its way to the disk while the next one is worked on.
    let ((parts, arriving), (written, back)) = (sync_channel(1), channel());
    (ToWriter { parts, written: back }, FromWorker { parts: arriving, written })
}

/// What the threads share: parcels of this step and of the one before, by sender.
struct Exchange {
    parcels: [Vec<RwLock<Parcels>>; 2],
    meeting: Meeting,
}

/// Does the job.
pub(super) fn run(options: &NativeOptions) -> Result<()> {
    let threads = options.threads.max(1);
    let batches = with_steps(options.batches()?, threads)?;
    let (state, out) = (options.create_state()?, options.create_out()?);
    let parcels = [(); 2].map(|()| (0..threads).map(|_| RwLock::new(Parcels::new(threads))).collect());
    let exchange = Exchange { parcels, meeting: Meeting::new(threads) };
    std::thread::scope(|scope| {
        let (mut workers, mut parts) = (Vec::new(), Vec::new());
        for thread in 0..threads {
            let (to_writer, from_worker) = connection();
            let (batches, exchange) = (&batches, &exchange);
            parts.push(from_worker);
            workers.push(scope.spawn(move || work(thread, options, batches, exchange, &to_writer)));
        }
        let written = write_batches(batches.len(), &parts, options.top, state, out);
        drop(parts);
        let worked = workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow!("a thread panicked"))?);
        worked.collect::<Result<Vec<()>>>()?;
        written
    })?;
    let rejected: u64 =
        exchange.parcels.iter().flatten().map(|parcels| read(parcels, |parcels| parcels.rejected)).sum();
    if rejected > 0 {
        eprintln!("{rejected} lines that are no readings");
    }
    Ok(())
}

fn work(
    thread: usize,
    options: &NativeOptions,
    batches: &[Vec<(PathBuf, usize)>],
    exchange: &Exchange,
    writer: &ToWriter,
) -> Result<()> {
    let threads = exchange.parcels[0].len();
    let has_state = options.state.is_some();
    let (mut blocks, mut averages) = (Blocks::default(), Averages::new(has_state));
    let (mut failed, mut step_number) = (None, 0);
    for batch in batches {
        for (path, steps) in batch {
            for step in 0..*steps {
                // While the others still work on the last step's parcels, these go into the other set.
                let set = &exchange.parcels[step_number % 2];
                step_number += 1;
                {
                    let mut own = set[thread].write().unwrap_or_else(PoisonError::into_inner);
                    own.clear();
                    let part = step * threads + thread;
                    let result = blocks.read(path, part, *steps * threads, |block| own.take(block));
                    // The others must not wait in vain, so a thread that failed goes on meeting them.
                    failed = failed.or(result.with_context(|| format!("cannot read {}", path.display())).err());
                }
                exchange.meeting.wait();
                for sender in set {
                    read(sender, |parcels| work_on(&parcels.parcels[thread], &mut averages));
                }
            }
        }
        let changes = has_state.then(|| {
            let mut changes = writer.written.try_recv().unwrap_or_else(|_| Changes::new(thread));
            averages.write_changes(&mut changes);
            changes
        });
        // The writer is gone when it failed; it says why.
        writer.parts.send(Part { rows: averages.highest(options.top), changes }).ok();
    }
    failed.map_or(Ok(()), Err)
}

fn read<T>(parcels: &RwLock<Parcels>, each: impl FnOnce(&Parcels) -> T) -> T {
    each(&parcels.read().unwrap_or_else(PoisonError::into_inner))
}

/// Every file with the number of steps in which the threads go through it.
fn with_steps(batches: Vec<Vec<PathBuf>>, threads: usize) -> Result<Vec<Vec<(PathBuf, usize)>>> {
    let steps = |path: PathBuf| {
        let size = std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
        Ok((path, usize::try_from(size.div_ceil(STEP_BYTES * threads as u64))?))
    };
    batches.into_iter().map(|batch| batch.into_iter().map(steps).collect()).collect()
}

fn write_batches(
    batches: usize,
    workers: &[FromWorker],
    top: usize,
    mut state: Option<StateFile>,
    mut out: impl Write,
) -> Result<()> {
    for _ in 0..batches {
        let (mut rows, mut changes) = (Vec::new(), Vec::new());
        for worker in workers {
            let part = worker.parts.recv().context("a thread ended early")?;
            rows.extend(part.rows);
            changes.extend(part.changes);
        }
        if let Some(state) = &mut state {
            state.commit(&mut changes)?;
        }
        for (worker, changes) in workers.iter().zip(changes) {
            // A thread that is at its end needs them no more.
            worker.written.send(changes).ok();
        }
        rows.sort_unstable_by(by_value_then_key(f64::total_cmp));
        if top > 0 {
            rows.truncate(top);
        }
        write_batch(&mut out, &rows, |text, average| write!(text, "{average:?}"))?;
    }
    Ok(())
}
