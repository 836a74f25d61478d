//! Starting over: a job's state is removed, and nothing else that may lie in its folder.

use std::fs;
use std::io;
use std::path::Path;

use millpond_core::SystemClock;

use crate::error::{Error, Result};
use crate::lock::{self, LOCK, Lock};
use crate::meta::{META, META_TEMPORARY, Meta};
use crate::sweep;

/// Removes the state of `job` in `dir`, so that the next start begins at the beginning. A folder that is empty or not there is
/// fine.
///
/// Only files that the store itself makes are removed. The folder stays; when other files are in it or below it they stay,
/// too, and with them a `meta.json` that says that the folder is the job's and holds no commits. A removal that was broken off
/// can be done again.
///
/// **Errors**: MP0701 in use; MP0705 made by another version, whose files are not known; MP0707 another job's, or no state
/// folder; MP0708 something cannot be read or removed. With the first three nothing was removed.
pub fn forget(dir: &Path, job: &str) -> Result<()> {
    if !dir.try_exists().map_err(Error::open("look for", dir))? || is_empty(dir)? {
        return Ok(());
    }
    // Before the lock, too: its file is not put into a folder that is none of ours.
    check(dir, job)?;
    let _lock = Lock::take(dir, job, &SystemClock::new())?;
    if check(dir, job)? == Found::Damaged {
        // So that the folder is known for the job's even if removing is broken off. On a full disk it goes without.
        drop(Meta::new(job).write(dir));
    }
    remove(dir, job)
}

fn is_empty(dir: &Path) -> Result<bool> {
    let mut entries = fs::read_dir(dir).map_err(Error::open("list", dir))?;
    Ok(entries.next().is_none())
}

#[derive(PartialEq, Eq)]
enum Found {
    Ours,
    Damaged,
}

fn check(dir: &Path, job: &str) -> Result<Found> {
    match Meta::read(dir, job) {
        // Whose it is only its lock can tell now, if at all.
        Err(Error::MetaDamaged { .. }) => match lock::job_of(dir).filter(|found| found != job) {
            Some(found) => Err(Error::OtherJob { dir: dir.to_owned(), found, expected: job.to_owned() }),
            None => Ok(Found::Damaged),
        },
        checked => checked.map(|_| Found::Ours),
    }
}

fn remove(dir: &Path, job: &str) -> Result<()> {
    sweep::sweep(dir, sweep::state).map_err(Error::open("remove the state in", dir))?;
    let names = [META, META_TEMPORARY, LOCK];
    let mut entries = fs::read_dir(dir).map_err(Error::open("list", dir))?;
    if entries.any(|entry| entry.is_ok_and(|entry| !names.iter().any(|name| entry.file_name() == *name))) {
        return Meta::new(job).write(dir);
    }
    for name in names {
        let path = dir.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::Open { path, action: "remove", source: error });
            }
            _ => {}
        }
    }
    Ok(())
}
