//! One running job: its batches, computed one after the other, and their commits, each while the next batch is computed.
//!
//! ```text
//! wait for the batch time -> poll receivers -> decode, stages, shuffles, operators
//!     -> sinks prepare -> one atomic commit (state changes, source progress, sink tokens) -> sinks commit
//!     -> tell the listener
//! ```
//!
//! The next batches, if they are due, are begun while this one is computed, and computed while it is being committed; commits keep
//! their order. An error anywhere fails the job: nothing of the batch is committed, what sinks prepared and what was begun of later
//! batches is dropped, and the hot state goes with the runner. A new runner continues from the newest commit.
//! Source: `org.apache.spark.streaming.scheduler.JobGenerator` and `JobScheduler`.

mod ahead;
#[cfg(test)]
mod ahead_tests;
mod commit;
mod evaluate;
mod front;
#[cfg(test)]
mod merged_tests;
mod output;
#[cfg(test)]
mod overlap_tests;
#[cfg(test)]
mod per_batch_tests;
mod recover;
#[cfg(test)]
mod sum_tests;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use millpond_core::receiver::{Poll, ProgressEntry};
use millpond_core::{
    BatchReport, BatchTime, Clock, Epoch, Listener, OutputMode, PhaseTimes, PollRequest, Receiver, Report, SinkBatch,
    StopSignal,
};
use tracing::debug;

use self::ahead::{Ahead, Begun, LookAhead};
use self::commit::Pending;
use self::front::Shared;
use self::output::{Delivery, Output};
use crate::accumulators::Accumulators;
use crate::broadcasts::Broadcasts;
use crate::error::{Error, Result};
use crate::operators::broadcast::BroadcastOperator;
use crate::operators::map_with_state::MapWithState;
use crate::operators::reduce_session::ReduceSessionOperator;
use crate::operators::reduce_window::ReduceWindowOperator;
use crate::operators::sink::UpdateFilter;
use crate::operators::update_state::UpdateState;
use crate::operators::window::WindowOperator;
use crate::operators::{BatchCounts, Stateful};
use crate::{JobOptions, JobParts, OnBadRecord, Summary, Trigger};

/// How long `available-now` waits for a source that promises more and has nothing yet. A guess: short against a person's
/// patience, long against a poll.
const LOOK_AGAIN_MS: i64 = 2;

/// Runs one job. Nothing in it is shared with other jobs but the compute pool.
pub struct JobRunner {
    options: JobOptions,
    shared: Arc<Shared>,
    sources: Vec<Source>,
    /// Modes of the sinks; the sinks themselves are with the output side.
    modes: BTreeMap<String, OutputMode>,
    output: Output,
    /// The batch that was handed over to the output side and not yet told of.
    in_flight: Option<BatchInFlight>,
    /// The batches after the newest one that were begun already, in order; a failure is the last of them.
    ahead: VecDeque<Ahead>,
    operators: Vec<Operation>,
    accumulators: Accumulators,
    broadcasts: Broadcasts,
    listener: Arc<dyn Listener>,
    last: Option<BatchTime>,
    epoch: Epoch,
    pending: Pending,
    summary: Summary,
    created_us: u64,
    /// When the newest complete batch was done.
    done_us: u64,
    /// After an error the hot state is no longer that of any commit.
    failed: bool,
    /// How far batch times run ahead of the clock, milliseconds.
    lead_ms: i64,
}

struct Source {
    name: String,
    receiver: Box<dyn Receiver>,
    on_bad_record: OnBadRecord,
}

/// A batch that is computed and not yet told of.
struct BatchInFlight {
    began_us: u64,
    counts: BatchCounts,
    /// Complete but for what the output side adds.
    report: BatchReport,
}

/// What runs at a node besides what its plan entry says.
enum Operation {
    Stateless,
    Window(WindowOperator),
    ReduceWindow(ReduceWindowOperator),
    UpdateState(UpdateState),
    /// A sink in mode update, whose input does not already give changes only.
    UpdateFilter(UpdateFilter),
    MapWithState(MapWithState),
    ReduceSession(ReduceSessionOperator),
    Broadcast(BroadcastOperator),
}

impl Operation {
    fn stateful(&self) -> Option<&dyn Stateful> {
        match self {
            Self::Stateless => None,
            Self::Window(operator) => Some(operator),
            Self::ReduceWindow(operator) => Some(operator),
            Self::UpdateState(operator) => Some(operator),
            Self::UpdateFilter(operator) => Some(operator),
            Self::MapWithState(operator) => Some(operator),
            Self::ReduceSession(operator) => Some(operator),
            Self::Broadcast(operator) => Some(operator),
        }
    }

