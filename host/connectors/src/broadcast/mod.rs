//! Values of broadcasts: `[broadcasts.NAME]` of the job file.
//!
//! Rows stand in the job file (`rows`, `entries`) or in a file (`path`), which is looked at before each batch and read again when its
//! identity, size or time has changed. A value is taken as a whole or not at all: with a broken version, or none, the one before
//! stays, and that is told once for each change. Tests: `tests.rs`.

mod config;
#[cfg(test)]
mod tests;

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millpond_core::batch::value_bytes;
use millpond_core::{BoxError, BroadcastPoll, BroadcastSource};

pub use config::BroadcastSpec;
use config::Place;

use crate::codec::{Codec, DecodeError, Format, INPUT_BYTES_MAX, LastLine, Origin};
use crate::{Error, Result};

/// What a value needs to open.
pub struct OpenBroadcast {
    /// Its name in the job file.
    pub name: String,
    /// The folder of the job file: relative paths start here.
    pub job_dir: PathBuf,
    /// The columns that the plan wants.
    pub schema: SchemaRef,
    /// How large a value may be, in bytes: `limits.broadcast`.
    pub bytes_max: u64,
}

impl BroadcastSpec {
    /// Opens the value and reads it for the first time, so that what is wrong is known at once. **Errors**: MP0508.
    pub fn open(&self, open: OpenBroadcast) -> Result<Box<dyn BroadcastSource>, BoxError> {
        let error = |reason: String| Error::Broadcast { name: open.name.clone(), reason };
        match self.place() {
            Place::Rows(rows) => {
                let lines = rows.json_lines(&open.schema).map_err(error)?;
                let codec = codec(&open, Format::Json).map_err(error)?;
                let value = decode(&codec, lines.as_bytes(), "row", 1);
                // A row is a line here.
                let value = value.map_err(|reason| error(reason.replacen("row line ", "row ", 1)))?;
                Ok(Box::new(Fixed(Some(value))))
            }
            Place::File { path, format } => {
                let codec = codec(&open, format).map_err(error)?;
                let OpenBroadcast { name, job_dir, bytes_max, .. } = open;
                let path = job_dir.join(path);
                let mut file = FileValue { name, path, codec, bytes_max, seen: None, value: None, is_told: false };
                file.look()?;
                Ok(Box::new(file))
            }
        }
    }
}

fn codec(open: &OpenBroadcast, format: Format) -> Result<Codec, String> {
    Codec::try_new(&open.name, &open.schema, format, INPUT_BYTES_MAX).map_err(|error| match error {
        Error::FormatMismatch { reason, wanted, .. } => format!("{reason}; the plan wants ({wanted})"),
        other => other.to_string(),
    })
}

/// All rows of a text, or what is wrong with the first that is no row.
fn decode(codec: &Codec, bytes: &[u8], name: &str, first_line: u64) -> Result<RecordBatch, String> {
    let origin = Origin { name, first_line: Some(first_line), first_byte: 0, bytes: bytes.len() as u64 };
    let mut decoder = codec.decoder(&origin, true);
    let explain = |error: DecodeError| match error {
        DecodeError::NotUtf8 => "it is not UTF-8 text".to_owned(),
        DecodeError::Fatal(error) => error.to_string(),
    };
    decoder.push(bytes).map_err(explain)?;
    decoder.end(LastLine::Complete);
    let (rows, bad) = decoder.finish().map_err(explain)?;
    match bad.as_slice() {
        [] => Ok(rows),
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
            Err(format!("{}: {}{more}", first.place, first.reason))
        }
    }
}

/// A value that the job file has; given once.
struct Fixed(Option<RecordBatch>);

impl BroadcastSource for Fixed {
    fn poll(&mut self) -> Result<BroadcastPoll, BoxError> {
        Ok(BroadcastPoll { rows: self.0.take(), notes: Vec::new() })
    }
}

/// What tells one version of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    dev: u64,
    inode: u64,
    size: u64,
    mtime: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let mtime = (metadata.mtime(), metadata.mtime_nsec());
        Self { dev: metadata.dev(), inode: metadata.ino(), size: metadata.len(), mtime }
    }
}

/// A value in a file that may be replaced.
struct FileValue {
    name: String,
    path: PathBuf,
    codec: Codec,
    bytes_max: u64,
    /// The version that was looked at last, good or bad; `Some(None)` = there was no file.
    seen: Option<Option<Stamp>>,
    value: Option<RecordBatch>,
    /// The newest value was given.
    is_told: bool,
}

impl FileValue {
    /// Takes in a newer version, if there is one; the answer is what is wrong with it.
    fn look(&mut self) -> Result<Option<String>> {
        let stamp = match fs::metadata(&self.path) {
            Ok(metadata) => Some(Stamp::of(&metadata)),
            Err(error) => {
                let reason = format!("cannot read {}: {error}", self.path.display());
                return self.keep(None, reason);
            }
        };
        if self.seen == Some(stamp) {
            return Ok(None);
        }
        let read = read(&self.path, self.bytes_max).and_then(|bytes| self.decode(&bytes));
        // A file that changes while it is read is looked at again before the next batch, if there is a value to go on with.
        let now = fs::metadata(&self.path).ok().map(|metadata| Stamp::of(&metadata));
        if now != stamp && self.value.is_some() {
            return Ok(None);
        }
        let rows = match read {
            Ok(rows) => rows,
            Err(reason) => return self.keep(stamp, reason),
        };
        self.seen = Some(stamp);
        if self.value.as_ref() != Some(&rows) {
            self.value = Some(rows);
            self.is_told = false;
        }
        Ok(None)
    }

    fn decode(&self, bytes: &[u8]) -> Result<RecordBatch, String> {
        let rows = decode(&self.codec, bytes, &self.path.display().to_string(), 1)?;
        let size = value_bytes(&rows);
        if size > self.bytes_max { Err(too_large(&self.path, size, self.bytes_max)) } else { Ok(rows) }
    }

    /// Goes on with the value before, if there is one.
    fn keep(&mut self, stamp: Option<Stamp>, reason: String) -> Result<Option<String>> {
        if self.value.is_none() {
            return Err(Error::Broadcast { name: self.name.clone(), reason });
        }
        let is_news = self.seen.replace(stamp) != Some(stamp);
        Ok(is_news.then(|| format!("{reason}; the value before it stays")))
    }
}

impl BroadcastSource for FileValue {
    fn poll(&mut self) -> Result<BroadcastPoll, BoxError> {
        let notes = self.look()?.into_iter().collect();
        let is_new = !std::mem::replace(&mut self.is_told, true);
        Ok(BroadcastPoll { rows: self.value.clone().filter(|_| is_new), notes })
    }
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(format!("{} is no regular file: name a file", path.display()));
    }
    let mut bytes = Vec::new();
    // Text takes more room than what it says, so a larger file may still hold a smaller value: up to eight times.
    let most = bytes_max.saturating_mul(8).min(INPUT_BYTES_MAX);
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > most { Err(too_large(path, metadata.len(), bytes_max)) } else { Ok(bytes) }
}

fn too_large(path: &Path, bytes: u64, bytes_max: u64) -> String {
    format!(
        "{} has {bytes} bytes, and a value may have {bytes_max}: make it smaller, or raise `limits.broadcast`",
        path.display()
    )
}
