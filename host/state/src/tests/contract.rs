//! The contract suite, in the ways in which a store can be between two commits.

use millpond_core::store::CommitStats;
use millpond_core::{BoxError, CommitRecord, Recovered, StateStore};
use millpond_testkit::contract::state_store::{Open, all};
use tempfile::TempDir;

use super::*;

/// Does something after every commit.
struct After {
    store: FileStateStore,
    then: fn(&mut FileStateStore),
}

impl StateStore for After {
    fn recover(&mut self) -> Result<Recovered, BoxError> {
        self.store.recover()
    }

    fn commit(&mut self, record: CommitRecord) -> Result<CommitStats, BoxError> {
        let stats = self.store.commit(record)?;
        (self.then)(&mut self.store);
        Ok(stats)
    }

    fn close(&mut self) -> Result<(), BoxError> {
        self.store.close()
    }
}

fn check(tuning: Tuning, then: fn(&mut FileStateStore), between: fn(&Path)) {
    all(|| -> Box<Open> {
        let dir = TempDir::new().unwrap();
        Box::new(move || {
            between(dir.path());
            let store = FileStateStore::open_with(options(dir.path()), tuning, Box::new(RealDisk)).unwrap();
            Box::new(After { store, then })
        })
    });
}

#[test]
fn contract_holds_with_the_log_alone() {
    check(small(), |_| {}, |_| {});
}

#[test]
fn contract_holds_with_the_default_sizes() {
    check(Tuning::default(), |_| {}, |_| {});
}

#[test]
fn contract_holds_when_every_commit_is_folded() {
    check(small(), |store| store.fold_now().unwrap(), |_| {});
}

#[test]
fn contract_holds_when_every_close_folds_and_snapshots() {
    let tuning = Tuning { close_fold_bytes_min: 0, close_fold_bytes_max: u64::MAX, ..small() };
    check(tuning, |_| {}, |_| {});
}

#[test]
fn contract_holds_when_the_checkpoint_is_lost_again_and_again() {
    check(small(), |store| store.snapshot_now().unwrap(), |dir| drop(std::fs::remove_dir_all(dir.join("store"))));
}
