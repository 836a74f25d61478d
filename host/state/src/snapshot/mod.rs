//! Snapshots: the whole state in plain files, for the day when the checkpoint store is lost.
//!
//! ```text
//! snapshot/00000000000000000400/      made after commit 400
//!   manifest.json                     what there is, with sizes and checksums; {"crc32": of the manifest, "manifest": {...}}
//!   0.keyed.arrows                    Arrow IPC stream: columns `key`, then the values; one file for each node and schema
//!   1.panes.arrows                    Arrow IPC stream: one batch for each pane, the manifest says of which time
//!   entries.bin                       meta entries, sources' progress, sink tokens (framed as in the log)
//! snapshot/00000000000000000500.tmp/  one that was broken off; removed when the next is made
//! ```
//! Format version 1. A snapshot is written beside, synced, and renamed: one with a final name is whole. Its checksums are
//! compared before any of it is used. The log is kept back to the newest snapshot, so a snapshot and the log behind it are
//! all of the state. The Arrow files are readable by any Arrow tool.

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use read::Snapshot;
pub(crate) use write::write;

use crate::error::{Error, Result};
use crate::sweep;

/// The version that this code writes and reads.
pub(crate) const FORMAT: u32 = 1;

const MANIFEST: &str = "manifest.json";
const ENTRIES: &str = "entries.bin";

/// The manifest file.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    /// CRC-32 of the manifest's compact JSON.
    crc32: u32,
    manifest: Manifest,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    job: String,
    epoch: u64,
    batch_time_ms: i64,
    files: Vec<FileEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FileEntry {
    name: String,
    bytes: u64,
    crc32: u32,
    kind: Kind,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Entries,
    Keyed {
        node: String,
        keys: u64,
    },
    /// The panes of the file's batches, in their order.
    Panes {
        node: String,
        panes: Vec<PaneEntry>,
    },
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct PaneEntry {
    time_ms: i64,
    epoch: u64,
    index: u32,
    rows: u64,
}

impl Manifest {
    fn checksum(&self) -> u32 {
        crc32fast::hash(&serde_json::to_vec(self).expect("a manifest has string keys and finite numbers only"))
    }
}

/// The snapshots with a final name, newest first, by the commit they were made after.
pub(crate) fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::open("list", dir))? {
        let path = entry.map_err(Error::open("list", dir))?.path();
        let epoch = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        let epoch = epoch.filter(|epoch| path == path_of(dir, *epoch));
        found.extend(epoch.map(|epoch: u64| (epoch, path)));
    }
    found.sort_by(|left, right| right.cmp(left));
    Ok(found)
}

/// Removes all snapshots but the one made after `keep`, and what was broken off. Other files are none of its business.
pub(crate) fn remove_others(dir: &Path, keep: u64) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(Error::open("list", dir))? {
        let path = entry.map_err(Error::open("list", dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path != path_of(dir, keep) && sweep::is_snapshot(name) && path.is_dir() {
            sweep::sweep_away(&path, sweep::snapshot).map_err(Error::open("remove", &path))?;
        }
    }
    Ok(())
}

fn path_of(dir: &Path, epoch: u64) -> PathBuf {
    dir.join(format!("{epoch:020}"))
}
