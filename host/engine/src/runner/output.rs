//! A job's output side: sinks prepare, the commit is made durable, sinks make it visible.
//!
//! ```text
//! job thread     | compute batch 1 | compute batch 2 | compute batch 3 |
//! output thread                    | prepare, commit 1 | prepare, commit 2 | ...
//!
//! job thread     | compute, prepare, commit 1 |  (waits)  | compute, prepare, commit 2 |     no batch is due meanwhile
//! ```
//!
//! The disk works while the next batch is computed. If none is due there is nothing to do meanwhile, and the job thread does
//! it all by itself, without waking another. At most one batch is in hand here; batches are committed in their order, and a
//! batch's output is visible as soon as it is durable. After an error nothing more is committed, and what sinks had prepared
//! is dropped. What the computing side decides and what is done with it are apart: a [`Delivery`] has all that is needed.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use millpond_core::{BatchTime, Clock, CommitRecord, Sink, SinkBatch, SinkToken, StateStore};
use tracing::{info, warn};

use crate::error::{Error, Result};

/// What a batch gives to the outside.
pub(super) struct Delivery {
    pub(super) batch_time: BatchTime,
    /// Rows for sinks, by the sink's name.
    pub(super) outputs: Vec<(String, SinkBatch)>,
    /// The commit, without the sinks' tokens; `None` = the commit comes with a later batch.
    pub(super) record: Option<CommitRecord>,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivered {
    /// Bytes that the commit wrote.
    pub(super) commit_bytes: u64,
    pub(super) commit_us: u64,
    pub(super) sink_us: u64,
    /// When it was done, by the job's clock.
    pub(super) done_us: u64,
}

/// The job thread's end.
pub(super) struct Output {
    /// What writes, unless it is with the thread.
    side: Option<Box<OutputSide>>,
    /// What became of the delivery that was made here and not yet waited for.
    done: Option<Result<Delivered>>,
    /// Started for the first delivery that it is needed for.
    thread: Option<OutputThread>,
}

/// Gets the output side with a delivery, and gives it back with what became of it.
struct OutputThread {
    requests: SyncSender<(Box<OutputSide>, Delivery)>,
    answers: Receiver<(Box<OutputSide>, Result<Delivered>)>,
    thread: JoinHandle<()>,
}

impl Output {
    /// Owns store and sinks from now on.
    pub(super) fn new(
        job: &str,
        store: Box<dyn StateStore>,
        sinks: BTreeMap<String, Box<dyn Sink>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let side = OutputSide { job: job.to_owned(), store, sinks, tokens: BTreeMap::new(), clock, failed: false };
        Self { side: Some(Box::new(side)), done: None, thread: None }
    }

    /// Makes a delivery on this thread. The one before must have been waited for.
    pub(super) fn deliver(&mut self, delivery: Delivery) {
        self.done = self.side.as_mut().map(|side| side.guarded(delivery));
    }

    /// Has the output thread make a delivery. The one before must have been waited for.
    pub(super) fn start_delivery(&mut self, delivery: Delivery) -> Result<()> {
        let thread = match &mut self.thread {
            Some(thread) => thread,
            none => none.insert(OutputThread::start()?),
        };
        if let Some(side) = self.side.take() {
            // The thread ends only after `close`.
            drop(thread.requests.send((side, delivery)));
        }
        Ok(())
    }

    /// Waits for the delivery in hand.
    pub(super) fn wait(&mut self, batch_time: BatchTime) -> Result<Delivered> {
        let made = self.done.take().or_else(|| {
            let (side, made) = self.thread.as_ref()?.answers.recv().ok()?;
            self.side = Some(side);
            Some(made)
        });
        made.unwrap_or(Err(Error::Aborted { batch_time: batch_time.0 }))
    }

    /// Drops what is prepared and not committed. Every delivery must have been waited for.
    pub(super) fn abort(&mut self) {
        if let Some(side) = &mut self.side {
            side.abort_guarded();
        }
    }

