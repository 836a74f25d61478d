//! Keys and values in the checkpoint store: kinds, order, versions, checksums.
//!
//! ```text
//! 00                                                  progress: folded epoch, its batch time, epoch being folded
//! 01 node name                                        node: id, page bits, page bits being grown to, keys, bytes
//! 10 meta name                                        meta entry
//! 11 length-prefixed source name, entry key           progress entry of a source
//! 12 sink name                                        sink token
//! 20 node id, page                                    page: keys and values, see `pages`
//! 21 node id, time, epoch, index, piece               piece of a pane's rows (Arrow IPC)
//! ```
//! Numbers in keys are big-endian (times with the sign bit turned) so that they sort; in values little-endian. Every value is
//! `version u8 = 1, CRC-32 of version, key and body, body`. Kinds 02..0f, 13..1f and 22.. are free.

use millpond_core::BatchTime;

use crate::codec::{Damage, Reader};

/// The version of all values.
pub(crate) const VERSION: u8 = 1;

pub(crate) const PROGRESS: &[u8] = &[0x00];
pub(crate) const NODE: u8 = 0x01;
pub(crate) const META: u8 = 0x10;
pub(crate) const SOURCE: u8 = 0x11;
pub(crate) const SINK: u8 = 0x12;
const PAGE: u8 = 0x20;
const PANE: u8 = 0x21;

/// A kind and a name.
pub(crate) fn named(kind: u8, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(kind);
    key.extend_from_slice(name.as_bytes());
    key
}

/// The name in such a key.
pub(crate) fn name_of(key: &[u8]) -> Result<&str, Damage> {
    std::str::from_utf8(key.get(1..).unwrap_or_default()).map_err(|_| Damage::new("a name that is not UTF-8"))
}

pub(crate) fn source(source: &str, entry: &[u8]) -> Vec<u8> {
    let mut key = vec![SOURCE];
    let length = u32::try_from(source.len()).expect("a source's name is shorter than 4 GiB");
    key.extend_from_slice(&length.to_be_bytes());
    key.extend_from_slice(source.as_bytes());
    key.extend_from_slice(entry);
    key
}

/// Source name and entry key.
pub(crate) fn source_parts(key: &[u8]) -> Result<(&str, &[u8]), Damage> {
    let mut reader = Reader::new(key.get(1..).unwrap_or_default());
    let length = u32::swap_bytes(reader.u32()?) as usize;
    let name = reader.take(length)?;
    let name = std::str::from_utf8(name).map_err(|_| Damage::new("a source's name that is not UTF-8"))?;
    Ok((name, &key[5 + length..]))
}

/// What all pages of a node begin with.
pub(crate) fn pages(node: u32) -> Vec<u8> {
    let mut key = vec![PAGE];
    key.extend_from_slice(&node.to_be_bytes());
    key
}

pub(crate) fn page(node: u32, page: u32) -> Vec<u8> {
    let mut key = pages(node);
    key.extend_from_slice(&page.to_be_bytes());
    key
}

pub(crate) fn panes(node: u32) -> Vec<u8> {
    let mut key = vec![PANE];
    key.extend_from_slice(&node.to_be_bytes());
    key
}

/// A piece's place: time, epoch, index, piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PanePlace {
    pub(crate) time: BatchTime,
    pub(crate) epoch: u64,
    pub(crate) index: u32,
    pub(crate) piece: u32,
}

pub(crate) fn pane(node: u32, place: PanePlace) -> Vec<u8> {
    let mut key = panes(node);
    key.extend_from_slice(&(place.time.0 as u64 ^ 1 << 63).to_be_bytes());
    key.extend_from_slice(&place.epoch.to_be_bytes());
    key.extend_from_slice(&place.index.to_be_bytes());
    key.extend_from_slice(&place.piece.to_be_bytes());
    key
}

pub(crate) fn pane_parts(key: &[u8]) -> Result<PanePlace, Damage> {
    let mut reader = Reader::new(key.get(5..).unwrap_or_default());
    let place = PanePlace {
        time: BatchTime((u64::swap_bytes(reader.u64()?) ^ 1 << 63) as i64),
        epoch: u64::swap_bytes(reader.u64()?),
        index: u32::swap_bytes(reader.u32()?),
        piece: u32::swap_bytes(reader.u32()?),
    };
    reader.end()?;
    Ok(place)
}

/// A value around `body`.
pub(crate) fn seal(key: &[u8], body: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(5 + body.len());
    value.push(VERSION);
    value.extend_from_slice(&checksum(VERSION, key, body).to_le_bytes());
    value.extend_from_slice(body);
    value
}

/// What an opened value is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opened<'a> {
    Body(&'a [u8]),
    OtherVersion(u8),
}

/// The body of a value whose checksum matches.
pub(crate) fn open<'a>(key: &[u8], value: &'a [u8]) -> Result<Opened<'a>, Damage> {
    let mut reader = Reader::new(value);
    let version = reader.u8()?;
    let crc = reader.u32()?;
    let body = &value[5..];
    // The version is under the checksum, so that a damaged byte is not taken for another version.
    if crc != checksum(version, key, body) {
        return Err(Damage::new("an entry's checksum does not match"));
    }
    Ok(if version == VERSION { Opened::Body(body) } else { Opened::OtherVersion(version) })
}

fn checksum(version: u8, key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[version]);
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_survive_the_round_trip(name: String, entry: Vec<u8>, node: u32, number: u32, time: i64, epoch: u64) {
            let key = source(&name, &entry);
            prop_assert_eq!(source_parts(&key).unwrap(), (name.as_str(), &entry[..]));
            let meta = named(META, &name);
            prop_assert_eq!(name_of(&meta).unwrap(), &name);
            let place = PanePlace { time: BatchTime(time), epoch, index: number, piece: 1 };
            prop_assert_eq!(pane_parts(&pane(node, place)).unwrap(), place);
        }

        #[test]
        fn panes_sort_by_time(node: u32, left: i64, right: i64) {
            let key = |time| pane(node, PanePlace { time: BatchTime(time), epoch: 1, index: 0, piece: 0 });
            prop_assert_eq!(key(left).cmp(&key(right)), left.cmp(&right));
        }

        #[test]
        fn damage_to_a_value_or_its_key_is_noticed(body: Vec<u8>, at: prop::sample::Index) {
            let mut value = seal(b"key", &body);
            prop_assert_eq!(open(b"key", &value).unwrap(), Opened::Body(&body[..]));
            prop_assert!(open(b"another", &value).is_err());
            let at = at.index(value.len());
            value[at] ^= 4;
            prop_assert!(open(b"key", &value).is_err());
        }
    }
}
