//! What the background thread does: one round = fold what is committed, make a snapshot when one is due, delete what the
//! log need not keep any more.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::checkpoint::{Checkpoint, import};
use crate::error::{Error, Result};
use crate::fold::Shared;
use crate::folder::Paths;
use crate::log::{self, replay};
use crate::overlay::Overlay;
use crate::snapshot::{self, Snapshot};
use crate::sweep::{self, sweep_away};
use crate::tuning::Tuning;

pub(crate) struct Worker {
    paths: Paths,
    job: String,
    tuning: Tuning,
    shared: Arc<Shared>,
    /// Opened when it is first needed: a short job never waits for it.
    checkpoint: Option<Checkpoint>,
    /// The store was found damaged while it was in use: it is made anew.
    damaged: bool,
    /// The newest snapshot that the log leads on from.
    snapshot: Option<u64>,
    folds_since_snapshot: u32,
    bytes_since_snapshot: u64,
    snapshot_due: bool,
}

/// What recovery found.
pub(crate) struct WorkerStart {
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) snapshot: Option<u64>,
    /// The log does not lead on from that snapshot: there must be a new one soon.
    pub(crate) snapshot_due: bool,
}

impl Worker {
    pub(crate) fn new(paths: Paths, job: String, tuning: Tuning, start: WorkerStart) -> Self {
        Self {
            paths,
            job,
            tuning,
            shared: Arc::default(),
            checkpoint: start.checkpoint,
            damaged: false,
            snapshot: start.snapshot,
            folds_since_snapshot: 0,
            bytes_since_snapshot: 0,
            snapshot_due: start.snapshot_due,
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.paths.dir
    }

    /// Folds up to the commit `to`.
    pub(crate) fn round(&mut self, to: u64, snapshot: bool) -> Result<()> {
        let folded = self
            .fold(to)
            .and_then(|()| if snapshot || self.snapshot_is_due() { self.write_snapshot() } else { Ok(()) });
        self.damaged |= matches!(folded, Err(Error::Store { damaged: true, .. }));
        folded
    }

    /// The round before the thread ends: only what is worth its time.
    pub(crate) fn last_round(&mut self, to: u64, unfolded_bytes: u64) -> Result<()> {
        if unfolded_bytes < self.tuning.close_fold_bytes_min && self.checkpoint.is_none() {
            return Ok(());
        }
        self.fold(to)?;
        let (epoch, bytes) = self.checkpoint.as_ref().map_or((0, 0), |store| (store.progress().epoch, store.size().1));
        let news = self.snapshot != Some(epoch);
        if news && bytes <= self.tuning.close_snapshot_bytes { self.write_snapshot() } else { Ok(()) }
    }

    /// A round failed: the store is opened anew for the next one, because what it counts may not be what it holds.
    pub(crate) fn failed(&mut self) {
        self.checkpoint = None;
    }

    fn fold(&mut self, to: u64) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        loop {
            let from = self.checkpoint()?.progress().epoch + 1;
            if from > to {
                return Ok(());
            }
            let (overlay, bytes) = self.read(from, to)?;
            self.checkpoint()?.fold(&overlay, &|| shared.stopped())?;
            self.folds_since_snapshot += 1;
            self.bytes_since_snapshot += bytes;
            shared.folded(bytes);
        }
    }

