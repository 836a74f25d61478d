//! What a person sees of a running job: the live line, and the first few bad records.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use millpond_core::{BatchReport, Clock, Listener, Report};

use crate::screen::Screen;
use crate::text;

/// So many reports of one kind are shown, then they are only counted: a file of garbage must not flood the log.
const REPORTS_SHOWN_MAX: u64 = 5;

/// The rate shown is that of the last so many microseconds.
const RATE_WINDOW_US: u64 = 2_000_000;

/// Shows a job's batches and reports.
pub struct Progress {
    screen: Screen,
    job: String,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rate: Rate,
    shown: BTreeMap<String, u64>,
}

impl Progress {
    /// Starts measuring now.
    #[must_use]
    pub fn new(screen: Screen, job: String, clock: Arc<dyn Clock>) -> Self {
        let state = State { rate: Rate::starting_at(clock.monotonic_us()), ..State::default() };
        Self { screen, job, clock, state: Mutex::new(state) }
    }

    /// Whether to show a report; `subject` is whose it is. Says once that the rest is only counted.
    fn admit(&self, subject: &str) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = state.shown.entry(subject.to_owned()).or_default();
        *shown += 1;
        if *shown == REPORTS_SHOWN_MAX + 1 {
            tracing::warn!(target: "millpond", job = %self.job, "further reports of {subject} are counted, not shown");
        }
        *shown <= REPORTS_SHOWN_MAX
    }
}

impl Listener for Progress {
    fn batch_completed(&self, report: &BatchReport) {
        tracing::debug!(
            target: "millpond",
            job = %self.job,
            batch = report.batch_time_ms,
            rows_in = report.rows_in,
            rows_out = report.rows_out,
            processing_us = report.processing_us,
            guest_us = report.guest_us,
            commit_us = report.commit_us,
            "batch complete"
        );
        if self.screen.is_live() {
            let now_us = self.clock.monotonic_us();
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let rate = state.rate.add(now_us, report.rows_in);
            self.screen.set_live(live_line(&self.job, report, rate));
        }
    }

    fn report(&self, report: &Report) {
        let job = &self.job;
        match report {
            Report::BadRecord { source, place, reason } => {
                if self.admit(&format!("source `{source}`")) {
                    tracing::warn!(target: "millpond", %job, %source, "bad record: {place}: {reason}");
                }
            }
            Report::Rejected { node, batch_time, place, reason } => {
                if self.admit(&format!("node `{node}`")) {
                    tracing::warn!(target: "millpond", %job, %node, batch = batch_time.0, "rejected row: {place}: {reason}");
                }
            }
            Report::Note { message } => tracing::warn!(target: "millpond", %job, "{message}"),
        }
    }
}

fn live_line(job: &str, report: &BatchReport, rows_per_s: u64) -> String {
    format!(
        "{job}  batch {}  {} rows/s  processing {}  delay {}  in guest {}",
        text::count(report.batches),
        text::count(rows_per_s),
        text::duration_us(report.processing_us),
        text::duration_us(report.scheduling_delay_us),
        text::duration_us(report.guest_us),
    )
}

/// Rows per second over a short while.
#[derive(Debug, Default)]
struct Rate {
    started_us: u64,
    /// When each batch was complete, and its rows; oldest first.
    batches: VecDeque<(u64, u64)>,
}

impl Rate {
    fn starting_at(now_us: u64) -> Self {
        Self { started_us: now_us, batches: VecDeque::new() }
    }

    /// Counts a batch; gives the rate.
    fn add(&mut self, now_us: u64, rows: u64) -> u64 {
        self.batches.push_back((now_us, rows));
        let window_start = now_us.saturating_sub(RATE_WINDOW_US);
        // The newest one that is too old marks where the measured time begins.
        while self.batches.len() > 1 && self.batches[0].0 <= window_start {
            self.started_us = self.batches.pop_front().map_or(self.started_us, |(at, _)| at);
        }
        let rows: u64 = self.batches.iter().map(|(_, rows)| rows).sum();
        text::per_second(rows, now_us.saturating_sub(self.started_us))
    }
}

#[cfg(test)]
mod tests {
    use millpond_core::SystemClock;

    use super::*;
    use crate::screen::tests::captured;

    #[test]
    fn rate_is_that_of_the_last_two_seconds() {
        let mut rate = Rate::starting_at(0);
        assert_eq!(rate.add(1_000_000, 500), 500);
        assert_eq!(rate.add(2_000_000, 1500), 1000);
        for second in 3..10 {
            rate.add(second * 1_000_000, 10);
        }
        assert_eq!(rate.add(10_000_000, 10), 10);
    }

    #[test]
    fn only_the_first_reports_of_a_source_are_shown() {
        let progress = Progress::new(Screen::new(captured().0), "job".into(), Arc::new(SystemClock::new()));
        assert_eq!((0..100).filter(|_| progress.admit("source `lines`")).count(), 5);
        assert!(progress.admit("source `other`"));
    }

    #[test]
    fn live_line_has_batch_rate_and_times() {
        let report = BatchReport {
            batches: 12,
            processing_us: 3_400,
            scheduling_delay_us: 250,
            guest_us: 1_200_000,
            ..BatchReport::default()
        };
        let line = live_line("wordcount", &report, 1_234_567);
        assert_eq!(line, "wordcount  batch 12  1,234,567 rows/s  processing 3.4 ms  delay 250 us  in guest 1.20 s");
    }
}
