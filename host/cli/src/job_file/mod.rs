//! The job file: `millpond.toml`, read into types, every key checked.
//!
//! Three steps, each with its own file: TOML text becomes a tree whose values know their lines (`parse`, `tree`), `--set` changes
//! the tree (`overrides`), the tree becomes a [`JobFile`] (`sections`, `connector`, over `reader`). Whatever is wrong is told with
//! its line or its `--set`. Nothing here touches the outside but reading the file itself.

mod connector;
mod overrides;
mod parse;
mod reader;
mod sections;
mod tree;

fn shared_stream(place: &Place, key: &str, problem: &str, allowed: &str) -> Error {
    let (problem, allowed) = (problem.to_owned(), allowed.to_owned());
    Error::WrongValue { place: place.clone(), key: key.to_owned(), problem, allowed }
}

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use millpond_connectors::{BroadcastSpec, SinkSpec, SourceSpec};
use millpond_wasm::Limits;

pub(crate) use sections::cores;
pub use sections::{Checkpoint, Job};
pub use tree::{Entry, Place, Table, Value};

use crate::error::Error;
use crate::paths;

/// The name of a job file.
pub const FILE_NAME: &str = "millpond.toml";

/// A job as its file and `--set` describe it; every value checked, nothing opened.
#[derive(Debug)]
pub struct JobFile {
    /// The file, as the user named it.
    pub path: PathBuf,
    /// Its folder, absolute: relative paths in the file start here.
    pub dir: PathBuf,
    /// `[job]`.
    pub job: Job,
    /// `[sources.NAME]`.
    pub sources: BTreeMap<String, Defined<SourceSpec>>,
    /// `[sinks.NAME]`.
    pub sinks: BTreeMap<String, Defined<SinkSpec>>,
    /// `[transforms.NAME]`.
    pub transforms: BTreeMap<String, Defined<Transform>>,
    /// `[broadcasts.NAME]`.
    pub broadcasts: BTreeMap<String, Defined<BroadcastSpec>>,
    /// `[params]`: name and value, as the component gets them.
    pub params: Vec<(String, String)>,
    /// `[limits]`.
    pub limits: Limits,
    /// `[checkpoint]`.
    pub checkpoint: Checkpoint,
}

/// Something with a name of its own, and where it is defined.
#[derive(Debug)]
pub struct Defined<T> {
    /// What it is.
    pub spec: T,
    /// Where its table begins.
    pub place: Place,
    /// Where it reads or writes files, if it does.
    pub files: Option<Files>,
}

/// The files of a source or a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// `path`, as written.
    pub path: String,
    /// Where it is written.
    pub place: Place,
    /// How the names of files end that a sink of this format makes.
    pub extension: &'static str,
}

/// A component that serves as a step: `[transforms.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transform {
    /// The component's file, absolute.
    pub component: PathBuf,
    /// Where `component` is written.
    pub component_place: Place,
    /// `params`: name and value, as the component gets them.
    pub params: Vec<(String, String)>,
}

impl JobFile {
    /// Reads and checks a job file.
    ///
    /// **Errors**: MP0101 when it cannot be read, MP0102 when it is not TOML, MP0103 and MP0104 for its keys and values, MP0110 for a
    /// `--set` that cannot be applied.
    pub fn load(path: &Path, sets: &[String]) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        let text = String::from_utf8(bytes).map_err(|error| not_utf8(path, &error))?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let dir = std::path::absolute(dir).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        Self::from_text(path, dir, &text, sets)
    }

    /// Checks the text of a job file. `path` serves for messages, `dir` (absolute) as the start of relative paths.
    ///
    /// **Errors**: as [`Self::load`], but MP0101.
    pub fn from_text(path: &Path, dir: PathBuf, text: &str, sets: &[String]) -> Result<Self, Error> {
        let mut root = parse::parse_document(path, text)?;
        overrides::apply(&mut root, sets, connector::known_keys)?;
        sections::read(path, dir, &root)
    }

    /// Checks that nobody shares standard input, and nobody a standard output which another program is to read.
    ///
    /// **Errors**: MP0104.
    pub fn check_streams(&self) -> Result<(), Error> {
        let mut stdin = self.sources.iter().filter(|(_, source)| source.spec.reads_stdin());
        if let Some((name, second)) = stdin.nth(1) {
            let problem = "another source reads standard input already, and what one reads the other does not see";
            let allowed = "one source of type \"stdin\"; the plan may use its stream several times";
            return Err(shared_stream(&second.place, &format!("sources.{name}"), problem, allowed));
        }
        let stdout: Vec<_> = self.sinks.iter().filter(|(_, sink)| sink.spec.writes_to_stdout()).collect();
        if stdout.len() > 1 && stdout.iter().any(|(_, sink)| sink.spec.owns_stdout()) {
            let (name, last) = stdout[stdout.len() - 1];
            let problem = "another sink writes to standard output, and one of them is of type \"stdout\": another program \
                           could not tell their lines apart";
            let allowed = "one sink of type \"stdout\" and none of type \"console\"; the others can write files";
            return Err(shared_stream(&last.place, &format!("sinks.{name}"), problem, allowed));
        }
        Ok(())
    }

    /// The state folder unless `--state` names another.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        let dir = self.checkpoint.dir.clone();
        paths::without_detours(dir.unwrap_or_else(|| self.dir.join(".millpond/state").join(&self.job.name)))
    }
}

/// The job file that a command's argument means.
///
/// **Errors**: MP0101 when there is nothing, with a hint for a component, which is not a job.
pub fn resolve(target: &Path) -> Result<PathBuf, Error> {
    if target.is_dir() {
        let path = target.join(FILE_NAME);
        return match path.is_file() {
            true => Ok(path),
            false => Err(Error::NoJobFile { path, dir: target.to_owned() }),
        };
    }
    if !target.exists() {
        return Err(Error::Missing { path: target.to_owned() });
    }
    let extension = target.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if extension.eq_ignore_ascii_case("toml") && target.file_name().is_none_or(|name| name != "Cargo.toml") {
        return Ok(target.to_owned());
    }
    let path = target.to_owned();
    Err(match extension {
        "wasm" | "wat" => Error::NotAJob {
            remedy: format!(
                "`millpond inspect {}` shows what it is; to run it, name it in a millpond.toml: [job] component = \"...\"",
                path.display()
            ),
            found: "a component",
            path,
        },
        _ => Error::NotAJob {
            path,
            found: "another kind of file",
            remedy: "give the job's folder, or its millpond.toml".to_owned(),
        },
    })
}

fn not_utf8(path: &Path, error: &std::string::FromUtf8Error) -> Error {
    let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    Error::NotToml {
        place: Place::File { path: path.into(), line },
        column: 0,
        message: "the file is not UTF-8 text".to_owned(),
    }
}
