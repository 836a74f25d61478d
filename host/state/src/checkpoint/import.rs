//! A store from a snapshot: the snapshot's state in pieces, each applied as if it were a commit.
//!
//! A piece is what a part of the pages holds, and the snapshot is read once for each: reading it is quick, and so every page
//! is written once only, while little is held in memory.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use millpond_core::{BatchTime, Epoch, SinkToken};

use super::pages::page_of;
use super::{Checkpoint, Progress, Stop};
use crate::chunk::{keys_of, rows_bytes};
use crate::error::Result;
use crate::overlay::{Overlay, Pane};
use crate::snapshot::Snapshot;
use crate::state::{Visitor, encode};

/// So much is applied at a time.
const PIECE_BYTES: u64 = 64 << 20;

/// Fills an empty store with what `snapshot` holds.
pub(crate) fn import(store: &mut Checkpoint, snapshot: &Snapshot, stop: Stop<'_>) -> Result<()> {
    let sizes = snapshot.sizes();
    sizes.iter().for_each(|(node, (keys, bytes))| store.reserve(node, *keys, *bytes));
    let bytes = sizes.values().map(|(_, bytes)| bytes).sum::<u64>();
    let passes = u32::try_from(bytes.div_ceil(PIECE_BYTES).max(1)).unwrap_or(u32::MAX);
    for pass in 0..passes {
        let mut importer = Importer { store, stop, pass, passes, piece: Overlay::default(), bytes: 0 };
        snapshot.visit(&mut importer)?;
        importer.apply()?;
    }
    let (Epoch(epoch), BatchTime(batch_time)) = snapshot.last().unwrap_or((Epoch(0), BatchTime(0)));
    store.complete(Progress { epoch, batch_time, folding_to: epoch })
}

struct Importer<'a> {
    store: &'a mut Checkpoint,
    stop: Stop<'a>,
    /// Takes the pages whose number leaves this rest by `passes`; all else in pass 0.
    pass: u32,
    passes: u32,
    piece: Overlay,
    bytes: u64,
}

impl Importer<'_> {
    fn apply(&mut self) -> Result<()> {
        self.bytes = 0;
        self.store.apply(&std::mem::take(&mut self.piece), self.stop)
    }

    fn took(&mut self, bytes: usize) -> Result<()> {
        self.bytes += bytes as u64;
        // Only panes and entries come to this: of keys there is about one piece in a pass.
        if self.bytes >= 2 * PIECE_BYTES { self.apply() } else { Ok(()) }
    }

    fn of_this_pass(&self, node: &str, rows: RecordBatch) -> Result<RecordBatch> {
        if self.passes == 1 {
            return Ok(rows);
        }
        let bits = self.store.bits(node);
        let mine = |key: Option<&[u8]>| key.is_some_and(|key| page_of(key, bits) % self.passes == self.pass);
        let keep: BooleanArray = keys_of(&rows).iter().map(|key| Some(mine(key))).collect();
        filter_record_batch(&rows, &keep).map_err(encode(node))
    }
}

impl Visitor for Importer<'_> {
    fn meta(&mut self, name: &str, value: &[u8]) -> Result<()> {
        if self.pass > 0 {
            return Ok(());
        }
        self.piece.meta.insert(name.to_owned(), value.to_vec());
        self.took(name.len() + value.len())
    }

    fn source(&mut self, source: &str, key: &[u8], value: &[u8]) -> Result<()> {
        if self.pass > 0 {
            return Ok(());
        }
        let entries = self.piece.sources.entry(source.to_owned()).or_default();
        entries.insert(key.to_vec(), Some(value.to_vec()));
        self.took(key.len() + value.len())
    }

    fn sink(&mut self, sink: &str, token: &SinkToken) -> Result<()> {
        if self.pass > 0 {
            return Ok(());
        }
        self.piece.sinks.insert(sink.to_owned(), token.clone());
        self.took(sink.len() + token.data.len())
    }

    fn keyed(&mut self, node: &str, rows: RecordBatch) -> Result<()> {
        let rows = self.of_this_pass(node, rows)?;
        let bytes = rows_bytes(&rows);
        self.piece.node(node.to_owned()).put(rows, false);
        self.took(bytes)
    }

    fn pane(&mut self, node: &str, pane: Pane) -> Result<()> {
        if self.pass > 0 {
            return Ok(());
        }
        let bytes = rows_bytes(&pane.rows);
        self.piece.node(node.to_owned()).panes.push(pane);
        self.took(bytes)
    }
}
