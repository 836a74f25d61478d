//! A state store that keeps nothing: the job starts afresh with the process.

use millpond_core::store::{CommitRecord, CommitStats, Recovered};
use millpond_core::{BoxError, StateStore};

/// Forgets every commit. The job's hot state is in memory all the same, so nothing is missing while it runs.
pub(crate) struct NoState;

impl StateStore for NoState {
    fn recover(&mut self) -> Result<Recovered, BoxError> {
        Ok(Recovered::default())
    }

    fn commit(&mut self, _record: CommitRecord) -> Result<CommitStats, BoxError> {
        Ok(CommitStats::default())
    }

    fn close(&mut self) -> Result<(), BoxError> {
        Ok(())
    }
}
