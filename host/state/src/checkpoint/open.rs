//! Opening sled with a time limit, on a thread of its own: it has been seen to take minutes after an abrupt stop, and to
//! panic on damage.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::error::{Error, Result};

/// sled's page cache. What recovery needs is read once and kept by the engine, so a large one would hold everything twice.
const CACHE_BYTES: u64 = 64 << 20;

/// How long a store that is still closing in this process may hold its lock, and how often to look.
const LOCK_TRIES: u32 = 500;
const LOCK_WAIT: Duration = Duration::from_millis(10);

/// Opens or makes a database, in at most `limit`. A thread that takes longer is left to itself; its folder must be moved
/// away and never used again.
pub(super) fn open_db(dir: &Path, limit: Duration) -> Result<sled::Db> {
    let failed = |reason: String| Error::Store { path: dir.to_owned(), reason, damaged: false };
    let (send, receive) = mpsc::channel();
    let path = dir.to_owned();
    let opener = move || {
        let opened = catch_unwind(AssertUnwindSafe(|| open_unlocked(path)));
        let opened = opened.unwrap_or_else(|_| Err("it panicked while it was opened".to_owned()));
        // Nobody waits any more when the limit has passed; the database closes as it is dropped.
        drop(send.send(opened));
    };
    let spawned = thread::Builder::new().name("millpond-store".to_owned()).spawn(opener);
    let _detached = spawned.map_err(|error| failed(format!("no thread to open it: {error}")))?;
    match receive.recv_timeout(limit) {
        Ok(opened) => opened.map_err(failed),
        Err(_) => Err(failed(format!("it did not open within {} s", limit.as_secs()))),
    }
}

fn open_unlocked(path: PathBuf) -> Result<sled::Db, String> {
    let config = || {
        let config = sled::Config::new().path(&path).cache_capacity(CACHE_BYTES);
        // Explicit flushes only: what is durable is this crate's decision.
        config.mode(sled::Mode::LowSpace).flush_every_ms(None)
    };
    for _ in 0..LOCK_TRIES {
        match config().open() {
            // The folder's own LOCK keeps other processes away, so this can only be an earlier store of this process
            // whose background work has not ended.
            Err(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") => {
                thread::park_timeout(LOCK_WAIT);
            }
            opened => return opened.map_err(|error| error.to_string()),
        }
    }
    Err("its lock is not let go of".to_owned())
}