    /// The next commits, as many as are folded at a time, merged.
    fn read(&self, from: u64, to: u64) -> Result<(Overlay, u64)> {
        let (mut overlay, mut read) = (Overlay::default(), 0);
        replay(&self.paths.log, from, Some(to), &mut |commit, bytes| {
            overlay.apply(commit);
            read += bytes;
            Ok(if read >= self.tuning.fold_slice_bytes { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok((overlay, read))
    }

    fn checkpoint(&mut self) -> Result<&mut Checkpoint> {
        if self.checkpoint.is_none() {
            self.checkpoint = Some(self.open()?);
        }
        Ok(self.checkpoint.as_mut().expect("it was opened above"))
    }

    /// The store that is there, or a new one from the newest snapshot.
    fn open(&mut self) -> Result<Checkpoint> {
        if let Some(dir) = self.paths.newest_store()? {
            let opened = if self.damaged { Ok(None) } else { Checkpoint::open(&dir, self.tuning.open_limit) };
            match opened {
                Ok(Some(checkpoint)) => return Ok(checkpoint),
                Ok(None) if !self.damaged => {
                    sweep_away(&dir, sweep::checkpoint).map_err(Error::open("remove", &dir))?;
                }
                Ok(None) | Err(Error::Store { damaged: true, .. }) => {
                    let to = self.paths.move_aside(&dir)?;
                    tracing::warn!(store = %to.display(), "the checkpoint store is damaged and was moved here; a new one is made");
                }
                Err(other) => return Err(other),
            }
        }
        let dir = self.paths.next_store()?;
        let mut checkpoint = Checkpoint::create(&dir, self.tuning.open_limit)?;
        log::sync_dir(&self.paths.store).map_err(Error::open("sync", &self.paths.store))?;
        match self.snapshot.and_then(|_| self.newest_snapshot()) {
            Some(snapshot) => import(&mut checkpoint, &snapshot, &|| self.shared.stopped())?,
            None => checkpoint.begin()?,
        }
        if self.damaged {
            self.shared.unfolded(log::bytes(&self.paths.log)?);
        }
        self.damaged = false;
        Ok(checkpoint)
    }

    fn newest_snapshot(&self) -> Option<Snapshot> {
        let snapshots = snapshot::list(&self.paths.snapshot).ok()?;
        snapshots.iter().find_map(|(_, path)| Snapshot::open(path).ok())
    }

    fn snapshot_is_due(&self) -> bool {
        let (_, state_bytes) = self.checkpoint.as_ref().map_or((0, 0), Checkpoint::size);
        self.snapshot_due
            || self.bytes_since_snapshot >= self.tuning.snapshot_bytes
            || (self.folds_since_snapshot >= self.tuning.snapshot_folds && self.bytes_since_snapshot >= state_bytes / 4)
    }

    fn write_snapshot(&mut self) -> Result<()> {
        let Some(checkpoint) = &mut self.checkpoint else { return Ok(()) };
        let epoch = checkpoint.progress().epoch;
        if epoch == 0 || (self.snapshot == Some(epoch) && !self.snapshot_due) {
            return Ok(());
        }
        let epoch = snapshot::write(&self.paths.snapshot, &self.job, checkpoint)?;
        (self.snapshot, self.snapshot_due) = (Some(epoch), false);
        (self.folds_since_snapshot, self.bytes_since_snapshot) = (0, 0);
        snapshot::remove_others(&self.paths.snapshot, epoch)?;
        log::delete_up_to(&self.paths.log, epoch)?;
        log::remove_stale(&self.paths.log)
    }
}

#[cfg(test)]
mod tests {
    use millpond_testkit::ManualClock;
    use millpond_testkit::contract::state_store::Contents;
    use tempfile::TempDir;

    use super::*;
    use crate::folder::Folder;
    use crate::log::{LogWriter, RealDisk};
    use crate::record;
    use crate::recover::recover;
    use crate::tests::{after, numbered_commit};

    fn log_of(paths: &Paths, commits: std::ops::RangeInclusive<u64>) {
        let mut log = LogWriter::try_new(&paths.log, Box::new(RealDisk), *commits.start(), 2000).unwrap();
        let mut bytes = Vec::new();
        for epoch in commits {
            record::encode(&numbered_commit(epoch), &mut bytes).unwrap();
            log.append(epoch, &bytes).unwrap();
        }
    }

    #[test]
    fn store_found_damaged_in_use_is_made_anew_from_the_snapshot() {
        let dir = TempDir::new().unwrap();
        let folder = Folder::open(dir.path(), "job", &ManualClock::new(0)).unwrap();
        let paths = folder.paths().clone();
        let start = WorkerStart { checkpoint: None, snapshot: None, snapshot_due: false };
        let mut worker = Worker::new(paths.clone(), "job".to_owned(), Tuning::default(), start);
        for (commits, snapshot) in [(1..=10, false), (11..=20, true), (21..=30, false)] {
            log_of(&paths, commits.clone());
            worker.round(*commits.end(), snapshot).unwrap();
            worker.damaged = true;
            worker.failed();
        }
        log_of(&paths, 31..=35);
        worker.round(35, false).unwrap();
        drop(worker);
        assert!(dir.path().join("store.damaged-0003").exists());
        assert!(dir.path().join("store/0004").exists() && !dir.path().join("store/0003").exists());
        let start = recover(&paths, false, Tuning::default().open_limit).unwrap();
        assert_eq!(start.unfolded_bytes, 0);
        assert_eq!(start.recovered.notes, [""; 0]);
        assert_eq!(Contents::of(start.recovered), after(35));
    }

    #[test]
    fn snapshots_come_with_folded_bytes_and_with_folds() {
        for tuning in [
            Tuning { snapshot_bytes: 5_000, snapshot_folds: u32::MAX, ..Tuning::default() },
            Tuning { snapshot_bytes: u64::MAX, snapshot_folds: 8, ..Tuning::default() },
        ] {
            let dir = TempDir::new().unwrap();
            let folder = Folder::open(dir.path(), "job", &ManualClock::new(0)).unwrap();
            let paths = folder.paths().clone();
            let start = WorkerStart { checkpoint: None, snapshot: None, snapshot_due: false };
            let mut worker = Worker::new(paths.clone(), "job".to_owned(), tuning, start);
            let made = (1..=20).map(|epoch| {
                log_of(&paths, epoch..=epoch);
                worker.round(epoch, false).unwrap();
                snapshot::list(&paths.snapshot).unwrap().first().map_or(0, |(epoch, _)| *epoch)
            });
            let made: Vec<u64> = made.collect();
            assert!(made[0] == 0 && made[19] > 8, "{made:?}");
            assert_eq!(snapshot::list(&paths.snapshot).unwrap().len(), 1);
            assert!(log::segments(&paths.log).unwrap()[0].first > 1);
        }
    }
}
