//! Folding: an overlay into the store.

use std::collections::BTreeMap;
use std::fs::File;

use arrow::array::RecordBatch;

use super::layout::{self, PanePlace};
use super::pages::{self, PageChanges};
use super::{Checkpoint, NodeEntry, Progress, Stop, node_body, progress_body, token_body};
use crate::chunk::{encode_rows, keys_of};
use crate::codec::put_u32;
use crate::error::{Error, Result};
use crate::log::sync_dir;
use crate::overlay::{NodeOverlay, Overlay, Pane};
use crate::state::encode;

/// Bytes of changes that are handed to sled at a time. Guess: large enough to spread its locking, small enough not to show
/// in memory.
const BATCH_BYTES: usize = 1 << 20;

/// Panes are cut into pieces of this size. Measured: sled writes values of more than 128 KiB into files of their own and is
/// slow to let go of them, and panes come and go all the time.
const PIECE_BYTES: usize = 32 * 1024;

/// So many pages are looked at to tell new keys from known ones.
const SAMPLED_PAGES: usize = 16;

impl Checkpoint {
    /// Folds commits in; they follow those that are in. When this returns they are durable.
    ///
    /// `stop` breaks it off with [`Error::Stopped`], which, like any error, leaves a store from which the fold may be done again.
    pub(crate) fn fold(&mut self, overlay: &Overlay, stop: Stop<'_>) -> Result<()> {
        let Some((epoch, batch_time)) = overlay.last else { return Ok(()) };
        self.recount()?;
        self.write_progress(Progress { folding_to: epoch.0, ..self.progress })?;
        self.apply(overlay, stop)?;
        self.complete(Progress { epoch: epoch.0, batch_time: batch_time.0, folding_to: epoch.0 })
    }

    /// Declares what was applied to be whole.
    pub(super) fn complete(&mut self, progress: Progress) -> Result<()> {
        // First what is counted, then the count: the order in which sled makes entries durable is its own affair.
        self.flush()?;
        let mut batch = self.node_entries();
        batch.insert(layout::PROGRESS, layout::seal(layout::PROGRESS, &progress_body(progress)));
        self.sled(self.db.apply_batch(batch))?;
        self.flush()?;
        self.progress = progress;
        Ok(())
    }

    fn node_entries(&self) -> sled::Batch {
        let mut batch = sled::Batch::default();
        for (name, entry) in &self.nodes {
            let key = layout::named(layout::NODE, name);
            let value = layout::seal(&key, &node_body(*entry));
            batch.insert(key, value);
        }
        batch
    }

    pub(super) fn write_progress(&mut self, progress: Progress) -> Result<()> {
        let value = layout::seal(layout::PROGRESS, &progress_body(progress));
        self.sled(self.db.insert(layout::PROGRESS, value))?;
        self.flush()?;
        self.progress = progress;
        Ok(())
    }

    /// Makes everything that was written durable.
    fn flush(&self) -> Result<()> {
        self.sled(self.db.flush())?;
        let unsynced = |error: std::io::Error| Error::Store {
            path: self.dir.clone(),
            reason: format!("it cannot be synced: {error}"),
            damaged: false,
        };
        let synced =
            File::open(self.dir.join("db")).and_then(|file| file.sync_all()).and_then(|()| sync_dir(&self.dir));
        synced.map_err(unsynced)
    }

    pub(super) fn apply(&mut self, overlay: &Overlay, stop: Stop<'_>) -> Result<()> {
        let mut out = Writer::new(self.db.clone());
        for (name, value) in &overlay.meta {
            out.put(layout::named(layout::META, name), value);
        }
        for (source, entries) in &overlay.sources {
            for (key, value) in entries {
                let key = layout::source(source, key);
                match value {
                    Some(value) => out.put(key, value),
                    None => out.remove(&key),
                }
                out.flush_full(self)?;
            }
        }
        for (sink, token) in &overlay.sinks {
            out.put(layout::named(layout::SINK, sink), &token_body(token));
        }
        out.flush(self)?;
        for (name, node) in &overlay.nodes {
            self.apply_panes(name, node)?;
            if node.key_count() > 0 {
                self.apply_keyed(name, node, stop)?;
            }
        }
        // A growth that was broken off is finished even when nothing of the node changes.
        let growing = self.nodes.iter().filter(|(_, entry)| entry.bits != entry.bits_max).map(|(name, _)| name.clone());
        for name in growing.collect::<Vec<_>>() {
            self.apply_keyed(&name, &NodeOverlay::default(), stop)?;
        }
        Ok(())
    }

