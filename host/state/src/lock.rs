//! The lock on a state folder: a locked file that names its holder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use millpond_core::{Clock, StopSignal};

use crate::error::{Error, Result};

/// The lock's file in the state folder.
pub(crate) const LOCK: &str = "LOCK";

/// How often, and how many milliseconds apart, to look again whether a process that is gone has let go of its files. Guess:
/// giving back a few gigabytes of memory takes the system less than this second.
const TRIES: u32 = 100;
const WAIT_MS: i64 = 10;

/// Held as long as this lives.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock. A holder that is alive is an error at once; one that was killed is waited for, for about a second.
    pub(crate) fn take(dir: &Path, job: &str, clock: &dyn Clock) -> Result<Self> {
        let path = dir.join(LOCK);
        let mut tries_left = TRIES;
        loop {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let mut file = file.map_err(Error::open("open", &path))?;
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => {
                    sign(&mut file, job).map_err(Error::open("write", &path))?;
                    return Ok(Self { file });
                }
                // Removed by whoever held it, between opening and locking.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let holder = Holder::of(&path);
                    if tries_left == 0 || !holder.is_gone() {
                        return Err(Error::InUse { dir: dir.to_owned(), holder: holder.name });
                    }
                    clock.wait_until(clock.now_ms().saturating_add(WAIT_MS), &StopSignal::new());
                }
                Err(TryLockError::Error(source)) => return Err(Error::Open { path, action: "lock", source }),
            }
            tries_left = tries_left.saturating_sub(1);
        }
    }

    /// Another handle of the locked file, as a child process has one between its fork and its exec.
    #[cfg(test)]
    pub(crate) fn inherited(&self) -> File {
        self.file.try_clone().expect("a file can be shared")
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Only so that nobody reads an old name in it.
        drop(self.file.set_len(0));
        // Closing the file would do, but for child processes: one that another thread is just starting holds the file, and
        // with it the lock, until it runs its own program.
        drop(self.file.unlock());
    }
}

/// Whether a file in `dir` can be a lock of ours: it is empty or names a holder.
pub(crate) fn is_ours(dir: &Path) -> bool {
    let path = dir.join(LOCK);
    path.is_file() && fs::read_to_string(&path).is_ok_and(|text| text.is_empty() || holder_parts(&text).is_some())
}

/// The job that the lock's file names. `None` after a clean end.
pub(crate) fn job_of(dir: &Path) -> Option<String> {
    let text = fs::read_to_string(dir.join(LOCK)).ok()?;
    holder_parts(&text).map(|(_, job)| job.to_owned())
}

fn sign(file: &mut File, job: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(format!("process {} (job `{job}`)\n", std::process::id()).as_bytes())
}

fn holder_parts(text: &str) -> Option<(u32, &str)> {
    let (process, job) = text.trim_end().strip_prefix("process ")?.split_once(" (job `")?;
    Some((process.parse().ok()?, job.strip_suffix("`)")?))
}

/// Whether the path still leads to this very file.
fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let place = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
        matches!((file.metadata(), fs::metadata(path)), (Ok(held), Ok(there)) if place(&held) == place(&there))
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}

struct Holder {
    name: String,
    process: Option<u32>,
}

impl Holder {
    fn of(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let process = holder_parts(&text).map(|(process, _)| process);
        let name = if text.trim().is_empty() { "another process" } else { text.trim() }.to_owned();
        Self { name, process }
    }

