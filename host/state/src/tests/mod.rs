//! The store as a whole.

mod contract;
mod failures;
mod fresh;
mod model;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millpond_core::{CommitRecord, StateStore};
use millpond_testkit::ManualClock;
use millpond_testkit::contract::state_store::{Contents, empty_commit, keyed_change};

use crate::log::RealDisk;
use crate::tuning::Tuning;
use crate::{FileStateStore, StateOptions};

/// Everything small, so that a few commits go through every path.
fn small() -> Tuning {
    Tuning {
        segment_bytes: 2_000,
        fold_bytes: u64::MAX,
        fold_slice_bytes: 3_000,
        snapshot_bytes: 1 << 40,
        snapshot_folds: u32::MAX,
        close_fold_bytes_min: u64::MAX,
        close_fold_bytes_max: 0,
        ..Tuning::default()
    }
}

/// Folds only when told to.
fn options(dir: &Path) -> StateOptions {
    let clock = Arc::new(ManualClock::new(0));
    StateOptions { dir: dir.to_owned(), job: "job".to_owned(), fold_every_ms: u64::MAX, clock }
}

fn open(dir: &Path) -> FileStateStore {
    FileStateStore::open_with(options(dir), small(), Box::new(RealDisk)).unwrap()
}

/// Opens and recovers; what was recovered, and the notes.
fn recovered(dir: &Path) -> (FileStateStore, Contents, Vec<String>) {
    let mut store = open(dir);
    let recovered = store.recover().unwrap();
    let notes = recovered.notes.clone();
    (store, Contents::of(recovered), notes)
}

/// A commit that changes a few keys of many.
pub(crate) fn numbered_commit(epoch: u64) -> CommitRecord {
    let keys: Vec<String> = (0..20).map(|at| format!("key {}", (epoch * 7 + at * 13) % 200)).collect();
    let upserts: Vec<_> = keys.iter().map(|key| (key.as_str(), epoch.cast_signed())).collect();
    let gone = format!("key {}", epoch % 200);
    let upserts: Vec<_> = upserts.into_iter().filter(|(key, _)| *key != gone).collect();
    CommitRecord { state: vec![keyed_change("count", &[&gone], &upserts)], ..empty_commit(epoch) }
}

fn commit_all(store: &mut FileStateStore, epochs: std::ops::RangeInclusive<u64>) {
    for epoch in epochs {
        store.commit(numbered_commit(epoch)).unwrap();
    }
}

/// What a store must hold after so many numbered commits.
pub(crate) fn after(epochs: u64) -> Contents {
    let mut memory = millpond_testkit::MemoryStore::new();
    for epoch in 1..=epochs {
        memory.commit(numbered_commit(epoch)).unwrap();
    }
    Contents::of(memory.recover().unwrap())
}

/// Copies a state folder, as a machine that stops at this moment would leave it.
fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

const NO_TIME: Duration = Duration::ZERO;
