//! The background thread that folds the log into the checkpoint store, and makes snapshots.
//!
//! The committing thread never waits for it, but at one bound: when the log has more than `backlog_bytes` that no checkpoint
//! holds. Then a commit waits for the fold under way, and fails if folds fail. A failed fold is logged (the first of several in
//! a row) and tried again when the next one is due; meanwhile the log just grows. Commits are read again from the log's files (most often still in the
//! system's cache), so what waits to be folded takes no memory.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::error::{Error, Result};
use crate::tuning::Tuning;
use crate::worker::Worker;

/// The thread's owner.
pub(crate) struct Folder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    tuning: Tuning,
    fold_every_us: u64,
    /// When the next fold is due by time.
    due_us: u64,
}

/// What both threads see.
#[derive(Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Breaks off a fold between two pages.
    stop: AtomicBool,
}

#[derive(Default)]
struct State {
    /// The newest commit.
    committed: u64,
    /// Bytes of log that no checkpoint holds.
    unfolded_bytes: u64,
    /// Rounds asked for, and rounds that ended, well or not. Equal = the thread is idle.
    asked: u64,
    ended: u64,
    /// The next round makes a snapshot, due or not.
    snapshot: bool,
    /// Why the last round failed.
    failure: Option<String>,
    closing: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// So much of the log is folded now.
    pub(crate) fn folded(&self, bytes: u64) {
        let mut state = self.state();
        state.unfolded_bytes = state.unfolded_bytes.saturating_sub(bytes);
        self.changed.notify_all();
    }

    /// The checkpoint store was made anew, so folding starts again with all of the log.
    pub(crate) fn unfolded(&self, bytes: u64) {
        self.state().unfolded_bytes = bytes;
    }
}

impl Folder {
    /// Starts the thread.
    pub(crate) fn try_new(worker: Worker, start: FolderStart) -> Result<Self> {
        let shared = Arc::clone(worker.shared());
        {
            let mut state = shared.state();
            (state.committed, state.unfolded_bytes) = (start.committed, start.unfolded_bytes);
        }
        let tuning = *worker.tuning();
        let dir = worker.dir().to_owned();
        let thread = thread::Builder::new().name("millpond-fold".to_owned()).spawn(move || run(worker));
        let thread = Some(thread.map_err(Error::open("start the checkpoint thread of", &dir))?);
        let fold_every_us = start.fold_every_ms.saturating_mul(1000);
        // Many jobs that start together would fold together for ever, and sled's trees get into each other's way.
        let head_start_us = start.phase.checked_rem(fold_every_us).unwrap_or(0);
        let due_us = start.now_us.saturating_add(fold_every_us - head_start_us);
        Ok(Self { shared, thread, tuning, fold_every_us, due_us })
    }

    /// Waits while the log is too long, or says why that cannot get better. Call before a commit.
    pub(crate) fn admit(&self, log: &Path) -> Result<()> {
        let limit = self.tuning.backlog_bytes;
        let mut state = self.shared.state();
        if state.unfolded_bytes <= limit {
            return Ok(());
        }
        // One more try: what made the last fold fail may have passed.
        let round = self.ask(&mut state, false);
        while state.unfolded_bytes > limit && state.ended < round {
            state = self.shared.wait(state);
        }
        match &state.failure {
            Some(reason) if state.unfolded_bytes > limit => {
                Err(Error::Backlog { dir: log.to_owned(), bytes: state.unfolded_bytes, limit, reason: reason.clone() })
            }
            _ => Ok(()),
        }
    }

    /// A commit is in the log; asks for a fold when one is due.
    pub(crate) fn committed(&mut self, epoch: u64, bytes: u64, now_us: u64) {
        let mut state = self.shared.state();
        state.committed = epoch;
        state.unfolded_bytes += bytes;
        let idle = state.asked == state.ended;
        let due = now_us >= self.due_us;
        // After a failure only time asks for the next try, or a full disk would keep the thread busy.
        let long = state.unfolded_bytes >= self.tuning.fold_bytes && state.failure.is_none();
        if idle && (due || long) {
            self.ask(&mut state, false);
            self.due_us = now_us.saturating_add(self.fold_every_us);
        }
    }

    /// Folds what is committed, perhaps makes a snapshot, and waits for it.
    pub(crate) fn fold_now(&self, snapshot: bool) -> Result<(), String> {
        let mut state = self.shared.state();
        let round = self.ask(&mut state, snapshot);
        while state.ended < round {
            state = self.shared.wait(state);
        }
        state.failure.clone().map_or(Ok(()), Err)
    }

