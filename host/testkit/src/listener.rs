//! A listener that remembers.

use std::sync::{Arc, Mutex, PoisonError};

use millpond_core::{BatchReport, Listener, Report};

/// Keeps everything that it is told. Clones share one memory.
#[derive(Clone, Debug, Default)]
pub struct CollectListener {
    inner: Arc<Mutex<(Vec<BatchReport>, Vec<Report>)>>,
}

impl CollectListener {
    /// A listener that has heard nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All batches, in order.
    #[must_use]
    pub fn batches(&self) -> Vec<BatchReport> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// All reports, in order.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

impl Listener for CollectListener {
    fn batch_completed(&self, report: &BatchReport) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).0.push(report.clone());
    }

    fn report(&self, report: &Report) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).1.push(report.clone());
    }
}
