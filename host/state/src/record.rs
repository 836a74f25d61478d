//! One commit as bytes.
//!
//! ```text
//! header, 40 bytes                    payload, `length` bytes
//! +------+---------+-------+--------+-------+------------+-------------+------------+
//! | MPLG | version | flags | length | epoch | batch time | payload crc | header crc | meta, sources, sinks, deltas
//! |  4   |   u16   |  u16  |  u64   |  u64  |    i64     |     u32     |    u32     |
//! +------+---------+-------+--------+-------+------------+-------------+------------+
//! ```
//! Format version 1; little-endian; CRC-32 (IEEE) over the payload, and over the header's first 36 bytes. The payload is
//! four lists, each behind its count: meta entries, sources, sink tokens, state deltas. A delta's rows are Arrow IPC
//! streams behind a 64-bit length, an empty one standing for no rows; so a commit without changes is under 100 bytes.
//! Recovery rule: see [`crate::log`].

use arrow::array::{Array, BinaryArray};
use arrow::error::ArrowError;
use millpond_core::{BatchTime, CommitRecord, Epoch, SinkToken, StateChange, StateDelta};

use crate::chunk;
use crate::codec::{Damage, Reader, put_bytes, put_count, put_framed, put_i64, put_u64};
use crate::error::{Error, Result};

/// Opens every record.
pub(crate) const MAGIC: [u8; 4] = *b"MPLG";
/// Bytes of a header.
pub(crate) const HEADER_BYTES: usize = 40;
/// The version that this code writes and reads.
pub(crate) const VERSION: u16 = 1;

/// What a record's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) version: u16,
    pub(crate) length: u64,
    pub(crate) epoch: u64,
    pub(crate) batch_time: i64,
    pub(crate) payload_crc: u32,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&self.version.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.length.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.batch_time.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..36]);
        bytes[36..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header at the start of `bytes`; an unknown version is no damage, the caller looks at it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let mut reader = Reader::new(bytes);
        let head = reader.take(HEADER_BYTES).map_err(|_| Damage::new("the header is cut off"))?;
        if head[..4] != MAGIC {
            return Err(Damage::new("no record begins here"));
        }
        let mut reader = Reader::new(&head[4..]);
        let version_and_flags = reader.u32()?;
        let header = Self {
            version: (version_and_flags & 0xffff) as u16,
            length: reader.u64()?,
            epoch: reader.u64()?,
            batch_time: reader.i64()?,
            payload_crc: reader.u32()?,
        };
        if reader.u32()? != crc32fast::hash(&head[..36]) {
            return Err(Damage::new("the header's checksum does not match"));
        }
        Ok(header)
    }

    /// The payload behind this header, where `bytes` begins with the header; checks length and checksum.
    pub(crate) fn payload<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], Damage> {
        let rest = &bytes[HEADER_BYTES..];
        let payload = usize::try_from(self.length).ok().and_then(|length| rest.get(..length));
        let payload = payload.ok_or_else(|| Damage(format!("commit {} is cut off", self.epoch)))?;
        if crc32fast::hash(payload) != self.payload_crc {
            return Err(Damage(format!("the checksum of commit {} does not match", self.epoch)));
        }
        Ok(payload)
    }
}

/// Replaces the contents of `out` by the whole record.
pub(crate) fn encode(record: &CommitRecord, out: &mut Vec<u8>) -> Result<()> {
    out.clear();
    out.resize(HEADER_BYTES, 0);
    put_count(out, record.meta.len());
    for (name, value) in &record.meta {
        put_bytes(out, name.as_bytes());
        put_bytes(out, value);
    }
    put_count(out, record.sources.len());
    for (source, entries) in &record.sources {
        put_bytes(out, source.as_bytes());
        put_count(out, entries.len());
        for (key, value) in entries {
            put_bytes(out, key);
            out.push(u8::from(value.is_some()));
            put_bytes(out, value.as_deref().unwrap_or_default());
        }
    }
    put_count(out, record.sinks.len());
    for (sink, token) in &record.sinks {
        put_bytes(out, sink.as_bytes());
        put_i64(out, token.batch_time.0);
        put_bytes(out, &token.data);
    }
    put_count(out, record.state.len());
    for delta in &record.state {
        put_delta(delta, out)?;
    }
    let payload = &out[HEADER_BYTES..];
    let header = Header {
        version: VERSION,
        length: payload.len() as u64,
        epoch: record.epoch.0,
        batch_time: record.batch_time.0,
        payload_crc: crc32fast::hash(payload),
    };
    out[..HEADER_BYTES].copy_from_slice(&header.encode());
    Ok(())
}