    /// A round that has not begun yet; its number.
    fn ask(&self, state: &mut State, snapshot: bool) -> u64 {
        // One that is under way may have read `committed` already, so it does not count.
        state.asked = state.ended + if state.asked > state.ended { 2 } else { 1 };
        state.snapshot |= snapshot;
        self.shared.changed.notify_all();
        state.asked
    }

    /// Ends the thread: with a last fold when that is quick, else at once.
    pub(crate) fn close(&mut self) {
        let quick = {
            let state = self.shared.state();
            state.unfolded_bytes <= self.tuning.close_fold_bytes_max && state.failure.is_none()
        };
        if !quick {
            self.shared.stop.store(true, Ordering::Relaxed);
        }
        self.join();
    }

    fn join(&mut self) {
        self.shared.state().closing = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the checkpoint thread has ended with a panic; the next start folds the log again");
        }
    }
}

#[cfg(test)]
impl Folder {
    pub(crate) fn ask_for_fold(&self) {
        self.ask(&mut self.shared.state(), false);
    }

    pub(crate) fn settle(&self) {
        let mut state = self.shared.state();
        while state.asked > state.ended {
            state = self.shared.wait(state);
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.join();
    }
}

/// Where things stand when the thread starts.
pub(crate) struct FolderStart {
    pub(crate) committed: u64,
    pub(crate) unfolded_bytes: u64,
    pub(crate) fold_every_ms: u64,
    /// A number of the job's own: where in the interval its first fold falls.
    pub(crate) phase: u64,
    pub(crate) now_us: u64,
}

/// Tells what is news: failures come with every round while a disk is full.
#[derive(Debug, Default)]
struct Streak {
    is_failing: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum News {
    Fails,
    WorksAgain,
}

impl Streak {
    fn news(&mut self, has_failed: bool) -> Option<News> {
        let was_failing = std::mem::replace(&mut self.is_failing, has_failed);
        match (was_failing, has_failed) {
            (false, true) => Some(News::Fails),
            (true, false) => Some(News::WorksAgain),
            _ => None,
        }
    }
}

fn report(news: Option<News>, folder: &Path, reason: Option<&str>) {
    let (folder, reason) = (folder.display(), reason.unwrap_or_default());
    match news {
        Some(News::Fails) => {
            tracing::warn!(%folder, %reason, "a checkpoint failed; the log is kept, and it is tried again until it works");
        }
        Some(News::WorksAgain) => tracing::info!(%folder, "checkpoints work again"),
        None => {}
    }
}

/// The thread.
fn run(mut worker: Worker) {
    let shared = Arc::clone(worker.shared());
    let mut streak = Streak::default();
    loop {
        let mut state = shared.state();
        while state.asked == state.ended && !state.closing {
            state = shared.wait(state);
        }
        let closing = state.closing;
        if closing && shared.stopped() {
            break;
        }
        let (to, unfolded_bytes, snapshot) =
            (state.committed, state.unfolded_bytes, std::mem::take(&mut state.snapshot));
        drop(state);
        let round = catch_unwind(AssertUnwindSafe(|| {
            if closing { worker.last_round(to, unfolded_bytes) } else { worker.round(to, snapshot) }
        }));
        let failure = match round {
            Ok(round) => round.err().map(|error| millpond_core::error::full_message(&error)),
            Err(_) => Some("the checkpoint store has panicked".to_owned()),
        };
        if failure.is_some() {
            worker.failed();
        }
        if !shared.stopped() {
            report(streak.news(failure.is_some()), worker.dir(), failure.as_deref());
        }
        let mut state = shared.state();
        state.failure = failure;
        state.ended += 1;
        state.asked = state.asked.max(state.ended);
        shared.changed.notify_all();
        if closing {
            break;
        }
    }
    // Whoever waits for a round must not wait for ever.
    let mut state = shared.state();
    if state.ended < state.asked {
        state.ended = state.asked;
        state.failure = Some(Error::Stopped.to_string());
    }
    shared.changed.notify_all();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_are_told_once() {
        let mut streak = Streak::default();
        let told: Vec<_> = [false, true, true, true, false, false, true].map(|failed| streak.news(failed)).into();
        let expected = [None, Some(News::Fails), None, None, Some(News::WorksAgain), None, Some(News::Fails)];
        assert_eq!(told, expected);
    }
}