    fn stateful_mut(&mut self) -> Option<&mut dyn Stateful> {
        match self {
            Self::Stateless => None,
            Self::Window(operator) => Some(operator),
            Self::ReduceWindow(operator) => Some(operator),
            Self::UpdateState(operator) => Some(operator),
            Self::UpdateFilter(operator) => Some(operator),
            Self::MapWithState(operator) => Some(operator),
            Self::ReduceSession(operator) => Some(operator),
            Self::Broadcast(operator) => Some(operator),
        }
    }
}

/// What the receivers have for a batch, in the order of the runner's sources.
struct Polled {
    polls: Vec<Poll>,
    /// What is read when the batch is committed.
    progress: Vec<Vec<ProgressEntry>>,
}

impl Polled {
    fn is_empty(&self) -> bool {
        self.splits() == 0
    }

    fn splits(&self) -> usize {
        self.polls.iter().map(|poll| poll.splits.len()).sum()
    }

    /// How many bytes of records there are; the largest number if that is not known.
    fn bytes(&self) -> u64 {
        let splits = self.polls.iter().flat_map(|poll| &poll.splits);
        splits.map(|split| split.bytes.unwrap_or(u64::MAX)).fold(0, u64::saturating_add)
    }
}

/// What a batch came to.
struct Evaluated {
    counts: BatchCounts,
    phases: PhaseTimes,
    /// Rows for sinks, by the sink's name.
    outputs: Vec<(String, SinkBatch)>,
}

impl JobRunner {
    /// Recovers the job's newest commit and makes ready for the batch after it.
    ///
    /// # Errors
    /// `MissingPart` when the plan names something that `parts` lacks, `UpdateNeedsKey`, `StateSchema`, and whatever the store,
    /// the receivers and the sinks say.
    pub fn try_new(options: JobOptions, parts: JobParts) -> Result<Self> {
        recover::runner(options, parts)
    }

    /// Runs batches until there is nothing more (trigger `available-now`) or until `stop` is raised, then commits what is
    /// left and closes the store.
    ///
    /// # Errors
    /// Whatever fails the job; see [`Error`]. The newest commit stays as it is.
    pub fn run(&mut self, stop: &StopSignal) -> Result<Summary> {
        let outcome = match self.options.trigger {
            Trigger::AvailableNow => self.run_available(stop),
            Trigger::Continuous => self.run_continuously(stop),
        };
        let outcome = outcome.and_then(|()| self.commit_rest());
        self.close();
        outcome.map(|()| self.summary())
    }

    fn run_available(&mut self, stop: &StopSignal) -> Result<()> {
        // What was begun ahead was taken from its source, and is finished.
        while !stop.is_raised() || !self.ahead.is_empty() {
            let batch_time = self.next_batch_time();
            let begun = self.guarded(batch_time, |runner| runner.begin(batch_time, LookAhead::Yes))?;
            if begun.polled.is_empty() {
                self.settle()?;
                self.summary.bad_records += self.tell_of(&begun.polled);
                let more = begun.polled.polls.iter().any(|poll| poll.more);
                // A look without rows is progress as well: files that were passed over, that are gone.
                self.pending.add(&self.sources, begun.polled.progress);
                if !more {
                    break;
                }
                // Something is on its way (a connection that is still open): look again soon, without an empty batch.
                self.clock().wait_until(self.clock().now_ms() + LOOK_AGAIN_MS, stop);
                continue;
            }
            self.guarded(batch_time, |runner| runner.batch(begun, stop, LookAhead::Yes))?;
        }
        Ok(())
    }

    fn run_continuously(&mut self, stop: &StopSignal) -> Result<()> {
        let mut batch_time = self.first_batch_time();
        loop {
            if !self.is_due(batch_time) {
                // There is time: tell of the batch, or of its failure, before the next one is due.
                self.settle()?;
            }
            self.clock().wait_until(self.due_ms(batch_time), stop);
            if stop.is_raised() && self.ahead.is_empty() {
                return Ok(());
            }
            let begun = self.guarded(batch_time, |runner| runner.begin(batch_time, LookAhead::Yes))?;
            self.guarded(batch_time, |runner| runner.batch(begun, stop, LookAhead::Yes))?;
            batch_time = self.next_batch_time();
        }
    }

    /// The batch time that follows the last one: the next on the job's grid, which is whole intervals from its start. (The
    /// interval may be another than in the last run.)
    #[must_use]
    pub fn next_batch_time(&self) -> BatchTime {
        self.batch_time_after(self.last.unwrap_or(self.shared.start))
    }

    fn batch_time_after(&self, last: BatchTime) -> BatchTime {
        let interval_ms = self.options.batch_interval_ms.cast_signed();
        let intervals = last.0.saturating_sub(self.shared.start.0).div_euclid(interval_ms) + 1;
        self.shared.start.plus_ms(intervals.saturating_mul(interval_ms).cast_unsigned())
    }

