//! Reading a snapshot: verify all of it, then hand it to a visitor.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use millpond_core::{BatchTime, Epoch, SinkToken};

use super::write::{META, SINK, SOURCE};
use super::{FORMAT, FileEntry, Kind, MANIFEST, Manifest, PaneEntry, Sealed};
use crate::chunk::check_keyed;
use crate::codec::{Damage, Reader};
use crate::error::{Error, Result};
use crate::overlay::Pane;
use crate::state::Visitor;

/// A snapshot whose files are there and match their checksums.
#[derive(Debug)]
pub(crate) struct Snapshot {
    dir: PathBuf,
    manifest: Manifest,
}

impl Snapshot {
    /// Reads the manifest and compares every checksum.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(MANIFEST);
        let json = fs::read(&path).map_err(|error| broken(&path, error.to_string()))?;
        let format =
            serde_json::from_slice(&json).ok().and_then(|json: serde_json::Value| json["manifest"]["format"].as_u64());
        if let Some(found) = format.filter(|format| *format != u64::from(FORMAT)) {
            let found = u32::try_from(found).unwrap_or(u32::MAX);
            return Err(Error::Version { path, found, expected: FORMAT });
        }
        let sealed: Sealed = serde_json::from_slice(&json).map_err(|error| broken(&path, error.to_string()))?;
        if sealed.crc32 != sealed.manifest.checksum() {
            return Err(broken(&path, "its checksum does not match".to_owned()));
        }
        let snapshot = Self { dir: dir.to_owned(), manifest: sealed.manifest };
        snapshot.manifest.files.iter().try_for_each(|file| snapshot.verify(file))?;
        Ok(snapshot)
    }

    /// The commit it was made after.
    pub(crate) fn last(&self) -> Option<(Epoch, BatchTime)> {
        let last = (Epoch(self.manifest.epoch), BatchTime(self.manifest.batch_time_ms));
        (self.manifest.epoch > 0).then_some(last)
    }

    /// For each node with keyed state, its keys and bytes.
    pub(crate) fn sizes(&self) -> BTreeMap<&str, (u64, u64)> {
        let mut sizes = BTreeMap::<&str, (u64, u64)>::new();
        for file in &self.manifest.files {
            if let Kind::Keyed { node, keys } = &file.kind {
                let size = sizes.entry(node).or_default();
                *size = (size.0 + keys, size.1 + file.bytes);
            }
        }
        sizes
    }

    /// Hands everything to a visitor.
    pub(crate) fn visit(&self, visitor: &mut dyn Visitor) -> Result<()> {
        let mut panes: BTreeMap<&str, Vec<Pane>> = BTreeMap::new();
        // Entries come last in the manifest and first in a visit.
        for file in self.manifest.files.iter().rev() {
            match &file.kind {
                Kind::Entries => self.visit_entries(file, visitor)?,
                Kind::Keyed { node, .. } => {
                    for rows in self.stream(file)? {
                        let rows = rows?;
                        check_keyed(&rows).map_err(|damage| broken(&self.dir.join(&file.name), damage.0))?;
                        visitor.keyed(node, rows)?;
                    }
                }
                Kind::Panes { node, panes: entries } => {
                    panes.entry(node).or_default().extend(self.read_panes(file, entries)?);
                }
            }
        }
        // Panes of one node may lie in several files, one for each schema.
        for (node, mut panes) in panes {
            panes.sort_by_key(|pane| (pane.time, pane.epoch, pane.index));
            panes.into_iter().try_for_each(|pane| visitor.pane(node, pane))?;
        }
        Ok(())
    }

    fn read_panes(&self, file: &FileEntry, entries: &[PaneEntry]) -> Result<Vec<Pane>> {
        let mut stream = self.stream(file)?;
        let read = entries.iter().map(|entry| {
            let missing = || broken(&self.dir.join(&file.name), "a pane is missing".to_owned());
            let rows = stream.next().ok_or_else(missing)??;
            Ok(Pane { time: BatchTime(entry.time_ms), epoch: entry.epoch, index: entry.index, rows })
        });
        read.collect()
    }

    fn stream(&self, file: &FileEntry) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
        let path = self.dir.join(&file.name);
        let opened = File::open(&path).map_err(|error| broken(&path, error.to_string()))?;
        let reader = StreamReader::try_new(BufReader::with_capacity(256 * 1024, opened), None);
        let reader = reader.map_err(|error| broken(&path, error.to_string()))?;
        Ok(reader.map(move |rows| rows.map_err(|error| broken(&path, error.to_string()))))
    }

    fn visit_entries(&self, file: &FileEntry, visitor: &mut dyn Visitor) -> Result<()> {
        let path = self.dir.join(&file.name);
        let bytes = fs::read(&path).map_err(|error| broken(&path, error.to_string()))?;
        let check = |Damage(reason)| broken(&path, reason);
        let mut reader = Reader::new(&bytes);
        while reader.end().is_err() {
            let (kind, name) = (reader.u8().map_err(check)?, reader.text().map_err(check)?);
            match kind {
                META => visitor.meta(&name, reader.bytes().map_err(check)?)?,
                SOURCE => visitor.source(&name, reader.bytes().map_err(check)?, reader.bytes().map_err(check)?)?,
                SINK => {
                    let batch_time = BatchTime(reader.i64().map_err(check)?);
                    let data = reader.bytes().map_err(check)?.to_vec();
                    visitor.sink(&name, &SinkToken { batch_time, data })?;
                }
                other => return Err(check(Damage(format!("an entry of unknown kind {other}")))),
            }
        }
        Ok(())
    }

    fn verify(&self, file: &FileEntry) -> Result<()> {
        let path = self.dir.join(&file.name);
        let (bytes, crc32) = checksum(&path).map_err(|error| broken(&path, error.to_string()))?;
        if (bytes, crc32) != (file.bytes, file.crc32) {
            return Err(broken(&path, "its length or checksum is not what the manifest says".to_owned()));
        }
        Ok(())
    }
}

fn checksum(path: &Path) -> std::io::Result<(u64, u32)> {
    let mut file = File::open(path)?;
    let (mut hasher, mut bytes, mut buffer) = (crc32fast::Hasher::new(), 0, vec![0; 256 * 1024]);
    loop {
        let taken = file.read(&mut buffer)?;
        if taken == 0 {
            return Ok((bytes, hasher.finalize()));
        }
        hasher.update(&buffer[..taken]);
        bytes += taken as u64;
    }
}

fn broken(path: &Path, reason: String) -> Error {
    Error::Snapshot { path: path.to_owned(), reason }
}
