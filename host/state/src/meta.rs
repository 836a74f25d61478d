//! `meta.json`: what says of a folder that it holds state, whose, and whether there were commits.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::lock::{self, LOCK};
use crate::log::sync_dir;

/// The version of the folder's layout.
pub(crate) const FORMAT: u32 = 1;

/// The file's name, and that of the file it is written as.
pub(crate) const META: &str = "meta.json";
pub(crate) const META_TEMPORARY: &str = "meta.json.tmp";

/// The folders beside it.
pub(crate) const FOLDERS: [&str; 3] = ["log", "store", "snapshot"];

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) format: u32,
    pub(crate) job: String,
    /// Written once the first commit is durable: without it, no commit at all would look like a new folder.
    #[serde(default)]
    pub(crate) has_commits: bool,
}

impl Meta {
    pub(crate) fn new(job: &str) -> Self {
        Self { format: FORMAT, job: job.to_owned(), has_commits: false }
    }

    /// Reads it and checks that the folder is this job's. `None` = the folder is empty, or its making was broken off.
    /// Changes nothing, so that a folder which is not ours stays as it is.
    pub(crate) fn read(dir: &Path, job: &str) -> Result<Option<Self>> {
        // Listed first: whoever makes the folder at this moment writes this file before anything else.
        let foreign = foreign_entry(dir)?;
        let path = dir.join(META);
        let json = match fs::read(&path) {
            Ok(json) => json,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return foreign.map_or(Ok(None), |entry| Err(Error::OtherFiles { dir: dir.to_owned(), entry }));
            }
            Err(source) => return Err(Error::Open { path, action: "read", source }),
        };
        let meta = Self::parse(&path, &json).map_err(|failure| match failure {
            Error::MetaDamaged { .. } if !has_our_layout(dir) => {
                Error::OtherFiles { dir: dir.to_owned(), entry: META.to_owned() }
            }
            failure => failure,
        })?;
        if meta.job == job {
            return Ok(Some(meta));
        }
        Err(Error::OtherJob { dir: dir.to_owned(), found: meta.job, expected: job.to_owned() })
    }

    fn parse(path: &Path, json: &[u8]) -> Result<Self> {
        let damaged = |reason: String| Error::MetaDamaged { path: path.to_owned(), reason };
        if json.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) {
            return Err(damaged("it is empty".to_owned()));
        }
        let value: serde_json::Value = serde_json::from_slice(json).map_err(|error| damaged(error.to_string()))?;
        // The version first: another one may have other fields.
        if let Some(found) = value["format"].as_u64().filter(|found| *found != u64::from(FORMAT)) {
            let found = u32::try_from(found).unwrap_or(u32::MAX);
            return Err(Error::Version { path: path.to_owned(), found, expected: FORMAT });
        }
        serde_json::from_value(value).map_err(|error| damaged(error.to_string()))
    }

    /// Writes it, durably and in one step.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        let mut json = serde_json::to_vec_pretty(self).expect("a number and a string are always JSON");
        json.push(b'\n');
        let (path, temporary) = (dir.join(META), dir.join(META_TEMPORARY));
        let written = File::create(&temporary).and_then(|mut file| {
            file.write_all(&json)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            sync_dir(dir)
        });
        written.map_err(Error::open("write", &path))
    }
}

/// An entry that is not what a broken-off making leaves: the first by name, so that the message is the same every time.
fn foreign_entry(dir: &Path) -> Result<Option<String>> {
    let mut foreign: Option<String> = None;
    for entry in fs::read_dir(dir).map_err(Error::open("list", dir))? {
        let name = entry.map_err(Error::open("list", dir))?.file_name().to_string_lossy().into_owned();
        let is_ours = name == META_TEMPORARY || (name == LOCK && lock::is_ours(dir));
        if !is_ours && foreign.as_ref().is_none_or(|first| name < *first) {
            foreign = Some(name);
        }
    }
    Ok(foreign)
}

/// Whether the folder is a state folder even though its `meta.json` does not say so.
fn has_our_layout(dir: &Path) -> bool {
    lock::is_ours(dir) && FOLDERS.iter().all(|name| dir.join(name).is_dir())
}
