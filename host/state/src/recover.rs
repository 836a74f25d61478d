//! Recovery: which of the places that hold state is good, and the log over it.
//!
//! In this order: the checkpoint store and the log behind it; the newest good snapshot and the log behind it; the whole log.
//! A checkpoint store that does not serve is moved aside and named in the notes. Damage in the part of the log that
//! the checkpoint store needs is not worked around: every other place needs that part, too.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use millpond_core::{BatchTime, Epoch, Recovered};

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::folder::Paths;
use crate::log::{self, replay};
use crate::overlay::Overlay;
use crate::snapshot::{self, Snapshot};
use crate::state::Merge;
use crate::sweep::{self, sweep_away};

/// What a store goes on from.
pub(crate) struct Start {
    pub(crate) recovered: Recovered,
    /// The checkpoint store, if there is a good one.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// The newest snapshot.
    pub(crate) snapshot: Option<u64>,
    /// The log does not lead on from that snapshot.
    pub(crate) snapshot_due: bool,
    /// Bytes of log that are in no checkpoint.
    pub(crate) unfolded_bytes: u64,
}

/// Where the state underneath the log comes from.
enum Base {
    Checkpoint(Box<Checkpoint>),
    Snapshot(Snapshot),
    Nothing,
}

/// Reads everything back. With `has_commits` there was something to read.
pub(crate) fn recover(paths: &Paths, has_commits: bool, open_limit: Duration) -> Result<Start> {
    let mut notes = Vec::new();
    let store_failure = match open_checkpoint(paths, open_limit, &mut notes)? {
        Opened::Good(checkpoint) => match load(paths, Base::Checkpoint(checkpoint), &mut notes) {
            Ok(start) if start.recovered.last.is_some() || !has_commits => return finish(paths, start, notes),
            Ok(start) => {
                let path = start.checkpoint.map_or_else(|| paths.store.clone(), |store| store.dir().to_owned());
                let reason = "neither it nor the log holds a commit, and there were some".to_owned();
                move_aside(paths, &Error::Store { path, reason, damaged: true }, &mut notes)?
            }
            Err(failure @ Error::Store { .. }) => move_aside(paths, &failure, &mut notes)?,
            Err(other) => return Err(other),
        },
        Opened::Bad(reason) => reason,
        Opened::None => "there is none".to_owned(),
    };
    let snapshots = snapshot::list(&paths.snapshot)?;
    let mut snapshot_failure = "there is none".to_owned();
    for (epoch, path) in &snapshots {
        match Snapshot::open(path).and_then(|snapshot| load(paths, Base::Snapshot(snapshot), &mut notes)) {
            Ok(start) => {
                notes.push(format!("the state was read from the snapshot of commit {epoch} and the log behind it"));
                return finish(paths, start, notes);
            }
            Err(version @ Error::Version { .. }) => return Err(version),
            Err(failure) => snapshot_failure = failure.to_string(),
        }
    }
    match load(paths, Base::Nothing, &mut notes) {
        Ok(start) if has_commits && start.recovered.last.is_none() => Err(Error::CommitsMissing {
            dir: paths.dir.clone(),
            log: paths.log.clone(),
            store: store_failure,
            snapshot: snapshot_failure,
        }),
        Ok(start) => {
            if !snapshots.is_empty() {
                notes
                    .push(format!("the snapshot does not serve ({snapshot_failure}); the state was read from the log"));
            }
            finish(paths, start, notes)
        }
        // Nothing was there but the log: then what is wrong with the log is the whole story.
        Err(failure) if snapshots.is_empty() && store_failure == "there is none" => Err(failure),
        Err(failure @ Error::LogDamaged { .. }) => Err(Error::Unrecoverable {
            dir: paths.dir.clone(),
            store: store_failure,
            snapshot: snapshot_failure,
            log: failure.to_string(),
        }),
        Err(other) => Err(other),
    }
}

enum Opened {
    Good(Box<Checkpoint>),
    /// There was one, and why it does not serve.
    Bad(String),
    None,
}

fn open_checkpoint(paths: &Paths, limit: Duration, notes: &mut Vec<String>) -> Result<Opened> {
    let Some(dir) = paths.newest_store()? else { return Ok(Opened::None) };
    match Checkpoint::open(&dir, limit) {
        Ok(Some(checkpoint)) => Ok(Opened::Good(Box::new(checkpoint))),
        Ok(None) => {
            // Its making was broken off before it held anything: nothing is lost with it.
            sweep_away(&dir, sweep::checkpoint).map_err(Error::open("remove", &dir))?;
            Ok(Opened::None)
        }
        Err(failure @ Error::Store { .. }) => move_aside(paths, &failure, notes).map(Opened::Bad),
        Err(other) => Err(other),
    }
}

