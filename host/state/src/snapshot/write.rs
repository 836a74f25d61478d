//! Writing a snapshot out of a checkpoint.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use millpond_core::SinkToken;

use super::{ENTRIES, FORMAT, FileEntry, Kind, MANIFEST, Manifest, PaneEntry, Sealed, path_of};
use crate::checkpoint::Checkpoint;
use crate::chunk::{Coalescer, options, same_schema};
use crate::codec::{put_bytes, put_i64};
use crate::error::{Error, Result};
use crate::log::sync_dir;
use crate::overlay::Pane;
use crate::state::{Visitor, encode};

/// Kinds of entries in `entries.bin`.
pub(super) const META: u8 = 0;
pub(super) const SOURCE: u8 = 1;
pub(super) const SINK: u8 = 2;

/// Writes what the checkpoint holds, and says after which commit that is. No fold may be under way or broken off.
pub(crate) fn write(dir: &Path, job: &str, checkpoint: &mut Checkpoint) -> Result<u64> {
    let progress = checkpoint.progress();
    let path = path_of(dir, progress.epoch);
    let temporary = path.with_extension("tmp");
    let written = write_beside(&temporary, job, checkpoint);
    if written.is_err() {
        // On a full disk each try would leave one more and keep it full.
        drop(fs::remove_dir_all(&temporary));
    }
    written?;
    if path.exists() {
        // One that recovery found damaged, or made before the same commit was folded again.
        fs::remove_dir_all(&path).map_err(Error::open("remove", &path))?;
    }
    fs::rename(&temporary, &path).map_err(Error::open("rename", &temporary))?;
    sync_dir(dir).map_err(Error::open("sync", dir))?;
    Ok(progress.epoch)
}

fn write_beside(temporary: &Path, job: &str, checkpoint: &mut Checkpoint) -> Result<()> {
    let progress = checkpoint.progress();
    if temporary.exists() {
        fs::remove_dir_all(temporary).map_err(Error::open("remove", temporary))?;
    }
    fs::create_dir(temporary).map_err(Error::open("create", temporary))?;
    let mut writer = Writer { dir: temporary.to_owned(), entries: Vec::new(), node: None, files: Vec::new() };
    checkpoint.visit(&mut writer)?;
    let files = writer.finish()?;
    let manifest = Manifest {
        format: FORMAT,
        job: job.to_owned(),
        epoch: progress.epoch,
        batch_time_ms: progress.batch_time,
        files,
    };
    let sealed = Sealed { crc32: manifest.checksum(), manifest };
    let json = serde_json::to_vec_pretty(&sealed).expect("a manifest has string keys and finite numbers only");
    put_file(&temporary.join(MANIFEST), &json)?;
    sync_dir(temporary).map_err(Error::open("sync", temporary))
}

fn put_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(Error::open("write", path))
}

struct Writer {
    dir: PathBuf,
    entries: Vec<u8>,
    node: Option<NodeWriter>,
    files: Vec<FileEntry>,
}

/// The node that is being written.
#[derive(Default)]
struct NodeWriter {
    name: String,
    coalescer: Coalescer,
    open: Vec<OpenFile>,
}

struct OpenFile {
    name: String,
    schema: SchemaRef,
    kind: Kind,
    stream: StreamWriter<Checked>,
}

impl Writer {
    fn node(&mut self, name: &str) -> Result<&mut NodeWriter> {
        if self.node.as_ref().is_none_or(|node| node.name != name) {
            self.close_node()?;
        }
        Ok(self.node.get_or_insert_with(|| NodeWriter { name: name.to_owned(), ..NodeWriter::default() }))
    }

    fn write_keyed(&mut self, name: &str, rows: &RecordBatch) -> Result<()> {
        let number = self.files.len();
        let dir = self.dir.clone();
        let file = self.node(name)?.file(&dir, number, rows.schema(), false)?;
        if let Kind::Keyed { keys, .. } = &mut file.kind {
            *keys += rows.num_rows() as u64;
        }
        file.stream.write(rows).map_err(|error| unwritable(&dir.join(&file.name), &error))
    }

