//! The receiver: takes what the looks (`look.rs`) found, reports, and keeps the progress.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use millpond_core::receiver::{ProgressEntry, Reliability, SPLIT_BYTES_MIN};
use millpond_core::{BadRecord, BoxError, Clock, Poll, PollRequest, Receiver, SplitReader};

use super::FilesSourceOptions;
use super::discover::Place;
use super::listed::Listed;
use super::progress::{self, FileEntry, Identity, STARTED};
use super::read::FilesReader;
use super::split::{Cut, Piece, PieceKind, SPLIT_BYTES_MIN_SIDE_BY_SIDE, splits};
use super::take::{Offer, Room, Taken};
use crate::codec::Codec;
use crate::spec::OpenSource;
use crate::{Error, OnBadRecordSpec, RecordFormatSpec, Result};

/// Receives the files of a folder.
pub(super) struct FilesReceiver {
    pub(super) options: FilesSourceOptions,
    pub(super) job_dir: PathBuf,
    pub(super) place: Place,
    reader: Arc<FilesReader>,
    /// By path; compared by bytes, see `Place::list`.
    pub(super) files: BTreeMap<OsString, FileEntry>,
    /// Files whose entry changed since progress was last taken.
    changed: BTreeSet<PathBuf>,
    /// Found and not, or not wholly, taken.
    pub(super) pending: VecDeque<PathBuf>,
    started: bool,
    pub(super) listed: Listed,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) looks: usize,
    /// The last look failed, and that was reported.
    pub(super) looking_fails: bool,
}

impl FilesReceiver {
    pub(super) fn try_new(options: FilesSourceOptions, open: OpenSource) -> Result<Self> {
        let codec = Codec::try_new(&open.name, &open.schema, options.codec_format(), options.line_bytes_max.0)?;
        let place = Place::try_new(&open.name, &open.job_dir, &options.path)?;
        let on_bad_record = options.on_bad_record;
        Ok(Self {
            place,
            reader: Arc::new(FilesReader { job_dir: open.job_dir.clone(), codec, on_bad_record }),
            job_dir: open.job_dir,
            options,
            files: BTreeMap::new(),
            changed: BTreeSet::new(),
            pending: VecDeque::new(),
            started: false,
            listed: Listed::default(),
            clock: open.clock,
            looks: 0,
            looking_fails: false,
        })
    }

