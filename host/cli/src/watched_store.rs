//! A state store that remembers whether there was anything to recover: the summary tells a first run from a later one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millpond_core::store::{CommitRecord, CommitStats, Recovered};
use millpond_core::{BoxError, StateStore};

/// The store inside, and where to put the answer.
pub(crate) struct WatchedStore {
    inner: Box<dyn StateStore>,
    had_commit: Arc<AtomicBool>,
}

impl WatchedStore {
    /// Sets `had_commit` when the store is asked to recover.
    pub(crate) fn new(inner: Box<dyn StateStore>, had_commit: Arc<AtomicBool>) -> Self {
        Self { inner, had_commit }
    }
}

impl StateStore for WatchedStore {
    fn recover(&mut self) -> Result<Recovered, BoxError> {
        let recovered = self.inner.recover()?;
        self.had_commit.store(recovered.last.is_some(), Ordering::Relaxed);
        Ok(recovered)
    }

    fn commit(&mut self, record: CommitRecord) -> Result<CommitStats, BoxError> {
        self.inner.commit(record)
    }

    fn close(&mut self) -> Result<(), BoxError> {
        self.inner.close()
    }
}
