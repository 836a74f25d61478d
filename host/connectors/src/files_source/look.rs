//! The receiver's looks: what is new, what is gone, and what became of files that were read.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use millpond_core::BadRecord;

use super::progress::{FileEntry, Identity};
use super::receiver::FilesReceiver;
use crate::{Error, OnBadRecordSpec, Result};

/// How many finished files one look asks the system about (a guess: a millisecond or less). They take turns; new
/// files are found by every look.
const CHECKED_PER_LOOK: usize = 256;

impl FilesReceiver {
    /// Looks for files and queues what is to be taken.
    pub(super) fn look(&mut self, reports: &mut Vec<BadRecord>) -> Result<()> {
        let (paths, troubles) = self.listed.look(&self.place, &self.job_dir, self.clock.monotonic_us());
        let failed = !troubles.is_empty();
        let told = std::mem::take(&mut self.looking_fails);
        for (path, source) in troubles {
            self.looking_fails = told;
            self.looking_failed(&path, source, reports)?;
        }
        let done = self.sort_out(&paths, failed, reports)?;
        self.looks += 1;
        let stride = self.files.len().div_ceil(CHECKED_PER_LOOK).max(1);
        for (index, (path, done)) in paths.iter().zip(done).enumerate() {
            let skipped = done && !(index + self.looks).is_multiple_of(stride);
            if !skipped && self.is_wanted(path, reports)? {
                self.pending.push_back(path.clone());
            }
        }
        Ok(())
    }

    /// The folder cannot be looked into: told once per outage.
    pub(super) fn looking_failed(
        &mut self,
        path: &Path,
        source: io::Error,
        reports: &mut Vec<BadRecord>,
    ) -> Result<()> {
        if std::mem::replace(&mut self.looking_fails, true) && self.options.on_bad_record == OnBadRecordSpec::Skip {
            return Ok(());
        }
        self.trouble(path, Error::ReadFailed { place: path.display().to_string(), source }, reports)
    }

    /// Drops what is known of files that do not exist any more, if the listing is complete; gives for each listed file
    /// whether it is read to its end and need not be looked at. **Cost**: one walk along both, which have one order.
    fn sort_out(&mut self, paths: &[PathBuf], failed: bool, reports: &mut Vec<BadRecord>) -> Result<Vec<bool>> {
        let follow = self.options.follow;
        let mut known = self.files.iter().peekable();
        let mut unlisted: Vec<&OsString> = Vec::new();
        let mut done = Vec::with_capacity(paths.len());
        for path in paths {
            while let Some((gone, _)) = known.next_if(|(known, _)| known.as_os_str() < path.as_os_str()) {
                unlisted.push(gone);
            }
            let entry = known.next_if(|(known, _)| known.as_os_str() == path.as_os_str());
            done.push(entry.is_some_and(|(_, entry)| entry.is_done() && !(follow && self.follows(path))));
        }
        if failed {
            return Ok(done);
        }
        unlisted.extend(known.map(|(path, _)| path));
        let gone: Vec<PathBuf> = unlisted.into_iter().map(PathBuf::from).filter(|path| self.is_gone(path)).collect();
        for path in gone {
            self.disappeared(&path, reports)?;
        }
        Ok(done)
    }

    /// Whether there is something to take of a file.
    fn is_wanted(&mut self, path: &Path, reports: &mut Vec<BadRecord>) -> Result<bool> {
        let follow = self.follows(path);
        let entry = self.files.get(path.as_os_str());
        if entry.is_some_and(|entry| !follow && !entry.is_done()) {
            return Ok(true);
        }
        // Not there any more, or no file: the next look, or taking it, will tell.
        let Ok(metadata) = fs::metadata(self.job_dir.join(path)) else { return Ok(false) };
        if !metadata.is_file() {
            return Ok(false);
        }
        let found = Identity::of(&metadata);
        match entry {
            None => Ok(found.size > 0),
            Some(entry) if follow => Ok(found.size != entry.offset || found.inode != entry.seen.inode),
            Some(entry) => {
                let entry = entry.clone();
                self.finished_file(path, entry, found, reports)?;
                Ok(false)
            }
        }
    }

    /// Tells, once, what became of a finished file: rows are lost if it did not stay what it was.
    fn finished_file(
        &mut self,
        path: &Path,
        entry: FileEntry,
        found: Identity,
        reports: &mut Vec<BadRecord>,
    ) -> Result<()> {
        let Some(change) = entry.seen.change(&found) else { return Ok(()) };
        self.trouble(path, Self::changed_error(path, change, &entry), reports)?;
        self.set(path, FileEntry { seen: found, offset: found.size, aligned: true });
        Ok(())
    }

    /// Whether a file is gone for certain. A file system that is not mounted looks like an empty folder, and forgetting its
    /// files would read them all again: so the folder must be on the file system on which the file was.
    fn is_gone(&self, path: &Path) -> bool {
        let full = self.job_dir.join(path);
        let missing = fs::metadata(&full).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let mut folders = full
            .ancestors()
            .skip(1)
            .map(|folder| fs::metadata(if folder.as_os_str().is_empty() { Path::new(".") } else { folder }));
        let dev = folders.find_map(io::Result::ok).map(|metadata| Identity::of(&metadata).dev);
        missing && dev == self.files.get(path.as_os_str()).map(|entry| entry.seen.dev)
    }

    pub(super) fn disappeared(&mut self, path: &Path, reports: &mut Vec<BadRecord>) -> Result<()> {
        let unfinished = self.files.get(path.as_os_str()).filter(|entry| !entry.is_done());
        if let Some(entry) = unfinished {
            let found = format!("disappeared after {} bytes of it were read", entry.offset);
            self.trouble(path, Self::changed_error(path, found, entry), reports)?;
        }
        self.forget(path);
        Ok(())
    }
}
