//! A clock that a test turns by hand.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millpond_core::{Clock, StopSignal};

/// Time stands still until `advance_ms`. Clones share one time.
#[derive(Clone, Debug)]
pub struct ManualClock {
    inner: Arc<(Mutex<i64>, Condvar)>,
}

impl ManualClock {
    /// A clock that shows this time; milliseconds since the Unix epoch.
    #[must_use]
    pub fn new(now_ms: i64) -> Self {
        Self { inner: Arc::new((Mutex::new(now_ms), Condvar::new())) }
    }

    /// Turns the clock forward and wakes whoever waits.
    pub fn advance_ms(&self, ms: i64) {
        *self.now() += ms;
        self.inner.1.notify_all();
    }

    fn now(&self) -> MutexGuard<'_, i64> {
        self.inner.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        *self.now()
    }

    fn monotonic_us(&self) -> u64 {
        self.now().cast_unsigned().saturating_mul(1000)
    }

    fn wait_until(&self, at_ms: i64, stop: &StopSignal) {
        let mut now = self.now();
        while *now < at_ms && !stop.is_raised() {
            // Looks at the stop signal again now and then, as that does not wake this clock.
            let waited = self.inner.1.wait_timeout(now, Duration::from_millis(1));
            now = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
