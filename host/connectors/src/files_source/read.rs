//! Reads splits: opens the files, checks that they are still what they were, and decodes.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use flate2::bufread::MultiGzDecoder;
use memchr::memchr;
use millpond_core::{BadRecord, BoxError, Decoded, Split, SplitReader};

use super::progress::Identity;
use super::split::{Piece, PieceKind, pieces};
use crate::codec::{Codec, DecodeError, Decoder, INPUT_BYTES_MAX, LastLine, Origin};
use crate::{Error, OnBadRecordSpec, Result};

/// Read at once: fits a core's second-level cache, so that a chunk is still warm when it is decoded.
const CHUNK_BYTES: usize = 256 << 10;

/// Reads splits of files.
#[derive(Debug)]
pub(super) struct FilesReader {
    pub(super) job_dir: PathBuf,
    pub(super) codec: Codec,
    pub(super) on_bad_record: OnBadRecordSpec,
}

/// Why a piece could not be decoded.
enum PieceError {
    /// Decode it again, line by line.
    NotUtf8,
    Failed(Error),
}

/// The rows of one piece.
struct PieceRows {
    batch: RecordBatch,
    bad_records: Vec<BadRecord>,
    /// As they lie in the file.
    bytes: u64,
    /// As they were decoded.
    taken_bytes: u64,
}

impl SplitReader for FilesReader {
    fn read(&self, split: &Split) -> Result<Decoded, BoxError> {
        let mut batches = Vec::new();
        let mut taken_bytes = 0;
        let mut decoded =
            Decoded { batch: RecordBatch::new_empty(self.codec.schema.clone()), bad_records: Vec::new(), bytes: 0 };
        for piece in pieces(split)? {
            let rows = match self.read_piece(&piece) {
                Err(error @ Error::FileChanged { .. }) if self.on_bad_record == OnBadRecordSpec::Skip => {
                    decoded.bad_records.push(error.into_bad_record(piece.place()));
                    continue;
                }
                rows => rows?,
            };
            decoded.bad_records.extend(rows.bad_records);
            decoded.bytes += rows.bytes;
            taken_bytes += rows.taken_bytes;
            if taken_bytes > INPUT_BYTES_MAX {
                return Err(Error::SplitTooLarge { place: split.place.clone(), limit_bytes: INPUT_BYTES_MAX }.into());
            }
            batches.push(rows.batch);
        }
        decoded.batch = match batches.len() {
            0 => decoded.batch,
            1 => batches.remove(0),
            _ => concat_batches(&self.codec.schema, &batches).expect("the schemas are one and the offsets fit"),
        };
        if let (OnBadRecordSpec::Fail, Some(bad)) = (self.on_bad_record, decoded.bad_records.first()) {
            return Err(Error::BadRecord { place: bad.place.clone(), reason: bad.reason.clone() }.into());
        }
        Ok(decoded)
    }
}

impl FilesReader {
    fn read_piece(&self, piece: &Piece) -> Result<PieceRows> {
        match self.decode_piece(piece, false) {
            Err(PieceError::NotUtf8) => match self.decode_piece(piece, true) {
                Err(PieceError::NotUtf8) => unreachable!("strict decoding leaves out what is not UTF-8"),
                Err(PieceError::Failed(error)) => Err(error),
                Ok(rows) => Ok(rows),
            },
            Err(PieceError::Failed(error)) => Err(error),
            Ok(rows) => Ok(rows),
        }
    }

    fn decode_piece(&self, piece: &Piece, strict: bool) -> Result<PieceRows, PieceError> {
        let path = self.job_dir.join(&piece.path);
        let mut file = open(&path, piece)?;
        let name = piece.path.display().to_string();
        let origin = Origin {
            name: &name,
            first_line: (piece.start == 0).then_some(1),
            first_byte: piece.start,
            bytes: piece.end - piece.start,
        };
        let mut decoder = self.codec.decoder(&origin, strict);
        let damage = if piece.kind == PieceKind::Gzip {
            gunzip(&file, piece, &mut decoder)?
        } else {
            if piece.start > 0 && self.codec.needs_header() {
                decoder.header(&first_line(&mut file, &path, self.codec.line_bytes_max)?);
            }
            feed(&mut file, &path, piece, &mut decoder)?;
            None
        };
        check(&file, &path, piece)?;
        decoder.end(if damage.is_some() { LastLine::Dropped } else { LastLine::Complete });
        let taken_bytes = decoder.taken_bytes();
        let (batch, mut bad_records) = decoder.finish()?;
        if let Some(damage) = damage {
            if self.on_bad_record == OnBadRecordSpec::Fail {
                return Err(damage.into());
            }
            bad_records.push(damage.into_bad_record(piece.place()));
        }
        Ok(PieceRows { batch, bad_records, bytes: piece.end - piece.start, taken_bytes })
    }
}

