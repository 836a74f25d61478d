//! The state folder: who may use it, whose it is, and where things lie in it. The drawing is in the crate's documentation.

use std::fs;
use std::path::{Path, PathBuf};

use millpond_core::Clock;

use crate::error::{Error, Result};
use crate::lock::Lock;
use crate::log::sync_dir;
use crate::meta::Meta;

/// A locked state folder. The lock lives as long as this does.
#[derive(Debug)]
pub(crate) struct Folder {
    paths: Paths,
    meta: Meta,
    _lock: Lock,
}

/// Where things lie.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    pub(crate) dir: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) store: PathBuf,
    pub(crate) snapshot: PathBuf,
}

impl Folder {
    /// Locks the folder, making it if it is not there, and checks that it is this job's. Nothing is put into a folder of
    /// somebody else's, not even the lock.
    pub(crate) fn open(dir: &Path, job: &str, clock: &dyn Clock) -> Result<Self> {
        make(dir)?;
        Meta::read(dir, job)?;
        let lock = Lock::take(dir, job, clock)?;
        let meta = match Meta::read(dir, job)? {
            Some(meta) => meta,
            None => {
                let meta = Meta::new(job);
                meta.write(dir)?;
                meta
            }
        };
        let under = |name: &str| {
            let path = dir.join(name);
            fs::create_dir_all(&path).map_err(Error::open("create", &path))?;
            Ok(path)
        };
        let paths =
            Paths { dir: dir.to_owned(), log: under("log")?, store: under("store")?, snapshot: under("snapshot")? };
        sync_dir(dir).map_err(Error::open("sync", dir))?;
        Ok(Self { paths, meta, _lock: lock })
    }

    pub(crate) fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Whether there ever was a commit.
    pub(crate) fn has_commits(&self) -> bool {
        self.meta.has_commits
    }

    /// Notes that there is a commit, once. Call when one is durable.
    pub(crate) fn note_commits(&mut self) {
        if self.meta.has_commits {
            return;
        }
        let meta = Meta { has_commits: true, ..self.meta.clone() };
        // The commit is whole without it, so a full disk is not the commit's failure: the next one notes it.
        if meta.write(&self.paths.dir).is_ok() {
            self.meta = meta;
        }
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
