//! Pieces of files, and how a batch's pieces become splits.
//!
//! A piece is a byte range. Where an end of it is *aligned*, a line starts there (or the file ends). Where it is not, the
//! line around it belongs to the piece before: a reader starts after the first line end at or after `start`, and goes on to
//! the first line end at or after `end`. So a file can be cut anywhere without reading it.

use std::path::PathBuf;

use millpond_core::Split;
use serde::{Deserialize, Serialize};

use super::progress::{Identity, path_serde};
use crate::{Error, Result};

/// A smaller split is not worth a task of its own (a guess: some 1000 lines, half a millisecond of work).
pub(super) const SPLIT_BYTES_MIN: u64 = 64 << 10;

/// A larger split would not fit a record batch with certainty: its offsets have 31 bits, and files grow when unpacked.
const SPLIT_BYTES_MAX: u64 = 512 << 20;

/// How much larger text is than its gzip file, roughly: only for sharing work out.
const GZIP_RATIO: u64 = 4;

/// A byte range of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Piece {
    #[serde(with = "path_serde")]
    pub(super) path: PathBuf,
    pub(super) kind: PieceKind,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) start_aligned: bool,
    pub(super) end_aligned: bool,
    /// Bytes from here on belong to no batch yet.
    pub(super) limit: u64,
    /// The file when the batch took the piece.
    pub(super) seen: Identity,
}

/// How a file may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PieceKind {
    /// Any range of it.
    Plain,
    /// As a whole.
    Whole,
    /// As a whole, and unpacked.
    Gzip,
}

/// What a split's locator holds.
#[derive(Debug, Serialize, Deserialize)]
struct Locator {
    pieces: Vec<Piece>,
}

impl Piece {
    fn weight(&self) -> u64 {
        let bytes = self.end - self.start;
        if self.kind == PieceKind::Gzip { bytes.saturating_mul(GZIP_RATIO) } else { bytes }
    }

    /// Cuts off the first bytes, at no particular place.
    fn cut(&mut self, bytes: u64) -> Self {
        let at = self.start + bytes;
        let head = Self { end: at, end_aligned: false, ..self.clone() };
        (self.start, self.start_aligned) = (at, false);
        head
    }

    /// For messages: `data/a.txt bytes 0..1000`.
    pub(super) fn place(&self) -> String {
        match self.kind {
            PieceKind::Plain => format!("{} bytes {}..{}", self.path.display(), self.start, self.end),
            PieceKind::Whole | PieceKind::Gzip => self.path.display().to_string(),
        }
    }
}

/// Shares pieces out over at most `partitions` splits of about equal weight, in order; small ones share a split, and more
/// splits come out only where one would be too large.
pub(super) fn splits(pieces: Vec<Piece>, partitions: usize) -> Vec<Split> {
    let total: u64 = pieces.iter().map(Piece::weight).fold(0, u64::saturating_add);
    let target = total.div_ceil(partitions.max(1) as u64).clamp(SPLIT_BYTES_MIN, SPLIT_BYTES_MAX);
    let mut splits = Vec::new();
    let (mut open, mut open_weight) = (Vec::new(), 0);
    for mut piece in pieces {
        while open_weight + piece.weight() > target && piece.kind == PieceKind::Plain {
            let room = target - open_weight;
            // A sliver at the end of the file stays with what came before it.
            if piece.weight() - room < SPLIT_BYTES_MIN && target < SPLIT_BYTES_MAX {
                break;
            }
            if room > 0 {
                open.push(piece.cut(room));
            }
            splits.push(split(std::mem::take(&mut open)));
            open_weight = 0;
        }
        open_weight += piece.weight();
        open.push(piece);
        if open_weight >= target {
            splits.push(split(std::mem::take(&mut open)));
            open_weight = 0;
        }
    }
    if !open.is_empty() {
        splits.push(split(open));
    }
    splits
}

fn split(pieces: Vec<Piece>) -> Split {
    let place = match pieces.as_slice() {
        [] => String::new(),
        [piece] => piece.place(),
        [first, rest @ ..] => format!("{} and {} more", first.place(), rest.len()),
    };
    let locator = serde_json::to_vec(&Locator { pieces }).expect("paths and numbers can always be written");
    Split { locator, place }
}

/// The pieces of a split.
pub(super) fn pieces(split: &Split) -> Result<Vec<Piece>> {
    let locator: Locator = serde_json::from_slice(&split.locator)
        .map_err(|error| Error::Unreadable { what: "a split", reason: format!("{}: {error}", split.place) })?;
    Ok(locator.pieces)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn piece(name: &str, start: u64, end: u64, kind: PieceKind) -> Piece {
        let seen = Identity { size: end, ..Identity::default() };
        Piece { path: name.into(), kind, start, end, start_aligned: true, end_aligned: true, limit: end, seen }
    }

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_large_file_is_cut_into_as_many_splits_as_partitions() {
        let splits = splits(vec![piece("a", 0, 8 * MIB, PieceKind::Plain)], 4);
        let places: Vec<_> = splits.iter().map(|split| split.place.clone()).collect();
        assert_eq!(
            places,
            ["a bytes 0..2097152", "a bytes 2097152..4194304", "a bytes 4194304..6291456", "a bytes 6291456..8388608"]
        );
        let ends: Vec<_> =
            splits.iter().flat_map(|split| pieces(split).unwrap()).map(|p| (p.start_aligned, p.end_aligned)).collect();
        assert_eq!(ends, [(true, false), (false, false), (false, false), (false, true)]);
    }

    #[test]
    fn small_files_share_a_split() {
        let files = (0..1000).map(|n| piece(&n.to_string(), 0, 10, PieceKind::Plain)).collect();
        let splits = splits(files, 4);
        assert_eq!(splits.len(), 1);
        assert!(splits[0].place.contains("and 999 more"), "{}", splits[0].place);
    }

    #[test]
    fn a_gzip_file_is_never_cut() {
        let splits = splits(vec![piece("a.gz", 0, 8 * MIB, PieceKind::Gzip)], 4);
        assert_eq!(splits.len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_name_that_is_not_utf8_survives_the_locator() {
        let mut odd = piece("x", 0, 5, PieceKind::Plain);
        odd.path = super::super::progress::path_of(vec![b'a', 0xff]);
        let split = split(vec![odd.clone()]);
        assert_eq!(pieces(&split).unwrap(), [odd]);
    }

    proptest! {
        #[test]
        fn every_byte_is_in_one_split(
            files in prop::collection::vec((1..3 * MIB, prop::bool::weighted(0.2)), 1..20),
            partitions in 1_usize..9,
        ) {
            let input: Vec<Piece> = files.iter().enumerate()
                .map(|(n, (size, gzip))| piece(&n.to_string(), 0, *size, if *gzip { PieceKind::Gzip } else { PieceKind::Plain }))
                .collect();
            let splits = splits(input.clone(), partitions);
            prop_assert!(splits.len() <= partitions, "{} splits", splits.len());
            let mut cut: Vec<Piece> = splits.iter().flat_map(|split| pieces(split).unwrap()).collect();
            let mut glued: Vec<Piece> = Vec::new();
            for next in cut.drain(..) {
                match glued.last_mut() {
                    Some(last) if last.path == next.path => {
                        prop_assert_eq!(last.end, next.start);
                        prop_assert_eq!((last.end_aligned, next.start_aligned), (false, false));
                        last.end = next.end;
                        last.end_aligned = next.end_aligned;
                    }
                    _ => glued.push(next),
                }
            }
            prop_assert_eq!(glued, input);
        }
    }
}
