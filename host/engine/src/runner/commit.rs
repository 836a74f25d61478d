//! Makes the one atomic commit of a batch out of what operators, receivers and windows have to keep.

use std::collections::BTreeMap;

use millpond_core::receiver::ProgressEntry;
use millpond_core::{BatchTime, CommitRecord, StateDelta};

use super::recover::{BEGUN, LAST_SLIDE};
use super::{JobRunner, Operation, Source};
use crate::error::Result;

/// What was done since the last commit and is not yet in one.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) meta: BTreeMap<String, Vec<u8>>,
    /// Progress by source; the newest entry of each key counts.
    pub(super) progress: BTreeMap<String, BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
    /// Batches since the last commit.
    pub(super) batches: u64,
}

impl Pending {
    /// What was read, source by source.
    pub(super) fn add(&mut self, sources: &[Source], progress: Vec<Vec<ProgressEntry>>) {
        for (source, entries) in sources.iter().zip(progress).filter(|(_, entries)| !entries.is_empty()) {
            self.progress.entry(source.name.clone()).or_default().extend(entries);
        }
    }
}

impl JobRunner {
    /// The commit of everything up to `batch_time`. Sinks add their tokens later.
    pub(super) fn record(&mut self, batch_time: BatchTime) -> Result<CommitRecord> {
        let state = self.take_deltas()?;
        for (node, operator) in self.shared.graph.plan().nodes.iter().zip(&mut self.operators) {
            if operator.stateful_mut().is_some_and(|operator| operator.take_begun()) {
                self.pending.meta.insert(format!("{BEGUN}{}", node.name), Vec::new());
            }
            if let Some(time) = operator.stateful().and_then(|operator| operator.last_slide()) {
                self.pending.meta.insert(format!("{LAST_SLIDE}{}", node.name), time.0.to_string().into_bytes());
            }
        }
        self.pending.meta.extend(self.accumulators.take_changes());
        let pending = std::mem::take(&mut self.pending);
        self.epoch = self.epoch.next();
        Ok(CommitRecord {
            epoch: self.epoch,
            batch_time,
            meta: pending.meta.into_iter().collect(),
            sources: pending
                .progress
                .into_iter()
                .map(|(name, entries)| (name, entries.into_iter().collect()))
                .collect(),
            state,
            sinks: Vec::new(),
        })
    }

    fn take_deltas(&mut self) -> Result<Vec<StateDelta>> {
        let deltas = self.operators.iter_mut().filter_map(Operation::stateful_mut);
        let deltas = deltas.map(|operator| operator.take_deltas()).collect::<Result<Vec<_>>>()?;
        Ok(deltas.into_iter().flatten().collect())
    }
}
