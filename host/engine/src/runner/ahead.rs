//! Batches that are begun while the one before is still being computed.
//!
//! ```text
//! pool        | front 1 | front 2 | front 3 | ...          one split for each of the job's tasks, or
//! pool, job             | rest 1  | rest 2  | ...
//!
//! pool        | front 2       | front 4       | ...        batches of one split, side by side
//! pool            | front 3       | front 5       | ...
//! pool, job   | rest 1 | rest 2 | rest 3 | rest 4 | ...
//! ```
//! One batch at least, and as many as it takes for each of the job's tasks to have a split, unless their input is large: beyond
//! `AHEAD_BYTES_MAX` for each task, or of unknown size, no further batch is begun.
//!
//! Only where the next batch is due, and where nothing of it depends on how the one before ends: not with accumulators or
//! broadcasts, whose calls and values belong to one batch. A job with parallelism 1 has one task at a time and does not look ahead.
//! What a look ahead took from a source is a batch like any other: it is finished when the job is told to stop, and an error in
//! it, a panic too, is told when the batch's turn comes, after the one before is committed. After a failure those that come
//! behind it are dropped. A look that found nothing is none: when the batch's turn comes, the receivers are asked again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, sync_channel};

use arrow::datatypes::SchemaRef;
use millpond_core::{BatchTime, PollRequest, StopSignal};

use super::front::{Front, SourceBatch};
use super::{JobRunner, Polled, caught};
use crate::Trigger;
use crate::error::{Error, Result};
use crate::operators::PARTITION_BYTES_MAX;

/// A batch whose input is known.
pub(super) struct Begun {
    pub(super) batch_time: BatchTime,
    pub(super) began_us: u64,
    /// How long after it was due it began, milliseconds.
    pub(super) delay_ms: u64,
    pub(super) polled: Polled,
    /// If it is being computed already.
    pub(super) front: Option<FrontAhead>,
}

/// Input of batches that are begun, for each of the job's tasks, beyond which no further one is: as much as a partition may have.
const AHEAD_BYTES_MAX: u64 = PARTITION_BYTES_MAX as u64;

/// What a look ahead came to.
pub(super) type Ahead = Result<Begun>;

/// Whether the next batch may be begun meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LookAhead {
    Yes,
    No,
}

/// A front on its way.
pub(super) struct FrontAhead {
    batch_time: BatchTime,
    answer: Receiver<Result<Front>>,
    /// Nobody waits for it any more.
    is_dropped: Arc<AtomicBool>,
}

impl FrontAhead {
    /// Waits for it.
    pub(super) fn wait(self) -> Result<Front> {
        // Nothing comes only if the pool is gone.
        self.answer.recv().unwrap_or(Err(Error::Aborted { batch_time: self.batch_time.0 }))
    }
}

impl Drop for FrontAhead {
    fn drop(&mut self) {
        self.is_dropped.store(true, Relaxed);
    }
}

impl JobRunner {
    /// Asks the receivers for a batch, unless that was done already.
    pub(super) fn begin(&mut self, batch_time: BatchTime, look_ahead: LookAhead) -> Result<Begun> {
        match self.ahead.pop_front() {
            Some(ahead) => ahead,
            None => self.ask(batch_time, look_ahead),
        }
    }

    fn ask(&mut self, batch_time: BatchTime, look_ahead: LookAhead) -> Result<Begun> {
        let (began_us, delay_ms) = (self.clock().monotonic_us(), self.delay_ms(batch_time));
        // Not for a job that is to be quick with each batch. And by settings alone, not by what has come: a batch that is run
        // again has the same splits.
        let side_by_side =
            look_ahead == LookAhead::Yes && self.options.trigger == Trigger::AvailableNow && self.is_apart();
        let request = PollRequest { side_by_side, ..PollRequest::new(batch_time, self.options.parallelism) };
        Ok(Begun { batch_time, began_us, delay_ms, polled: self.poll(&request)?, front: None })
    }

    /// Whether nothing of a batch's front depends on how the batch before ends.
    fn is_apart(&self) -> bool {
        let plan = self.shared.graph.plan();
        plan.accumulators.is_empty() && plan.broadcasts.is_empty()
    }

