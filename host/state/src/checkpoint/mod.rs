//! The checkpoint store: state folded out of the log into sled, the only place that names it.
//!
//! What lies where is in [`layout`]. Keyed state is kept in pages of many keys ([`pages`]), because an entry per key costs a
//! hundred times the log's write. Folding is idempotent: a fold that was broken off leaves pages that are partly
//! ahead, and doing it again from the same log gives what an unbroken one would have given. Before a fold begins the store
//! notes how far it will go, and when it is done how far it got; in between, pages and panes may be ahead of `epoch`.
//!
//! sled syncs its file with `sync_file_range` on Linux, which does not reach the disk's own cache, so every flush is
//! followed by a sync of the file. What sled says is never trusted: each entry has a checksum over key and value, and the
//! number of keys must be what the last fold counted.

mod apply;
mod import;
pub(crate) mod layout;
mod open;
pub(crate) mod pages;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::array::RecordBatch;
use millpond_core::{BatchTime, Epoch, SinkToken};

pub(crate) use import::import;

use crate::chunk::decode_rows;
use crate::codec::{Damage, Reader, put_i64, put_u32, put_u64};
use crate::error::{Error, Result};
use crate::overlay::Pane;
use crate::state::Visitor;
use layout::{Opened, PanePlace};

/// Asked before each page whether to break off.
pub(crate) type Stop<'a> = &'a dyn Fn() -> bool;

/// How far the store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Everything up to this commit is in.
    pub(crate) epoch: u64,
    /// That commit's batch time.
    pub(crate) batch_time: i64,
    /// Some of the commits up to this one may be in, too: the same as `epoch` when no fold was broken off.
    pub(crate) folding_to: u64,
}

impl Progress {
    /// The newest commit that is wholly in.
    pub(crate) fn last(&self) -> Option<(Epoch, BatchTime)> {
        (self.epoch > 0).then_some((Epoch(self.epoch), BatchTime(self.batch_time)))
    }
}

/// What the store knows of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NodeEntry {
    id: u32,
    /// The node has `2^bits` pages.
    bits: u8,
    /// Differs from `bits` while the node gets more pages: some of its pages are split already.
    bits_max: u8,
    keys: u64,
    /// Of all pages together.
    bytes: u64,
}

/// An open checkpoint store.
pub(crate) struct Checkpoint {
    db: sled::Db,
    dir: PathBuf,
    progress: Progress,
    nodes: BTreeMap<String, NodeEntry>,
    /// Whether the counts in `nodes` are known to be right.
    counted: bool,
}

impl Checkpoint {
    /// Opens a store. `None` = its making was broken off, so it holds nothing of use.
    pub(crate) fn open(dir: &Path, limit: Duration) -> Result<Option<Self>> {
        let db = open::open_db(dir, limit)?;
        let mut store =
            Self { db, dir: dir.to_owned(), progress: Progress::default(), nodes: BTreeMap::new(), counted: false };
        let Some(body) = store.get(layout::PROGRESS)? else { return Ok(None) };
        store.progress = store.check(progress_from(&body))?;
        store.counted = store.progress.epoch == store.progress.folding_to;
        store.nodes = store.read_nodes()?;
        Ok(Some(store))
    }