const KEYED: u8 = 0;
const APPEND_PANE: u8 = 1;
const DROP_PANES: u8 = 2;

fn put_delta(delta: &StateDelta, out: &mut Vec<u8>) -> Result<()> {
    put_bytes(out, delta.node.as_bytes());
    let encoded = match &delta.change {
        StateChange::Keyed { deletes, keys, values } => {
            out.push(KEYED);
            if keys.len() != values.num_rows() || keys.null_count() + deletes.null_count() > 0 {
                return Err(Error::misuse(format!(
                    "node `{}` commits {} keys ({} null) with {} rows of values, and {} null keys to delete",
                    delta.node,
                    keys.len(),
                    keys.null_count(),
                    values.num_rows(),
                    deletes.null_count(),
                )));
            }
            put_keyed(deletes, keys, values, out)
        }
        StateChange::AppendPane { time, rows } => {
            out.push(APPEND_PANE);
            put_i64(out, time.0);
            put_framed(out, |out| chunk::encode_rows(rows, out))
        }
        StateChange::DropPanes { up_to } => {
            out.push(DROP_PANES);
            put_i64(out, up_to.0);
            Ok(())
        }
    };
    encoded.map_err(|source| Error::Encode { node: delta.node.clone(), source })
}

fn put_keyed(
    deletes: &BinaryArray,
    keys: &BinaryArray,
    values: &arrow::array::RecordBatch,
    out: &mut Vec<u8>,
) -> Result<(), ArrowError> {
    if deletes.is_empty() {
        put_u64(out, 0);
    } else {
        put_framed(out, |out| chunk::encode_rows(&chunk::keys_only(deletes), out))?;
    }
    if keys.is_empty() {
        put_u64(out, 0);
        return Ok(());
    }
    put_framed(out, |out| chunk::encode_rows(&chunk::join(keys, values)?, out))
}

/// A commit that was read; keyed rows stay joined (see [`crate::chunk`]).
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) epoch: Epoch,
    pub(crate) batch_time: BatchTime,
    pub(crate) meta: Vec<(String, Vec<u8>)>,
    pub(crate) sources: Vec<(String, Vec<millpond_core::receiver::ProgressEntry>)>,
    pub(crate) sinks: Vec<(String, SinkToken)>,
    pub(crate) state: Vec<(String, Change)>,
}

/// A change that was read.
#[derive(Debug)]
pub(crate) enum Change {
    /// Deletions (a key column), then upserts (keys and values); no batch = none.
    Keyed {
        deletes: Option<arrow::array::RecordBatch>,
        upserts: Option<arrow::array::RecordBatch>,
    },
    AppendPane {
        time: BatchTime,
        rows: arrow::array::RecordBatch,
    },
    DropPanes {
        up_to: BatchTime,
    },
}

/// Reads a payload whose checksum matches.
pub(crate) fn decode(header: &Header, payload: &[u8]) -> Result<Commit, Damage> {
    let mut reader = Reader::new(payload);
    let meta = list(&mut reader, |reader| Ok((reader.text()?, reader.bytes()?.to_vec())))?;
    let sources = list(&mut reader, |reader| Ok((reader.text()?, list(reader, progress_entry)?)))?;
    let sinks = list(&mut reader, |reader| {
        let name = reader.text()?;
        Ok((name, SinkToken { batch_time: BatchTime(reader.i64()?), data: reader.bytes()?.to_vec() }))
    })?;
    let state = list(&mut reader, |reader| Ok((reader.text()?, change(reader)?)))?;
    reader.end()?;
    Ok(Commit { epoch: Epoch(header.epoch), batch_time: BatchTime(header.batch_time), meta, sources, sinks, state })
}

fn list<'a, T>(
    reader: &mut Reader<'a>,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T, Damage>,
) -> Result<Vec<T>, Damage> {
    (0..reader.u32()?).map(|_| read(reader)).collect()
}

