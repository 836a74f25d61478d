//! State on its way from where it is kept to where it is wanted: one visitor, two places to visit.
//!
//! A checkpoint and a snapshot both hand everything they hold to a [`Visitor`]; recovery ([`Merge`]) lays the log over it
//! on the way, the snapshot writer and the checkpoint's importer are the other visitors.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use millpond_core::store::NodeState;
use millpond_core::{BatchTime, Epoch, Recovered, SinkToken};

use crate::chunk::{self, Coalescer};
use crate::error::{Error, Result};
use crate::overlay::{Overlay, Pane};

/// Takes the parts of a state, entries first, then node after node; a node's panes come in the order of time and rank.
pub(crate) trait Visitor {
    fn meta(&mut self, name: &str, value: &[u8]) -> Result<()>;
    fn source(&mut self, source: &str, key: &[u8], value: &[u8]) -> Result<()>;
    fn sink(&mut self, sink: &str, token: &SinkToken) -> Result<()>;
    /// Keys (first column) and values; no key comes twice.
    fn keyed(&mut self, node: &str, rows: RecordBatch) -> Result<()>;
    fn pane(&mut self, node: &str, pane: Pane) -> Result<()>;
}

/// Puts a state underneath an overlay: what recovery returns.
pub(crate) struct Merge<'a> {
    overlay: &'a Overlay,
    out: Recovered,
    open: Option<(String, Coalescer)>,
}

impl<'a> Merge<'a> {
    pub(crate) fn new(overlay: &'a Overlay) -> Self {
        Self { overlay, out: Recovered::default(), open: None }
    }

    /// The whole: what was visited, and the overlay over it. `base` is the newest commit of what was visited.
    pub(crate) fn finish(mut self, base: Option<(Epoch, BatchTime)>) -> Result<Recovered> {
        self.close_node()?;
        let overlay = self.overlay;
        self.out.last = overlay.last.or(base);
        self.out.meta.extend(overlay.meta.clone());
        for (source, entries) in &overlay.sources {
            let kept = entries.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
            self.out.sources.entry(source.clone()).or_default().extend(kept);
        }
        self.out.sinks.extend(overlay.sinks.clone());
        for (name, node) in &overlay.nodes {
            let state = self.out.nodes.entry(name.clone()).or_default();
            let live = node.live().map_err(encode(name))?;
            let mut coalescer = Coalescer::default();
            for rows in live {
                state.keyed.extend(coalescer.push(rows).map_err(encode(name))?.map(chunk::split));
            }
            state.keyed.extend(coalescer.finish().map_err(encode(name))?.into_iter().map(chunk::split));
            for pane in &node.panes {
                state.panes.entry(pane.time).or_default().push(pane.rows.clone());
            }
        }
        self.out.sources.retain(|_, entries| !entries.is_empty());
        self.out.nodes.retain(|_, node| !node.keyed.is_empty() || !node.panes.is_empty());
        Ok(self.out)
    }

    fn close_node(&mut self) -> Result<()> {
        if let Some((node, mut coalescer)) = self.open.take() {
            let rest = coalescer.finish().map_err(encode(&node))?;
            self.state(&node).keyed.extend(rest.into_iter().map(chunk::split));
        }
        Ok(())
    }

    fn state(&mut self, node: &str) -> &mut NodeState {
        if !self.out.nodes.contains_key(node) {
            self.out.nodes.insert(node.to_owned(), NodeState::default());
        }
        self.out.nodes.get_mut(node).expect("the node was put there above")
    }
}

impl Visitor for Merge<'_> {
    fn meta(&mut self, name: &str, value: &[u8]) -> Result<()> {
        self.out.meta.insert(name.to_owned(), value.to_vec());
        Ok(())
    }

    fn source(&mut self, source: &str, key: &[u8], value: &[u8]) -> Result<()> {
        let covered = self.overlay.sources.get(source).is_some_and(|entries| entries.contains_key(key));
        if !covered {
            self.out.sources.entry(source.to_owned()).or_default().push((key.to_vec(), value.to_vec()));
        }
        Ok(())
    }

    fn sink(&mut self, sink: &str, token: &SinkToken) -> Result<()> {
        self.out.sinks.insert(sink.to_owned(), token.clone());
        Ok(())
    }

    fn keyed(&mut self, node: &str, rows: RecordBatch) -> Result<()> {
        let rows = match self.overlay.nodes.get(node) {
            Some(overlay) => overlay.uncovered(rows).map_err(encode(node))?,
            None => rows,
        };
        if self.open.as_ref().is_none_or(|open| open.0 != node) {
            self.close_node()?;
        }
        let (_, coalescer) = self.open.get_or_insert_with(|| (node.to_owned(), Coalescer::default()));
        let full = coalescer.push(rows).map_err(encode(node))?;
        if let Some(full) = full {
            self.state(node).keyed.push(chunk::split(full));
        }
        Ok(())
    }

    fn pane(&mut self, node: &str, pane: Pane) -> Result<()> {
        let dropped = self.overlay.nodes.get(node).and_then(|overlay| overlay.dropped);
        if dropped.is_none_or(|dropped| pane.time > dropped) {
            self.state(node).panes.entry(pane.time).or_default().push(pane.rows);
        }
        Ok(())
    }
}

/// Adds the node to an error of Arrow's.
pub(crate) fn encode(node: &str) -> impl FnOnce(ArrowError) -> Error {
    let node = node.to_owned();
    move |source| Error::Encode { node, source }
}
