//! A state store in memory: what durable stores are compared with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, BinaryArray, RecordBatch};
use arrow::compute::concat_batches;
use millpond_core::store::{CommitStats, KeyedChunk, NodeState};
use millpond_core::{BatchTime, BoxError, CommitRecord, Epoch, Recovered, SinkToken, StateChange, StateStore};

use crate::function::FakeError;

/// Keeps commits as long as one of its clones lives, as a disk would.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    inner: Arc<Mutex<Stored>>,
}

#[derive(Debug, Default)]
struct Stored {
    last: Option<(Epoch, BatchTime)>,
    meta: BTreeMap<String, Vec<u8>>,
    sources: BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>,
    nodes: BTreeMap<String, StoredNode>,
    sinks: BTreeMap<String, SinkToken>,
    fail_at: Option<Epoch>,
}

#[derive(Debug, Default)]
struct StoredNode {
    /// One row a key.
    keyed: BTreeMap<Vec<u8>, RecordBatch>,
    panes: BTreeMap<BatchTime, Vec<RecordBatch>>,
}

impl MemoryStore {
    /// A store without commits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes this commit fail, leaving nothing of it behind.
    pub fn fail_at(&self, epoch: Epoch) {
        self.lock().fail_at = Some(epoch);
    }

    /// How many commits there are.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.lock().last.map_or(Epoch(0), |(epoch, _)| epoch)
    }

    /// How many keys and panes a node has.
    #[must_use]
    pub fn sizes(&self, node: &str) -> (usize, usize) {
        self.lock().nodes.get(node).map_or((0, 0), |node| (node.keyed.len(), node.panes.len()))
    }

    fn lock(&self) -> MutexGuard<'_, Stored> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for MemoryStore {
    fn recover(&mut self) -> Result<Recovered, BoxError> {
        let stored = self.lock();
        Ok(Recovered {
            last: stored.last,
            meta: stored.meta.clone(),
            sources: stored
                .sources
                .iter()
                .map(|(name, entries)| (name.clone(), entries.clone().into_iter().collect()))
                .collect(),
            nodes: stored.nodes.iter().map(|(name, node)| (name.clone(), node.state())).collect(),
            sinks: stored.sinks.clone(),
            notes: Vec::new(),
        })
    }

    fn commit(&mut self, record: CommitRecord) -> Result<CommitStats, BoxError> {
        let mut stored = self.lock();
        if stored.fail_at == Some(record.epoch) {
            return Err(FakeError(format!("the store was told to fail at commit {}", record.epoch)).into());
        }
        assert_eq!(record.epoch, stored.last.map_or(Epoch(0), |(epoch, _)| epoch).next(), "epochs count up by one");
        stored.last = Some((record.epoch, record.batch_time));
        stored.meta.extend(record.meta);
        stored.sinks.extend(record.sinks);
        for (name, entries) in record.sources {
            let source = stored.sources.entry(name).or_default();
            for (key, value) in entries {
                match value {
                    Some(value) => source.insert(key, value),
                    None => source.remove(&key),
                };
            }
        }
        for delta in record.state {
            stored.nodes.entry(delta.node).or_default().apply(delta.change);
        }
        Ok(CommitStats::default())
    }

    fn close(&mut self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl StoredNode {
    fn apply(&mut self, change: StateChange) {
        match change {
            StateChange::Keyed { deletes, keys, values } => {
                deletes.iter().flatten().for_each(|key| drop(self.keyed.remove(key)));
                for row in 0..keys.len() {
                    self.keyed.insert(keys.value(row).to_vec(), values.slice(row, 1));
                }
            }
            StateChange::AppendPane { time, rows } => self.panes.entry(time).or_default().push(rows),
            StateChange::DropPanes { up_to } => self.panes.retain(|time, _| *time > up_to),
        }
    }

    fn state(&self) -> NodeState {
        let chunk = self.keyed.values().next().map(|first| KeyedChunk {
            keys: self.keyed.keys().map(Some).collect::<BinaryArray>(),
            values: concat_batches(&first.schema(), self.keyed.values()).expect("a node's values have one schema"),
        });
        NodeState { keyed: chunk.into_iter().collect(), panes: self.panes.clone() }
    }
}