    /// Waits for the delivery in hand, ends the thread and closes the store.
    pub(super) fn close(&mut self) {
        if let Some(OutputThread { requests, answers, thread }) = self.thread.take() {
            drop(requests);
            self.side = self.side.take().or_else(|| answers.recv().ok().map(|(side, _)| side));
            drop(thread.join());
        }
        if let Some(side) = self.side.take()
            && catch_unwind(AssertUnwindSafe(|| side.close())).is_err()
        {
            warn!("the state store panicked while it was closed");
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.close();
    }
}

impl OutputThread {
    fn start() -> Result<Self> {
        // One delivery at a time is in hand, so neither end ever waits for room.
        let (requests, inbox) = sync_channel::<(Box<OutputSide>, Delivery)>(1);
        let (outbox, answers) = sync_channel(1);
        let run = move || {
            while let Ok((mut side, delivery)) = inbox.recv() {
                let made = side.guarded(delivery);
                if outbox.send((side, made)).is_err() {
                    break;
                }
            }
        };
        let thread = Builder::new().name("millpond-output".to_owned()).spawn(run);
        let thread = thread.map_err(|error| Error::OutputThread { reason: error.to_string() })?;
        Ok(Self { requests, answers, thread })
    }
}

/// Owns what writes.
struct OutputSide {
    job: String,
    store: Box<dyn StateStore>,
    sinks: BTreeMap<String, Box<dyn Sink>>,
    /// Prepared and not yet committed, by sink, oldest first.
    tokens: BTreeMap<String, Vec<SinkToken>>,
    clock: Arc<dyn Clock>,
    failed: bool,
}

impl OutputSide {
    fn close(mut self) {
        if let Err(error) = self.store.close() {
            info!(job = self.job, "the state store did not close cleanly: {}", error.full_message());
        }
    }

    /// Delivers; after an error or a panic in it, drops what was prepared and takes nothing more.
    fn guarded(&mut self, delivery: Delivery) -> Result<Delivered> {
        let batch_time = delivery.batch_time;
        if self.failed {
            return Err(Error::Aborted { batch_time: batch_time.0 });
        }
        let outcome = super::caught(batch_time, || self.deliver(delivery));
        if outcome.is_err() {
            self.failed = true;
            self.abort_guarded();
        }
        outcome
    }

    fn deliver(&mut self, delivery: Delivery) -> Result<Delivered> {
        let began_us = self.clock.monotonic_us();
        for (name, batch) in &delivery.outputs {
            let token = self.sink(name).prepare(batch).map_err(Error::port(format!("sink `{name}`")))?;
            self.tokens.entry(name.clone()).or_default().push(token);
        }
        let prepared_us = self.clock.monotonic_us();
        let Some(mut record) = delivery.record else {
            let sink_us = prepared_us.saturating_sub(began_us);
            return Ok(Delivered { commit_bytes: 0, commit_us: 0, sink_us, done_us: prepared_us });
        };
        let epoch = record.epoch;
        record.sinks = self.tokens.iter().map(|(name, tokens)| (name.clone(), pack(tokens))).collect();
        let stats = self.store.commit(record).map_err(Error::port(format!("commit {epoch}")))?;
        let committed_us = self.clock.monotonic_us();
        // From here on the output belongs to a committed batch: it may be finished now or by the next start, never dropped.
        for (name, tokens) in std::mem::take(&mut self.tokens) {
            let sink = self.sink(&name);
            tokens
                .iter()
                .try_for_each(|token| sink.commit(token))
                .map_err(Error::port(format!("sink `{name}`, after commit {epoch}")))?;
        }
        let done_us = self.clock.monotonic_us();
        Ok(Delivered {
            commit_bytes: stats.bytes,
            commit_us: committed_us.saturating_sub(prepared_us),
            sink_us: prepared_us.saturating_sub(began_us) + done_us.saturating_sub(committed_us),
            done_us,
        })
    }

    fn sink(&mut self, name: &str) -> &mut dyn Sink {
        &mut **self.sinks.get_mut(name).expect("the runner was made with every sink of the plan")
    }

    /// Drops what is prepared; a sink that panics meanwhile does not keep the store from being closed.
    fn abort_guarded(&mut self) {
        if catch_unwind(AssertUnwindSafe(|| self.abort())).is_err() {
            warn!(job = self.job, "a sink panicked while it dropped prepared output");
        }
    }

    fn abort(&mut self) {
        for (name, tokens) in std::mem::take(&mut self.tokens) {
            for token in tokens {
                if let Err(error) = self.sink(&name).abort(&token) {
                    let reason = error.full_message();
                    warn!(job = self.job, sink = name, "prepared output could not be dropped: {reason}");
                }
            }
        }
    }
}

/// A store keeps one token a sink; a commit over several batches has one a batch.
fn pack(tokens: &[SinkToken]) -> SinkToken {
    match tokens {
        [only] => only.clone(),
        many => SinkToken {
            batch_time: many.last().map_or(BatchTime(i64::MIN), |token| token.batch_time),
            data: [PACKED, &serde_json::to_vec(many).expect("tokens are plain data")].concat(),
        },
    }
}

/// What a packed token begins with; no sink's own token does.
const PACKED: &[u8] = b"\0millpond-tokens\0";

pub(super) fn unpack(token: Option<&SinkToken>) -> Vec<SinkToken> {
    let Some(token) = token else { return Vec::new() };
    let packed = token.data.strip_prefix(PACKED).and_then(|json| serde_json::from_slice(json).ok());
    packed.unwrap_or_else(|| vec![token.clone()])
}