fn progress_entry(reader: &mut Reader<'_>) -> Result<millpond_core::receiver::ProgressEntry, Damage> {
    let key = reader.bytes()?.to_vec();
    let present = reader.u8()? != 0;
    let value = reader.bytes()?.to_vec();
    Ok((key, present.then_some(value)))
}

fn change(reader: &mut Reader<'_>) -> Result<Change, Damage> {
    let keyed = |bytes: &[u8]| if bytes.is_empty() { Ok(None) } else { chunk::decode_keyed(bytes).map(Some) };
    match reader.u8()? {
        KEYED => Ok(Change::Keyed { deletes: keyed(reader.framed()?)?, upserts: keyed(reader.framed()?)? }),
        APPEND_PANE => {
            Ok(Change::AppendPane { time: BatchTime(reader.i64()?), rows: chunk::decode_rows(reader.framed()?)? })
        }
        DROP_PANES => Ok(Change::DropPanes { up_to: BatchTime(reader.i64()?) }),
        other => Err(Damage(format!("a state change of unknown kind {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch};
    use millpond_core::Classify;

    use super::*;

    fn record() -> CommitRecord {
        let values = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1, 2])) as _)]).unwrap();
        let node = |change| StateDelta { node: "count".into(), change };
        CommitRecord {
            epoch: Epoch(7),
            batch_time: BatchTime(-5),
            meta: vec![("start-ms".into(), b"1".to_vec())],
            sources: vec![("lines".into(), vec![(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), None)])],
            state: vec![
                node(StateChange::Keyed {
                    deletes: BinaryArray::from_vec(vec![b"gone"]),
                    keys: BinaryArray::from_vec(vec![b"x", b""]),
                    values: values.clone(),
                }),
                node(StateChange::AppendPane { time: BatchTime(3), rows: values }),
                node(StateChange::DropPanes { up_to: BatchTime(2) }),
            ],
            sinks: vec![("out".into(), SinkToken { batch_time: BatchTime(-5), data: b"t".to_vec() })],
        }
    }

    #[test]
    fn commit_survives_the_round_trip() {
        let (record, mut bytes) = (record(), Vec::new());
        encode(&record, &mut bytes).unwrap();
        let header = Header::decode(&bytes).unwrap();
        let commit = decode(&header, header.payload(&bytes).unwrap()).unwrap();
        assert_eq!((commit.epoch, commit.batch_time), (record.epoch, record.batch_time));
        assert_eq!((commit.meta, commit.sources, commit.sinks), (record.meta, record.sources, record.sinks));
        let Change::Keyed { deletes: Some(deletes), upserts: Some(upserts) } = &commit.state[0].1 else {
            panic!("{:?}", commit.state[0])
        };
        assert_eq!(chunk::keys_of(deletes).value(0), b"gone");
        assert_eq!((upserts.num_rows(), chunk::keys_of(upserts).value(1)), (2, &b""[..]));
        assert!(matches!(commit.state[1].1, Change::AppendPane { time: BatchTime(3), .. }));
        assert!(matches!(commit.state[2].1, Change::DropPanes { up_to: BatchTime(2) }));
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let mut bytes = Vec::new();
        encode(&record(), &mut bytes).unwrap();
        for at in 0..bytes.len() {
            bytes[at] ^= 0x10;
            let read = Header::decode(&bytes).and_then(|header| header.payload(&bytes).map(<[u8]>::len));
            assert!(read.is_err(), "byte {at} of {} went unnoticed", bytes.len());
            bytes[at] ^= 0x10;
        }
    }

    #[test]
    fn empty_commit_is_small() {
        let empty = CommitRecord { meta: vec![], sources: vec![], state: vec![], sinks: vec![], ..record() };
        let mut bytes = Vec::new();
        encode(&empty, &mut bytes).unwrap();
        assert_eq!(bytes.len(), HEADER_BYTES + 16);
    }

    #[test]
    fn keys_and_values_of_different_length_are_refused() {
        let mut record = record();
        let StateChange::Keyed { keys, .. } = &mut record.state[0].change else { panic!("keyed first") };
        *keys = BinaryArray::from_vec(vec![b"only one"]);
        let error = encode(&record, &mut Vec::new()).unwrap_err();
        assert_eq!(error.code().0, "MP0901");
    }
}
