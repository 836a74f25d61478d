//! What a person sees of a running job: the live line, and the first few reports of each kind.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use millpond_core::{BatchReport, Clock, Listener, Report};

use crate::budget::{Budget, Verdict};
use crate::live_line::live_line;
use crate::screen::Screen;
use crate::text;

/// The live line is drawn at most once in so many microseconds: 20 times a second, faster than anyone reads.
const DRAW_EVERY_US: u64 = 50_000;

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
    budget: Budget,
    /// When the live line was drawn last; `None` = not yet.
    drawn_us: Option<u64>,
}

impl Progress {
    /// Starts measuring now.
    #[must_use]
    pub fn new(screen: Screen, job: String, clock: Arc<dyn Clock>) -> Self {
        let state = State { rate: Rate::starting_at(clock.monotonic_us()), ..State::default() };
        Self { screen, job, clock, state: Mutex::new(state) }
    }

    /// Whether to show a report; `subject` is which kind it is and whose: `bad records of source `lines``. Says what is not shown.
    fn admit(&self, subject: &str) -> bool {
        let now_us = self.clock.monotonic_us();
        let verdict = self.state.lock().unwrap_or_else(PoisonError::into_inner).budget.admit(subject, now_us);
        let job = &self.job;
        match verdict {
            Verdict::Show => true,
            Verdict::ShowAfter(hidden) => {
                let hidden = text::count(hidden);
                tracing::warn!(target: "millpond", %job, "{hidden} more {subject} in the last minute were counted, not shown");
                true
            }
            Verdict::Announce => {
                tracing::warn!(target: "millpond", %job, "further {subject} are counted, not shown, for up to a minute");
                false
            }
            Verdict::Hide => false,
        }
    }

    /// Draws the live line unless it was drawn just now.
    fn draw(&self, report: &BatchReport) {
        let now_us = self.clock.monotonic_us();
        let rate = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let rate = state.rate.add(now_us, report.rows_in);
            if state.drawn_us.is_some_and(|drawn| now_us.saturating_sub(drawn) < DRAW_EVERY_US) {
                return;
            }
            state.drawn_us = Some(now_us);
            rate
        };
        self.screen.set_live(&live_line(&self.job, report, rate, self.screen.live_width()));
    }
}

/// Whose a note is: notes of a source begin with its name.
fn note_subject(message: &str) -> String {
    match message.strip_prefix("source `").and_then(|rest| rest.split_once("`: ")) {
        Some((source, _)) => format!("notes on source `{source}`"),
        None => "notes".to_owned(),
    }
}

impl Listener for Progress {
    fn batch_completed(&self, report: &BatchReport) {
        tracing::debug!(
            target: "millpond",
            job = %self.job,
            batch = %text::instant_ms(report.batch_time_ms),
            rows_in = report.rows_in,
            rows_out = report.rows_out,
            processing_us = report.processing_us,
            guest_us = report.phases.guest_us,
            commit_us = report.phases.commit_us,
            "batch complete"
        );
        if self.screen.is_live() {
            self.draw(report);
        }
    }

    fn report(&self, report: &Report) {
        let job = &self.job;
        match report {
            Report::BadRecord { source, place, reason } => {
                if self.admit(&format!("bad records of source `{source}`")) {
                    tracing::warn!(target: "millpond", %job, %source, "bad record: {place}: {reason}");
                }
            }
            Report::Rejected { node, batch_time, place, reason } => {
                if self.admit(&format!("rejected rows of node `{node}`")) {
                    let batch = text::instant_ms(batch_time.0);
                    tracing::warn!(target: "millpond", %job, %node, %batch, "rejected row: {place}: {reason}");
                }
            }
            Report::Note { message } => {
                if self.admit(&note_subject(message)) {
                    tracing::warn!(target: "millpond", %job, "{message}");
                }
            }
        }
    }
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
    fn sources_and_kinds_have_their_own_allowance() {
        let progress = Progress::new(Screen::new(captured().0), "job".into(), Arc::new(SystemClock::new()));
        assert_eq!((0..100).filter(|_| progress.admit("bad records of source `lines`")).count(), 5);
        assert!(progress.admit("bad records of source `other`"));
        assert!(progress.admit(&note_subject("source `lines`: connected")));
    }

    #[test]
    fn a_note_belongs_to_its_source() {
        assert_eq!(note_subject("source `lines`: connected to h:1"), "notes on source `lines`");
        assert_eq!(note_subject("the log's end was cut"), "notes");
    }
}
