//! Whose folder it is, starting over, and what must not look like a fresh start.

use std::fs;

use millpond_core::Classify;
use tempfile::TempDir;

use super::*;
use crate::{Error, forget};

/// Every file and folder below, by path.
fn tree(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned());
            if path.is_dir() {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A folder with a log, a checkpoint store, a snapshot, and everything else that a store may leave.
fn lived() -> TempDir {
    let dir = TempDir::new().unwrap();
    let (mut store, ..) = recovered(dir.path());
    commit_all(&mut store, 1..=9);
    store.snapshot_now().unwrap();
    commit_all(&mut store, 10..=12);
    store.close().unwrap();
    copy_dir(&dir.path().join("store/0001"), &dir.path().join("store.damaged-0000"));
    copy_dir(
        &dir.path().join("snapshot").join(format!("{:020}", 9)),
        &dir.path().join("snapshot").join(format!("{:020}.tmp", 12)),
    );
    fs::write(dir.path().join("log").join(format!("{:020}.stale", 1)), "x").unwrap();
    fs::create_dir_all(dir.path().join("store/0001/blobs")).unwrap();
    for name in ["blobs/17", "snap.00000000000000AF", "snap.00000000000000B0.generating"] {
        fs::write(dir.path().join("store/0001").join(name), "x").unwrap();
    }
    fs::write(dir.path().join("meta.json.tmp"), "{").unwrap();
    dir
}

fn refusal(dir: &Path) -> Error {
    match FileStateStore::open(options(dir)) {
        Ok(_) => panic!("{} was opened", dir.display()),
        Err(refused) => refused,
    }
}

#[test]
fn forgotten_state_leaves_an_empty_folder() {
    let dir = lived();
    forget(dir.path(), "job").unwrap();
    assert_eq!(tree(dir.path()), [""; 0]);
    let (mut store, contents, notes) = recovered(dir.path());
    assert_eq!((contents, notes), (after(0), vec![]));
    commit_all(&mut store, 1..=2);
}

#[test]
fn no_state_is_forgotten_already() {
    let dir = TempDir::new().unwrap();
    forget(dir.path(), "job").unwrap();
    forget(&dir.path().join("not there"), "job").unwrap();
    assert_eq!(tree(dir.path()), [""; 0]);
}

#[test]
fn files_of_others_survive_forgetting_and_the_job_starts_beside_them() {
    let dir = lived();
    let others = [
        "log/1.log",
        "log/app.log",
        "mine/log/00000000000000000001.log",
        "notes.txt",
        "snapshot/00000000000000000009/0.csv",
        "snapshot/holiday.jpg",
        "store/0001/readme",
        "store.damaged-0000/db.bak",
        "store.damaged-by-me/db",
    ];
    for name in others {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "precious").unwrap();
    }
    let left = |dir: &Path| tree(dir).into_iter().filter(|name| dir.join(name).is_file()).collect::<Vec<_>>();
    forget(dir.path(), "job").unwrap();
    let mut expected = [&others[..], &["LOCK", "meta.json"]].concat();
    expected.sort_unstable();
    assert_eq!(left(dir.path()), expected);
    let (mut store, contents, _) = recovered(dir.path());
    assert_eq!(contents, after(0));
    commit_all(&mut store, 1..=5);
    store.snapshot_now().unwrap();
    commit_all(&mut store, 6..=7);
    drop(store);
    assert_eq!(recovered(dir.path()).1, after(7));
    assert!(others.iter().all(|name| dir.path().join(name).is_file()), "{:?}", tree(dir.path()));
}

#[cfg(unix)]
#[test]
fn log_behind_a_link_is_forgotten_and_the_link_stays() {
    let (dir, elsewhere) = (lived(), TempDir::new().unwrap());
    let (log, moved) = (dir.path().join("log"), elsewhere.path().join("log"));
    copy_dir(&log, &moved);
    fs::remove_dir_all(&log).unwrap();
    std::os::unix::fs::symlink(&moved, &log).unwrap();
    forget(dir.path(), "job").unwrap();
    assert_eq!(tree(&moved), [""; 0]);
    assert_eq!(tree(dir.path()), ["LOCK", "log", "meta.json"]);
    assert_eq!(recovered(dir.path()).1, after(0));
}

