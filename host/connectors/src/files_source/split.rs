//! Pieces of files, and how a batch's pieces become splits.
//!
//! A piece is a byte range. Where an end of it is *aligned*, a line starts there (or the file ends). Where it is not, the
//! line around it belongs to the piece before: a reader starts after the first line end at or after `start`, and goes on to
//! the first line end at or after `end`. So a file can be cut anywhere without reading it.

use std::path::PathBuf;

use millpond_core::Split;
use millpond_core::receiver::{SPLIT_BYTES_MIN, split_count};
use serde::{Deserialize, Serialize};

use super::progress::{Identity, path_serde};
use crate::{Error, Result};

/// No plain split is larger, whatever the number of partitions: a split goes into one call of the plugin, whose memory is
/// 256 MiB by default and has to hold the rows, what is made of them, and more than one copy (a guess: an eighth of it).
const SPLIT_BYTES_MAX: u64 = 32 << 20;

/// How much larger text is than its gzip file (logs and tables: 5 to 20 times). What a batch may take is counted so.
const GZIP_RATIO: u64 = 8;

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

impl PieceKind {
    /// How many bytes a part of so many counts for: more for a packed one.
    pub(super) fn weight(self, bytes: u64) -> u64 {
        if self == Self::Gzip { bytes.saturating_mul(GZIP_RATIO) } else { bytes }
    }
}

impl Piece {
    /// How many bytes it counts for.
    pub(super) fn weight(&self) -> u64 {
        self.kind.weight(self.end - self.start)
    }

    /// How many bytes its lines have at most: the last line may reach over the end. `None` for a packed file.
    fn lines_bytes_max(&self, line_bytes_max: u64) -> Option<u64> {
        let over = if self.end_aligned { 0 } else { line_bytes_max.min(self.limit - self.end) };
        (self.kind != PieceKind::Gzip).then(|| self.end - self.start + over)
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

/// The smallest split where several batches of few files each are computed side by side: no core waits for a split then, and
/// what a stage puts together (counts of words, say) is put together once a split, so fewer splits leave less to the shuffle.
/// Measured: with files of 3 MB whole ones were better than halves, with files of 7 MB halves were.
pub(super) const SPLIT_BYTES_MIN_SIDE_BY_SIDE: u64 = 2 << 20;

/// Into how many splits a batch is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// So many, if that makes none too small or too large.
    pub(super) partitions: usize,
    /// The batch has so many times this at least, for so many splits.
    pub(super) bytes_min: u64,
}

/// Shares pieces out over splits of about equal weight, in order; small ones share a split. There are as many splits as partitions,
/// or fewer, so that none is too small; but more where one would be too large, and a gzip file always has a split of its own.
pub(super) fn splits(pieces: Vec<Piece>, cut: Cut, line_bytes_max: u64) -> Vec<Split> {
    let total: u64 = pieces.iter().map(Piece::weight).fold(0, u64::saturating_add);
    let target = total.div_ceil(split_count(total, cut.bytes_min, cut.partitions)).min(SPLIT_BYTES_MAX);
    let mut sharing = Sharing { line_bytes_max, splits: Vec::new(), open: Vec::new(), open_weight: 0 };
    for mut piece in pieces {
        let alone = piece.kind == PieceKind::Gzip;
        if alone || piece.kind == PieceKind::Whole && sharing.open_weight + piece.weight() > SPLIT_BYTES_MAX {
            sharing.close();
        }
        while sharing.open_weight + piece.weight() > target && piece.kind == PieceKind::Plain {
            let room = target - sharing.open_weight;
            // A sliver at the end of the file stays with what came before it.
            let sliver = piece.weight() - room < SPLIT_BYTES_MIN;
            if sliver && sharing.open_weight + piece.weight() <= SPLIT_BYTES_MAX {
                break;
            }
            if room > 0 {
                let head = piece.cut(room);
                sharing.add(head);
            }
            sharing.close();
        }
        sharing.add(piece);
        if alone || sharing.open_weight >= target {
            sharing.close();
        }
    }
    sharing.close();
    sharing.splits
}

/// Splits in the making.
struct Sharing {
    line_bytes_max: u64,
    splits: Vec<Split>,
    open: Vec<Piece>,
    open_weight: u64,
}

impl Sharing {
    fn add(&mut self, piece: Piece) {
        self.open_weight += piece.weight();
        self.open.push(piece);
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.splits.push(split(std::mem::take(&mut self.open), self.line_bytes_max));
        }
        self.open_weight = 0;
    }
}

