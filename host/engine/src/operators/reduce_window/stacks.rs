//! Totals of a sliding window without an inverse: two stacks, so that a slide costs what came and what left, however many
//! panes the window has.
//!
//! Time is cut into blocks as long as the window, from the job's start on. A window then covers the end of one block, its
//! *front*, and the beginning of the next one, its *back*:
//!
//! ```text
//!     |  block 3            |  block 4            |
//!     |  p  p  p  p  p  p  p|  p  p  p            |
//!            edge ^ [front  ]  [back ] ^ time
//! ```
//!
//! The back is merged pane by pane as panes come. When a block is full it becomes the front: from its newest pane to its
//! oldest, what each key comes to from that pane on is worked out, and each pane keeps what its keys come to *without it*. When a pane leaves,
//! its keys are set to that. So a row is merged twice in its life (when it comes, and when its block becomes the front), and a key's
//! total is its front merged with its back, made anew only for keys of panes that came or left.
//!
//! Blocks hang on batch times and the job's start, and panes are merged one by one: the same panes give the same totals to the
//! bit, whatever happened before. After a restart all is made again from the durable panes at the first slide.
//!
//! Memory: for each key and pane of the window one row of values and 4 bytes; for each key its total, front and back. The slide with which a block
//! begins works through all panes of the block before it, as every slide would without the stacks.
//! Source: Tangwongsan, Hirzel, Schneider, "Low-Latency Sliding-Window Aggregation in Worst-Case Constant Time" (the two-stacks
//! algorithm); van Herk, "A fast algorithm for local minimum and maximum filters" (blocks).

use std::collections::VecDeque;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use millpond_core::plan::Sort;
use millpond_core::{BatchTime, Node};

use super::{Pane, Slide, Span, value_schema};
use crate::columns::ColumnStore;
use crate::error::{Error, Result};
use crate::key::Keys;
use crate::operators::window::memory;
use crate::state::KeyedState;

/// The totals of one partition.
pub(super) struct Stacks {
    /// Front and back together, by key.
    totals: KeyedState,
    front: Side,
    back: Side,
    /// Oldest first.
    front_panes: VecDeque<FrontPane>,
    back_panes: Vec<BackPane>,
    /// The block of the back.
    block: i64,
    /// Slots whose total must be made anew, each once.
    touched: Vec<u32>,
    is_touched: Vec<bool>,
    /// Memory of the panes.
    bytes: u64,
}

/// What the keys come to on one side of the window, by slot.
struct Side {
    values: ColumnStore,
    present: Vec<bool>,
}

/// A pane of the front: what its keys come to when it has left.
struct FrontPane {
    time: BatchTime,
    /// Keys that newer panes of the front have too, and what they come to there.
    kept: Vec<u32>,
    after: RecordBatch,
    /// Keys of which this is the last one.
    last: Vec<u32>,
}

/// A pane as it came.
struct BackPane {
    time: BatchTime,
    slots: Vec<u32>,
    values: RecordBatch,
}

impl Side {
    fn new(node: &Node) -> Self {
        Self { values: ColumnStore::new(value_schema(&node.schema, node.key_columns)), present: Vec::new() }
    }

    fn grow(&mut self, slots: usize) {
        self.values.grow(slots);
        self.present.resize(slots, false);
    }

    /// Row `i` of `values` becomes what slot `slots[i]` comes to.
    fn put(&mut self, values: &RecordBatch, slots: &[u32]) {
        self.values.scatter(values, &(0u32..).zip(slots.iter().copied()).collect::<Vec<_>>());
        slots.iter().for_each(|slot| self.present[*slot as usize] = true);
    }

    fn remove(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.present[*slot as usize] = false);
    }
}

impl FrontPane {
    fn bytes(&self) -> u64 {
        memory(&self.after) + (self.kept.len() + self.last.len()) as u64 * 4
    }
}