fn open(path: &Path, piece: &Piece) -> Result<File> {
    match File::open(path) {
        Ok(file) => {
            check(&file, path, piece)?;
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(changed(piece, "disappeared".to_owned())),
        Err(error) => Err(Error::read(path, error)),
    }
}

/// Whether the open file still is what the batch took. Asked before reading and after.
fn check(file: &File, path: &Path, piece: &Piece) -> Result<()> {
    let now = Identity::of(&file.metadata().map_err(|error| Error::read(path, error))?);
    piece.seen.harm(&now).map_or(Ok(()), |found| Err(changed(piece, found)))
}

fn changed(piece: &Piece, found: String) -> Error {
    Error::FileChanged { place: piece.place(), found, expected_bytes: piece.seen.size }
}

/// Reads the lines of a piece into the decoder, by the rule that `split.rs` states.
fn feed(file: &mut File, path: &Path, piece: &Piece, decoder: &mut Decoder) -> Result<(), PieceError> {
    let unreadable = |error| Error::read(path, error);
    file.seek(SeekFrom::Start(piece.start)).map_err(unreadable)?;
    let limit = if piece.end_aligned { piece.end } else { piece.limit };
    let mut buffer = vec![0; CHUNK_BYTES.min(usize::try_from(limit - piece.start).unwrap_or(CHUNK_BYTES)).max(1)];
    let mut skipping = !piece.start_aligned;
    let mut at = piece.start;
    while at < limit {
        let want = buffer.len().min(usize::try_from(limit - at).unwrap_or(usize::MAX));
        let count = read_some(file, &mut buffer[..want]).map_err(unreadable)?;
        if count == 0 {
            return Err(changed(piece, format!("shrank to {at} bytes")).into());
        }
        let (mut chunk, mut chunk_at) = (&buffer[..count], at);
        at += count as u64;
        if skipping {
            let Some(found) = memchr(b'\n', chunk) else { continue };
            chunk = &chunk[found + 1..];
            chunk_at += found as u64 + 1;
            // The line end is the last one of the piece or comes after it: every line belongs to others.
            if chunk_at > piece.end {
                return Ok(());
            }
            decoder.starts_at(chunk_at);
            skipping = false;
        }
        if !piece.end_aligned && at > piece.end {
            let from = usize::try_from(piece.end.saturating_sub(chunk_at)).unwrap_or(usize::MAX).min(chunk.len());
            if let Some(found) = memchr(b'\n', &chunk[from..]) {
                decoder.push(&chunk[..=from + found])?;
                return Ok(());
            }
        }
        decoder.push(chunk)?;
    }
    Ok(())
}

fn read_some(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// The first line of a file, without its line end; only its beginning if it is too long.
fn first_line(file: &mut File, path: &Path, bytes_max: usize) -> Result<Vec<u8>> {
    let unreadable = |error| Error::read(path, error);
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mut line = Vec::new();
    let mut limited = BufReader::new(file).take(bytes_max as u64);
    io::BufRead::read_until(&mut limited, b'\n', &mut line).map_err(unreadable)?;
    while matches!(line.last(), Some(b'\n' | b'\r')) {
        line.pop();
    }
    Ok(line)
}

/// Unpacks a file (perhaps of several members) into the decoder. Damage ends it early and is given back.
fn gunzip(file: &File, piece: &Piece, decoder: &mut Decoder) -> Result<Option<Error>, PieceError> {
    let mut unpacker = MultiGzDecoder::new(BufReader::with_capacity(CHUNK_BYTES, file.take(piece.limit)));
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut unpacked_bytes = 0;
    loop {
        match read_some(&mut unpacker, &mut buffer) {
            Ok(0) => return Ok(None),
            Ok(count) => {
                unpacked_bytes += count as u64;
                decoder.push(&buffer[..count])?;
            }
            Err(error) if error.raw_os_error().is_some() => return Err(unreadable(piece, error).into()),
            Err(source) => {
                return Ok(Some(Error::DamagedArchive { place: piece.place(), unpacked_bytes, source }));
            }
        }
    }
}

fn unreadable(piece: &Piece, source: io::Error) -> Error {
    Error::ReadFailed { place: piece.place(), source }
}

impl From<Error> for PieceError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<DecodeError> for PieceError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::NotUtf8 => Self::NotUtf8,
            DecodeError::Fatal(error) => Self::Failed(error),
        }
    }
}
