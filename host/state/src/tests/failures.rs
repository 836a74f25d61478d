//! What a store must survive, and what it must refuse.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use millpond_core::{Classify, Epoch, StateChange, StateDelta};
use tempfile::TempDir;

use super::*;
use crate::Error;
use crate::log::tests::FullDisk;

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

#[test]
fn folder_in_use_is_refused_with_the_holders_name() {
    let dir = TempDir::new().unwrap();
    let mut first = open(dir.path());
    let Err(refused) = FileStateStore::open(options(dir.path())) else { panic!("two stores hold one folder") };
    assert_eq!(refused.code().0, "MP0701");
    let message = refused.to_string();
    assert!(message.contains(&std::process::id().to_string()) && message.contains("job `job`"), "{message}");
    first.close().unwrap();
    drop(open(dir.path()));
}

#[test]
fn folder_of_another_job_is_refused() {
    let dir = TempDir::new().unwrap();
    drop(open(dir.path()));
    let Err(refused) = FileStateStore::open(StateOptions { job: "other".to_owned(), ..options(dir.path()) }) else {
        panic!("another job's folder was taken")
    };
    assert_eq!(refused.code().0, "MP0707");
    assert!(refused.to_string().contains("belongs to the job `job`, not to `other`"), "{refused}");
}

#[test]
fn unknown_format_version_is_refused() {
    let dir = TempDir::new().unwrap();
    drop(open(dir.path()));
    fs::write(dir.path().join("meta.json"), r#"{"format": 2, "jobs": []}"#).unwrap();
    let Err(refused) = FileStateStore::open(options(dir.path())) else { panic!("version 2 was taken") };
    assert_eq!(refused.code().0, "MP0705");
}

#[test]
fn folder_that_is_a_file_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "x").unwrap();
    let Err(refused) = FileStateStore::open(options(&path)) else { panic!("a file was taken for a folder") };
    assert_eq!(refused.code().0, "MP0708");
    assert!(refused.to_string().contains("file"), "{refused}");
}

#[test]
fn commits_out_of_turn_are_refused() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    assert_eq!(store.commit(empty_commit(1)).unwrap_err().code().0, "MP0901");
    store.recover().unwrap();
    assert_eq!(store.commit(empty_commit(2)).unwrap_err().code().0, "MP0901");
    store.commit(empty_commit(1)).unwrap();
    store.close().unwrap();
    assert_eq!(store.commit(empty_commit(2)).unwrap_err().code().0, "MP0901");
}

#[test]
fn damaged_commit_in_the_middle_is_refused() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    store.recover().unwrap();
    commit_all(&mut store, 1..=9);
    drop(store);
    flip(&crate::log::segments(&dir.path().join("log")).unwrap()[0].path, 100);
    let refused = open(dir.path()).recover().unwrap_err();
    assert_eq!(refused.code().0, "MP0703");
    assert!(refused.to_string().contains("valid commits follow"), "{refused}");
}

#[test]
fn damaged_commit_that_is_folded_already_does_not_matter() {
    let dir = TempDir::new().unwrap();
    let (mut store, ..) = recovered(dir.path());
    commit_all(&mut store, 1..=9);
    store.fold_now().unwrap();
    commit_all(&mut store, 10..=12);
    drop(store);
    flip(&crate::log::segments(&dir.path().join("log")).unwrap()[0].path, 100);
    let (_, contents, notes) = recovered(dir.path());
    assert_eq!((contents, notes), (after(12), vec![]));
}

#[test]
fn full_disk_leaves_what_was_committed_whole() {
    let dir = TempDir::new().unwrap();
    let left = Arc::new(AtomicUsize::new(5_000));
    let disk = FullDisk { left: Arc::clone(&left), truncate_fails: false };
    let mut store = FileStateStore::open_with(options(dir.path()), small(), Box::new(disk)).unwrap();
    store.recover().unwrap();
    let (failed, refused) = (1..).find_map(|epoch| Some((epoch, store.commit(numbered_commit(epoch)).err()?))).unwrap();
    assert_eq!(refused.code().0, "MP0702");
    assert!(refused.to_string().contains("log"), "{refused}");
    let copy = TempDir::new().unwrap();
    copy_dir(dir.path(), copy.path());
    assert_eq!(recovered(copy.path()).1, after(failed - 1));
    left.store(1 << 20, Ordering::Relaxed);
    commit_all(&mut store, failed..=failed + 3);
    drop(store);
    assert_eq!(recovered(dir.path()).1, after(failed + 3));
}

/// A folder with a snapshot at commit 20, a checkpoint store at 30 and a log up to 33.
fn lived() -> TempDir {
    let dir = TempDir::new().unwrap();
    let (mut store, ..) = recovered(dir.path());
    commit_all(&mut store, 1..=20);
    store.snapshot_now().unwrap();
    commit_all(&mut store, 21..=30);
    store.fold_now().unwrap();
    commit_all(&mut store, 31..=33);
    drop(store);
    dir
}