impl BackPane {
    fn bytes(&self) -> u64 {
        memory(&self.values) + self.slots.len() as u64 * 4
    }
}

impl Stacks {
    pub(super) fn new(node: &Node, top: Option<&Sort>) -> Self {
        let mut totals = KeyedState::new(&node.name, &node.schema, node.key_columns);
        top.into_iter().for_each(|top| totals.follow(top));
        Self {
            totals,
            front: Side::new(node),
            back: Side::new(node),
            front_panes: VecDeque::new(),
            back_panes: Vec::new(),
            block: i64::MIN,
            touched: Vec::new(),
            is_touched: Vec::new(),
            bytes: 0,
        }
    }

    pub(super) fn totals(&self) -> &KeyedState {
        &self.totals
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let side = |side: &Side| side.values.memory_bytes() + side.present.capacity();
        self.totals.memory_bytes() + side(&self.front) + side(&self.back) + usize::try_from(self.bytes).unwrap_or(0)
    }

    /// Moves the window there; `panes` are those that no slide has had yet.
    pub(super) fn slide(&mut self, slide: &Slide<'_>, panes: Vec<Pane>, span: Span) -> Result<&mut KeyedState> {
        let length_ms = slide.settings.window.length_ms.cast_signed();
        let block_of = |time: BatchTime| time.0.saturating_sub(span.start.0).saturating_sub(1).div_euclid(length_ms);
        let block = block_of(span.time);
        while self.front_panes.front().is_some_and(|pane| pane.time <= span.edge) {
            let left = self.front_panes.pop_front();
            left.into_iter().for_each(|pane| self.leave(&pane));
        }
        let (newer, older): (Vec<Pane>, Vec<Pane>) = panes.into_iter().partition(|pane| block_of(pane.time) == block);
        if block != self.block {
            self.block = block;
            let older = older.into_iter().map(|pane| self.known(slide, pane)).collect::<Result<Vec<_>>>()?;
            self.turn(slide, older, span.edge)?;
        }
        for pane in newer {
            let pane = self.known(slide, pane)?;
            self.come(slide, pane)?;
        }
        self.total(slide)?;
        Ok(&mut self.totals)
    }

    /// Finds the slots of a pane's keys.
    fn known(&mut self, slide: &Slide<'_>, pane: Pane) -> Result<BackPane> {
        let node = slide.node.node;
        let keys = Keys::of(&node.name, &node.schema, node.key_columns, &pane.rows)?;
        let (slots, _) = self.totals.insert_all(&keys, &pane.hashes);
        let count = self.totals.table().slots();
        self.front.grow(count);
        self.back.grow(count);
        self.is_touched.resize(count, false);
        self.touch(&slots);
        Ok(BackPane { time: pane.time, slots, values: slide.values(&pane.rows)? })
    }

    fn touch(&mut self, slots: &[u32]) {
        for slot in slots {
            if !std::mem::replace(&mut self.is_touched[*slot as usize], true) {
                self.touched.push(*slot);
            }
        }
    }

    /// A pane of the front leaves the window.
    fn leave(&mut self, pane: &FrontPane) {
        self.bytes -= pane.bytes();
        self.front.put(&pane.after, &pane.kept);
        self.front.remove(&pane.last);
        self.touch(&pane.kept);
        self.touch(&pane.last);
    }

    /// A new block begins: the panes of the one before it that are still in the window become the front, which has left by now, as it is
    /// older than a whole window.
    fn turn(&mut self, slide: &Slide<'_>, older: Vec<BackPane>, edge: BatchTime) -> Result<()> {
        debug_assert!(self.front_panes.is_empty(), "panes two blocks back are outside of every window");
        let mut panes = std::mem::take(&mut self.back_panes);
        for pane in &panes {
            self.bytes -= pane.bytes();
            self.back.remove(&pane.slots);
            self.touch(&pane.slots);
        }
        panes.extend(older);
        for pane in panes.into_iter().rev().filter(|pane| pane.time > edge) {
            let pane = self.pushed(slide, pane)?;
            self.bytes += pane.bytes();
            self.front_panes.push_front(pane);
        }
        Ok(())
    }

