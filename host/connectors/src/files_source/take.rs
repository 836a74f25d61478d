//! How much of one file the next batch takes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use memchr::{memchr, memrchr};
use millpond_core::receiver::SPLIT_BYTES_MIN;

use super::progress::{FileEntry, Identity};
use super::split::{Piece, PieceKind};

/// Read at once when looking for a line end.
const LOOK_BYTES: u64 = 64 << 10;

/// What is to be taken from.
pub(super) struct Offer<'a> {
    /// As progress names it.
    pub(super) path: &'a Path,
    /// Where it is.
    pub(super) full: &'a Path,
    pub(super) kind: PieceKind,
    /// The file now.
    pub(super) found: Identity,
    /// From here on nothing is taken yet.
    pub(super) start: u64,
    pub(super) start_aligned: bool,
    /// Up to here there is something to take.
    pub(super) limit: u64,
    /// A last line without its end waits.
    pub(super) follow: bool,
}

/// How much a batch still wants.
#[derive(Clone, Copy)]
pub(super) struct Room {
    pub(super) bytes: u64,
    /// Nothing is taken yet: something must be, or the job would never go on.
    pub(super) first: bool,
    /// The longest search for a line end.
    pub(super) line_bytes_max: u64,
}

/// What was taken.
pub(super) enum Taken {
    /// Nothing is there to take.
    Nothing,
    /// It does not fit this batch.
    Later,
    /// A piece, and whether that was all.
    Piece(Piece, bool),
}

/// A place in a file, and whether a line starts there.
type Boundary = (u64, bool);

impl Offer<'_> {
    pub(super) fn take(&self, room: Room) -> io::Result<Taken> {
        let bytes = self.limit.saturating_sub(self.start);
        if bytes == 0 {
            return Ok(Taken::Nothing);
        }
        let all_fits = self.kind.weight(bytes) <= room.bytes;
        if !all_fits && !room.first && (self.kind != PieceKind::Plain || room.bytes < SPLIT_BYTES_MIN) {
            return Ok(Taken::Later);
        }
        let (end, end_aligned) = if self.kind != PieceKind::Plain {
            (self.limit, true)
        } else if !all_fits && let Some(boundary) = self.next_line_end(self.start + room.bytes, room.line_bytes_max)? {
            boundary
        } else if self.follow {
            match self.last_line_end(room.line_bytes_max)? {
                Some(boundary) => boundary,
                None => return Ok(Taken::Nothing),
            }
        } else {
            (self.limit, true)
        };
        let Self { start, start_aligned, limit, found, kind, .. } = *self;
        let piece =
            Piece { path: self.path.to_owned(), kind, start, end, start_aligned, end_aligned, limit, seen: found };
        // With `follow`, what is left after the last line end is an unfinished line, and waits for the next look.
        let finished = end == limit || all_fits;
        Ok(Taken::Piece(piece, finished))
    }

    /// What is known of the file once the piece is taken. Without `follow` the first look counts.
    pub(super) fn entry(&self, piece: &Piece, before: Option<&FileEntry>) -> FileEntry {
        let seen = match before {
            Some(entry) if !self.follow => entry.seen,
            _ => self.found,
        };
        FileEntry { seen, offset: piece.end, aligned: piece.end_aligned }
    }

    /// The first line start at or after `at`. A line longer than allowed is cut at `at` instead: it is a bad record anyway,
    /// and a look must not read a whole file. `None` if the file ends first.
    fn next_line_end(&self, at: u64, line_bytes_max: u64) -> io::Result<Option<Boundary>> {
        let mut file = File::open(self.full)?;
        // The byte before `at` may be a line end already.
        let mut from = at - 1;
        file.seek(SeekFrom::Start(from))?;
        let mut buffer = vec![0; usize::try_from(LOOK_BYTES).unwrap_or(0)];
        while from < self.limit {
            let count = read_full(&mut file, &mut buffer, self.limit - from)?;
            if count == 0 {
                break;
            }
            if let Some(found) = memchr(b'\n', &buffer[..count]) {
                return Ok(Some((from + found as u64 + 1, true)));
            }
            from += count as u64;
            if from - at > line_bytes_max {
                return Ok(Some((at, false)));
            }
        }
        Ok(None)
    }

    /// The last line start after `start`. A line without an end that is longer than allowed is taken as far as it is there.
    fn last_line_end(&self, line_bytes_max: u64) -> io::Result<Option<Boundary>> {
        let mut file = File::open(self.full)?;
        let mut buffer = vec![0; usize::try_from(LOOK_BYTES).unwrap_or(0)];
        let mut to = self.limit;
        while to > self.start {
            let from = to.saturating_sub(LOOK_BYTES).max(self.start);
            file.seek(SeekFrom::Start(from))?;
            let count = read_full(&mut file, &mut buffer, to - from)?;
            if let Some(found) = memrchr(b'\n', &buffer[..count]) {
                return Ok(Some((from + found as u64 + 1, true)));
            }
            to = from;
            if self.limit - to > line_bytes_max.saturating_add(1) {
                return Ok(Some((self.limit, false)));
            }
        }
        Ok(None)
    }
}

/// Fills the buffer, but takes at most `limit` bytes; fewer only at the end of the file.
fn read_full(file: &mut File, buffer: &mut [u8], limit: u64) -> io::Result<usize> {
    let want = buffer.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
    let mut count = 0;
    while count < want {
        match file.read(&mut buffer[count..want]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}