    /// The next batch time that is not in the past, on the job's grid. Batch times that passed while the job was stopped are
    /// left out: receivers hold what came meanwhile, and windows move on by time.
    ///
    /// When batch times are ahead of the clock (`available-now` does not wait for it, and a clock can be set back), batches
    /// come at the clock's pace all the same, and keep their lead.
    fn first_batch_time(&mut self) -> BatchTime {
        let next = self.next_batch_time();
        let interval_ms = self.options.batch_interval_ms;
        let late_ms = self.clock().now_ms().saturating_sub(next.0);
        self.lead_ms = late_ms.saturating_neg().saturating_sub(interval_ms.cast_signed()).max(0);
        if self.lead_ms > 0 {
            let lead = crate::draw::duration(self.lead_ms.cast_unsigned());
            let message =
                format!("batch times are {lead} ahead of the clock, and stay so; a batch is made every interval");
            self.listener.report(&Report::Note { message });
        }
        if late_ms <= 0 || self.last.is_none() {
            return next;
        }
        let passed = late_ms.cast_unsigned().div_ceil(interval_ms);
        if passed > 0 {
            let message =
                format!("{passed} batch times passed while the job was stopped; it goes on with the next one");
            self.listener.report(&Report::Note { message });
        }
        next.plus_ms(passed.saturating_mul(interval_ms))
    }