    fn node(&mut self, name: &str) -> NodeEntry {
        let next = self.nodes.values().map(|node| node.id + 1).max().unwrap_or(0);
        *self.nodes.entry(name.to_owned()).or_insert(NodeEntry { id: next, bits: 0, bits_max: 0, keys: 0, bytes: 0 })
    }

    /// Prepares a node that will hold so much, so that it need not be resized again and again.
    pub(super) fn reserve(&mut self, name: &str, keys: u64, bytes: u64) {
        let entry = self.node(name);
        let bits = pages::page_bits(keys, bytes);
        self.nodes.insert(name.to_owned(), NodeEntry { bits, bits_max: bits, ..entry });
    }

    fn apply_panes(&mut self, name: &str, node: &NodeOverlay) -> Result<()> {
        if node.dropped.is_none() && node.panes.is_empty() {
            return Ok(());
        }
        let id = self.node(name).id;
        let mut out = Writer::new(self.db.clone());
        if let Some(dropped) = node.dropped {
            for key in self.db.scan_prefix(layout::panes(id)).keys() {
                let key = self.sled(key)?;
                if self.check(layout::pane_parts(&key))?.time > dropped {
                    break;
                }
                out.remove(&key);
                out.flush_full(self)?;
            }
        }
        for pane in &node.panes {
            self.put_pane(name, id, pane, &mut out)?;
        }
        out.flush(self)
    }

    fn put_pane(&self, name: &str, id: u32, pane: &Pane, out: &mut Writer) -> Result<()> {
        let mut bytes = Vec::new();
        encode_rows(&pane.rows, &mut bytes).map_err(encode(name))?;
        let pieces = bytes.chunks(PIECE_BYTES);
        let count = u32::try_from(pieces.len()).expect("a pane has less than 2^32 pieces of 32 KiB");
        for (piece, bytes) in (0..).zip(pieces) {
            let mut body = Vec::with_capacity(4 + bytes.len());
            if piece == 0 {
                put_u32(&mut body, count);
            }
            body.extend_from_slice(bytes);
            let place = PanePlace { time: pane.time, epoch: pane.epoch, index: pane.index, piece };
            out.put(layout::pane(id, place), &body);
            out.flush_full(self)?;
        }
        Ok(())
    }

    fn apply_keyed(&mut self, name: &str, node: &NodeOverlay, stop: Stop<'_>) -> Result<()> {
        let entry = self.node(name);
        let mut changes = PageChanges::try_new(node, entry.bits).map_err(encode(name))?;
        let bits = self.grown_bits(node, entry, &changes)?;
        if bits != entry.bits {
            changes = PageChanges::try_new(node, bits).map_err(encode(name))?;
            self.nodes.insert(name.to_owned(), NodeEntry { bits_max: bits, ..entry });
            // Durable before the first page is split, so that a broken-off growth is known for one.
            self.sled(self.db.apply_batch(self.node_entries()))?;
            self.flush()?;
        }
        let mut fold = PageFold { name, node, changes, bits, entry, out: Writer::new(self.db.clone()) };
        if bits == entry.bits {
            for page in fold.changes.touched() {
                stop_if(stop)?;
                fold.family(self, std::iter::once(page))?;
            }
        } else {
            for page in 0..1 << entry.bits {
                stop_if(stop)?;
                fold.family(self, (page..1 << bits).step_by(1 << entry.bits))?;
            }
        }
        fold.out.flush(self)?;
        let entry = NodeEntry { bits, bits_max: bits, ..fold.entry };
        self.nodes.insert(name.to_owned(), entry);
        Ok(())
    }

