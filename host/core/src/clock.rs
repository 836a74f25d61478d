//! Time as a port: engines and receivers never read the wall clock themselves.
//!
//! `millpond-testkit` has `ManualClock`, which a test turns by hand.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of time.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch, UTC.
    fn now_ms(&self) -> i64;

    /// Microseconds from an arbitrary start, never going back: for measuring how long something took.
    fn monotonic_us(&self) -> u64;

    /// Waits until `now_ms() >= at_ms` or until `stop` asks to stop, whichever is first.
    fn wait_until(&self, at_ms: i64, stop: &StopSignal);
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

#[expect(clippy::new_without_default, reason = "the moment of creation matters: say so with new()")]
impl SystemClock {
    /// A clock whose `monotonic_us` starts at 0 now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn monotonic_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn wait_until(&self, at_ms: i64, stop: &StopSignal) {
        let at = UNIX_EPOCH + Duration::from_millis(u64::try_from(at_ms).unwrap_or(0));
        loop {
            // Not whole milliseconds: a wait that ends a fraction early would spin.
            let Ok(left) = at.duration_since(SystemTime::now()) else { return };
            if left.is_zero() || stop.wait_timeout(left) {
                return;
            }
        }
    }
}

/// Asks a job to stop: after what is in hand, or at once.
///
/// In hand is the batch that is being computed and, if it is not yet committed, the one before; and the next ones, as far as they
/// were begun. Clones share one signal.
/// **Order**: a signal only ever rises (run, finish, abort).
#[derive(Clone, Debug, Default)]
pub struct StopSignal {
    inner: Arc<(Mutex<Level>, Condvar)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    #[default]
    Run,
    Finish,
    Abort,
}

impl StopSignal {
    /// A signal that says: run.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Finish and commit what is in hand, then stop.
    pub fn finish(&self) {
        self.raise(Level::Finish);
    }

    /// Stop at once: the batch that is being computed is dropped, one that is being committed is completed.
    pub fn abort(&self) {
        self.raise(Level::Abort);
    }

    /// Whether to stop, either way.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        *self.level() >= Level::Finish
    }

    /// Whether to stop at once.
    #[must_use]
    pub fn is_abort(&self) -> bool {
        *self.level() == Level::Abort
    }

    /// Waits at most `limit`; true as soon as the signal is raised.
    #[must_use]
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        let (_, condition) = &*self.inner;
        let result = condition.wait_timeout_while(self.level(), limit, |level| *level == Level::Run);
        let (level, _) = result.unwrap_or_else(PoisonError::into_inner);
        *level >= Level::Finish
    }

    fn raise(&self, to: Level) {
        let mut level = self.level();
        *level = (*level).max(to);
        self.inner.1.notify_all();
    }

    fn level(&self) -> MutexGuard<'_, Level> {
        self.inner.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signal_never_falls_back() {
        let signal = StopSignal::new();
        assert!(!signal.is_raised());
        signal.abort();
        signal.finish();
        assert!(signal.is_abort());
        assert!(signal.wait_timeout(Duration::from_secs(60)));
    }

    #[test]
    fn waiting_for_the_past_returns() {
        let clock = SystemClock::new();
        clock.wait_until(clock.now_ms() - 1, &StopSignal::new());
    }
}
