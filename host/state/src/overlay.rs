//! Several commits merged into one: for each key, entry and pane only what is left in the end.
//!
//! The same merge serves the checkpoint (an overlay is applied to the store's pages) and recovery (an overlay is laid over
//! what a checkpoint or a snapshot holds). Keys are not copied: the table holds places in the commits' own batches.

use std::collections::BTreeMap;

use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::error::ArrowError;
use hashbrown::HashTable;
use millpond_core::{BatchTime, Epoch, SinkToken};
use xxhash_rust::xxh3::xxh3_64;

use crate::chunk::keys_of;
use crate::record::{Change, Commit};

/// Commits merged, the later over the earlier.
#[derive(Default)]
pub(crate) struct Overlay {
    /// The newest commit in it.
    pub(crate) last: Option<(Epoch, BatchTime)>,
    pub(crate) meta: BTreeMap<String, Vec<u8>>,
    /// `None` = deleted.
    pub(crate) sources: BTreeMap<String, BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
    pub(crate) sinks: BTreeMap<String, SinkToken>,
    pub(crate) nodes: BTreeMap<String, NodeOverlay>,
}

/// What changed at one node.
#[derive(Default)]
pub(crate) struct NodeOverlay {
    table: HashTable<Entry>,
    /// Batches with a key column; `Place` points into them.
    chunks: Vec<RecordBatch>,
    /// Panes underneath with `time <= dropped` are gone.
    pub(crate) dropped: Option<BatchTime>,
    /// Panes that were appended, in the order of their commits.
    pub(crate) panes: Vec<Pane>,
}

/// A pane's rows and their rank among all of its node: the same commit always gives the same rank, so that writing a pane
/// twice leaves one.
#[derive(Clone, Debug)]
pub(crate) struct Pane {
    pub(crate) time: BatchTime,
    pub(crate) epoch: u64,
    pub(crate) index: u32,
    pub(crate) rows: RecordBatch,
}

/// Where a key's latest word stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) chunk: u32,
    pub(crate) row: u32,
    pub(crate) deleted: bool,
}

/// A key's place, and its hash: keys are only looked at where hashes agree, and never when the table grows.
#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    place: Place,
}

/// The fixed hash of a key: it also decides the key's page in the checkpoint store, so it may never change.
pub(crate) fn hash_key(key: &[u8]) -> u64 {
    xxh3_64(key)
}

impl Overlay {
    /// Lays the next commit over what is there.
    pub(crate) fn apply(&mut self, commit: Commit) {
        self.last = Some((commit.epoch, commit.batch_time));
        self.meta.extend(commit.meta);
        for (source, entries) in commit.sources {
            self.sources.entry(source).or_default().extend(entries);
        }
        self.sinks.extend(commit.sinks);
        for (index, (node, change)) in (0..).zip(commit.state) {
            self.node(node).apply(commit.epoch, index, change);
        }
    }

    pub(crate) fn node(&mut self, name: String) -> &mut NodeOverlay {
        self.nodes.entry(name).or_default()
    }
}

impl NodeOverlay {
    fn apply(&mut self, epoch: Epoch, index: u32, change: Change) {
        match change {
            Change::Keyed { deletes, upserts } => {
                if let Some(deletes) = deletes {
                    self.put(deletes, true);
                }
                if let Some(upserts) = upserts {
                    self.put(upserts, false);
                }
            }
            Change::AppendPane { time, rows } => self.panes.push(Pane { time, epoch: epoch.0, index, rows }),
            Change::DropPanes { up_to } => {
                self.dropped = self.dropped.max(Some(up_to));
                self.panes.retain(|pane| pane.time > up_to);
            }
        }
    }

