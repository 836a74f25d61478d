//! Rows of two inputs with equal keys: all joins.
//!
//! ```text
//! both inputs -> shuffle by key hash -> per partition, cut by hash into parts that fit into a cache:
//!   keys of the side with fewer rows -> table of slots       (one insert a row)
//!   keys of the other side           -> looked up in it      (one probe a row)
//!   right rows in the order of their slots                   (so the right rows of a key lie side by side)
//!   left rows one by one: each with the right rows of its slot; then right rows without a left one
//! ```
//!
//! So the order of what comes out does not depend on which side the table was made of. A join may multiply: how large the output
//! will be is known before any of it is made. A partition above `PARTITION_BYTES_MAX` is cut into several, and a batch above
//! `JOIN_BYTES_MAX` is refused. Cost: two random accesses a row to find partners, and one gather for each column that comes out.
//! Source: `PairDStreamFunctions.join` and its outer forms, `RDD.subtract`.

mod output;
mod sizes;
#[cfg(test)]
mod tests;

use arrow::array::RecordBatch;
use millpond_core::batch::{partitions, row_count};
use millpond_core::plan::{Join, JoinKind};
use millpond_core::{Node, PartitionBatch, PartitionId};

use self::output::Output;
pub(crate) use self::output::shapes;
use self::sizes::RowSizes;
use super::{BatchContext, NodeRef, PARTITION_BYTES_MAX, Rows};
use crate::error::{Error, Result};
use crate::group::order_by_group;
use crate::key::{Keys, null_keys};
use crate::key_table::KeyTable;
use crate::shuffle::{Keyed, concat};

/// What a join may put out for one batch, approximately. A guess: several times what a batch usually is, and a quarter of the
/// memory of a small machine.
const JOIN_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// A part of so many rows has its table and its columns in a core's second cache. A guess: some 40 bytes a row.
const PART_ROWS: usize = 32 * 1024;

/// More would cost more to tell apart than the caches give. A guess.
const PARTS_MAX: usize = 64;

/// In place of a row's number: the side is absent.
const NO_ROW: u32 = u32::MAX;

pub(crate) fn run(
    context: &BatchContext<'_>,
    node: NodeRef<'_>,
    inputs: Vec<(&Node, Rows)>,
    join: &Join,
) -> Result<Rows> {
    run_within(context, node, inputs, join, Limits::default())
}

/// How a join is cut.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// A partition that comes out has about so many bytes at most.
    partition_bytes: u64,
    /// So many come out of a batch at most.
    batch_bytes: u64,
    /// A part of a partition has about so many rows, those of both sides together.
    part_rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { partition_bytes: PARTITION_BYTES_MAX as u64, batch_bytes: JOIN_BYTES_MAX, part_rows: PART_ROWS }
    }
}

