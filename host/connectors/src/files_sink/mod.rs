//! Sink `files`: part files for every batch, visible when the batch is committed.
//!
//! ```text
//! prepare  writes  .1700000000000-part-00000.jsonl.tmp-JOB.SINK   and syncs it
//! commit   renames it to  1700000000000-part-00000.jsonl          and syncs the folder
//! ```
//! One file per partition with rows. Names are made of batch time and partition only, so a commit that is repeated after a
//! crash gives the same files. The token lists the names (JSON). `recover` finishes the last commit and removes temporary
//! files whose names end in this job's and this sink's name, and never anything else. Source: `saveAsTextFiles` of Spark
//! Streaming, which writes one folder per batch.

mod config;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millpond_core::schema::{is_nested, type_name};
use millpond_core::{BatchTime, BoxError, OutputMode, PartitionId, Sink, SinkBatch, SinkToken};

pub use self::config::FilesSinkOptions;
use crate::codec::encode::{BATCH_TIME, Encoding};
use crate::spec::OpenSink;
use crate::{Error, Result};

/// Written at once.
const WRITE_BYTES: usize = 256 << 10;

/// Writes part files.
struct FilesSink {
    folder: PathBuf,
    encoding: Encoding,
    extension: &'static str,
    with_time: bool,
    mode: OutputMode,
    /// How this sink's temporary files end: `.tmp-JOB.SINK`.
    suffix: String,
}

impl FilesSink {
    fn try_new(options: FilesSinkOptions, open: OpenSink) -> Result<Self> {
        let folder = open.job_dir.join(&options.path);
        let sink = Self {
            encoding: options.encoding(),
            extension: options.extension(),
            with_time: options.with_batch_time(),
            mode: options.mode,
            suffix: format!(".tmp-{}.{}", file_safe(&open.job), file_safe(&open.name)),
            folder,
        };
        sink.check(&open.schema)
            .and_then(|()| sink.check_folder())
            .map_err(|reason| Error::SinkMismatch { sink_name: open.name, reason })?;
        sink.check_writable()?;
        Ok(sink)
    }

    /// The folder, or the nearest one above it that exists: the others will be made in it.
    fn nearest(&self) -> &Path {
        let there = |path: &&Path| path.as_os_str().is_empty() || fs::symlink_metadata(path).is_ok();
        match self.folder.ancestors().find(there) {
            Some(path) if !path.as_os_str().is_empty() => path,
            _ => Path::new("."),
        }
    }

    fn check_folder(&self) -> Result<(), String> {
        let nearest = self.nearest();
        match fs::metadata(nearest) {
            Ok(found) if !found.is_dir() => Err(format!(
                "{} is a file, and `path` must be a folder: name another one, or move the file away",
                nearest.display()
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!(
                "{} is a link that leads nowhere, and `path` must be a folder: name another one, or mend the link",
                nearest.display()
            )),
            // Writing will tell what is wrong with it.
            _ => Ok(()),
        }
    }

    /// Tries whether files can be made, and leaves nothing behind. Rights alone do not tell: a file system may be read-only,
    /// or none for files, such as `/proc`.
    fn check_writable(&self) -> Result<()> {
        // Should it stay behind in a crash: its name is one of a temporary file.
        let probe = self.nearest().join(format!(".probe-part-{}", self.suffix));
        let result = File::create_new(&probe);
        match result {
            Ok(_) => fs::remove_file(&probe).map_err(|error| Error::write(&self.folder, error)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(Error::write(&self.folder, error)),
        }
    }

    fn check(&self, schema: &SchemaRef) -> Result<(), String> {
        if self.with_time && !matches!(self.encoding, Encoding::Text) && schema.column_with_name(BATCH_TIME).is_some() {
            return Err(format!(
                "the plan has a column `{BATCH_TIME}`, and the sink adds one of that name: set batch-time = false"
            ));
        }
        let nested = schema.fields().iter().find(|field| is_nested(field.data_type()));
        if let (Encoding::Csv { .. }, Some(field)) = (&self.encoding, nested) {
            return Err(format!(
                "column `{}` has columns inside, which CSV has no way to write: set format = \"json\"",
                field.name()
            ));
        }
        match schema.fields().iter().find(|field| type_name(field.data_type()).is_none()) {
            Some(field) => Err(format!("column `{}` has a type that cannot be written: leave it out", field.name())),
            None => Ok(()),
        }
    }

    fn part_name(&self, time: BatchTime, partition: PartitionId) -> String {
        format!("{time}-part-{:05}.{}", partition.0, self.extension)
    }

    fn temporary(&self, name: &str) -> PathBuf {
        self.folder.join(format!(".{name}{}", self.suffix))
    }

    fn write_parts(&self, batch: &SinkBatch, names: &mut Vec<String>) -> Result<()> {
        self.make_folder()?;
        for part in batch.partitions.iter().filter(|part| part.rows.num_rows() > 0) {
            names.push(self.part_name(batch.batch_time, part.partition));
            self.write_part(names.last().map_or("", String::as_str), batch, Some(&part.rows))?;
        }
        if names.is_empty() && self.mode == OutputMode::Complete {
            names.push(self.part_name(batch.batch_time, PartitionId(0)));
            self.write_part(&names[0], batch, None)?;
        }
        if names.is_empty() { Ok(()) } else { self.sync_folder() }
    }

    fn write_part(&self, name: &str, batch: &SinkBatch, rows: Option<&RecordBatch>) -> Result<()> {
        let write = || -> io::Result<()> {
            let mut out = BufWriter::with_capacity(WRITE_BYTES, File::create(self.temporary(name))?);
            self.encoding.start(&mut out, &batch.schema, self.with_time)?;
            if let Some(rows) = rows {
                self.encoding.rows(&mut out, rows, self.with_time.then_some(batch.batch_time))?;
            }
            out.flush()?;
            out.get_ref().sync_all()
        };
        write().map_err(|error| Error::write(&self.folder.join(name), error))
    }

    fn make_folder(&self) -> Result<()> {
        if self.folder.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(&self.folder).map_err(|error| Error::write(&self.folder, error))
    }

    /// Makes names of files durable. Only Unix can do that, and needs it.
    fn sync_folder(&self) -> Result<()> {
        if cfg!(unix) {
            File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(|e| Error::write(&self.folder, e))
        } else {
            Ok(())
        }
    }

    fn remove_temporaries(&self, names: &[String]) {
        for name in names {
            let path = self.temporary(name);
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                // It stays hidden, and the next start tries again.
                tracing::warn!(path = %path.display(), %error, "cannot remove a temporary file");
            }
        }
    }

    /// Renames a prepared file; gives whether there was one or its result.
    fn finish(&self, name: &str) -> Result<bool> {
        let path = self.folder.join(name);
        match fs::rename(self.temporary(name), &path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.exists()),
            Err(error) => Err(Error::CommitUnfinished {
                path,
                reason: format!("{error}; make the folder writable and start the job again, it finishes the output"),
            }),
        }
    }