fn store_dir(dir: &Path) -> PathBuf {
    dir.join("store").join("0001")
}

#[test]
fn log_is_kept_back_to_the_snapshot_and_no_further() {
    let dir = lived();
    let segments = crate::log::segments(&dir.path().join("log")).unwrap();
    assert!(segments[0].first > 1 && segments[0].first <= 21, "{segments:?}");
    assert!(segments.len() > 1);
}

#[test]
fn missing_checkpoint_is_made_good_by_the_snapshot_and_the_log() {
    let dir = lived();
    fs::remove_dir_all(dir.path().join("store")).unwrap();
    let (mut store, contents, notes) = recovered(dir.path());
    assert_eq!(contents, after(33));
    assert!(notes[0].contains("snapshot of commit 20"), "{notes:?}");
    commit_all(&mut store, 34..=36);
    store.fold_now().unwrap();
    drop(store);
    let (_, contents, notes) = recovered(dir.path());
    assert_eq!((contents, notes), (after(36), vec![]));
}

/// Flips a byte of some page in the store: sled's own checksum or ours must notice.
#[test]
fn damaged_checkpoint_is_moved_aside() {
    for part in [2, 3, 5] {
        let dir = lived();
        let db = store_dir(dir.path()).join("db");
        let bytes = fs::read(&db).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        flip(&db, used * (part - 1) / part);
        let (mut store, contents, notes) = recovered(dir.path());
        assert_eq!(contents, after(33), "{notes:?}");
        store.fold_now().unwrap();
        commit_all(&mut store, 34..=40);
        drop(store);
        assert_eq!(recovered(dir.path()).1, after(40));
    }
}

#[test]
fn store_that_lost_a_page_or_holds_a_wrong_one_is_moved_aside() {
    let tampers: [fn(&sled::Db); 3] = [
        |db| drop(db.remove(page_key(db)).unwrap()),
        |db| drop(db.insert(page_key(db), b"\x01garbage".as_slice()).unwrap()),
        |db| {
            // A page that is valid in another place.
            let page = page_key(db);
            let value = db.get(&page).unwrap().unwrap();
            let mut other = page.to_vec();
            *other.last_mut().unwrap() ^= 1;
            db.insert(other, value).unwrap();
        },
    ];
    for tamper in tampers {
        let dir = lived();
        let db = sled::open(store_dir(dir.path())).unwrap();
        tamper(&db);
        db.flush().unwrap();
        drop(db);
        let (store, contents, notes) = recovered(dir.path());
        assert_eq!(contents, after(33));
        assert!(notes[0].contains("store.damaged-0001") && notes[1].contains("snapshot of commit 20"), "{notes:?}");
        assert!(dir.path().join("store.damaged-0001").exists());
        drop(store);
    }
}

fn page_key(db: &sled::Db) -> sled::IVec {
    db.scan_prefix([0x20]).keys().next().unwrap().unwrap()
}

#[test]
fn checkpoint_that_does_not_open_in_time_is_moved_aside() {
    let dir = lived();
    let tuning = Tuning { open_limit: NO_TIME, ..small() };
    let mut store = FileStateStore::open_with(options(dir.path()), tuning, Box::new(RealDisk)).unwrap();
    let recovered = store.recover().unwrap();
    assert!(recovered.notes[0].contains("did not open within"), "{:?}", recovered.notes);
    assert_eq!(Contents::of(recovered), after(33));
}

#[test]
fn without_checkpoint_and_snapshot_the_loss_is_named() {
    let dir = lived();
    fs::remove_dir_all(dir.path().join("store")).unwrap();
    let snapshot = crate::snapshot::list(&dir.path().join("snapshot")).unwrap().remove(0).1;
    flip(&snapshot.join("manifest.json"), 120);
    let refused = open(dir.path()).recover().unwrap_err();
    assert_eq!(refused.code().0, "MP0704");
    assert!(refused.to_string().contains("manifest.json"), "{refused}");
}

#[test]
fn log_that_lost_what_the_checkpoint_holds_is_gone_on_from() {
    let dir = lived();
    let log = dir.path().join("log");
    let segments = crate::log::segments(&log).unwrap();
    // Only what the snapshot leads on from is left.
    segments[1..].iter().for_each(|segment| fs::remove_file(&segment.path).unwrap());
    let (mut store, contents, notes) = recovered(dir.path());
    assert_eq!(contents, after(30));
    assert!(notes[0].contains("nothing is lost"), "{notes:?}");
    store.commit(numbered_commit(31)).unwrap();
    store.fold_now().unwrap();
    drop(store);
    fs::remove_dir_all(dir.path().join("store")).unwrap();
    assert_eq!(recovered(dir.path()).1, after(31));
}