    /// Makes an empty store, which counts only once its first progress is written.
    pub(crate) fn create(dir: &Path, limit: Duration) -> Result<Self> {
        let db = open::open_db(dir, limit)?;
        let (nodes, progress) = (BTreeMap::new(), Progress::default());
        Ok(Self { db, dir: dir.to_owned(), progress, nodes, counted: true })
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn bits(&self, node: &str) -> u8 {
        self.nodes.get(node).map_or(0, |entry| entry.bits)
    }

    /// Makes a new store count, empty as it is.
    pub(crate) fn begin(&mut self) -> Result<()> {
        self.complete(Progress::default())
    }

    /// Keys over all nodes, and bytes of their pages.
    pub(crate) fn size(&self) -> (u64, u64) {
        self.nodes.values().fold((0, 0), |(keys, bytes), node| (keys + node.keys, bytes + node.bytes))
    }

    /// Hands everything up to `progress().epoch` to a visitor, and checks it on the way.
    ///
    /// After a fold that was broken off, keyed state and entries may be ahead of that: whoever visits must lay the
    /// log from there on over it.
    pub(crate) fn visit(&mut self, visitor: &mut dyn Visitor) -> Result<()> {
        self.visit_entries(visitor)?;
        for (name, entry) in self.nodes.clone() {
            self.visit_keyed(&name, entry, visitor)?;
            self.visit_panes(&name, entry, visitor)?;
        }
        self.counted = true;
        Ok(())
    }

    /// Counts keys again after a fold that was broken off.
    fn recount(&mut self) -> Result<()> {
        if self.counted { Ok(()) } else { self.visit(&mut Nobody) }
    }

    fn visit_entries(&self, visitor: &mut dyn Visitor) -> Result<()> {
        for item in self.db.scan_prefix([layout::META]) {
            let (key, value) = self.sled(item)?;
            visitor.meta(self.check(layout::name_of(&key))?, self.body(&key, &value)?)?;
        }
        for item in self.db.scan_prefix([layout::SOURCE]) {
            let (key, value) = self.sled(item)?;
            let (source, entry) = self.check(layout::source_parts(&key))?;
            visitor.source(source, entry, self.body(&key, &value)?)?;
        }
        for item in self.db.scan_prefix([layout::SINK]) {
            let (key, value) = self.sled(item)?;
            let token = self.check(token_from(self.body(&key, &value)?))?;
            visitor.sink(self.check(layout::name_of(&key))?, &token)?;
        }
        Ok(())
    }

    fn visit_keyed(&mut self, name: &str, entry: NodeEntry, visitor: &mut dyn Visitor) -> Result<()> {
        let (mut keys, mut bytes) = (0, 0);
        for item in self.db.scan_prefix(layout::pages(entry.id)) {
            let (key, value) = self.sled(item)?;
            bytes += value.len() as u64;
            for rows in self.check(pages::decode(self.body(&key, &value)?))? {
                keys += rows.num_rows() as u64;
                visitor.keyed(name, rows)?;
            }
        }
        if self.counted && keys != entry.keys {
            return Err(self.damaged(format!("node `{name}` has {keys} keys where {} were written", entry.keys)));
        }
        self.nodes.insert(name.to_owned(), NodeEntry { keys, bytes, ..entry });
        Ok(())
    }

    fn visit_panes(&self, name: &str, entry: NodeEntry, visitor: &mut dyn Visitor) -> Result<()> {
        let mut open: Option<(PanePlace, u32, Vec<u8>)> = None;
        for item in self.db.scan_prefix(layout::panes(entry.id)) {
            let (key, value) = self.sled(item)?;
            let place = self.check(layout::pane_parts(&key))?;
            if place.epoch > self.progress.epoch {
                continue;
            }
            let body = self.body(&key, &value)?;
            let (first, pieces, mut bytes) = match open.take() {
                None if place.piece == 0 => {
                    let mut reader = Reader::new(body);
                    let pieces = self.check(reader.u32())?;
                    (place, pieces, body[4..].to_vec())
                }
                Some((first, pieces, mut bytes)) if (PanePlace { piece: place.piece, ..first }) == place => {
                    bytes.extend_from_slice(body);
                    (first, pieces, bytes)
                }
                _ => return Err(self.damaged(format!("a pane of node `{name}` has lost a piece"))),
            };
            if place.piece + 1 < pieces {
                open = Some((first, pieces, bytes));
                continue;
            }
            let rows = self.check(decode_rows(&std::mem::take(&mut bytes)))?;
            visitor.pane(name, Pane { time: first.time, epoch: first.epoch, index: first.index, rows })?;
        }
        open.map_or(Ok(()), |_| Err(self.damaged(format!("a pane of node `{name}` has lost its last piece"))))
    }

    fn read_nodes(&self) -> Result<BTreeMap<String, NodeEntry>> {
        let mut nodes = BTreeMap::new();
        for item in self.db.scan_prefix([layout::NODE]) {
            let (key, value) = self.sled(item)?;
            let entry = self.check(node_from(self.body(&key, &value)?))?;
            nodes.insert(self.check(layout::name_of(&key))?.to_owned(), entry);
        }
        Ok(nodes)
    }

    /// The body of an entry.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(value) = self.sled(self.db.get(key))? else { return Ok(None) };
        self.body(key, &value).map(|body| Some(body.to_vec()))
    }