    fn remove_stale(&self) -> Result<()> {
        let unreadable = |error| Error::write(&self.folder, error);
        for entry in fs::read_dir(&self.folder).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            let Some(name) = name.to_str() else { continue };
            if is_temporary(name, &self.suffix) {
                let path = self.folder.join(name);
                fs::remove_file(&path).map_err(|error| Error::write(&path, error))?;
            }
        }
        Ok(())
    }
}

impl Sink for FilesSink {
    fn recover(&mut self, last: Option<&SinkToken>) -> Result<(), BoxError> {
        self.make_folder()?;
        for name in last.map(names).transpose()?.unwrap_or_default() {
            if !self.finish(&name)? {
                // The prepared file was durable before the commit, so it was renamed, and somebody took the result away
                // since: a consumer that moves files must not keep the job from starting.
                let path = self.folder.join(&name);
                tracing::warn!(path = %path.display(), "the last committed output is not there any more");
            }
        }
        self.sync_folder()?;
        Ok(self.remove_stale()?)
    }

    fn prepare(&mut self, batch: &SinkBatch) -> Result<SinkToken, BoxError> {
        let mut names = Vec::new();
        if let Err(error) = self.write_parts(batch, &mut names) {
            self.remove_temporaries(&names);
            return Err(error.into());
        }
        let data = serde_json::to_vec(&names).expect("a list of texts can always be written");
        Ok(SinkToken { batch_time: batch.batch_time, data })
    }

    fn commit(&mut self, token: &SinkToken) -> Result<(), BoxError> {
        let names = names(token)?;
        for name in &names {
            if !self.finish(name)? {
                return Err(Error::CommitUnfinished {
                    path: self.folder.join(name),
                    reason: "the prepared file is gone: something else removes files from this folder; \
                             give the sink a folder of its own"
                        .to_owned(),
                }
                .into());
            }
        }
        if !names.is_empty() {
            self.sync_folder()?;
        }
        Ok(())
    }

    fn abort(&mut self, token: &SinkToken) -> Result<(), BoxError> {
        self.remove_temporaries(&names(token)?);
        Ok(())
    }
}

fn names(token: &SinkToken) -> Result<Vec<String>> {
    let names: Vec<String> = serde_json::from_slice(&token.data)
        .map_err(|error| Error::Unreadable { what: "a token of a files sink", reason: error.to_string() })?;
    match names.iter().find(|name| Path::new(name).file_name().is_none_or(|file| file != name.as_str())) {
        Some(name) => {
            Err(Error::Unreadable { what: "a token of a files sink", reason: format!("`{name}` is no file name") })
        }
        None => Ok(names),
    }
}

fn is_temporary(name: &str, suffix: &str) -> bool {
    let part = name.strip_prefix('.').and_then(|name| name.strip_suffix(suffix));
    part.is_some_and(|part| part.contains("-part-"))
}

/// A name as part of a file name: everything but letters, digits, `-` and `_` is written as `%` and its bytes. No `.` stays,
/// so job and sink cannot run into each other.
fn file_safe(name: &str) -> String {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    name.bytes().map(|byte| if safe(byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") }).collect()
}

#[cfg(test)]
mod tests;