    fn close_node(&mut self) -> Result<()> {
        let Some(node) = &mut self.node else { return Ok(()) };
        let name = node.name.clone();
        for rows in node.coalescer.finish().map_err(encode(&name))? {
            self.write_keyed(&name, &rows)?;
        }
        for file in self.node.take().map(|node| node.open).unwrap_or_default() {
            let path = self.dir.join(&file.name);
            let (bytes, crc32) = file
                .stream
                .into_inner()
                .map_err(|error| unwritable(&path, &error))
                .and_then(|checked| checked.close().map_err(Error::open("write", &path)))?;
            self.files.push(FileEntry { name: file.name, bytes, crc32, kind: file.kind });
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<FileEntry>> {
        self.close_node()?;
        let (bytes, crc32) = (self.entries.len() as u64, crc32fast::hash(&self.entries));
        put_file(&self.dir.join(ENTRIES), &self.entries)?;
        self.files.push(FileEntry { name: ENTRIES.to_owned(), bytes, crc32, kind: Kind::Entries });
        Ok(self.files)
    }
}

impl NodeWriter {
    /// The file for rows of this kind and schema; `number` = files that are closed already.
    fn file(&mut self, dir: &Path, number: usize, schema: SchemaRef, panes: bool) -> Result<&mut OpenFile> {
        let fits =
            |file: &OpenFile| matches!(file.kind, Kind::Panes { .. }) == panes && same_schema(&file.schema, &schema);
        if let Some(at) = self.open.iter().position(fits) {
            return Ok(&mut self.open[at]);
        }
        let number = number + self.open.len();
        let node = self.name.clone();
        let (name, kind) = if panes {
            (format!("{number}.panes.arrows"), Kind::Panes { node, panes: Vec::new() })
        } else {
            (format!("{number}.keyed.arrows"), Kind::Keyed { node, keys: 0 })
        };
        let path = dir.join(&name);
        let checked = Checked::create(&path).map_err(Error::open("create", &path))?;
        let stream = options().and_then(|options| StreamWriter::try_new_with_options(checked, &schema, options));
        let stream = stream.map_err(|error| unwritable(&path, &error))?;
        self.open.push(OpenFile { name, schema, kind, stream });
        Ok(self.open.last_mut().expect("a file was pushed above"))
    }
}

impl Visitor for Writer {
    fn meta(&mut self, name: &str, value: &[u8]) -> Result<()> {
        self.entries.push(META);
        put_bytes(&mut self.entries, name.as_bytes());
        put_bytes(&mut self.entries, value);
        Ok(())
    }

    fn source(&mut self, source: &str, key: &[u8], value: &[u8]) -> Result<()> {
        self.entries.push(SOURCE);
        put_bytes(&mut self.entries, source.as_bytes());
        put_bytes(&mut self.entries, key);
        put_bytes(&mut self.entries, value);
        Ok(())
    }

    fn sink(&mut self, sink: &str, token: &SinkToken) -> Result<()> {
        self.entries.push(SINK);
        put_bytes(&mut self.entries, sink.as_bytes());
        put_i64(&mut self.entries, token.batch_time.0);
        put_bytes(&mut self.entries, &token.data);
        Ok(())
    }

    fn keyed(&mut self, node: &str, rows: RecordBatch) -> Result<()> {
        let full = self.node(node)?.coalescer.push(rows).map_err(encode(node))?;
        full.map_or(Ok(()), |rows| self.write_keyed(node, &rows))
    }

    fn pane(&mut self, node: &str, pane: Pane) -> Result<()> {
        let number = self.files.len();
        let dir = self.dir.clone();
        let file = self.node(node)?.file(&dir, number, pane.rows.schema(), true)?;
        if let Kind::Panes { panes, .. } = &mut file.kind {
            let rows = pane.rows.num_rows() as u64;
            panes.push(PaneEntry { time_ms: pane.time.0, epoch: pane.epoch, index: pane.index, rows });
        }
        file.stream.write(&pane.rows).map_err(|error| unwritable(&dir.join(&file.name), &error))
    }
}

fn unwritable(path: &Path, error: &ArrowError) -> Error {
    Error::Snapshot { path: path.to_owned(), reason: error.to_string() }
}

/// A file that knows its length and checksum.
struct Checked {
    out: BufWriter<File>,
    bytes: u64,
    hasher: crc32fast::Hasher,
}

impl Checked {
    fn create(path: &Path) -> io::Result<Self> {
        let out = BufWriter::with_capacity(256 * 1024, File::create(path)?);
        Ok(Self { out, bytes: 0, hasher: crc32fast::Hasher::new() })
    }

    fn close(self) -> io::Result<(u64, u32)> {
        self.out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok((self.bytes, self.hasher.finalize()))
    }
}

impl Write for Checked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.out.write(bytes)?;
        self.hasher.update(&bytes[..taken]);
        self.bytes += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
