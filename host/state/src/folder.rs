//! The state folder: who may use it, whose it is, and where things lie in it. The drawing is in the crate's documentation.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::log::sync_dir;

/// The version of the folder's layout.
pub(crate) const FORMAT: u32 = 1;

/// A locked state folder. The lock lives as long as this does.
#[derive(Debug)]
pub(crate) struct Folder {
    paths: Paths,
    lock: File,
}

/// Where things lie.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    pub(crate) dir: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) store: PathBuf,
    pub(crate) snapshot: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    format: u32,
    job: String,
}

impl Folder {
    /// Locks the folder, making it if it is not there, and checks that it is this job's.
    pub(crate) fn open(dir: &Path, job: &str) -> Result<Self> {
        make(dir)?;
        let lock = lock(dir, job)?;
        check_meta(dir, job)?;
        let under = |name: &str| {
            let path = dir.join(name);
            fs::create_dir_all(&path).map_err(Error::open("create", &path))?;
            Ok(path)
        };
        let paths =
            Paths { dir: dir.to_owned(), log: under("log")?, store: under("store")?, snapshot: under("snapshot")? };
        sync_dir(dir).map_err(Error::open("sync", dir))?;
        Ok(Self { paths, lock })
    }

    pub(crate) fn paths(&self) -> &Paths {
        &self.paths
    }
}

/// Makes the folder; its entry in the folder above is durable, or the first commits could vanish with it.
fn make(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(Error::open("create", dir))?;
    let above = dir.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync_dir(above).map_err(Error::open("sync", above))
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Only so that nobody reads an old name in it; the lock itself goes with the file.
        drop(self.lock.set_len(0));
    }
}

fn lock(dir: &Path, job: &str) -> Result<File> {
    let path = dir.join("LOCK");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = file.map_err(Error::open("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            let holder = match holder.trim() {
                "" => "another process".to_owned(),
                holder => holder.to_owned(),
            };
            return Err(Error::InUse { dir: dir.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(Error::Open { path, action: "lock", source }),
    }
    let holder = format!("process {} (job `{job}`)\n", std::process::id());
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(holder.as_bytes()));
    written.map_err(Error::open("write", &path))?;
    Ok(file)
}

fn check_meta(dir: &Path, job: &str) -> Result<()> {
    let path = dir.join("meta.json");
    let json = match fs::read(&path) {
        Ok(json) => json,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return write_meta(dir, &path, job),
        Err(source) => return Err(Error::Open { path, action: "read", source }),
    };
    // The version first: another one may have other fields.
    let value: serde_json::Value = serde_json::from_slice(&json).unwrap_or_default();
    if let Some(found) = value["format"].as_u64().filter(|found| *found != u64::from(FORMAT)) {
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        return Err(Error::Version { path, found, expected: FORMAT });
    }
    let meta: Meta = serde_json::from_value(value).map_err(|error| Error::Open {
        path: path.clone(),
        action: "understand",
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, error),
    })?;
    if meta.job == job {
        return Ok(());
    }
    Err(Error::OtherJob { dir: dir.to_owned(), found: meta.job, expected: job.to_owned() })
}

fn write_meta(dir: &Path, path: &Path, job: &str) -> Result<()> {
    let meta = Meta { format: FORMAT, job: job.to_owned() };
    let mut json = serde_json::to_vec_pretty(&meta).expect("a number and a string are always JSON");
    json.push(b'\n');
    let temporary = path.with_extension("json.tmp");
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(&json)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_dir(dir)
    });
    written.map_err(Error::open("write", path))
}

impl Paths {
    /// The checkpoint store that is in use: the one with the highest number. `None` = there is none.
    pub(crate) fn newest_store(&self) -> Result<Option<PathBuf>> {
        Ok(numbers(&self.store)?.into_iter().max().map(|number| self.store.join(format!("{number:04}"))))
    }

    /// A folder for a new checkpoint store that no store ever had, not even one that was moved aside: a thread that is
    /// stuck opening an old one may still write to its path.
    pub(crate) fn next_store(&self) -> Result<PathBuf> {
        let aside = self.set_aside()?.into_iter().map(|(number, _)| number);
        let next = numbers(&self.store)?.into_iter().chain(aside).max().map_or(1, |number| number + 1);
        Ok(self.store.join(format!("{next:04}")))
    }

    /// Moves a checkpoint store away, and says where to.
    pub(crate) fn move_aside(&self, store: &Path) -> Result<PathBuf> {
        let number = store.file_name().unwrap_or_default().to_string_lossy();
        let to = self.dir.join(format!("store.damaged-{number}"));
        fs::rename(store, &to).map_err(Error::open("rename", store))?;
        sync_dir(&self.dir).map_err(Error::open("sync", &self.dir))?;
        Ok(to)
    }

    fn set_aside(&self) -> Result<Vec<(u32, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(Error::open("list", &self.dir))? {
            let path = entry.map_err(Error::open("list", &self.dir))?.path();
            let number = path.file_name().and_then(|name| name.to_str()?.strip_prefix("store.damaged-")?.parse().ok());
            found.extend(number.map(|number| (number, path)));
        }
        Ok(found)
    }
}

fn numbers(dir: &Path) -> Result<Vec<u32>> {
    let entries = fs::read_dir(dir).map_err(Error::open("list", dir))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}