    fn kind(&self, path: &Path) -> PieceKind {
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(OsStr::new("gz"))) {
            PieceKind::Gzip
        } else if self.options.format == RecordFormatSpec::Csv && self.options.multiline == Some(true) {
            PieceKind::Whole
        } else {
            PieceKind::Plain
        }
    }

    pub(super) fn follows(&self, path: &Path) -> bool {
        self.options.follow && self.kind(path) == PieceKind::Plain
    }

    pub(super) fn set(&mut self, path: &Path, entry: FileEntry) {
        self.files.insert(path.into(), entry);
        self.changed.insert(path.to_owned());
    }

    pub(super) fn forget(&mut self, path: &Path) {
        if self.files.remove(path.as_os_str()).is_some() {
            self.changed.insert(path.to_owned());
        }
    }

    /// Tells of trouble, or fails, as the source's `on-bad-record` says.
    pub(super) fn trouble(&self, place: &Path, error: Error, reports: &mut Vec<BadRecord>) -> Result<()> {
        match self.options.on_bad_record {
            OnBadRecordSpec::Fail => Err(error),
            OnBadRecordSpec::Skip => {
                reports.push(error.into_bad_record(place.display().to_string()));
                Ok(())
            }
        }
    }

    pub(super) fn changed_error(path: &Path, found: String, entry: &FileEntry) -> Error {
        Error::FileChanged { place: path.display().to_string(), found, expected_bytes: entry.seen.size }
    }

    /// Takes pieces of pending files until the batch is full.
    fn take(&mut self, reports: &mut Vec<BadRecord>) -> Result<Vec<Piece>> {
        let files_max = self.options.max_files_per_batch.map_or(u64::MAX, u64::from);
        let bytes_max = self.options.max_bytes_per_batch.0;
        let (mut pieces, mut bytes) = (Vec::new(), 0);
        while (pieces.len() as u64) < files_max && bytes < bytes_max {
            let Some(path) = self.pending.pop_front() else { break };
            let line_bytes_max = self.options.line_bytes_max.0;
            let room = Room { bytes: bytes_max - bytes, first: pieces.is_empty(), line_bytes_max };
            match self.take_file(&path, room, reports)? {
                Taken::Nothing => {}
                Taken::Later => {
                    self.pending.push_front(path);
                    break;
                }
                Taken::Piece(piece, finished) => {
                    bytes += piece.weight();
                    pieces.push(piece);
                    if !finished {
                        self.pending.push_front(path);
                        break;
                    }
                }
            }
        }
        Ok(pieces)
    }

    fn take_file(&mut self, path: &Path, room: Room, reports: &mut Vec<BadRecord>) -> Result<Taken> {
        let full = self.job_dir.join(path);
        let metadata = match fs::metadata(&full) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some((folder, source)) = self.place.outage(&self.job_dir) {
                    // The whole folder is away. The files are not gone for that: the next look queues them again.
                    self.pending.clear();
                    self.looking_failed(&folder, source, reports)?;
                    return Ok(Taken::Nothing);
                }
                if !self.files.contains_key(path.as_os_str()) {
                    let found = "disappeared before it was read".to_owned();
                    let error = Error::FileChanged { place: path.display().to_string(), found, expected_bytes: 0 };
                    self.trouble(path, error, reports)?;
                }
                self.disappeared(path, reports)?;
                return Ok(Taken::Nothing);
            }
            Err(error) => return Err(Error::read(&full, error)),
        };
        let found = Identity::of(&metadata);
        let Some((start, start_aligned, limit)) = self.untaken(path, found, reports)? else {
            return Ok(Taken::Nothing);
        };
        let (kind, follow) = (self.kind(path), self.follows(path));
        let offer = Offer { path, full: &full, kind, found, start, start_aligned, limit, follow };
        let taken = offer.take(room).map_err(|error| Error::read(&full, error))?;
        if let Taken::Piece(piece, _) = &taken {
            let entry = offer.entry(piece, self.files.get(path.as_os_str()));
            self.set(path, entry);
        }
        Ok(taken)
    }

    /// The range of a file that no batch has taken: start, whether a line starts there, end.
    fn untaken(
        &mut self,
        path: &Path,
        found: Identity,
        reports: &mut Vec<BadRecord>,
    ) -> Result<Option<(u64, bool, u64)>> {
        let Some(entry) = self.files.get(path.as_os_str()).cloned() else { return Ok(Some((0, true, found.size))) };
        if self.follows(path) {
            let replaced = found.inode != entry.seen.inode;
            if !replaced && found.size >= entry.offset {
                return Ok(Some((entry.offset, entry.aligned, found.size)));
            }
            let what = if replaced { "was replaced by another file" } else { "was cut short" };
            let reason =
                format!("the file {what} after {} bytes of it were read; it is read from its start", entry.offset);
            reports.push(BadRecord { place: path.display().to_string(), reason });
            self.set(path, FileEntry { seen: found, offset: 0, aligned: true });
            return Ok(Some((0, true, found.size)));
        }
        // A device number may change when a file system is mounted again: it says nothing here.
        if let Some(harm) = entry.seen.harm(&Identity { dev: entry.seen.dev, ..found }) {
            let now = found;
            let found = format!("{harm} after {} bytes of it were read", entry.offset);
            self.trouble(path, Self::changed_error(path, found, &entry), reports)?;
            // As it is now, so that it is not told again of the same at the next look.
            self.set(path, FileEntry { seen: now, offset: now.size, aligned: true });
            return Ok(None);
        }
        Ok(Some((entry.offset, entry.aligned, entry.seen.size)))
    }

    /// Counts the files that are there as taken.
    fn pass_over_existing(&mut self) {
        for path in self.place.list(&self.job_dir).paths {
            let Ok(metadata) = fs::metadata(self.job_dir.join(&path)) else { continue };
            let seen = Identity::of(&metadata);
            if !metadata.is_file() || seen.size == 0 {
                continue;
            }
            let entry = if self.follows(&path) {
                // One byte early: if that byte is a line end, the next line is new; if not, the line was begun before.
                FileEntry { seen, offset: seen.size - 1, aligned: false }
            } else {
                FileEntry { seen, offset: seen.size, aligned: true }
            };
            self.set(&path, entry);
        }
    }
}

impl Receiver for FilesReceiver {
    fn reliability(&self) -> Reliability {
        Reliability::Replayable
    }

    fn restore(&mut self, entries: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), BoxError> {
        for (key, value) in entries {
            if key == STARTED {
                self.started = true;
                continue;
            }
            if key.first() == Some(&0) {
                // Of a source of another type, which the job had under this name before.
                continue;
            }
            let path = progress::path_of(key);
            let entry = progress::decode(&path, &value)?;
            self.files.insert(path.into(), entry);
        }
        if self.options.new_files_only && !self.started {
            self.pass_over_existing();
        }
        Ok(())
    }

    fn poll(&mut self, request: &PollRequest) -> Result<Poll, BoxError> {
        let mut reports = Vec::new();
        if self.pending.is_empty() {
            self.look(&mut reports)?;
        }
        let pieces = self.take(&mut reports)?;
        let cut = Cut {
            partitions: request.partitions,
            // Of many batches of few files each one goes to a core, of one large batch a part.
            bytes_min: match self.options.max_files_per_batch {
                Some(_) if request.side_by_side => SPLIT_BYTES_MIN_SIDE_BY_SIDE,
                _ => SPLIT_BYTES_MIN,
            },
        };
        let splits = splits(pieces, cut, self.options.line_bytes_max.0);
        Ok(Poll { splits, more: !self.pending.is_empty(), reports, ..Poll::default() })
    }

    fn reader(&self) -> Arc<dyn SplitReader> {
        Arc::clone(&self.reader) as Arc<dyn SplitReader>
    }

    fn take_progress(&mut self) -> Vec<ProgressEntry> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        let mut entries: Vec<ProgressEntry> = changed
            .map(|path| (progress::path_bytes(&path), self.files.get(path.as_os_str()).map(progress::encode)))
            .collect();
        if !std::mem::replace(&mut self.started, true) {
            entries.push((STARTED.to_vec(), Some(b"1".to_vec())));
        }
        entries
    }

    fn stop(&mut self) {
        self.pending.clear();
    }
}
