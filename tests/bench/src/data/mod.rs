//! Generated input: made once with a fixed seed, kept in a folder per data set, made again when what it is made of changes.
//!
//! ```text
//! <data folder>/<name>/made.json     what it was made of; whole sets only, for a set is written beside and renamed
//! <data folder>/<name>/part-0000.txt ...
//! ```
//! Files are read in the order of their names, by Millpond's source and by the native programs alike.

pub(crate) mod odd;
pub(crate) mod plays;
pub(crate) mod random;
pub(crate) mod readings;
pub(crate) mod text;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Changes whenever the code changes what a set of the same parameters holds.
const VERSION: u32 = 2;

/// What a data set is made of, and how large it became.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    version: u32,
    parameters: String,
    files: u64,
    rows: u64,
    bytes: u64,
}

/// A data set on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataSet {
    /// Its folder.
    pub dir: PathBuf,
    /// How many files.
    pub files: u64,
    /// How many lines.
    pub rows: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl DataSet {
    /// What Millpond's files source is to read.
    pub(crate) fn pattern(&self) -> String {
        format!("{}/part-*.txt", self.dir.display())
    }

    /// Its files, in order.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub(crate) fn paths(&self) -> Result<Vec<PathBuf>> {
        files(&self.dir)
    }
}

/// The files of a data set, in the order of their names.
///
/// # Errors
///
/// The folder cannot be read.
pub(crate) fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let list = || -> std::io::Result<Vec<PathBuf>> { fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect() };
    let mut paths = list().with_context(|| format!("cannot list {}", dir.display()))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort_unstable();
    Ok(paths)
}

/// A file of a data set, being written.
pub(crate) struct Part {
    out: BufWriter<File>,
    rows: u64,
    bytes: u64,
}

impl Part {
    /// Adds a line; `line` has no line end.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(crate) fn line(&mut self, line: &[u8]) -> Result<()> {
        self.out.write_all(line)?;
        self.out.write_all(b"\n")?;
        self.rows += 1;
        self.bytes += line.len() as u64 + 1;
        Ok(())
    }
}

/// Makes a data set, unless it is there already.
///
/// `write` writes the lines of the file of that number; files are written one after another. `parameters` names everything that `write`
/// depends on.
///
/// # Errors
///
/// A file cannot be written.
pub(crate) fn ensure(
    data_dir: &Path,
    name: &str,
    parameters: &str,
    files: u64,
    mut write: impl FnMut(u64, &mut Part) -> Result<()>,
) -> Result<DataSet> {
    let dir = data_dir.join(name);
    if let Some(made) = look(&dir, parameters) {
        return Ok(DataSet { dir, files: made.files, rows: made.rows, bytes: made.bytes });
    }
    let fresh = data_dir.join(format!("{name}.tmp"));
    remove(&fresh)?;
    remove(&dir)?;
    fs::create_dir_all(&fresh).with_context(|| format!("cannot make {}", fresh.display()))?;
    let mut made = Made { version: VERSION, parameters: parameters.to_owned(), files, rows: 0, bytes: 0 };
    for number in 0..files {
        let path = fresh.join(format!("part-{number:04}.txt"));
        let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let mut part = Part { out: BufWriter::with_capacity(1 << 20, file), rows: 0, bytes: 0 };
        let written = write(number, &mut part).and_then(|()| Ok(part.out.flush()?));
        written.with_context(|| format!("cannot write {}", path.display()))?;
        made.rows += part.rows;
        made.bytes += part.bytes;
    }
    fs::write(fresh.join("made.json"), serde_json::to_string_pretty(&made)?)?;
    fs::rename(&fresh, &dir).with_context(|| format!("cannot rename {}", fresh.display()))?;
    Ok(DataSet { dir, files: made.files, rows: made.rows, bytes: made.bytes })
}

fn look(dir: &Path, parameters: &str) -> Option<Made> {
    let text = fs::read_to_string(dir.join("made.json")).ok()?;
    let made: Made = serde_json::from_str(&text).ok()?;
    (made.version == VERSION && made.parameters == parameters).then_some(made)
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(dir: &Path, parameters: &str, times: &mut u32) -> DataSet {
        ensure(dir, "set", parameters, 2, |number, part| {
            *times += 1;
            part.line(format!("line {number}").as_bytes())
        })
        .unwrap()
    }

    #[test]
    fn a_set_is_made_once_and_again_when_its_parameters_change() {
        let dir = tempfile::tempdir().unwrap();
        let mut times = 0;
        let set = make(dir.path(), "a", &mut times);
        assert_eq!((set.files, set.rows, set.bytes), (2, 2, 14));
        assert_eq!(make(dir.path(), "a", &mut times), set);
        assert_eq!(times, 2);
        make(dir.path(), "b", &mut times);
        assert_eq!(times, 4);
        let paths = set.paths().unwrap();
        assert_eq!(paths.len(), 2);
        assert_eq!(fs::read_to_string(&paths[1]).unwrap(), "line 1\n");
    }
}
