//! The store itself: the port's three calls, on a locked folder.

use std::path::PathBuf;
use std::sync::Arc;

use millpond_core::store::CommitStats;
use millpond_core::{BoxError, Clock, CommitRecord, Recovered, StateStore};

use crate::error::{Error, Result};
use crate::fold;
use crate::folder::Folder;
use crate::log::{LogDisk, LogWriter, RealDisk};
use crate::overlay::hash_key;
use crate::record;
use crate::recover::{Start, recover};
use crate::tuning::Tuning;
use crate::worker::{Worker, WorkerStart};

/// A record buffer that has grown beyond this is not kept for the next commit.
const BUFFER_BYTES_KEPT: usize = 64 << 20;

/// Settings of a [`FileStateStore`].
#[derive(Clone)]
pub struct StateOptions {
    /// The state folder; made if it is not there, else empty or made by this job. One job has one folder.
    pub dir: PathBuf,
    /// The job's name. A folder that another job made is refused.
    pub job: String,
    /// How often the log is folded into the checkpoint store, in the background; milliseconds. 0 = after every commit.
    pub fold_every_ms: u64,
    /// Tells when a fold is due, and how long to wait for the lock of a process that was killed.
    pub clock: Arc<dyn Clock>,
}

/// A job's durable state in a folder.
///
/// **State and effects**: a commit is durable when `commit` returns; all else happens on a thread of the store's own. The
/// folder is locked from `open` to `close` (or drop). **Cost**: a commit is one append and one `fdatasync`; every 16 MiB of
/// log a commit begins a new segment, which also syncs the folder. A store that is dropped without `close` recovers as
/// after a crash.
pub struct FileStateStore {
    options: StateOptions,
    tuning: Tuning,
    /// Kept until the log is opened for writing.
    disk: Option<Box<dyn LogDisk>>,
    // Before the lock, so that the thread has ended when the folder is let go of.
    running: Option<Running>,
    folder: Option<Folder>,
    buffer: Vec<u8>,
}

struct Running {
    log: LogWriter,
    fold: fold::Folder,
    last: u64,
}

impl FileStateStore {
    /// Locks the folder and checks that it is this job's.
    ///
    /// **Errors**: MP0701 in use; MP0705 made by another version; MP0707 made by another job, or a folder with other files in it;
    /// MP0708 cannot be opened or made, or is damaged.
    pub fn open(options: StateOptions) -> Result<Self> {
        Self::open_with(options, Tuning::default(), Box::new(RealDisk))
    }

    pub(crate) fn open_with(options: StateOptions, tuning: Tuning, disk: Box<dyn LogDisk>) -> Result<Self> {
        let folder = Some(Folder::open(&options.dir, &options.job, &*options.clock)?);
        Ok(Self { options, tuning, disk: Some(disk), running: None, folder, buffer: Vec::new() })
    }

    /// Folds everything that is committed into the checkpoint store, and waits for it. Not needed for safety: folding
    /// happens by itself.
    ///
    /// **Errors**: MP0704 with the reason; it is tried again by itself later.
    pub fn fold_now(&mut self) -> Result<()> {
        self.fold(false)
    }

    /// As [`Self::fold_now`], then makes a snapshot and shortens the log.
    pub fn snapshot_now(&mut self) -> Result<()> {
        self.fold(true)
    }

    fn fold(&mut self, snapshot: bool) -> Result<()> {
        let folded = self.running()?.fold.fold_now(snapshot);
        folded.map_err(|reason| Error::Store { path: self.options.dir.clone(), reason, damaged: false })
    }

    fn running(&mut self) -> Result<&mut Running> {
        self.running.as_mut().ok_or_else(|| Error::misuse("it is used before `recover` or after `close`"))
    }

    fn start(&mut self) -> Result<Recovered> {
        let folder = self.folder.as_mut().ok_or_else(|| Error::misuse("`recover` is called after `close`"))?;
        if self.disk.is_none() {
            return Err(Error::misuse("`recover` is called twice"));
        }
        let paths = folder.paths().clone();
        let Start { recovered, checkpoint, snapshot, snapshot_due, unfolded_bytes } =
            recover(&paths, folder.has_commits(), self.tuning.open_limit)?;
        if recovered.last.is_some() {
            folder.note_commits();
        }
        let last = recovered.last.map_or(0, |(epoch, _)| epoch.0);
        let disk = self.disk.take().expect("it was there above, and nobody else takes it");
        let log = LogWriter::try_new(&paths.log, disk, last + 1, self.tuning.segment_bytes)?;
        let worker = WorkerStart { checkpoint, snapshot, snapshot_due };
        let worker = Worker::new(paths, self.options.job.clone(), self.tuning, worker);
        let start = fold::FolderStart {
            committed: last,
            unfolded_bytes,
            fold_every_ms: self.options.fold_every_ms,
            phase: hash_key(self.options.job.as_bytes()),
            now_us: self.options.clock.monotonic_us(),
        };
        self.running = Some(Running { log, fold: fold::Folder::try_new(worker, start)?, last });
        Ok(recovered)
    }

    fn append(&mut self, record: &CommitRecord) -> Result<CommitStats> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let now_us = self.options.clock.monotonic_us();
        let log_dir = self.options.dir.join("log");
        let running = self.running()?;
        let (epoch, expected) = (record.epoch.0, running.last + 1);
        if epoch != expected {
            return Err(Error::misuse(format!("commit {epoch} comes where commit {expected} is due")));
        }
        record::encode(record, &mut buffer)?;
        running.fold.admit(&log_dir)?;
        running.log.append(epoch, &buffer)?;
        running.last = epoch;
        let bytes = buffer.len() as u64;
        running.fold.committed(epoch, bytes, now_us);
        if buffer.capacity() <= BUFFER_BYTES_KEPT {
            self.buffer = buffer;
        }
        if let Some(folder) = &mut self.folder {
            folder.note_commits();
        }
        Ok(CommitStats { bytes })
    }
}

#[cfg(test)]
impl FileStateStore {
    /// Asks for a fold and does not wait.
    pub(crate) fn ask_for_fold(&mut self) {
        self.running().expect("it is open").fold.ask_for_fold();
    }

    /// Waits until no fold is under way.
    pub(crate) fn settle(&mut self) {
        self.running().expect("it is open").fold.settle();
    }
}

impl StateStore for FileStateStore {
    fn recover(&mut self) -> Result<Recovered, BoxError> {
        Ok(self.start()?)
    }

    fn commit(&mut self, record: CommitRecord) -> Result<CommitStats, BoxError> {
        Ok(self.append(&record)?)
    }

    fn close(&mut self) -> Result<(), BoxError> {
        if let Some(mut running) = self.running.take() {
            running.fold.close();
        }
        self.folder = None;
        Ok(())
    }
}
