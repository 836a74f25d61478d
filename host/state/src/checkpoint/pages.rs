//! Pages of keyed state: which keys a page holds, its bytes, and which pages a set of changes touches.
//!
//! A key's page is given by the low bits of its hash, so pages split cleanly when a node gets more page bits: what was in page
//! `p` goes to the pages whose number ends in the bits of `p`, its *family*. A family is read and written as one, in one
//! atomic batch; so whatever a broken-off growth has left, each key is in one page of its family. No page is ever left
//! behind to be deleted: sled takes space and memory for that out of all proportion (measured).
//!
//! A page's body is `rows u32, parts u32`, then each part behind its 64-bit length: an Arrow IPC stream of keys and values. A
//! page has one part for each schema that its rows have, almost always one.

use std::collections::BTreeMap;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, interleave_record_batch, take_record_batch};
use arrow::error::ArrowError;

use crate::chunk::{self, keys_of, rows_bytes, same_schema};
use crate::codec::{Damage, Reader, put_count, put_framed};
use crate::overlay::{NodeOverlay, Place, hash_key};

/// A node gets more pages when they hold more keys than this on average. Measured: the fixed part of an Arrow stream is then
/// under a tenth of a page of small values, and rewriting a page for one changed key stays cheap.
pub(crate) const PAGE_KEYS: u64 = 256;

/// ... or more bytes than this. sled keeps up to 16 entries in a leaf and writes what is larger than 128 KiB into a file
/// of its own, slowly; so a leaf of pages should stay below.
pub(crate) const PAGE_BYTES: u64 = 6 * 1024;

/// Gathered rows are kept below this, so that 32-bit offsets cannot overflow.
const GROUP_BYTES: usize = 256 << 20;

/// The page of a key.
pub(crate) fn page_of(key: &[u8], bits: u8) -> u32 {
    (hash_key(key) & ((1u64 << bits) - 1)) as u32
}

/// How many page bits a node with so much state needs.
pub(crate) fn page_bits(keys: u64, bytes: u64) -> u8 {
    let pages = keys.div_ceil(PAGE_KEYS).max(bytes.div_ceil(PAGE_BYTES)).min(keys).max(1);
    pages.next_power_of_two().trailing_zeros().min(30) as u8
}

/// A page's parts.
pub(crate) fn decode(body: &[u8]) -> Result<Vec<RecordBatch>, Damage> {
    let mut reader = Reader::new(body);
    let rows = reader.u32()? as usize;
    let parts: Vec<RecordBatch> =
        (0..reader.u32()?).map(|_| chunk::decode_keyed(reader.framed()?)).collect::<Result<_, _>>()?;
    reader.end()?;
    let found: usize = parts.iter().map(RecordBatch::num_rows).sum();
    if found == rows { Ok(parts) } else { Err(Damage(format!("a page of {rows} keys has {found}"))) }
}

/// How many keys a page holds, without decoding them.
pub(crate) fn row_count(body: &[u8]) -> Result<u64, Damage> {
    Reader::new(body).u32().map(u64::from)
}

/// A page's body; `None` = no rows, no page. Rows of one schema become one part.
pub(crate) fn encode(rows: Vec<RecordBatch>) -> Result<Option<Vec<u8>>, ArrowError> {
    let mut parts: Vec<Vec<RecordBatch>> = Vec::new();
    for rows in rows.into_iter().filter(|rows| rows.num_rows() > 0) {
        match parts.iter_mut().find(|part| same_schema(part[0].schema_ref(), rows.schema_ref())) {
            Some(part) => part.push(rows),
            None => parts.push(vec![rows]),
        }
    }
    if parts.is_empty() {
        return Ok(None);
    }
    let mut body = Vec::new();
    put_count(&mut body, parts.iter().flatten().map(RecordBatch::num_rows).sum());
    put_count(&mut body, parts.len());
    for part in parts {
        let rows = if part.len() == 1 { part[0].clone() } else { concat_batches(part[0].schema_ref(), &part)? };
        put_framed(&mut body, |body| chunk::encode_rows(&rows, body))?;
    }
    Ok(Some(body))
}

/// Splits rows by page.
pub(crate) fn split(rows: &RecordBatch, bits: u8) -> Result<BTreeMap<u32, RecordBatch>, ArrowError> {
    let mut by_page: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (row, key) in (0..).zip(keys_of(rows).iter().flatten()) {
        by_page.entry(page_of(key, bits)).or_default().push(row);
    }
    by_page
        .into_iter()
        .map(|(page, indices)| Ok((page, take_record_batch(rows, &UInt32Array::from(indices))?)))
        .collect()
}

/// An overlay's live rows in the order of the pages they belong to.
pub(crate) struct PageChanges {
    groups: Vec<RecordBatch>,
    /// For each page that is touched, its rows; none = deletions only.
    pages: BTreeMap<u32, Vec<Slice>>,
}

struct Slice {
    group: usize,
    start: usize,
    rows: usize,
}

