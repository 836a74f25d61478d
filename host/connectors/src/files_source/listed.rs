//! The latest listing of a folder, used again while the folder's own time shows that no name in it came or went.
//!
//! A folder of ten thousand files takes several milliseconds to list, and a job may look a hundred times a second. The time
//! of a folder changes with every name in it, but only as finely as the file system keeps times: two changes within one
//! tick look like one. So a listing is used again only if the folder's time had stood still for longer than any tick before
//! it was made, by our own clock, and never for long: some file systems over a network do not keep the times of folders.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::discover::Place;

/// Longer than the coarsest tick of file times in use, which is 2 s (FAT).
const SETTLED_US: u64 = 3_000_000;

/// The longest use of one listing (a guess: what a new file may wait where folders have no times).
const KEPT_US_MAX: u64 = 1_000_000;

/// What the latest listing found.
#[derive(Debug, Default)]
pub(super) struct Listed {
    paths: Arc<Vec<PathBuf>>,
    listed_us: u64,
    /// The folder's time when it was last asked for, and since when it is that.
    folder_time_ns: Option<i64>,
    since_us: u64,
    settled: bool,
}

/// What could not be looked into.
type Troubles = Vec<(PathBuf, io::Error)>;

impl Listed {
    /// The files that are there now; `now_us` is of a clock that never goes back.
    pub(super) fn look(&mut self, place: &Place, job_dir: &Path, now_us: u64) -> (Arc<Vec<PathBuf>>, Troubles) {
        let time = place.folder_time_ns(job_dir);
        if time.is_none() || time != self.folder_time_ns {
            (self.folder_time_ns, self.since_us, self.settled) = (time, now_us, false);
        }
        if self.settled && now_us.saturating_sub(self.listed_us) < KEPT_US_MAX {
            return (Arc::clone(&self.paths), Vec::new());
        }
        let listing = place.list(job_dir);
        self.paths = Arc::new(listing.paths);
        self.listed_us = now_us;
        let still_us = now_us.saturating_sub(self.since_us);
        self.settled = time.is_some() && still_us >= SETTLED_US && listing.troubles.is_empty();
        (Arc::clone(&self.paths), listing.troubles)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use super::*;

    const SECOND: u64 = 1_000_000;

    struct Folder {
        dir: tempfile::TempDir,
        place: Place,
        listed: Listed,
    }

    impl Folder {
        fn new(path: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("in")).unwrap();
            let place = Place::try_new("lines", dir.path(), path).unwrap();
            Self { dir, place, listed: Listed::default() }
        }

        /// A new file, and the folder's time set to this.
        fn add(&self, name: &str, time_s: u64) {
            let folder = self.dir.path().join("in");
            fs::write(folder.join(name), "x\n").unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(time_s);
            fs::File::open(folder).unwrap().set_modified(time).unwrap();
        }

        fn count(&mut self, now_us: u64) -> usize {
            self.listed.look(&self.place, self.dir.path(), now_us).0.len()
        }
    }

    #[test]
    fn a_name_that_comes_within_one_tick_of_the_folders_time_is_found() {
        for path in ["in", "in/*"] {
            let mut folder = Folder::new(path);
            folder.add("a", 100);
            assert_eq!(folder.count(0), 1);
            folder.add("b", 100);
            assert_eq!(folder.count(2 * SECOND), 2, "the time did not change, and may not have been able to");
        }
    }

    #[test]
    fn a_settled_folder_is_listed_again_when_its_time_changes_or_after_a_while() {
        for path in ["in", "in/*"] {
            let mut folder = Folder::new(path);
            folder.add("a", 100);
            assert_eq!((folder.count(0), folder.count(3 * SECOND)), (1, 1));
            folder.add("b", 100);
            assert_eq!(folder.count(3 * SECOND + 1000), 1, "the listing is used again");
            folder.add("c", 105);
            assert_eq!(folder.count(3 * SECOND + 2000), 3, "the time changed");
            assert_eq!(folder.count(7 * SECOND), 3);
            folder.add("d", 105);
            assert_eq!(folder.count(8 * SECOND), 4, "after a while in any case");
        }
    }

    #[test]
    fn a_pattern_over_several_folders_is_always_listed() {
        let mut folder = Folder::new("in/**/*");
        folder.add("a", 100);
        assert_eq!((folder.count(0), folder.count(3 * SECOND)), (1, 1));
        folder.add("b", 100);
        assert_eq!(folder.count(3 * SECOND + 1000), 2);
    }
}