    /// Runs one batch by hand, whatever the trigger says, and waits for its commit.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_batch(&mut self, batch_time: BatchTime) -> Result<BatchReport> {
        self.guarded(batch_time, |runner| {
            let begun = runner.begin(batch_time, LookAhead::No)?;
            runner.batch(begun, &StopSignal::new(), LookAhead::No)
        })?;
        Ok(self.settle()?.expect("the batch was handed over just now"))
    }

    /// Commits what is left and closes the store.
    ///
    /// # Errors
    /// When the commit fails.
    pub fn finish(&mut self) -> Result<Summary> {
        let outcome = self.commit_rest();
        self.close();
        outcome.map(|()| self.summary())
    }

    fn commit_rest(&mut self) -> Result<()> {
        self.settle()?;
        if self.failed {
            return Err(Error::Aborted { batch_time: self.last.unwrap_or(self.shared.start).0 });
        }
        if self.pending.batches == 0 && self.pending.progress.is_empty() {
            return Ok(());
        }
        let batch_time = self.last.unwrap_or(self.shared.start);
        self.guarded(batch_time, |runner| {
            let record = Some(runner.record(batch_time)?);
            runner.output.deliver(Delivery { batch_time, outputs: Vec::new(), record });
            let delivered = runner.output.wait(batch_time)?;
            runner.summary.phases.commit_us += delivered.commit_us;
            runner.summary.phases.sink_us += delivered.sink_us;
            runner.summary.accumulators = runner.accumulators.totals();
            Ok(())
        })
    }

    /// What the run has done so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            elapsed_us: self.clock().monotonic_us().saturating_sub(self.created_us),
            state_keys: self.state_keys(),
            state_bytes: self.state_bytes(),
            ..self.summary.clone()
        }
    }

    /// Runs a step; after an error or a panic in it, has what was prepared dropped and marks the runner as failed. A batch
    /// that was handed over before is completed all the same.
    fn guarded<T>(&mut self, batch_time: BatchTime, step: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.failed {
            return Err(Error::Aborted { batch_time: batch_time.0 });
        }
        let outcome = caught(batch_time, || step(self));
        let Err(error) = outcome else { return outcome };
        self.failed = true;
        // The batch before comes first, also with its error.
        let error = self.settle().err().unwrap_or(error);
        self.output.abort();
        Err(error)
    }

    fn poll(&mut self, request: &PollRequest) -> Result<Polled> {
        let mut polled = Polled { polls: Vec::new(), progress: Vec::new() };
        for source in &mut self.sources {
            let poll = source.receiver.poll(request).map_err(Error::port(format!("source `{}`", source.name)))?;
            polled.polls.push(poll);
            polled.progress.push(source.receiver.take_progress());
        }
        Ok(polled)
    }

    /// Computes a batch, or what is left of it, and hands it to the output side, after the batch before it is done there.
    fn batch(&mut self, begun: Begun, stop: &StopSignal, look_ahead: LookAhead) -> Result<()> {
        let Begun { batch_time, began_us, delay_ms, polled, front } = begun;
        let lost = self.tell_of(&polled);
        self.broadcasts.refresh(&*self.shared.function, &*self.listener)?;
        // What the job's code had before this batch (making window totals again, say) is none of it.
        drop(self.shared.function.take_updates());
        let front = match front {
            Some(front) => front.wait()?,
            None => self.shared.front(batch_time, self.source_batches(&polled), &|| stop.is_abort())?,
        };
        self.pending.add(&self.sources, polled.progress);
        if look_ahead == LookAhead::Yes {
            self.look_ahead(batch_time, stop);
        }
        let Evaluated { mut counts, phases, outputs } = self.evaluate(batch_time, front, stop)?;
        self.accumulators.add(batch_time, &self.shared.function.take_updates())?;
        counts.bad_records += lost;
        self.last = Some(batch_time);
        self.pending.batches += 1;
        let is_commit = self.pending.batches >= self.options.commit_every;
        let record = is_commit.then(|| self.record(batch_time)).transpose()?;
        let report = BatchReport {
            batch_time_ms: batch_time.0,
            rows_in: counts.rows_in,
            bytes_in: counts.bytes_in,
            rows_out: counts.rows_out,
            bad_records: counts.bad_records,
            rejected: counts.rejected,
            scheduling_delay_us: delay_ms * 1000,
            phases,
            epoch: record.as_ref().map(|record| record.epoch),
            state_keys: self.state_keys(),
            state_bytes: self.state_bytes(),
            accumulators: self.accumulators.totals(),
            ..BatchReport::default()
        };
        self.settle()?;
        let delivery = Delivery { batch_time, outputs, record };
        if look_ahead == LookAhead::Yes && self.is_due(self.batch_time_after(batch_time)) {
            self.output.start_delivery(delivery)?;
        } else {
            // Nothing could be done meanwhile.
            self.output.deliver(delivery);
        }
        self.in_flight = Some(BatchInFlight { began_us, counts, report });
        Ok(())
    }

    /// Waits for the batch that was handed over, if there is one, and tells of it.
    fn settle(&mut self) -> Result<Option<BatchReport>> {
        let Some(BatchInFlight { began_us, counts, mut report }) = self.in_flight.take() else { return Ok(None) };
        let delivered = self.output.wait(BatchTime(report.batch_time_ms)).inspect_err(|_| self.failed = true)?;
        report.batches = self.summary.batches + 1;
        report.commit_bytes = delivered.commit_bytes;
        report.phases.commit_us = delivered.commit_us;
        report.phases.sink_us += delivered.sink_us;
        report.processing_us = delivered.done_us.saturating_sub(began_us);
        self.summary.processing_us += delivered.done_us.saturating_sub(began_us.max(self.done_us));
        self.done_us = delivered.done_us;
        // The listener is not the runner's own code.
        let told = caught(BatchTime(report.batch_time_ms), || {
            self.account(&report, counts);
            Ok(())
        });
        told.inspect_err(|_| self.failed = true)?;
        Ok(Some(report))
    }

    fn state_keys(&self) -> u64 {
        self.operators.iter().filter_map(Operation::stateful).map(Stateful::keys).sum()
    }

    fn state_bytes(&self) -> u64 {
        self.operators.iter().filter_map(Operation::stateful).map(Stateful::memory_bytes).sum()
    }

    fn account(&mut self, report: &BatchReport, counts: BatchCounts) {
        let summary = &mut self.summary;
        summary.batches = report.batches;
        summary.rows_in += report.rows_in;
        summary.rows_out += report.rows_out;
        summary.bytes_in += report.bytes_in;
        summary.bad_records += report.bad_records;
        summary.rejected += report.rejected;
        summary.phases += report.phases;
        if report.epoch.is_some() {
            summary.accumulators.clone_from(&report.accumulators);
        }
        counts.reports.iter().for_each(|report| self.listener.report(report));
        self.listener.batch_completed(report);
        debug!(job = self.options.name, batch = report.batch_time_ms, rows_in = report.rows_in, "batch completed");
    }

    /// Passes on what receivers had to say; gives the number of records that they lost.
    fn tell_of(&self, polled: &Polled) -> u64 {
        for (source, poll) in self.sources.iter().zip(&polled.polls) {
            for note in &poll.notes {
                self.listener.report(&Report::Note { message: format!("source `{}`: {note}", source.name) });
            }
            for bad in &poll.reports {
                let (place, reason) = (bad.place.clone(), bad.reason.clone());
                self.listener.report(&Report::BadRecord { source: source.name.clone(), place, reason });
            }
        }
        polled.polls.iter().map(|poll| poll.reports.len() as u64).sum()
    }

    fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }

    fn close(&mut self) {
        // After a failure nobody will ask for what was begun: what runs of it ends at its next partition.
        self.ahead.clear();
        self.sources.iter_mut().for_each(|source| source.receiver.stop());
        self.output.close();
    }
}

/// Work for a batch, whose panic is an error of that batch.
fn caught<T>(batch_time: BatchTime, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Error::TaskPanicked { batch_time: batch_time.0, message: panic_message(&*panic) }))
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
