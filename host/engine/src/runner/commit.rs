//! The one atomic commit: state changes, source progress and sink tokens, then the sinks' own commits.

use std::collections::BTreeMap;

use millpond_core::{BatchTime, CommitRecord, SinkToken};
use tracing::warn;

use super::JobRunner;
use super::recover::LAST_SLIDE;
use crate::error::{Error, Result};

/// What was done since the last commit and is not yet durable.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) meta: BTreeMap<String, Vec<u8>>,
    /// Progress by source; the newest entry of each key counts.
    pub(super) progress: BTreeMap<String, BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
    /// Prepared output by sink, oldest first.
    pub(super) tokens: BTreeMap<String, Vec<SinkToken>>,
    /// Batches since the last commit.
    pub(super) batches: u64,
}

impl JobRunner {
    /// Commits everything up to `batch_time`; gives the bytes written.
    pub(super) fn commit(&mut self, batch_time: BatchTime) -> Result<u64> {
        let mut state = Vec::new();
        for (node, operator) in self.graph.plan().nodes.iter().zip(&mut self.operators) {
            let Some(operator) = operator.stateful_mut() else { continue };
            state.extend(operator.take_deltas()?);
            if let Some(time) = operator.last_slide() {
                self.pending.meta.insert(format!("{LAST_SLIDE}{}", node.name), time.0.to_string().into_bytes());
            }
        }
        let epoch = self.epoch.next();
        let record = CommitRecord {
            epoch,
            batch_time,
            meta: std::mem::take(&mut self.pending.meta).into_iter().collect(),
            sources: std::mem::take(&mut self.pending.progress)
                .into_iter()
                .map(|(name, entries)| (name, entries.into_iter().collect()))
                .collect(),
            state,
            sinks: self.pending.tokens.iter().map(|(name, tokens)| (name.clone(), pack(tokens))).collect(),
        };
        let stats = self.store.commit(record).map_err(Error::port(format!("commit {epoch}")))?;
        self.epoch = epoch;
        self.pending.batches = 0;
        // From here on the output belongs to a committed batch: it may be finished now or by the next start, never dropped.
        let tokens = std::mem::take(&mut self.pending.tokens);
        for (name, tokens) in tokens {
            let Some(part) = self.sinks.get_mut(&name) else { continue };
            tokens
                .iter()
                .try_for_each(|token| part.sink.commit(token))
                .map_err(Error::port(format!("sink `{name}`, after commit {epoch}")))?;
        }
        Ok(stats.bytes)
    }

    /// Drops output that was prepared for batches that will not be committed.
    pub(super) fn abort_prepared(&mut self) {
        for (name, tokens) in std::mem::take(&mut self.pending.tokens) {
            let Some(part) = self.sinks.get_mut(&name) else { continue };
            for token in tokens {
                if let Err(error) = part.sink.abort(&token) {
                    warn!(
                        job = self.options.name,
                        sink = name,
                        "prepared output could not be dropped: {}",
                        error.full_message()
                    );
                }
            }
        }
    }
}

/// A store keeps one token a sink; a commit over several batches has one a batch.
fn pack(tokens: &[SinkToken]) -> SinkToken {
    match tokens {
        [only] => only.clone(),
        many => SinkToken {
            batch_time: many.last().map_or(BatchTime(i64::MIN), |token| token.batch_time),
            data: [PACKED, &serde_json::to_vec(many).expect("tokens are plain data")].concat(),
        },
    }
}

/// What a packed token begins with; no sink's own token does.
const PACKED: &[u8] = b"\0millpond-tokens\0";

pub(super) fn unpack(token: Option<&SinkToken>) -> Vec<SinkToken> {
    let Some(token) = token else { return Vec::new() };
    let packed = token.data.strip_prefix(PACKED).and_then(|json| serde_json::from_slice(json).ok());
    packed.unwrap_or_else(|| vec![token.clone()])
}
