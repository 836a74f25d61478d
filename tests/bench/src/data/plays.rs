//! W2's input: lines `videoId,unixSeconds`, a file for every ten seconds, videos as popular as Zipf says.

use std::io::Write;
use std::path::Path;

use anyhow::Result;

use super::random::{Ids, Random, Zipf};
use super::{DataSet, ensure};

/// What a log is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlaysOptions {
    /// How many lines in all.
    pub rows: u64,
    /// How many files of ten seconds.
    pub files: u64,
    /// How many videos.
    pub videos: usize,
}

impl PlaysOptions {
    /// W2's log.
    pub(crate) const W2: Self = Self { rows: 10_000_000, files: 60, videos: 100_000 };

    /// A small one, to see that a case works.
    pub(crate) const QUICK: Self = Self { rows: 100_000, files: 12, videos: 5_000 };
}

const FIRST_SECOND: u64 = 1_700_000_000;

/// The log, made if it is not there.
///
/// # Errors
///
/// It cannot be written.
pub(crate) fn plays(data_dir: &Path, options: PlaysOptions) -> Result<DataSet> {
    let name = format!("plays-{}-{}-{}", options.rows, options.files, options.videos);
    let (zipf, mut random) = (Zipf::new(options.videos, 1.0), Random::new(20_261_102));
    let ids = Ids { prefix: b'v', shortest: 3, lengths: 4 };
    ensure(data_dir, &name, &format!("{options:?}"), options.files, |number, part| {
        let rows = options.rows * (number + 1) / options.files - options.rows * number / options.files;
        let mut line = Vec::new();
        for row in 0..rows {
            line.clear();
            // A stride through the numbers, so that popularity and length of an id have nothing to do with each other.
            let video = (zipf.draw(&mut random) * 7_919 + 3) % options.videos;
            ids.write(video as u64, &mut line);
            write!(line, ",{}", FIRST_SECOND + number * 10 + row * 10 / rows)?;
            part.line(&line)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_file_holds_ten_seconds_and_is_always_the_same() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let options = PlaysOptions { rows: 1001, files: 3, videos: 50 };
        let texts = |dir: &Path| {
            let set = plays(dir, options).unwrap();
            assert_eq!(set.rows, 1001);
            set.paths().unwrap().iter().map(|path| std::fs::read_to_string(path).unwrap()).collect::<Vec<_>>()
        };
        let first = texts(one.path());
        assert_eq!(first, texts(two.path()));
        let seconds: HashSet<&str> = first[1].lines().map(|line| line.split_once(',').unwrap().1).collect();
        assert_eq!(seconds.len(), 10);
        assert!(seconds.contains("1700000010") && seconds.contains("1700000019"), "{seconds:?}");
    }
}