fn move_aside(paths: &Paths, failure: &Error, notes: &mut Vec<String>) -> Result<String> {
    if let Some(store) = paths.newest_store()? {
        let to = paths.move_aside(&store)?;
        notes.push(format!("{failure}; it was moved to {}", to.display()));
    }
    Ok(failure.to_string())
}

/// The state of one base with the log over it.
fn load(paths: &Paths, mut base: Base, notes: &mut Vec<String>) -> Result<Start> {
    let last = base.last();
    let from = last.map_or(1, |(epoch, _)| epoch.0 + 1);
    base.leads_on(paths, from)?;
    let mut overlay = Overlay::default();
    let mut unfolded_bytes = 0;
    let end = replay(&paths.log, from, None, &mut |commit, bytes| {
        overlay.apply(commit);
        unfolded_bytes += bytes;
        Ok(ControlFlow::Continue(()))
    })?;
    notes.extend(end.cut);
    let log_ends = overlay.last.map(|(epoch, _)| epoch.0).or(end.last).unwrap_or(0);
    base.check(log_ends)?;
    let mut merge = Merge::new(&overlay);
    match &mut base {
        Base::Checkpoint(checkpoint) => {
            // sled has been seen to panic on damage.
            let visited = catch_unwind(AssertUnwindSafe(|| checkpoint.visit(&mut merge)));
            visited.unwrap_or_else(|_| {
                let reason = "it panicked while it was read".to_owned();
                Err(Error::Store { path: checkpoint.dir().to_owned(), reason, damaged: true })
            })?;
        }
        Base::Snapshot(snapshot) => snapshot.visit(&mut merge)?,
        Base::Nothing => {}
    }
    let recovered = merge.finish(last)?;
    let snapshot_due = log_ends < from - 1 && !log::segments(&paths.log)?.is_empty();
    if snapshot_due {
        notes.push(format!(
            "the log ends at commit {log_ends}, the checkpoint holds commit {}: nothing is lost",
            from - 1
        ));
        log::set_aside(&paths.log)?;
    }
    let snapshot = match &base {
        Base::Snapshot(_) => last.map(|(epoch, _)| epoch.0),
        _ => None,
    };
    let checkpoint = match base {
        Base::Checkpoint(checkpoint) => Some(*checkpoint),
        _ => None,
    };
    Ok(Start { recovered, checkpoint, snapshot, snapshot_due, unfolded_bytes })
}

impl Base {
    fn last(&self) -> Option<(Epoch, BatchTime)> {
        match self {
            Self::Checkpoint(checkpoint) => checkpoint.progress().last(),
            Self::Snapshot(snapshot) => snapshot.last(),
            Self::Nothing => None,
        }
    }

    /// A checkpoint store that ends before the log begins has lost what was in it: the log is kept back to a snapshot, and
    /// snapshots are made from the store.
    fn leads_on(&self, paths: &Paths, from: u64) -> Result<()> {
        let (Self::Checkpoint(checkpoint), Some(oldest)) = (self, log::segments(&paths.log)?.into_iter().next()) else {
            return Ok(());
        };
        if oldest.first <= from {
            return Ok(());
        }
        let reason = format!("it ends at commit {}, and the log begins at commit {}", from - 1, oldest.first);
        Err(Error::Store { path: checkpoint.dir().to_owned(), reason, damaged: true })
    }

    /// A fold that was broken off is made good by the log, if the log still has what was being folded.
    fn check(&self, log_ends: u64) -> Result<()> {
        let Self::Checkpoint(checkpoint) = self else { return Ok(()) };
        let progress = checkpoint.progress();
        if progress.folding_to == progress.epoch || log_ends >= progress.folding_to {
            return Ok(());
        }
        let reason =
            format!("commits up to {} were being folded into it, and the log ends at {log_ends}", progress.folding_to);
        Err(Error::Store { path: checkpoint.dir().to_owned(), reason, damaged: true })
    }
}

fn finish(paths: &Paths, mut start: Start, notes: Vec<String>) -> Result<Start> {
    if start.snapshot.is_none() {
        start.snapshot = snapshot::list(&paths.snapshot)?.first().map(|(epoch, _)| *epoch);
    }
    start.recovered.notes = notes;
    Ok(start)
}
