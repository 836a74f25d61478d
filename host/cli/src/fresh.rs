//! `run --fresh`: forgets a job's state, and nothing else.
//!
//! Removing is done only in a folder that says of itself that it is this job's state, and only of what a state store puts
//! there (drawn in the documentation of `millpond-state`). What says so goes last, so that a removal that was broken off can be
//! done again.

use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use crate::error::Error;

/// Folders of a state store, those that `store.damaged-` begins apart.
const FOLDERS: [&str; 3] = ["log", "store", "snapshot"];
const META: &str = "meta.json";

/// Removes the state in `dir`, if there is any.
///
/// **Errors**: MP0707 when the folder holds something else or another job's state, MP0701 when it is in use, MP0708 when
/// something cannot be removed.
pub(crate) fn forget(dir: &Path, job: &str) -> Result<(), Error> {
    let cannot_remove = |source| Error::CannotForget { dir: dir.to_owned(), source };
    match fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Ok(false) => {}
        Ok(true) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(cannot_remove(error)),
    }
    check_owner(dir, job)?;
    let lock_path = dir.join("LOCK");
    let lock = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&lock_path);
    let lock = lock.map_err(cannot_remove)?;
    match lock.try_lock() {
        Ok(()) => remove_content(dir).map_err(cannot_remove),
        Err(TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&lock_path).unwrap_or_default();
            let holder = if holder.trim().is_empty() { "another process" } else { holder.trim() };
            Err(Error::StateInUse { dir: dir.to_owned(), holder: holder.to_owned() })
        }
        Err(TryLockError::Error(error)) => Err(cannot_remove(error)),
    }
}

fn check_owner(dir: &Path, job: &str) -> Result<(), Error> {
    let not_ours = |reason: String| Error::NotOurState { dir: dir.to_owned(), job: job.to_owned(), reason };
    let text = fs::read(dir.join(META)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => not_ours(format!("it has no {META}")),
        _ => not_ours(format!("its {META} cannot be read: {error}")),
    })?;
    let meta: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    match (meta["format"].is_u64(), meta["job"].as_str()) {
        (true, Some(owner)) if owner == job => Ok(()),
        (true, Some(owner)) => Err(not_ours(format!("it belongs to job `{owner}`"))),
        _ => Err(not_ours(format!("its {META} is not that of a state folder"))),
    }
}

fn remove_content(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_state = FOLDERS.contains(&name.as_ref()) || name.starts_with("store.damaged-");
        if is_state && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    fs::remove_file(dir.join(META))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;

    fn state_of(job: &str) -> (TempDir, PathBuf) {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("state");
        for name in ["log", "store/0001", "snapshot", "store.damaged-0001", "mine"] {
            fs::create_dir_all(dir.join(name)).unwrap();
        }
        fs::write(dir.join("log/0.log"), "x").unwrap();
        fs::write(dir.join("LOCK"), "process 7").unwrap();
        fs::write(dir.join(META), format!("{{\"format\": 1, \"job\": \"{job}\"}}")).unwrap();
        (parent, dir)
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn state_of_the_job_is_removed_and_nothing_else() {
        let (_parent, dir) = state_of("wordcount");
        forget(&dir, "wordcount").unwrap();
        assert_eq!(names(&dir), ["LOCK", "mine"]);
    }

    #[test]
    fn state_of_another_job_stays() {
        let (_parent, dir) = state_of("other");
        let error = forget(&dir, "wordcount").unwrap_err().to_string();
        assert!(error.contains("it belongs to job `other`; nothing was removed"), "{error}");
        assert_eq!(names(&dir).len(), 7);
    }

    #[test]
    fn a_folder_that_is_no_state_stays() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("log")).unwrap();
        let error = forget(dir.path(), "wordcount").unwrap_err().to_string();
        assert!(error.contains("it has no meta.json"), "{error}");
        fs::write(dir.path().join(META), "{\"job\": \"wordcount\"}").unwrap();
        assert!(forget(dir.path(), "wordcount").is_err());
        assert_eq!(names(dir.path()), ["log", META]);
    }

    #[test]
    fn no_state_is_fresh_already() {
        let dir = tempfile::tempdir().unwrap();
        forget(dir.path(), "wordcount").unwrap();
        forget(&dir.path().join("not there"), "wordcount").unwrap();
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn state_in_use_stays() {
        let (_parent, dir) = state_of("wordcount");
        let lock = fs::File::open(dir.join("LOCK")).unwrap();
        lock.lock().unwrap();
        let error = forget(&dir, "wordcount").unwrap_err();
        assert_eq!(millpond_core::Classify::code(&error).0, "MP0701");
        assert!(error.to_string().contains("process 7"), "{error}");
        assert_eq!(names(&dir).len(), 7);
    }
}