fn run_within(
    context: &BatchContext<'_>,
    node: NodeRef<'_>,
    inputs: Vec<(&Node, Rows)>,
    join: &Join,
    limits: Limits,
) -> Result<Rows> {
    let nodes: Vec<&Node> = inputs.iter().map(|(input, _)| *input).collect();
    let rows: usize = inputs.iter().map(|(_, rows)| row_count(&rows.partitions)).sum();
    let parts = rows.div_ceil(context.parallelism.saturating_mul(limits.part_rows)).clamp(1, PARTS_MAX);
    let inputs = inputs.into_iter().map(|(input, rows)| {
        let keyed = Keyed { node: node.name(), schema: &input.schema, key_columns: join.on };
        (keyed, rows.with_key(input.key_columns == join.on))
    });
    let enough = limits.partition_bytes.min(limits.batch_bytes / context.parallelism as u64) / parts as u64;
    let matched = context.run_together(inputs.collect(), parts, |_, sides| {
        let matches = Matches::new(node, &nodes, join, sides)?;
        let bytes = matches.bytes(enough);
        Ok((matches, bytes))
    })?;
    check_size(node, &nodes, &matched, limits.batch_bytes)?;
    let parts = (matched.len() / context.parallelism).max(1);
    let sum = |parts: &[(Matches, u64)]| parts.iter().fold(0u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
    let is_cut: Vec<bool> = matched.chunks(parts).map(|parts| sum(parts) > limits.partition_bytes).collect();
    let output = Output::new(node.node, &nodes, join);
    let mut pieces = context.pool.run(matched.into_iter().enumerate().collect(), |(part, (matches, _))| {
        matches.output(&output, is_cut[part / parts].then_some(limits.partition_bytes))
    })?;
    let partitions_of_parts = pieces
        .chunks_mut(parts)
        .zip(&is_cut)
        .map(|(parts, is_cut)| (parts.iter_mut().flat_map(std::mem::take).collect::<Vec<Piece>>(), *is_cut));
    let pieces = context.pool.run(partitions_of_parts.collect(), |(pieces, is_cut)| {
        if is_cut { Ok(pieces) } else { Ok(vec![together(node, pieces)?]) }
    })?;
    let pieces = pieces.into_iter().flatten();
    if is_cut.contains(&true) || node.node.key_columns != join.on {
        return Ok(Rows::new(partitions(pieces.map(|(rows, _)| rows).collect())));
    }
    let numbered = (0..).map(PartitionId).zip(pieces);
    Ok(Rows::hashed(numbered.map(|(partition, (rows, hashes))| (PartitionBatch { partition, rows }, hashes)).collect()))
}

/// Rows that come out, and the hashes of their keys.
type Piece = (RecordBatch, Vec<u64>);

fn together(node: NodeRef<'_>, mut pieces: Vec<Piece>) -> Result<Piece> {
    if pieces.len() == 1 {
        return Ok(pieces.remove(0));
    }
    let rows = concat(node.name(), &node.node.schema, pieces.iter().map(|(rows, _)| rows))?;
    Ok((rows, pieces.into_iter().flat_map(|(_, hashes)| hashes).collect()))
}

/// Refuses a batch whose output would be too large.
fn check_size(node: NodeRef<'_>, nodes: &[&Node], matched: &[(Matches, u64)], limit: u64) -> Result<()> {
    let bytes = matched.iter().fold(0u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
    if bytes <= limit {
        return Ok(());
    }
    let rows = matched.iter().fold(0u64, |sum, (matches, _)| sum.saturating_add(matches.rows()));
    let [left, right] = [&nodes[0].name, &nodes[1].name].map(Clone::clone);
    Err(Error::JoinTooLarge { node: node.name().to_owned(), left, right, rows, bytes, limit })
}

/// The rows of a partition, or of a part of one, and which belong together.
struct Matches {
    kind: JoinKind,
    left: Side,
    right: Side,
    /// Right rows by slot: those of slot `s` are `order[offsets[s]..offsets[s + 1]]`.
    offsets: Vec<u32>,
    order: Vec<u32>,
}

struct Side {
    rows: RecordBatch,
    hashes: Vec<u64>,
    /// Of each row's key. `nothing` = the other side cannot have it.
    slots: Vec<u32>,
    sizes: RowSizes,
}

impl Matches {
    fn new(node: NodeRef<'_>, nodes: &[&Node], join: &Join, sides: Vec<(RecordBatch, Vec<u64>)>) -> Result<Self> {
        let [(left, left_hashes), (right, right_hashes)] =
            <[_; 2]>::try_from(sides).unwrap_or_else(|_| unreachable!("a join has two inputs"));
        let keys = |side: usize, rows| Keys::of(node.name(), &nodes[side].schema, join.on, rows);
        let (left_keys, right_keys) = (keys(0, &left)?, keys(1, &right)?);
        let mut table = KeyTable::with_room_for(left.num_rows().min(right.num_rows()));
        let (mut left_slots, mut right_slots);
        if right.num_rows() <= left.num_rows() {
            right_slots = table.insert_all(&right_keys, &right_hashes).0;
            left_slots = table.find_all(&left_keys, &left_hashes);
        } else {
            left_slots = table.insert_all(&left_keys, &left_hashes).0;
            right_slots = table.find_all(&right_keys, &right_hashes);
        }
        let nothing = table.slots() as u32;
        if !join.null_equals_null {
            without_nulls(&left, join.on, &mut left_slots, nothing);
            without_nulls(&right, join.on, &mut right_slots, nothing);
        }
        let (offsets, order) = order_by_group(&right_slots, nothing as usize + 1);
        let side = |rows, hashes, slots| Side { sizes: RowSizes::of(&rows), rows, hashes, slots };
        let (left, right) = (side(left, left_hashes, left_slots), side(right, right_hashes, right_slots));
        Ok(Self { kind: join.kind, left, right, offsets, order })
    }

    /// The slot of keys that the other side cannot have.
    fn nothing(&self) -> u32 {
        self.offsets.len() as u32 - 2
    }

    /// The right rows of a slot.
    #[inline]
    fn partners(&self, slot: u32) -> &[u32] {
        if slot == self.nothing() {
            return &[];
        }
        &self.order[self.offsets[slot as usize] as usize..self.offsets[slot as usize + 1] as usize]
    }

    /// Gives every row that comes out: its left and its right row, or `NO_ROW`.
    #[inline]
    fn each(&self, mut give: impl FnMut(u32, u32)) {
        let with_pairs = !self.kind.is_left_only();
        // Whether a left row comes out by itself: if it has partners, and if it has none.
        let alone_with = self.kind == JoinKind::LeftSemi;
        let alone_without = self.kind == JoinKind::LeftAnti || self.kind.right_is_optional();
        for (row, slot) in (0u32..).zip(&self.left.slots) {
            let partners = self.partners(*slot);
            if with_pairs {
                partners.iter().for_each(|partner| give(row, *partner));
            }
            if if partners.is_empty() { alone_without } else { alone_with } {
                give(row, NO_ROW);
            }
        }
        if self.kind.left_is_optional() {
            self.each_lonely_right(|row| give(NO_ROW, row));
        }
    }

    fn each_lonely_right(&self, mut give: impl FnMut(u32)) {
        let nothing = self.nothing();
        let mut has_left = vec![false; nothing as usize + 1];
        self.left.slots.iter().for_each(|slot| has_left[*slot as usize] = true);
        has_left[nothing as usize] = false;
        let lonely = (0u32..).zip(&self.right.slots).filter(|(_, slot)| !has_left[**slot as usize]);
        lonely.for_each(|(row, _)| give(row));
    }

    /// How many rows come out.
    fn rows(&self) -> u64 {
        let partners = self.left.slots.iter().map(|slot| self.partners(*slot).len() as u64);
        let rows = match self.kind {
            JoinKind::LeftSemi => partners.map(|partners| partners.min(1)).sum(),
            JoinKind::LeftAnti => partners.filter(|partners| *partners == 0).count() as u64,
            kind if kind.right_is_optional() => partners.map(|partners| partners.max(1)).sum::<u64>(),
            _ => partners.sum(),
        };
        let mut lonely = 0;
        if self.kind.left_is_optional() {
            self.each_lonely_right(|_| lonely += 1);
        }
        rows + lonely
    }

    /// How many bytes come out, approximately; a bound will do if it is at most `enough`. Takes no longer than the rows that go
    /// in are many, however many come out.
    fn bytes(&self, enough: u64) -> u64 {
        let rows = self.rows();
        let bound = rows.saturating_mul(self.left.sizes.most() + self.right.sizes.most());
        if bound <= enough {
            return bound;
        }
        if self.kind.is_left_only() {
            return self.left.sizes.sum();
        }
        let mut bytes = 0u64;
        let sums = self.right.sizes.running(&self.order);
        for (row, slot) in self.left.slots.iter().enumerate() {
            let partners = self.partners(*slot).len() as u64;
            bytes = bytes.saturating_add(self.left.sizes.of_row(row).saturating_mul(partners.max(1)));
            if partners > 0 {
                let (from, to) = (self.offsets[*slot as usize], self.offsets[*slot as usize + 1]);
                bytes = bytes.saturating_add(sums[to as usize] - sums[from as usize]);
            }
        }
        if self.kind.left_is_optional() {
            self.each_lonely_right(|row| bytes = bytes.saturating_add(self.right.sizes.of_row(row as usize)));
        }
        bytes
    }

    /// The rows that come out and the hashes of their keys; cut where a piece has more than `piece_bytes`.
    fn output(self, output: &Output<'_>, piece_bytes: Option<u64>) -> Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        let (mut left, mut right) = (Vec::new(), Vec::new());
        let Some(piece_bytes) = piece_bytes else {
            let rows = usize::try_from(self.rows()).unwrap_or(0);
            left.reserve(rows);
            right.reserve(rows);
            self.each(|left_row, right_row| {
                left.push(left_row);
                right.push(right_row);
            });
            return Ok(vec![output.piece(&self, left, right)?]);
        };
        let (mut bytes, mut failed) = (0, Ok(()));
        self.each(|left_row, right_row| {
            if failed.is_err() {
                return;
            }
            left.push(left_row);
            right.push(right_row);
            let size = |side: &Side, row: u32| if row == NO_ROW { 0 } else { side.sizes.of_row(row as usize) };
            bytes += size(&self.left, left_row) + size(&self.right, right_row);
            if bytes >= piece_bytes {
                bytes = 0;
                let piece = output.piece(&self, std::mem::take(&mut left), std::mem::take(&mut right));
                failed = piece.map(|piece| pieces.push(piece));
            }
        });
        failed?;
        if !left.is_empty() || pieces.is_empty() {
            pieces.push(output.piece(&self, left, right)?);
        }
        Ok(pieces)
    }
}

/// Rows with a null in their key have no partner.
fn without_nulls(rows: &RecordBatch, key_columns: usize, slots: &mut [u32], nothing: u32) {
    if let Some(nulls) = null_keys(rows, key_columns) {
        slots.iter_mut().zip(&nulls).filter(|(_, valid)| !valid).for_each(|(slot, _)| *slot = nothing);
    }
}
