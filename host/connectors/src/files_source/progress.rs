//! What is known of each file, and how it is kept in the job's state.
//!
//! A progress entry's key is the file's path (its bytes), relative to the job file's folder where it lies below; its value is
//! a [`FileEntry`] as JSON. One more entry, [`STARTED`], says that the job has started before: `new-files-only` needs to
//! know, and no path begins with a zero byte.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Key of the entry that says that the job has started before.
pub(super) const STARTED: &[u8] = b"\0started";

/// Tells a file from another one of the same name, and one state of it from the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The file system.
    pub(super) dev: u64,
    /// The file in it; 0 where the system has no such number.
    pub(super) inode: u64,
    /// Last change, nanoseconds since the Unix epoch.
    pub(super) mtime_ns: i64,
    /// Bytes.
    pub(super) size: u64,
}

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileEntry {
    /// The file when a batch first saw it (with `follow`: when a batch last took something of it).
    #[serde(flatten)]
    pub(super) seen: Identity,
    /// Everything before this byte belongs to batches already.
    pub(super) offset: u64,
    /// A line starts at `offset`. If not, the line around it belongs to the earlier batch.
    pub(super) aligned: bool,
}

impl FileEntry {
    /// Whether a file that does not grow is read to its end.
    pub(super) fn is_done(&self) -> bool {
        self.offset >= self.seen.size
    }
}

impl Identity {
    #[cfg(unix)]
    pub(super) fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self { dev: metadata.dev(), inode: metadata.ino(), mtime_ns: mtime_ns(metadata), size: metadata.len() }
    }

    #[cfg(not(unix))]
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { dev: 0, inode: 0, mtime_ns: mtime_ns(metadata), size: metadata.len() }
    }

    /// What happened to the file since, if what was planned to be read of it may not be there any more.
    ///
    /// Growth is no harm. A change without growth shows in a *newer* time only: tools that copy (`cp -p`, `tar`) set an
    /// older time when they are done, and the content stays.
    pub(super) fn harm(&self, now: &Self) -> Option<String> {
        if now.inode != self.inode || now.dev != self.dev {
            Some("was replaced by another file".to_owned())
        } else if now.size < self.size {
            Some(format!("shrank to {} bytes", now.size))
        } else if now.size == self.size && now.mtime_ns > self.mtime_ns {
            Some("was changed".to_owned())
        } else {
            None
        }
    }

    /// What happened to a finished file since, if its name holds other content now.
    ///
    /// Another file of the same size and time is taken for a copy, as tools that put files back make them.
    pub(super) fn change(&self, now: &Self) -> Option<String> {
        let (before, after) = (self.size, now.size);
        if now.inode != self.inode && (after, now.mtime_ns) != (before, self.mtime_ns) {
            Some("was replaced by another file after it was read; that one is not read".to_owned())
        } else if after > before {
            Some(format!(
                "grew from {before} to {after} bytes after it was read; the new part is not read without follow = true"
            ))
        } else if after < before {
            Some(format!("shrank from {before} to {after} bytes after it was read; it is not read again"))
        } else if now.mtime_ns > self.mtime_ns {
            Some("was changed after it was read; it is not read again".to_owned())
        } else {
            None
        }
    }
}

/// Last change, nanoseconds since the Unix epoch; 0 where it is not known.
pub(super) fn mtime_ns(metadata: &Metadata) -> i64 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}

/// A path as the bytes of a key.
pub(super) fn path_bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_encoded_bytes().to_vec()
}

/// The path that such bytes mean.
#[cfg(unix)]
pub(super) fn path_of(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}

/// The path that such bytes mean.
#[cfg(not(unix))]
pub(super) fn path_of(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

pub(super) fn encode(entry: &FileEntry) -> Vec<u8> {
    serde_json::to_vec(entry).expect("numbers and a boolean can always be written")
}

pub(super) fn decode(path: &Path, value: &[u8]) -> Result<FileEntry> {
    serde_json::from_slice(value).map_err(|error| Error::Unreadable {
        what: "a file's progress",
        reason: format!("{}: {error}", path.display()),
    })
}

/// Paths in JSON: text where they are text, bytes where they are not.
pub(super) mod path_serde {
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(in crate::files_source) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        let form =
            path.to_str().map_or_else(|| Form::Bytes(super::path_bytes(path)), |text| Form::Text(text.to_owned()));
        form.serialize(serializer)
    }

    pub(in crate::files_source) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<PathBuf, D::Error> {
        Ok(match Form::deserialize(deserializer)? {
            Form::Text(text) => PathBuf::from(text),
            Form::Bytes(bytes) => super::path_of(bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_that_may_cost_rows_are_harm() {
        let seen = Identity { dev: 1, inode: 2, mtime_ns: 100, size: 10 };
        assert_eq!(seen.harm(&seen), None);
        assert_eq!(seen.harm(&Identity { size: 11, mtime_ns: 200, ..seen }), None, "growth");
        assert_eq!(seen.harm(&Identity { mtime_ns: 50, ..seen }), None, "a copying tool set the time back");
        assert!(seen.harm(&Identity { mtime_ns: 200, ..seen }).unwrap().contains("changed"));
        assert!(seen.harm(&Identity { size: 9, ..seen }).unwrap().contains("shrank to 9"));
        assert!(seen.harm(&Identity { inode: 3, ..seen }).unwrap().contains("replaced"));
    }

    #[test]
    fn what_happened_to_a_finished_file_is_called_by_its_name() {
        let seen = Identity { dev: 1, inode: 2, mtime_ns: 100, size: 10 };
        let change = |now: Identity| seen.change(&now).unwrap_or_default();
        assert!(change(Identity { size: 12, mtime_ns: 200, ..seen }).contains("grew from 10 to 12"));
        assert!(change(Identity { size: 9, mtime_ns: 200, ..seen }).contains("shrank from 10 to 9"));
        assert!(change(Identity { mtime_ns: 200, ..seen }).contains("was changed"));
        assert!(change(Identity { inode: 3, size: 12, mtime_ns: 200, ..seen }).contains("was replaced"));
        assert!(change(Identity { inode: 3, mtime_ns: 200, ..seen }).contains("was replaced"));
        for same in [seen, Identity { mtime_ns: 50, ..seen }, Identity { dev: 7, inode: 3, ..seen }] {
            assert_eq!(seen.change(&same), None);
        }
    }

    #[test]
    fn entries_survive_the_way_into_state_and_back() {
        let seen = Identity { dev: u64::MAX, inode: 2, mtime_ns: -1, size: 10 };
        let entry = FileEntry { seen, offset: 7, aligned: false };
        assert_eq!(decode(Path::new("a"), &encode(&entry)).unwrap(), entry);
        assert!(decode(Path::new("a"), b"?").is_err());
    }
}
