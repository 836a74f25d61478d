//! W3's input: lines `sensorId,value`, each sensor as likely as the next, values with two decimals.

use std::io::Write;
use std::path::Path;

use anyhow::Result;

use super::random::{Ids, Random};
use super::{DataSet, ensure};

/// What the readings are made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadingsOptions {
    /// How many lines in all.
    pub rows: u64,
    /// How many files.
    pub files: u64,
    /// How many sensors.
    pub sensors: u64,
}

impl ReadingsOptions {
    /// W3's readings.
    pub(crate) const W3: Self = Self { rows: 10_000_000, files: 20, sensors: 1_000_000 };

    /// As many readings of ten times as many sensors.
    pub(crate) const MANY_KEYS: Self = Self { rows: 10_000_000, files: 20, sensors: 10_000_000 };

    /// A few, to see that a case works.
    pub(crate) const QUICK: Self = Self { rows: 100_000, files: 4, sensors: 20_000 };

    /// A few of more sensors.
    pub(crate) const QUICK_MANY_KEYS: Self = Self { rows: 100_000, files: 4, sensors: 200_000 };
}

/// The readings, made if they are not there.
///
/// # Errors
///
/// They cannot be written.
pub(crate) fn readings(data_dir: &Path, options: ReadingsOptions) -> Result<DataSet> {
    let name = format!("readings-{}-{}-{}", options.rows, options.files, options.sensors);
    let mut random = Random::new(20_261_103);
    ensure(data_dir, &name, &format!("{options:?}"), options.files, |number, part| {
        let rows = options.rows * (number + 1) / options.files - options.rows * number / options.files;
        let mut line = Vec::new();
        for _ in 0..rows {
            let sensor = random.below(options.sensors);
            reading(sensor, &mut random, &mut line)?;
            part.line(&line)?;
        }
        Ok(())
    })
}

/// A reading of a sensor.
pub(super) fn reading(sensor: u64, random: &mut Random, line: &mut Vec<u8>) -> Result<()> {
    line.clear();
    Ids { prefix: b's', shortest: 5, lengths: 3 }.write(sensor, line);
    // From -20.00 to 79.99.
    let hundredths = random.below(10_000) as i64 - 2_000;
    let sign = if hundredths < 0 { "-" } else { "" };
    let hundredths = hundredths.unsigned_abs();
    Ok(write!(line, ",{sign}{}.{:02}", hundredths / 100, hundredths % 100)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_always_the_same_and_have_two_decimals() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let options = ReadingsOptions { rows: 500, files: 2, sensors: 50 };
        let texts = |dir: &Path| {
            let set = readings(dir, options).unwrap();
            set.paths().unwrap().iter().map(|path| std::fs::read_to_string(path).unwrap()).collect::<String>()
        };
        let text = texts(one.path());
        assert_eq!(text, texts(two.path()));
        assert_eq!(text.lines().count(), 500);
        for line in text.lines() {
            let (sensor, value) = line.split_once(',').unwrap();
            assert!(sensor.starts_with('s') && (6..=8).contains(&sensor.len()), "{line}");
            assert!((-20.0..80.0).contains(&value.parse::<f64>().unwrap()), "{line}");
            assert_eq!(value.split_once('.').unwrap().1.len(), 2, "{line}");
        }
    }
}
