//! The commit log: the one thing that a commit waits for.
//!
//! ```text
//! log/00000000000000000001.log    records of the commits 1, 2, 3 ... one behind the other, nothing between
//! log/00000000000000000412.log    the next segment; a file is named after its first commit
//! ```
//! Each record (see [`crate::record`]) is written in one go and synced. **Recovery rule**: epochs follow each other without
//! a gap. What is unreadable at the very end of the log is the torn tail of a commit that nobody was told of, and is cut; what
//! is unreadable with a valid record behind it is damage, and is refused. A commit that fails (a full disk) is cut off
//! again at once; where even that fails its header is overwritten and the log takes no more commits.

mod file;
mod scan;
#[cfg(test)]
pub(crate) mod tests;

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use file::{LogDisk, LogFile, RealDisk, sync_dir};
pub(crate) use scan::replay;

use crate::error::{Error, Result};
use crate::record;

/// A segment that has reached this size is followed by a new one. Guess: small enough that deleting folded segments
/// gives space back soon, large enough that creating one (one more sync) does not show.
pub(crate) const SEGMENT_BYTES: u64 = 16 << 20;

/// A file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    /// The commit that the file was made for.
    pub(crate) first: u64,
}

fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.log"))
}

/// The log's files, oldest first. Other files in the folder are none of its business.
pub(crate) fn segments(dir: &Path) -> Result<Vec<Segment>> {
    let failed = |source| Error::LogRead { path: dir.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let first = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".log")?.parse().ok());
        let first = first.filter(|first| path == segment_path(dir, *first));
        found.extend(first.map(|first| Segment { path, first }));
    }
    found.sort_by_key(|segment| segment.first);
    Ok(found)
}

/// How long the log is.
pub(crate) fn bytes(dir: &Path) -> Result<u64> {
    segments(dir)?.iter().try_fold(0, |sum, Segment { path, .. }| {
        let length = fs::metadata(path).map_err(|source| Error::LogRead { path: path.clone(), source })?.len();
        Ok(sum + length)
    })
}

/// Deletes the segments whose commits are all `<= up_to`. The newest segment always stays: it is being written.
pub(crate) fn delete_up_to(dir: &Path, up_to: u64) -> Result<()> {
    let segments = segments(dir)?;
    for pair in segments.windows(2) {
        if pair[1].first <= up_to.saturating_add(1) {
            fs::remove_file(&pair[0].path).map_err(Error::open("remove", &pair[0].path))?;
        }
    }
    Ok(())
}

/// Puts the whole log out of the way: it ends before what the checkpoint holds, so it leads nowhere.
pub(crate) fn set_aside(dir: &Path) -> Result<()> {
    for Segment { path, .. } in segments(dir)? {
        let to = path.with_extension("stale");
        fs::rename(&path, &to).map_err(Error::open("rename", &path))?;
    }
    sync_dir(dir).map_err(Error::open("sync", dir))
}

/// Removes what [`set_aside`] kept, once a newer snapshot is there.
pub(crate) fn remove_stale(dir: &Path) -> Result<()> {
    let entries = fs::read_dir(dir).map_err(Error::open("list", dir))?;
    for path in
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "stale"))
    {
        fs::remove_file(&path).map_err(Error::open("remove", &path))?;
    }
    Ok(())
}

/// The log's writing end.
pub(crate) struct LogWriter {
    dir: PathBuf,
    disk: Box<dyn LogDisk>,
    active: Option<Active>,
    poisoned: Option<(PathBuf, u64, String)>,
    segment_bytes: u64,
}

struct Active {
    path: PathBuf,
    file: Box<dyn LogFile>,
    length: u64,
}

impl LogWriter {
    /// Goes on in the newest segment, which [`replay`] has freed of a torn tail. `next` is the commit to come.
    pub(crate) fn try_new(dir: &Path, disk: Box<dyn LogDisk>, next: u64, segment_bytes: u64) -> Result<Self> {
        let mut writer = Self { dir: dir.to_owned(), disk, active: None, poisoned: None, segment_bytes };
        let Some(newest) = segments(dir)?.pop() else { return Ok(writer) };
        let path = newest.path;
        let length = fs::metadata(&path).map_err(|source| Error::LogRead { path: path.clone(), source })?.len();
        if length == 0 && newest.first != next {
            // Made for a commit that never came to be, before commits were lost: its name would be wrong.
            fs::remove_file(&path).map_err(Error::open("remove", &path))?;
            return Ok(writer);
        }
        let file = writer.disk.open(&path).map_err(Error::open("open", &path))?;
        writer.active = Some(Active { path, file, length });
        Ok(writer)
    }

    /// Appends a whole record and makes it durable. After an error nothing of it is in the log.
    pub(crate) fn append(&mut self, epoch: u64, bytes: &[u8]) -> Result<()> {
        if let Some((path, epoch, reason)) = &self.poisoned {
            return Err(Error::Poisoned { path: path.clone(), epoch: *epoch, reason: reason.clone() });
        }
        if self.active.as_ref().is_none_or(|active| active.length >= self.segment_bytes) {
            let path = segment_path(&self.dir, epoch);
            let file = self.disk.create(&path);
            let file = file.map_err(|source| Error::Write { path: path.clone(), epoch, source })?;
            self.active = Some(Active { path, file, length: 0 });
        }
        let active = self.active.as_mut().expect("a segment was opened above");
        let Err(source) = active.file.append(bytes).and_then(|()| active.file.sync()) else {
            active.length += bytes.len() as u64;
            return Ok(());
        };
        if let Err(undo) = active.file.truncate(active.length) {
            // A zeroed header is a torn tail to whoever opens the log next.
            let erased = active.file.overwrite(active.length, &[0; record::HEADER_BYTES]);
            let reason = erased.err().map_or_else(|| undo.to_string(), |second| format!("{undo}; {second}"));
            self.poisoned = Some((active.path.clone(), epoch, reason));
        }
        Err(Error::Write { path: active.path.clone(), epoch, source })
    }
}