    fn body<'a>(&self, key: &[u8], value: &'a [u8]) -> Result<&'a [u8]> {
        match self.check(layout::open(key, value))? {
            Opened::Body(body) => Ok(body),
            Opened::OtherVersion(found) => Err(Error::Version {
                path: self.dir.clone(),
                found: u32::from(found),
                expected: u32::from(layout::VERSION),
            }),
        }
    }

    fn sled<T>(&self, result: sled::Result<T>) -> Result<T> {
        let damaged =
            |error: &sled::Error| matches!(error, sled::Error::Corruption { .. } | sled::Error::ReportableBug(_));
        result.map_err(|error| Error::Store {
            path: self.dir.clone(),
            damaged: damaged(&error),
            reason: error.to_string(),
        })
    }

    fn check<T>(&self, result: Result<T, Damage>) -> Result<T> {
        result.map_err(|damage| self.damaged(damage.0))
    }

    fn damaged(&self, reason: String) -> Error {
        Error::Store { path: self.dir.clone(), reason, damaged: true }
    }
}

/// Visits for the sake of the checks.
struct Nobody;

impl Visitor for Nobody {
    fn meta(&mut self, _: &str, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn source(&mut self, _: &str, _: &[u8], _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn sink(&mut self, _: &str, _: &SinkToken) -> Result<()> {
        Ok(())
    }

    fn keyed(&mut self, _: &str, _: RecordBatch) -> Result<()> {
        Ok(())
    }

    fn pane(&mut self, _: &str, _: Pane) -> Result<()> {
        Ok(())
    }
}

fn progress_body(progress: Progress) -> Vec<u8> {
    let mut body = Vec::new();
    put_u64(&mut body, progress.epoch);
    put_i64(&mut body, progress.batch_time);
    put_u64(&mut body, progress.folding_to);
    body
}

fn progress_from(body: &[u8]) -> Result<Progress, Damage> {
    let mut reader = Reader::new(body);
    Ok(Progress { epoch: reader.u64()?, batch_time: reader.i64()?, folding_to: reader.u64()? })
}

fn node_body(entry: NodeEntry) -> Vec<u8> {
    let mut body = Vec::new();
    put_u32(&mut body, entry.id);
    body.extend_from_slice(&[entry.bits, entry.bits_max]);
    put_u64(&mut body, entry.keys);
    put_u64(&mut body, entry.bytes);
    body
}

fn node_from(body: &[u8]) -> Result<NodeEntry, Damage> {
    let mut reader = Reader::new(body);
    let (id, bits, bits_max) = (reader.u32()?, reader.u8()?, reader.u8()?);
    Ok(NodeEntry { id, bits, bits_max, keys: reader.u64()?, bytes: reader.u64()? })
}

fn token_body(token: &SinkToken) -> Vec<u8> {
    let mut body = Vec::new();
    put_i64(&mut body, token.batch_time.0);
    body.extend_from_slice(&token.data);
    body
}

fn token_from(body: &[u8]) -> Result<SinkToken, Damage> {
    let batch_time = BatchTime(Reader::new(body).i64()?);
    Ok(SinkToken { batch_time, data: body[8..].to_vec() })
}