    /// Lays rows over what is there: deletions or upserts.
    pub(crate) fn put(&mut self, rows: RecordBatch, deleted: bool) {
        let chunk = u32::try_from(self.chunks.len()).expect("fewer than 2^32 batches are merged at a time");
        self.chunks.push(rows);
        let (table, chunks) = (&mut self.table, &self.chunks);
        let keys = keys_of(&chunks[chunk as usize]);
        let key_at = |place: &Place| keys_of(&chunks[place.chunk as usize]).value(place.row as usize);
        for (row, key) in (0..).zip(keys.iter().flatten()) {
            let entry = Entry { hash: hash_key(key), place: Place { chunk, row, deleted } };
            let same = |other: &Entry| other.hash == entry.hash && key_at(&other.place) == key;
            *table.entry(entry.hash, same, |entry| entry.hash).or_insert(entry).get_mut() = entry;
        }
    }

    /// Whether the overlay says anything of this key.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        let hash = hash_key(key);
        let key_at = |place: &Place| keys_of(&self.chunks[place.chunk as usize]).value(place.row as usize);
        self.table.find(hash, |entry| entry.hash == hash && key_at(&entry.place) == key).is_some()
    }

    /// Every key that the overlay says something of.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> {
        self.table.iter().map(|entry| entry.place)
    }

    /// How many keys the overlay says something of.
    pub(crate) fn key_count(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn chunks(&self) -> &[RecordBatch] {
        &self.chunks
    }

    /// The rows of `base` that the overlay says nothing of.
    pub(crate) fn uncovered(&self, base: RecordBatch) -> Result<RecordBatch, ArrowError> {
        if self.table.is_empty() {
            return Ok(base);
        }
        let keep: Vec<bool> = keys_of(&base).iter().map(|key| key.is_some_and(|key| !self.contains(key))).collect();
        if keep.iter().all(|keep| *keep) {
            return Ok(base);
        }
        filter_record_batch(&base, &BooleanArray::from(keep))
    }

    /// The overlay's own live rows.
    pub(crate) fn live(&self) -> Result<Vec<RecordBatch>, ArrowError> {
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); self.chunks.len()];
        for place in self.places().filter(|place| !place.deleted) {
            rows[place.chunk as usize].push(place.row);
        }
        let chunks = self.chunks.iter().zip(rows).filter(|(_, rows)| !rows.is_empty());
        chunks
            .map(|(chunk, mut rows)| {
                if rows.len() == chunk.num_rows() {
                    return Ok(chunk.clone());
                }
                rows.sort_unstable();
                take_record_batch(chunk, &UInt32Array::from(rows))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BinaryArray, Int64Array};

    use super::*;
    use crate::chunk::{join, keys_only};

    fn rows(pairs: &[(&str, i64)]) -> RecordBatch {
        let keys = BinaryArray::from_iter_values(pairs.iter().map(|pair| pair.0));
        let values: Int64Array = pairs.iter().map(|pair| Some(pair.1)).collect();
        join(&keys, &RecordBatch::try_from_iter([("n", Arc::new(values) as _)]).unwrap()).unwrap()
    }

    #[test]
    fn last_writer_wins() {
        let mut node = NodeOverlay::default();
        node.put(rows(&[("a", 1), ("b", 2), ("c", 3)]), false);
        node.put(keys_only(&BinaryArray::from_vec(vec![b"a", b"b", b"x"])), true);
        node.put(rows(&[("b", 5)]), false);
        assert_eq!(node.live().unwrap(), [rows(&[("c", 3)]), rows(&[("b", 5)])]);
        assert_eq!(node.uncovered(rows(&[("x", 1), ("y", 2), ("a", 3)])).unwrap(), rows(&[("y", 2)]));
        assert_eq!(node.key_count(), 4);
    }

    #[test]
    fn panes_are_dropped_in_the_order_of_the_commits() {
        let mut node = NodeOverlay::default();
        let append = |time| Change::AppendPane { time: BatchTime(time), rows: rows(&[("a", time)]) };
        node.apply(Epoch(1), 0, append(1));
        node.apply(Epoch(1), 1, append(2));
        node.apply(Epoch(2), 0, Change::DropPanes { up_to: BatchTime(1) });
        node.apply(Epoch(3), 0, append(1));
        let left: Vec<_> = node.panes.iter().map(|pane| (pane.time.0, pane.epoch)).collect();
        assert_eq!(left, [(2, 1), (1, 3)]);
        assert_eq!(node.dropped, Some(BatchTime(1)));
    }
}