    /// How many page bits the node needs with the changes in it. Most changes are of keys that are there already or most are of
    /// new ones; a few pages tell which.
    fn grown_bits(&self, node: &NodeOverlay, entry: NodeEntry, changes: &PageChanges) -> Result<u8> {
        let (mut known, mut changed) = (0, 0);
        for page in changes.touched().into_iter().take(SAMPLED_PAGES) {
            changed += changes.rows(page).map(|rows| rows.num_rows() as u64).sum::<u64>();
            for rows in self.page(entry.id, page)?.unwrap_or_default() {
                known += keys_of(&rows).iter().flatten().filter(|key| node.contains(key)).count() as u64;
            }
        }
        let new = changed.saturating_sub(known);
        let (keys, bytes) = changes.size();
        let part_of = |whole: u64| (u128::from(whole) * u128::from(new) / u128::from(changed.max(1))) as u64;
        let bits = pages::page_bits(entry.keys + part_of(keys), entry.bytes + part_of(bytes));
        Ok(bits.max(entry.bits_max))
    }

    fn page(&self, node: u32, page: u32) -> Result<Option<Vec<RecordBatch>>> {
        self.get(&layout::page(node, page))?.map(|body| self.check(pages::decode(&body))).transpose()
    }
}

fn stop_if(stop: Stop<'_>) -> Result<()> {
    if stop() { Err(Error::Stopped) } else { Ok(()) }
}

/// One node's keyed changes on their way into its pages.
struct PageFold<'a> {
    name: &'a str,
    node: &'a NodeOverlay,
    changes: PageChanges,
    bits: u8,
    entry: NodeEntry,
    out: Writer,
}

impl PageFold<'_> {
    /// Reads pages that share what they hold, lays the changes over it, and writes them in one batch.
    fn family(&mut self, store: &Checkpoint, pages: impl Iterator<Item = u32> + Clone) -> Result<()> {
        let mut rows_of = BTreeMap::<u32, Vec<RecordBatch>>::new();
        for page in pages.clone() {
            let Some(body) = store.get(&layout::page(self.entry.id, page))? else { continue };
            self.entry.keys = self.entry.keys.saturating_sub(store.check(pages::row_count(&body))?);
            self.entry.bytes = self.entry.bytes.saturating_sub(body.len() as u64);
            for part in store.check(pages::decode(&body))? {
                let kept = self.node.uncovered(part).map_err(encode(self.name))?;
                if self.bits == self.entry.bits {
                    rows_of.entry(page).or_default().push(kept);
                    continue;
                }
                let split = pages::split(&kept, self.bits).map_err(encode(self.name))?;
                split.into_iter().for_each(|(page, rows)| rows_of.entry(page).or_default().push(rows));
            }
        }
        for page in pages {
            let mut rows = rows_of.remove(&page).unwrap_or_default();
            rows.extend(self.changes.rows(page));
            let key = layout::page(self.entry.id, page);
            match pages::encode(rows).map_err(encode(self.name))? {
                Some(body) => {
                    self.entry.keys += store.check(pages::row_count(&body))?;
                    self.entry.bytes += body.len() as u64;
                    self.out.put(key, &body);
                }
                None => self.out.remove(&key),
            }
        }
        self.out.flush_full(store)
    }
}

/// Gathers changes into batches for sled.
struct Writer {
    db: sled::Db,
    batch: sled::Batch,
    bytes: usize,
}

impl Writer {
    fn new(db: sled::Db) -> Self {
        Self { db, batch: sled::Batch::default(), bytes: 0 }
    }

    fn put(&mut self, key: Vec<u8>, body: &[u8]) {
        let value = layout::seal(&key, body);
        self.bytes += key.len() + value.len();
        self.batch.insert(key, value);
    }

    fn remove(&mut self, key: &[u8]) {
        self.bytes += key.len();
        self.batch.remove(key);
    }

    /// What was put since the last call is written in one batch, now or with what comes.
    fn flush_full(&mut self, store: &Checkpoint) -> Result<()> {
        if self.bytes >= BATCH_BYTES { self.flush(store) } else { Ok(()) }
    }

    fn flush(&mut self, store: &Checkpoint) -> Result<()> {
        self.bytes = 0;
        store.sled(self.db.apply_batch(std::mem::take(&mut self.batch)))
    }
}