#[test]
fn broken_off_fold_is_done_again() {
    let dir = lived();
    let (mut store, ..) = recovered(dir.path());
    commit_all(&mut store, 34..=60);
    store.ask_for_fold();
    // Drop breaks it off wherever it is.
    drop(store);
    let (mut store, contents, _) = recovered(dir.path());
    assert_eq!(contents, after(60));
    store.snapshot_now().unwrap();
    drop(store);
    assert_eq!(recovered(dir.path()).1, after(60));
}

#[test]
fn failing_checkpoints_stop_commits_only_at_the_limit() {
    let dir = TempDir::new().unwrap();
    let tuning = Tuning { backlog_bytes: 20_000, ..small() };
    let clock = Arc::new(ManualClock::new(0));
    let options = StateOptions { fold_every_ms: 0, clock, ..options(dir.path()) };
    let mut store = FileStateStore::open_with(options, tuning, Box::new(RealDisk)).unwrap();
    store.recover().unwrap();
    // A file where the store's folder should be made.
    fs::remove_dir(dir.path().join("store")).unwrap();
    fs::write(dir.path().join("store"), "in the way").unwrap();
    let (failed, refused) = (1..).find_map(|epoch| Some((epoch, store.commit(numbered_commit(epoch)).err()?))).unwrap();
    assert!(failed > 10);
    assert_eq!(refused.code().0, "MP0702");
    assert!(refused.to_string().contains("because checkpoints fail"), "{refused}");
    // Once the reason is gone the same commit goes through.
    fs::remove_file(dir.path().join("store")).unwrap();
    fs::create_dir(dir.path().join("store")).unwrap();
    commit_all(&mut store, failed..=failed + 5);
    drop(store);
    assert_eq!(recovered(dir.path()).1, after(failed + 5));
}

#[test]
fn folds_come_with_time_and_with_length() {
    let dir = TempDir::new().unwrap();
    let clock = ManualClock::new(0);
    let timed = StateOptions { fold_every_ms: 1000, clock: Arc::new(clock.clone()), ..options(dir.path()) };
    let mut store = FileStateStore::open_with(timed, small(), Box::new(RealDisk)).unwrap();
    store.recover().unwrap();
    commit_all(&mut store, 1..=3);
    store.settle();
    assert!(!store_dir(dir.path()).exists());
    clock.advance_ms(1000);
    commit_all(&mut store, 4..=4);
    store.settle();
    assert!(store_dir(dir.path()).exists());
    drop(store);

    let dir = TempDir::new().unwrap();
    let tuning = Tuning { fold_bytes: 10_000, ..small() };
    let mut store = FileStateStore::open_with(options(dir.path()), tuning, Box::new(RealDisk)).unwrap();
    store.recover().unwrap();
    commit_all(&mut store, 1..=2);
    store.settle();
    assert!(!store_dir(dir.path()).exists());
    commit_all(&mut store, 3..=30);
    store.settle();
    assert!(store_dir(dir.path()).exists());
}

#[test]
fn schemas_may_change_between_commits() {
    let dir = TempDir::new().unwrap();
    let (mut store, ..) = recovered(dir.path());
    let commit = |epoch, keys: &[&str], values| {
        let keys = arrow::array::BinaryArray::from_iter_values(keys);
        let deletes = arrow::array::BinaryArray::from_vec(vec![]);
        let change = StateChange::Keyed { deletes, keys, values };
        let state = vec![StateDelta { node: "node".to_owned(), change }];
        CommitRecord { epoch: Epoch(epoch), state, ..empty_commit(epoch) }
    };
    let old = millpond_testkit::contract::state_store::numbers(&[1, 2]);
    let new = millpond_testkit::rows::lines(&["x"]);
    store.commit(commit(1, &["a", "b"], old.clone())).unwrap();
    store.fold_now().unwrap();
    store.commit(commit(2, &["b"], new.clone())).unwrap();
    for snapshot in [false, true] {
        drop(store);
        let found;
        (store, found, _) = recovered(dir.path());
        assert_eq!(found.keyed["node"][&b"a"[..]], old.slice(0, 1));
        assert_eq!(found.keyed["node"][&b"b"[..]], new);
        if snapshot { store.snapshot_now().unwrap() } else { store.fold_now().unwrap() }
    }
    drop(store);
    fs::remove_dir_all(dir.path().join("store")).unwrap();
    assert_eq!(recovered(dir.path()).1.keyed["node"][&b"b"[..]], new);
}

#[test]
fn every_error_names_what_to_do() {
    let error = Error::Poisoned { path: "log".into(), epoch: 3, reason: "no".to_owned() };
    assert!(error.to_string().contains("repair the disk"));
}