impl PageChanges {
    pub(crate) fn try_new(overlay: &NodeOverlay, bits: u8) -> Result<Self, ArrowError> {
        let chunks = overlay.chunks();
        let page = |place: &Place| page_of(keys_of(&chunks[place.chunk as usize]).value(place.row as usize), bits);
        let mut changes = Self { groups: Vec::new(), pages: BTreeMap::new() };
        let mut live: Vec<Vec<(u32, u32, u32)>> = Vec::new();
        let group_of = group_by_schema(chunks);
        for place in overlay.places() {
            let page = page(&place);
            if place.deleted {
                changes.pages.entry(page).or_default();
                continue;
            }
            let group = group_of[place.chunk as usize];
            live.resize_with(live.len().max(group + 1), Vec::new);
            live[group].push((page, place.chunk, place.row));
        }
        for (group, mut rows) in live.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            rows.sort_unstable();
            changes.add_group(chunks, &group_of, group, &rows)?;
        }
        Ok(changes)
    }

    fn add_group(
        &mut self,
        chunks: &[RecordBatch],
        group_of: &[usize],
        group: usize,
        rows: &[(u32, u32, u32)],
    ) -> Result<(), ArrowError> {
        let members: Vec<usize> = (0..chunks.len()).filter(|chunk| group_of[*chunk] == group).collect();
        let mut rank = vec![0; chunks.len()];
        members.iter().enumerate().for_each(|(at, chunk)| rank[*chunk] = at);
        let batches: Vec<&RecordBatch> = members.iter().map(|chunk| &chunks[*chunk]).collect();
        let indices: Vec<_> = rows.iter().map(|(_, chunk, row)| (rank[*chunk as usize], *row as usize)).collect();
        self.groups.push(interleave_record_batch(&batches, &indices)?);
        let group = self.groups.len() - 1;
        let mut start = 0;
        for same_page in rows.chunk_by(|left, right| left.0 == right.0) {
            let slice = Slice { group, start, rows: same_page.len() };
            start += slice.rows;
            self.pages.entry(same_page[0].0).or_default().push(slice);
        }
        Ok(())
    }

    /// How many new rows there are, and how many bytes they take.
    pub(crate) fn size(&self) -> (u64, u64) {
        let rows = self.groups.iter().map(RecordBatch::num_rows).sum::<usize>();
        (rows as u64, self.groups.iter().map(rows_bytes).sum::<usize>() as u64)
    }

    /// The pages that are touched, in order.
    pub(crate) fn touched(&self) -> Vec<u32> {
        self.pages.keys().copied().collect()
    }

    /// The new rows of a page.
    pub(crate) fn rows(&self, page: u32) -> impl Iterator<Item = RecordBatch> {
        let slices = self.pages.get(&page).into_iter().flatten();
        slices.map(|slice| self.groups[slice.group].slice(slice.start, slice.rows))
    }
}

/// Numbers chunks so that those with one number have one schema and are not too large together.
fn group_by_schema(chunks: &[RecordBatch]) -> Vec<usize> {
    let mut open: Vec<(&RecordBatch, usize, usize)> = Vec::new();
    let mut groups = 0;
    let mut number = || {
        groups += 1;
        groups - 1
    };
    let mut group_of = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        let bytes = rows_bytes(chunk);
        match open.iter_mut().find(|(first, ..)| same_schema(first.schema_ref(), chunk.schema_ref())) {
            Some((_, group, taken)) => {
                if *taken + bytes > GROUP_BYTES {
                    (*group, *taken) = (number(), 0);
                }
                *taken += bytes;
                group_of.push(*group);
            }
            None => {
                open.push((chunk, number(), bytes));
                group_of.push(groups_last(&open));
            }
        }
    }
    group_of
}

fn groups_last(open: &[(&RecordBatch, usize, usize)]) -> usize {
    open.last().map_or(0, |(_, group, _)| *group)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BinaryArray, Int64Array};

    use super::*;
    use crate::chunk::{join, keys_only};

    fn rows(keys: std::ops::Range<i64>) -> RecordBatch {
        let values: Int64Array = keys.clone().map(Some).collect();
        let keys = BinaryArray::from_iter_values(keys.map(|key| key.to_string()));
        join(&keys, &RecordBatch::try_from_iter([("n", Arc::new(values) as _)]).unwrap()).unwrap()
    }

    #[test]
    fn page_survives_the_round_trip_with_mixed_schemas() {
        let other = keys_only(&BinaryArray::from_vec(vec![b"x"]));
        let body = encode(vec![rows(0..3), other.clone(), rows(3..5)]).unwrap().unwrap();
        assert_eq!(decode(&body).unwrap(), [rows(0..5), other]);
        assert_eq!(row_count(&body).unwrap(), 6);
        assert_eq!(encode(vec![rows(0..0)]).unwrap(), None);
    }

    #[test]
    fn pages_stay_small_and_never_outnumber_keys() {
        assert_eq!(page_bits(0, 0), 0);
        assert_eq!(page_bits(PAGE_KEYS, 0), 0);
        assert_eq!(page_bits(PAGE_KEYS + 1, 0), 1);
        assert_eq!(page_bits(10_000_000, 0), 16);
        assert_eq!(page_bits(4, 1 << 30), 2);
    }

    #[test]
    fn changes_reach_the_pages_of_their_keys() {
        let mut overlay = NodeOverlay::default();
        overlay.put(rows(0..300), false);
        overlay.put(keys_only(&BinaryArray::from_vec(vec![b"gone"])), true);
        overlay.put(rows(200..400), false);
        let bits = 3;
        let changes = PageChanges::try_new(&overlay, bits).unwrap();
        let mut seen = 0;
        for page in changes.touched() {
            for rows in changes.rows(page) {
                seen += rows.num_rows();
                assert!(keys_of(&rows).iter().flatten().all(|key| page_of(key, bits) == page));
            }
        }
        assert_eq!(seen, 400);
        assert!(changes.touched().contains(&page_of(b"gone", bits)));
    }

    #[test]
    fn split_page_ends_in_the_old_number() {
        for (page, rows) in split(&rows(0..1000), 6).unwrap() {
            assert!(keys_of(&rows).iter().flatten().all(|key| page_of(key, 2) == page % 4 && page_of(key, 6) == page));
        }
    }
}
