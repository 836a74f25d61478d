//! A broadcast value that the test sets.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use millpond_core::{BoxError, BroadcastPoll, BroadcastSource};

/// A value that can be replaced while a job runs. Clones share it.
#[derive(Clone, Debug)]
pub struct SetBroadcast {
    /// The value, and how often it was set.
    value: Arc<Mutex<(u64, RecordBatch)>>,
    seen: u64,
}

impl SetBroadcast {
    /// A source of this value.
    #[must_use]
    pub fn new(rows: RecordBatch) -> Self {
        Self { value: Arc::new(Mutex::new((1, rows))), seen: 0 }
    }

    /// A source of the same value that nobody has asked yet, as a restarted job's is.
    #[must_use]
    pub fn again(&self) -> Self {
        Self { value: Arc::clone(&self.value), seen: 0 }
    }

    /// Replaces the value.
    pub fn set(&self, rows: RecordBatch) {
        let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        *value = (value.0 + 1, rows);
    }
}

impl BroadcastSource for SetBroadcast {
    fn poll(&mut self) -> Result<BroadcastPoll, BoxError> {
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        if value.0 == self.seen {
            return Ok(BroadcastPoll::default());
        }
        self.seen = value.0;
        Ok(BroadcastPoll { rows: Some(value.1.clone()), notes: Vec::new() })
    }
}