    fn delay_ms(&self, batch_time: BatchTime) -> u64 {
        match self.options.trigger {
            Trigger::AvailableNow => 0,
            Trigger::Continuous => self.clock().now_ms().saturating_sub(self.due_ms(batch_time)).max(0).cast_unsigned(),
        }
    }

    /// When a batch is due by the clock, in milliseconds.
    pub(super) fn due_ms(&self, batch_time: BatchTime) -> i64 {
        batch_time.0.saturating_sub(self.lead_ms)
    }

    /// Whether its time has come. With `available-now` it always has.
    pub(super) fn is_due(&self, batch_time: BatchTime) -> bool {
        self.options.trigger == Trigger::AvailableNow || self.due_ms(batch_time) <= self.clock().now_ms()
    }

    /// Begins batches after this one, if they are due, until there is a split for each of the job's tasks.
    pub(super) fn look_ahead(&mut self, batch_time: BatchTime, stop: &StopSignal) {
        let tasks = self.options.parallelism.min(self.shared.pool.threads());
        if !self.is_apart() || tasks < 2 {
            return;
        }
        let mut last = batch_time;
        let (mut splits, mut bytes) = (0, 0_u64);
        let bytes_max = AHEAD_BYTES_MAX.saturating_mul(tasks as u64);
        for ahead in &self.ahead {
            // What comes after a failure is not asked for.
            let Ok(begun) = ahead else { return };
            last = begun.batch_time;
            splits += begun.polled.splits();
            bytes = bytes.saturating_add(begun.polled.bytes());
        }
        while splits < tasks && bytes < bytes_max && !stop.is_raised() {
            last = self.batch_time_after(last);
            if !self.is_due(last) {
                return;
            }
            // Receivers may be anybody's code.
            match caught(last, || self.ask(last, LookAhead::Yes).map(|begun| self.start_front(begun, stop))) {
                Ok(begun) if begun.polled.is_empty() => return self.found_nothing(begun.polled),
                Ok(begun) => {
                    splits += begun.polled.splits();
                    bytes = bytes.saturating_add(begun.polled.bytes());
                    self.ahead.push_back(Ok(begun));
                }
                Err(error) => return self.ahead.push_back(Err(error)),
            }
        }
    }

    /// A look that found nothing is progress as well, which comes after that of the batches that were begun before.
    fn found_nothing(&mut self, polled: Polled) {
        self.summary.bad_records += self.tell_of(&polled);
        match self.ahead.back_mut() {
            Some(Ok(begun)) => {
                for (progress, more) in begun.polled.progress.iter_mut().zip(polled.progress) {
                    progress.extend(more);
                }
            }
            _ => self.pending.add(&self.sources, polled.progress),
        }
    }

    fn start_front(&self, mut begun: Begun, stop: &StopSignal) -> Begun {
        if begun.polled.is_empty() {
            return begun;
        }
        let (stop, is_dropped) = (stop.clone(), Arc::new(AtomicBool::new(false)));
        let dropped = Arc::clone(&is_dropped);
        let (batch_time, shared) = (begun.batch_time, Arc::clone(&self.shared));
        let sources = self.source_batches(&begun.polled);
        let (tell, answer) = sync_channel(1);
        self.shared.pool.start(move || {
            let is_over = || dropped.load(Relaxed) || stop.is_abort();
            let front = caught(batch_time, || shared.front(batch_time, sources, &is_over));
            // Nobody listens any more when the batch before has failed.
            drop(tell.send(front));
        });
        begun.front = Some(FrontAhead { batch_time, answer, is_dropped });
        begun
    }

    /// The splits of a batch, by the plan's sources.
    pub(super) fn source_batches(&self, polled: &Polled) -> Vec<SourceBatch> {
        let schemas: BTreeMap<&str, &SchemaRef> = self.shared.graph.sources().into_iter().collect();
        let sources = self.sources.iter().zip(&polled.polls).filter_map(|(source, poll)| {
            // A source that the plan does not name gives no rows to anyone.
            let schema = Arc::clone(schemas.get(source.name.as_str())?);
            Some(SourceBatch {
                name: source.name.clone(),
                schema,
                reader: source.receiver.reader(),
                splits: poll.splits.clone(),
                on_bad_record: source.on_bad_record,
            })
        });
        sources.collect()
    }
}