fn split(pieces: Vec<Piece>, line_bytes_max: u64) -> Split {
    let place = match pieces.as_slice() {
        [] => String::new(),
        [piece] => piece.place(),
        [first, rest @ ..] => format!("{} and {} more", first.place(), rest.len()),
    };
    let bytes = pieces.iter().map(|piece| piece.lines_bytes_max(line_bytes_max)).sum();
    let locator = serde_json::to_vec(&Locator { pieces }).expect("paths and numbers can always be written");
    Split { locator, place, bytes }
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

    fn into(partitions: usize) -> Cut {
        Cut { partitions, bytes_min: SPLIT_BYTES_MIN }
    }

    #[test]
    fn a_large_file_is_cut_into_as_many_splits_as_partitions() {
        let splits = splits(vec![piece("a", 0, 8 * MIB, PieceKind::Plain)], into(4), 100);
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
    fn no_split_is_smaller_than_it_is_wanted() {
        let sizes = |bytes, partitions, bytes_min| {
            let splits = splits(vec![piece("a", 0, bytes, PieceKind::Plain)], Cut { partitions, bytes_min }, 100);
            splits.iter().map(|split| pieces(split).unwrap().iter().map(Piece::weight).sum()).collect::<Vec<u64>>()
        };
        assert_eq!(sizes(3 * MIB, 8, 4 * MIB), [3 * MIB]);
        assert_eq!(sizes(7 * MIB, 8, 4 * MIB), [7 * MIB]);
        assert_eq!(sizes(12 * MIB, 8, 4 * MIB), [4 * MIB; 3]);
        assert_eq!(sizes(12 * MIB, 2, 4 * MIB), [6 * MIB; 2], "as many as there are partitions");
        assert_eq!(sizes(64 * MIB, 1, 64 * MIB), [32 * MIB; 2], "and none that is too large");
        assert_eq!(sizes(3, 8, 0), [3]);
    }

    #[test]
    fn small_files_share_a_split() {
        let files = (0..1000).map(|n| piece(&n.to_string(), 0, 10, PieceKind::Plain)).collect();
        let splits = splits(files, into(4), 100);
        assert_eq!(splits.len(), 1);
        assert!(splits[0].place.contains("and 999 more"), "{}", splits[0].place);
    }

    #[test]
    fn a_gzip_file_is_never_cut() {
        let splits = splits(vec![piece("a.gz", 0, 80 * MIB, PieceKind::Gzip)], into(4), 100);
        assert_eq!(splits.len(), 1);
        assert_eq!(splits[0].bytes, None, "how much it unpacks to shows when it is unpacked");
    }

    #[test]
    fn gzip_files_never_share_a_split() {
        let kinds = [PieceKind::Gzip, PieceKind::Gzip, PieceKind::Plain, PieceKind::Plain, PieceKind::Gzip];
        let files = kinds.iter().enumerate().map(|(n, kind)| piece(&n.to_string(), 0, 10, *kind)).collect();
        let counts: Vec<_> = splits(files, into(1), 100).iter().map(|split| pieces(split).unwrap().len()).collect();
        assert_eq!(counts, [1, 1, 2, 1]);
    }

    #[test]
    fn more_splits_than_partitions_come_out_before_one_gets_too_large() {
        let splits = splits(vec![piece("a", 0, 300 * MIB + 7, PieceKind::Plain)], into(2), 100);
        assert_eq!(splits.len(), 10);
        assert!(splits.iter().all(|split| split.bytes.unwrap() <= SPLIT_BYTES_MAX + 100), "a last line may reach over");
    }

    #[cfg(unix)]
    #[test]
    fn a_name_that_is_not_utf8_survives_the_locator() {
        let mut odd = piece("x", 0, 5, PieceKind::Plain);
        odd.path = super::super::progress::path_of(vec![b'a', 0xff]);
        let split = split(vec![odd.clone()], 100);
        assert_eq!(pieces(&split).unwrap(), [odd]);
    }

    proptest! {
        #[test]
        fn every_byte_is_in_one_split(
            files in prop::collection::vec((1..3 * MIB, prop::bool::weighted(0.2)), 1..20),
            partitions in 1_usize..9,
            bytes_min in prop::sample::select(vec![0, 1, SPLIT_BYTES_MIN, SPLIT_BYTES_MIN_SIDE_BY_SIDE, u64::MAX]),
        ) {
            let input: Vec<Piece> = files.iter().enumerate()
                .map(|(n, (size, gzip))| piece(&n.to_string(), 0, *size, if *gzip { PieceKind::Gzip } else { PieceKind::Plain }))
                .collect();
            let splits = splits(input.clone(), Cut { partitions, bytes_min }, 100);
            let gzips = files.iter().filter(|(_, gzip)| *gzip).count();
            let total: u64 = input.iter().map(Piece::weight).sum();
            let too_large = usize::try_from(total / SPLIT_BYTES_MAX).unwrap();
            prop_assert!(splits.len() <= partitions.max(too_large + 1) + 2 * gzips, "{} splits", splits.len());
            for split in splits.iter().filter(|split| split.bytes.is_some()) {
                prop_assert!(split.bytes.unwrap() <= SPLIT_BYTES_MAX + 100);
            }
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
