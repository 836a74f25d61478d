//! What a case is and what it found: the words that every part of the bench shares, and the list of all cases.
//!
//! A case measures; it never asserts a time. `met` tells a reader whether the bar was reached, and a missed bar is a result
//! like any other; answers that differ are an error.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a case measured. Printed as a table, as JSON, and, by the cases that run in a child process, as one JSON line.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct CaseResult {
    /// The name that selects the case, for example `w1`.
    pub case: String,
    /// The work, in one line.
    pub what: String,
    /// What was measured, the most important first.
    pub figures: Vec<Figure>,
    /// Where Millpond's time went.
    pub phases: Vec<Phases>,
    /// What a reader must know to read the figures rightly.
    pub notes: Vec<String>,
}

/// Where the time of a run went. Summed over threads, so that it may exceed the wall time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Phases {
    /// Of which runs, if the case has several kinds: `a hot key`.
    pub of: String,
    /// (phase, milliseconds), the mean over runs.
    pub phases: Vec<(String, f64)>,
}

impl Phases {
    /// The mean over runs, of each of which the phases are given in the same order.
    pub(crate) fn mean(of: &str, runs: &[[(&'static str, f64); 6]]) -> Self {
        let mut phases: Vec<(String, f64)> = Vec::new();
        for run in runs {
            for (index, (name, ms)) in run.iter().enumerate() {
                match phases.get_mut(index) {
                    Some((_, sum)) => *sum += ms / runs.len() as f64,
                    None => phases.push(((*name).to_owned(), ms / runs.len() as f64)),
                }
            }
        }
        Self { of: of.to_owned(), phases }
    }
}

/// One measured number with its spread and, where there is one, what it stands beside.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// What was measured, for example `throughput`.
    pub name: String,
    /// The unit of every number here but `ratio`, for example `M words/s`.
    pub unit: String,
    /// Median over the repetitions.
    pub median: f64,
    /// The smallest of the repetitions.
    pub min: f64,
    /// The largest of the repetitions.
    pub max: f64,
    /// The median of the baseline.
    pub baseline: Option<f64>,
    /// Median of the ratios of the pairs, each run over the baseline's run beside it.
    pub ratio: Option<f64>,
    /// What it must reach, as a person writes it: `>= 0.5x`.
    pub bar: Option<String>,
    /// Whether it does. Reported, never asserted.
    pub met: Option<bool>,
}

/// What a case in the bench's own process is told.
#[derive(Debug, Clone)]
pub(crate) struct InnerOptions {
    /// How often to measure; at least 1.
    pub repetitions: usize,
    /// Whether to do a small part of the work only, to see that the case works.
    pub quick: bool,
    /// Where generated data lies: one folder per data set.
    pub data_dir: PathBuf,
    /// The `millpond` program, release build.
    pub millpond: PathBuf,
}

/// Where a case runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The driver runs programs: `millpond` and the native baseline.
    Programs,
    /// A child process of the bench runs Millpond's crates in itself: `bench inner CASE`.
    Inner,
}

/// A case as `--list` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    /// The name on the command line.
    pub name: &'static str,
    /// Where it runs.
    pub place: Place,
    /// The work, in one line.
    pub what: &'static str,
}

const fn case(name: &'static str, place: Place, what: &'static str) -> Case {
    Case { name, place, what }
}

/// Every case, in the order in which they run and are printed.
pub(crate) const CASES: &[Case] = &[
    case("boundary", Place::Inner, "a batch of 10 k rows of one string column into and out of a guest"),
    case("stage", Place::Inner, "the fused wordcount stage in wasm beside the same closures native"),
    case("w1", Place::Programs, "running word count: 20 M words of Zipf text in 40 files, state committed every batch"),
    case(
        "w2",
        Place::Programs,
        "plays per video over 60 s every 10 s with inverse: 10 M plays of 100 k videos, top 10",
    ),
    case("w3", Place::Programs, "moving average per sensor: 10 M readings of 1 M sensors, state committed every batch"),
    case("many-keys", Place::Programs, "w3 with 10 M sensors beside its own run with 1 M"),
    case("empty", Place::Inner, "an empty batch every 10 ms, committed"),
    case("latency", Place::Inner, "10 k records/s from a socket in 5 ms batches: record to result"),
    case("commit", Place::Inner, "a commit of 50 k changed keys while a checkpoint is being folded"),
    case("join", Place::Inner, "two batches of 1 M rows joined by key, beside a native hash join of the same columns"),
    case("start", Place::Programs, "a built job from its start to its first result"),
    case("cores", Place::Programs, "w1's gain from one thread to two beside the native program's"),
    case("sliding-max", Place::Inner, "a slide of a window without inverse over 600 panes beside one over 60"),
    case("map-with-state", Place::Inner, "map_with_state with timeouts over 1 M keys beside update_state_by_key"),
    case("many-jobs", Place::Inner, "100 small jobs at a 1 s interval in one process"),
    case(
        "bad-input",
        Place::Programs,
        "long rows, tiny batches, empty lines, a hot key, long keys: cost per byte beside w1's",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_means_over_runs() {
        let run = |guest| [("decode", 1.0), ("guest", guest), ("c", 0.0), ("d", 0.0), ("e", 0.0), ("f", 0.0)];
        let phases = Phases::mean("one", &[run(1.0), run(3.0)]);
        assert_eq!((phases.of.as_str(), &phases.phases[1]), ("one", &("guest".to_owned(), 2.0)));
        assert_eq!(Phases::mean("none", &[]).phases, []);
    }

    #[test]
    fn every_case_has_a_name_of_its_own() {
        let mut names: Vec<_> = CASES.iter().map(|case| case.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CASES.len());
    }
}