    /// Whether the process has ended or is about to. False where the system does not tell.
    fn is_gone(&self) -> bool {
        let Some(process) = self.process else { return false };
        let processes = PathBuf::from("/proc");
        if !processes.join("self/stat").exists() {
            return false;
        }
        match fs::read_to_string(processes.join(process.to_string()).join("stat")) {
            Ok(stat) => is_ending(&stat),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }
}

/// Reads a line of `/proc/PID/stat`: whether the process is a zombie, is being taken apart, or has been killed and does not
/// know it yet. Between being killed and being a zombie it holds its files, and with them the lock.
fn is_ending(stat: &str) -> bool {
    const BEING_TAKEN_APART: u64 = 0x4;
    const KILLED: u64 = 1 << (9 - 1);
    // The name before the last bracket may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let has =
        |field: usize, bit: u64| fields.get(field).and_then(|n| n.parse::<u64>().ok()).is_some_and(|n| n & bit != 0);
    matches!(fields.first(), Some(&("Z" | "X"))) || has(6, BEING_TAKEN_APART) || has(28, KILLED)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use millpond_core::SystemClock;
    use tempfile::TempDir;

    use super::*;

    /// No process has this number: Linux ends at 2^22.
    const NOBODY: &str = "process 4194999 (job `job`)\n";

    /// A clock on which the lock is let go of after some waiting.
    struct Releasing {
        held: Mutex<(u32, Option<File>)>,
    }

    impl Clock for Releasing {
        fn now_ms(&self) -> i64 {
            0
        }

        fn monotonic_us(&self) -> u64 {
            0
        }

        fn wait_until(&self, _: i64, _: &StopSignal) {
            let (waits_left, file) = &mut *self.held.lock().unwrap();
            match waits_left.checked_sub(1) {
                Some(left) => *waits_left = left,
                None => drop(file.take()),
            }
        }
    }

    fn held_by(dir: &Path, holder: &str) -> File {
        fs::write(dir.join(LOCK), holder).unwrap();
        let file = File::open(dir.join(LOCK)).unwrap();
        file.lock().unwrap();
        file
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn lock_of_a_process_that_is_gone_is_waited_for() {
        let dir = TempDir::new().unwrap();
        let clock = Releasing { held: Mutex::new((7, Some(held_by(dir.path(), NOBODY)))) };
        let lock = Lock::take(dir.path(), "job", &clock).unwrap();
        assert_eq!(job_of(dir.path()).as_deref(), Some("job"));
        assert!(is_ours(dir.path()));
        drop(lock);
        assert!(is_ours(dir.path()) && job_of(dir.path()).is_none());
    }

    #[test]
    fn lock_that_is_never_let_go_of_is_refused() {
        let dir = TempDir::new().unwrap();
        let clock = Releasing { held: Mutex::new((u32::MAX, Some(held_by(dir.path(), NOBODY)))) };
        let Err(Error::InUse { holder, .. }) = Lock::take(dir.path(), "job", &clock) else { panic!("two hold it") };
        assert!(holder.contains("4194999"), "{holder}");
        assert!(u32::MAX - clock.held.lock().unwrap().0 <= TRIES);
    }

    #[test]
    fn lock_of_a_process_that_lives_is_refused_at_once() {
        let dir = TempDir::new().unwrap();
        for holder in [format!("process {} (job `job`)\n", std::process::id()), String::new()] {
            let clock = Releasing { held: Mutex::new((0, Some(held_by(dir.path(), &holder)))) };
            assert!(matches!(Lock::take(dir.path(), "job", &clock), Err(Error::InUse { .. })));
            assert!(clock.held.lock().unwrap().1.is_some(), "it was waited for");
        }
    }

    #[test]
    fn killed_and_ended_processes_are_told_from_living_ones() {
        let stat = |state: &str, flags: u32, pending: u32| {
            format!("7 (a ) b) {state} 1 7 7 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0 9 0 0 0 0 0 {pending} 0 0 0")
        };
        assert!(!is_ending(&stat("S", 0x40_0100, 0)));
        assert!(is_ending(&stat("Z", 0x40_0100, 0)));
        assert!(is_ending(&stat("R", 0x40_0104, 0)));
        assert!(is_ending(&stat("D", 0x40_0100, 256)));
        assert!(!is_ending(""));
    }

    #[test]
    fn lock_is_free_at_once_even_while_a_child_process_starts() {
        let dir = TempDir::new().unwrap();
        let clock = SystemClock::new();
        let lock = Lock::take(dir.path(), "job", &clock).unwrap();
        let inherited = lock.inherited();
        assert!(matches!(Lock::take(dir.path(), "job", &clock), Err(Error::InUse { .. })));
        drop(lock);
        Lock::take(dir.path(), "job", &clock).unwrap();
        drop(inherited);
    }
}
