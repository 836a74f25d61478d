//! Batches that are begun while the one before is still being computed.
//!
//! ```text
//! pool        | front 1 | front 2 | front 3 | ...
//! pool, job             | rest 1  | rest 2  | ...
//! ```
//! Only where the next batch is due, and where nothing of it depends on how the one before ends: not with accumulators or
//! broadcasts, whose calls and values belong to one batch. A job with parallelism 1 has one task at a time and does not look ahead.
//! What a look ahead took from a source is a batch like any other: it is finished when the job is told to stop, and an error in
//! it is told when the batch's turn comes, after the one before is committed.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use arrow::datatypes::SchemaRef;
use millpond_core::{BatchTime, StopSignal};

use super::front::{Front, SourceBatch};
use super::{JobRunner, Polled, panic_message};
use crate::Trigger;
use crate::error::{Error, Result};

/// A batch whose input is known.
pub(super) struct Begun {
    pub(super) batch_time: BatchTime,
    pub(super) began_us: u64,
    pub(super) polled: Polled,
    /// If it is being computed already.
    pub(super) front: Option<FrontAhead>,
}

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
}

impl FrontAhead {
    /// Waits for it.
    pub(super) fn wait(self) -> Result<Front> {
        // Nothing comes only if the pool is gone.
        self.answer.recv().unwrap_or(Err(Error::Aborted { batch_time: self.batch_time.0 }))
    }
}

impl JobRunner {
    /// Asks the receivers for a batch, unless that was done already.
    pub(super) fn begin(&mut self, batch_time: BatchTime) -> Result<Begun> {
        match self.ahead.take() {
            Some(ahead) => ahead,
            None => {
                let began_us = self.clock().monotonic_us();
                Ok(Begun { batch_time, began_us, polled: self.poll(batch_time)?, front: None })
            }
        }
    }

    /// Begins the next batch if it is due.
    pub(super) fn look_ahead(&mut self, batch_time: BatchTime, stop: &StopSignal) {
        let plan = self.shared.graph.plan();
        let is_apart = plan.accumulators.is_empty() && plan.broadcasts.is_empty();
        let is_due = match self.options.trigger {
            Trigger::AvailableNow => true,
            Trigger::Continuous => self.clock().now_ms() >= batch_time.0.saturating_sub(self.lead_ms),
        };
        if is_apart && is_due && self.options.parallelism > 1 && !stop.is_raised() {
            self.ahead = Some(self.begin(batch_time).map(|begun| self.start_front(begun)));
        }
    }

    fn start_front(&self, mut begun: Begun) -> Begun {
        if begun.polled.is_empty() {
            return begun;
        }
        let (batch_time, shared) = (begun.batch_time, Arc::clone(&self.shared));
        let sources = self.source_batches(&begun.polled);
        let (tell, answer) = sync_channel(1);
        self.shared.pool.start(move || {
            let front = catch_unwind(AssertUnwindSafe(|| shared.front(batch_time, sources)));
            let front = front.unwrap_or_else(|panic| {
                Err(Error::TaskPanicked { batch_time: batch_time.0, message: panic_message(&*panic) })
            });
            // Nobody listens any more when the batch before has failed.
            drop(tell.send(front));
        });
        begun.front = Some(FrontAhead { batch_time, answer });
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
