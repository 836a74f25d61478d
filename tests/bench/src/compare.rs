//! Runs that take turns, and what their numbers say together.
//!
//! The two sides run one after the other, again and again, so that whatever else the machine does falls on both. The ratio is the median of the ratios of
//! neighbours, not the ratio of the medians.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::case::Figure;

/// What a figure must reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bar {
    /// The ratio is at least this.
    RatioAtLeast(f64),
    /// The ratio is at most this.
    RatioAtMost(f64),
    /// The largest number is at most this, in the figure's unit.
    MaxAtMost(f64),
    /// The median is at most this, in the figure's unit.
    MedianAtMost(f64),
}

/// The middle one; the mean of the two in the middle when there is an even number. 0 of none.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => 0.0,
        (len, middle) if len % 2 == 1 => sorted[middle],
        (_, middle) => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// A figure of these samples.
pub(crate) fn figure(name: impl Into<String>, unit: &str, samples: &[f64]) -> Figure {
    Figure {
        name: name.into(),
        unit: unit.to_owned(),
        median: median(samples),
        min: samples.iter().copied().fold(f64::INFINITY, f64::min),
        max: samples.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        ..Figure::default()
    }
}

impl Figure {
    /// Puts the samples of the baseline beside, each the neighbour of the one at its place in `samples`.
    pub(crate) fn beside(self, samples: &[f64], baseline: &[f64]) -> Self {
        let ratios: Vec<f64> = samples.iter().zip(baseline).map(|(sample, base)| sample / base).collect();
        Self { baseline: Some(median(baseline)), ratio: Some(median(&ratios)), ..self }
    }

    /// Says what it must reach.
    pub(crate) fn must(self, bar: Bar) -> Self {
        let ratio = self.ratio.unwrap_or(f64::NAN);
        let (text, met) = match bar {
            Bar::RatioAtLeast(least) => (format!(">= {least}x"), ratio >= least),
            Bar::RatioAtMost(most) => (format!("<= {most}x"), ratio <= most),
            Bar::MaxAtMost(most) => (format!("<= {most} {}", self.unit), self.max <= most),
            Bar::MedianAtMost(most) => (format!("<= {most} {}", self.unit), self.median <= most),
        };
        Self { bar: Some(text), met: Some(met), ..self }
    }
}

/// Compares two answers byte for byte.
///
/// # Errors
///
/// They differ: the first line that does, of both; and both are written to `dir`.
pub(crate) fn same(what: &str, millpond: &[u8], native: &[u8], dir: &Path) -> Result<()> {
    if millpond == native {
        return Ok(());
    }
    let (ours, theirs) = (dir.join("answer-millpond.txt"), dir.join("answer-native.txt"));
    fs::write(&ours, millpond).and_then(|()| fs::write(&theirs, native)).context("cannot keep the answers")?;
    let mut lines = millpond.split(|byte| *byte == b'\n').zip(native.split(|byte| *byte == b'\n')).enumerate();
    let differ = lines.find(|(_, (left, right))| left != right);
    let place = differ.map_or("one ends before the other".to_owned(), |(number, (left, right))| {
        let (left, right) = (String::from_utf8_lossy(left), String::from_utf8_lossy(right));
        format!("line {}: millpond `{left}`, native `{right}`", number + 1)
    });
    bail!("{what}: the answers differ; {place}\n  {}\n  {}", ours.display(), theirs.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn ratios_are_taken_between_neighbours() {
        let (ours, theirs) = ([10.0, 40.0, 30.0], [20.0, 40.0, 120.0]);
        let figure = figure("throughput", "M/s", &ours).beside(&ours, &theirs).must(Bar::RatioAtLeast(0.5));
        assert_eq!((figure.median, figure.min, figure.max), (30.0, 10.0, 40.0));
        assert_eq!((figure.baseline, figure.ratio, figure.met), (Some(40.0), Some(0.5), Some(true)));
        assert_eq!(figure.bar.as_deref(), Some(">= 0.5x"));
    }

    #[test]
    fn a_missed_bar_is_a_result() {
        let memory = figure("peak memory", "MB", &[280.0, 320.0, 290.0]).must(Bar::MaxAtMost(300.0));
        assert_eq!((memory.met, memory.bar.as_deref()), (Some(false), Some("<= 300 MB")));
        assert_eq!(figure("x", "ms", &[1.0]).must(Bar::RatioAtMost(2.0)).met, Some(false));
        assert_eq!(figure("x", "ms", &[1.0, 9.0, 2.0]).must(Bar::MedianAtMost(2.0)).met, Some(true));
    }

    #[test]
    fn answers_that_differ_name_the_line() {
        let dir = tempfile::tempdir().unwrap();
        same("w1", b"a\t1\n", b"a\t1\n", dir.path()).unwrap();
        let error = same("w1", b"a\t1\nb\t2\n", b"a\t1\nb\t3\n", dir.path()).unwrap_err().to_string();
        assert!(error.contains("line 2: millpond `b\t2`, native `b\t3`"), "{error}");
        let error = same("w1", b"a", b"a\n", dir.path()).unwrap_err().to_string();
        assert!(error.contains("one ends before the other"), "{error}");
    }
}