#[test]
fn forgetting_leaves_what_is_not_this_jobs_state() {
    let dir = lived();
    let before = tree(dir.path());
    let refused = forget(dir.path(), "other").unwrap_err();
    assert_eq!(refused.code().0, "MP0707");
    assert!(refused.to_string().contains("belongs to the job `job`"), "{refused}");
    let held = open(dir.path());
    assert_eq!(forget(dir.path(), "job").unwrap_err().code().0, "MP0701");
    drop(held);
    fs::write(dir.path().join("meta.json"), r#"{"format": 2, "job": "job"}"#).unwrap();
    assert_eq!(forget(dir.path(), "job").unwrap_err().code().0, "MP0705");
    fs::remove_file(dir.path().join("meta.json")).unwrap();
    assert_eq!(forget(dir.path(), "job").unwrap_err().code().0, "MP0707");
    fs::write(dir.path().join("meta.json"), "").unwrap();
    fs::write(dir.path().join("LOCK"), "process 7 (job `other`)\n").unwrap();
    assert_eq!(forget(dir.path(), "job").unwrap_err().code().0, "MP0707");
    fs::write(dir.path().join("meta.json.tmp"), "").unwrap();
    assert_eq!(tree(dir.path()), before);
}

#[test]
fn folder_with_other_files_is_refused_and_left_as_it_is() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("log")).unwrap();
    for (name, text) in [("hosts", "x"), ("meta.json", "{\"title\": \"a song\"}"), ("LOCK", "")] {
        fs::write(dir.path().join(name), text).unwrap();
        let before = tree(dir.path());
        for refused in [refusal(dir.path()), forget(dir.path(), "job").unwrap_err()] {
            assert_eq!(refused.code().0, "MP0707");
            let message = refused.to_string();
            let named = if name == "hosts" { "`hosts`" } else { "`meta.json`" };
            assert!(message.contains("holds other files") && message.contains(named), "{message}");
        }
        assert_eq!(tree(dir.path()), before);
    }
}

#[test]
fn folder_whose_making_was_broken_off_is_taken() {
    for lock in ["", "process 7 (job `job`)\n"] {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("LOCK"), lock).unwrap();
        fs::write(dir.path().join("meta.json.tmp"), "{\"for").unwrap();
        let (mut store, ..) = recovered(dir.path());
        commit_all(&mut store, 1..=1);
    }
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("LOCK"), "somebody else's").unwrap();
    assert_eq!(refusal(dir.path()).code().0, "MP0707");
}

#[test]
fn damaged_meta_is_named_and_can_be_forgotten() {
    for (text, reason) in
        [("", "it is empty"), ("{\"format\": 1, \"jo", "EOF"), ("{\"format\": 1}", "missing field `job`")]
    {
        let dir = lived();
        fs::write(dir.path().join("meta.json"), text).unwrap();
        let refused = refusal(dir.path());
        assert_eq!(refused.code().0, "MP0708");
        let message = refused.to_string();
        assert!(message.contains("meta.json is damaged") && message.contains(reason), "{message}");
        assert!(message.contains("--fresh"), "{message}");
        forget(dir.path(), "job").unwrap();
        assert_eq!(tree(dir.path()), [""; 0]);
    }
}

#[test]
fn lost_commits_are_no_fresh_start() {
    let losses: [fn(&Path); 3] = [
        |dir| fs::remove_dir_all(dir.join("log")).unwrap(),
        |dir| {
            let segments = crate::log::segments(&dir.join("log")).unwrap();
            segments.iter().for_each(|segment| fs::write(&segment.path, "").unwrap());
        },
        // What is left of the store is one that was made and never filled.
        |dir| {
            fs::remove_dir_all(dir.join("log")).unwrap();
            let mut empty =
                crate::checkpoint::Checkpoint::create(&dir.join("store/0001"), Tuning::default().open_limit).unwrap();
            empty.begin().unwrap();
        },
    ];
    for lose in losses {
        let dir = TempDir::new().unwrap();
        let (mut store, ..) = recovered(dir.path());
        commit_all(&mut store, 1..=3);
        drop(store);
        assert_eq!(recovered(dir.path()).1, after(3));
        lose(dir.path());
        for _again in 0..2 {
            let refused = open(dir.path()).recover().unwrap_err();
            assert_eq!(refused.code().0, "MP0703");
            let message = refused.to_string();
            assert!(message.contains("lost all of its commits") && message.contains("--fresh"), "{message}");
        }
        forget(dir.path(), "job").unwrap();
        assert_eq!(recovered(dir.path()).1, after(0));
    }
}

#[test]
fn snapshot_serves_when_log_and_checkpoint_are_lost() {
    let dir = lived();
    fs::remove_dir_all(dir.path().join("log")).unwrap();
    fs::remove_dir_all(dir.path().join("store")).unwrap();
    let mut empty =
        crate::checkpoint::Checkpoint::create(&dir.path().join("store/0001"), Tuning::default().open_limit).unwrap();
    empty.begin().unwrap();
    drop(empty);
    let (mut store, contents, notes) = recovered(dir.path());
    assert_eq!(contents, after(9), "{notes:?}");
    commit_all(&mut store, 10..=11);
    store.fold_now().unwrap();
    drop(store);
    assert_eq!(recovered(dir.path()).1, after(11));
}

#[test]
fn folder_without_commits_stays_fresh() {
    let dir = TempDir::new().unwrap();
    for _start in 0..3 {
        assert_eq!(recovered(dir.path()).1, after(0));
    }
}

/// Commits are noted when they are found, not only when they are made: the note may have been lost with the process.
#[test]
fn commits_that_are_found_are_noted() {
    let dir = TempDir::new().unwrap();
    let (mut store, ..) = recovered(dir.path());
    commit_all(&mut store, 1..=1);
    drop(store);
    fs::write(dir.path().join("meta.json"), "{\"format\": 1, \"job\": \"job\"}").unwrap();
    drop(recovered(dir.path()));
    fs::remove_dir_all(dir.path().join("log")).unwrap();
    assert_eq!(open(dir.path()).recover().unwrap_err().code().0, "MP0703");
}