    /// Merges a pane into the front, before all that is there.
    fn pushed(&mut self, slide: &Slide<'_>, pane: BackPane) -> Result<FrontPane> {
        let BackPane { time, slots, values } = pane;
        let (known, new) = rows_by(&slots, &self.front.present);
        let (kept, last) = (slots_of(&slots, &known), slots_of(&slots, &new));
        let after = self.front.values.gather(slide.node.name(), &kept)?;
        let merged = slide.merger().pairs(&rows(slide, &values, known)?, &after, &|row| self.key(kept[row]))?;
        self.front.put(&merged, &kept);
        self.front.put(&rows(slide, &values, new)?, &last);
        Ok(FrontPane { time, kept, after, last })
    }

    /// A new pane of the back.
    fn come(&mut self, slide: &Slide<'_>, pane: BackPane) -> Result<()> {
        let (known, new) = rows_by(&pane.slots, &self.back.present);
        let (known_slots, new_slots) = (slots_of(&pane.slots, &known), slots_of(&pane.slots, &new));
        let before = self.back.values.gather(slide.node.name(), &known_slots)?;
        let values = rows(slide, &pane.values, known)?;
        let merged = slide.merger().pairs(&before, &values, &|row| self.key(known_slots[row]))?;
        self.back.put(&merged, &known_slots);
        self.back.put(&rows(slide, &pane.values, new)?, &new_slots);
        self.bytes += pane.bytes();
        self.back_panes.push(pane);
        Ok(())
    }

    /// Makes the totals of touched keys anew; one that no pane of the window has goes.
    fn total(&mut self, slide: &Slide<'_>) -> Result<()> {
        let name = slide.node.name();
        let (mut both, mut only_front, mut only_back) = (Vec::new(), Vec::new(), Vec::new());
        for slot in std::mem::take(&mut self.touched) {
            self.is_touched[slot as usize] = false;
            match (self.front.present[slot as usize], self.back.present[slot as usize]) {
                (true, true) => both.push(slot),
                (true, false) => only_front.push(slot),
                (false, true) => only_back.push(slot),
                (false, false) => self.totals.remove(slot, false),
            }
        }
        let [front, back] = [&self.front, &self.back].map(|side| side.values.gather(name, &both));
        let merged = slide.merger().pairs(&front?, &back?, &|row| self.key(both[row]))?;
        let front = self.front.values.gather(name, &only_front)?;
        let back = self.back.values.gather(name, &only_back)?;
        for (values, slots) in [(merged, both), (front, only_front), (back, only_back)] {
            self.totals.put(&values, &(0u32..).zip(slots).collect::<Vec<_>>());
        }
        // Not durable: made again from the panes.
        self.totals.forget_changes();
        Ok(())
    }

    /// The key columns of a slot.
    fn key(&self, slot: u32) -> Result<Vec<arrow::array::ArrayRef>> {
        self.totals.key_columns(&[slot])
    }
}

/// Rows whose slots are present, and those whose slots are not.
fn rows_by(slots: &[u32], present: &[bool]) -> (Vec<u32>, Vec<u32>) {
    (0..slots.len() as u32).partition(|row| present[slots[*row as usize] as usize])
}

fn slots_of(slots: &[u32], rows: &[u32]) -> Vec<u32> {
    rows.iter().map(|row| slots[*row as usize]).collect()
}

fn rows(slide: &Slide<'_>, values: &RecordBatch, rows: Vec<u32>) -> Result<RecordBatch> {
    if rows.len() == values.num_rows() {
        return Ok(values.clone());
    }
    take_record_batch(values, &UInt32Array::from(rows)).map_err(Error::arrow(slide.node.name()))
}
