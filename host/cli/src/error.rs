//! What the command line itself can find wrong: job files, options, plugin folders, the guest toolchain.
//!
//! Each message says place and reason; the remedy is in [`Error::help`], which is printed on lines of its own. Errors of
//! the other crates travel as `BoxError` and carry their remedy in their message.

use std::io;
use std::path::PathBuf;

use millpond_core::{BoxError, Classify, Code, Domain};

use crate::job_file::Place;

/// A result that fails with any classified error.
pub type Result<T, E = BoxError> = std::result::Result<T, E>;

/// What is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Neither a folder nor a file is there.
    #[error("{}: no such file or folder", path.display())]
    Missing {
        /// What was named.
        path: PathBuf,
    },
    /// The folder has no job file.
    #[error("{}: no job file in folder {}", path.display(), dir.display())]
    NoJobFile {
        /// The file that was looked for.
        path: PathBuf,
        /// The folder.
        dir: PathBuf,
    },
    /// The argument is a file that is not a job file.
    #[error("{}: this is {found}, not a job: a job is a folder with a millpond.toml, or such a file", path.display())]
    NotAJob {
        /// What was named.
        path: PathBuf,
        /// What it looks like.
        found: &'static str,
        /// What to do with it.
        remedy: String,
    },
    /// A file cannot be read.
    #[error("{}: cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The job file is not TOML.
    #[error("{place}: not valid TOML{}: {message}", column_text(*column))]
    NotToml {
        /// The line.
        place: Place,
        /// The column, from 1; 0 = unknown.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// A key that nobody reads.
    #[error("{place}: {key}: unknown key{}", suggestion_text(suggestion.as_deref()))]
    UnknownKey {
        /// Where.
        place: Place,
        /// The whole key.
        key: String,
        /// The key that was probably meant.
        suggestion: Option<String>,
        /// What stands around it and which keys it has: `[job] has`.
        owner: String,
        /// The keys that exist there.
        known: Vec<String>,
    },
    /// A value that cannot be.
    #[error("{place}: {key}: {problem}")]
    WrongValue {
        /// Where.
        place: Place,
        /// The whole key.
        key: String,
        /// What is wrong.
        problem: String,
        /// What may stand there instead; empty = the problem says it.
        allowed: String,
    },
    /// The plan names something that the file does not define.
    #[error("{}: the plan uses {kind} `{name}`, which the job file does not define{}", path.display(),
        suggestion_text(suggestion.as_deref()))]
    NotDefined {
        /// The job file.
        path: PathBuf,
        /// `source`, `sink` or `transform`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// A name in the file that the plan does not use and that looks like it.
        suggestion: Option<String>,
    },
    /// The file defines something that the plan does not name.
    #[error("{place}: {kind}s.{name}: the plan has no {kind} of this name{}", suggestion_text(suggestion.as_deref()))]
    NotInPlan {
        /// Where it is defined.
        place: Place,
        /// `source`, `sink` or `transform`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The plan's name that was probably meant.
        suggestion: Option<String>,
        /// The names that the plan has.
        known: Vec<String>,
    },
    /// A transform's columns are not the plan's.
    #[error("transform `{name}`: its {side} columns are ({found}), but the plan says ({expected})")]
    TransformColumns {
        /// Its name.
        name: String,
        /// `input` or `output`.
        side: &'static str,
        /// What the component declares.
        found: String,
        /// What the plan declares.
        expected: String,
    },
    /// Cargo could not build the plugin.
    #[error("building the plugin in {} failed: {reason}", folder.display())]
    BuildFailed {
        /// The plugin.
        folder: PathBuf,
        /// Why, in a few words; cargo has said the rest.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// A built file cannot be written.
    #[error("building the plugin failed: {} cannot be written", path.display())]
    CannotWrite {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nothing on this machine compiles to WebAssembly.
    #[error("no Rust toolchain for WebAssembly (target wasm32-unknown-unknown) on this machine: {reason}")]
    ToolchainMissing {
        /// What was looked for.
        reason: String,
    },
    /// The folder is not a plugin.
    #[error("{}: not a plugin folder: {reason}", folder.display())]
    NotAPlugin {
        /// The folder.
        folder: PathBuf,
        /// Why.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// A `--set` that cannot be applied.
    #[error("--set {text}: {problem}")]
    MalformedSet {
        /// What follows `--set`.
        text: String,
        /// What is wrong.
        problem: String,
    },
    /// `--fresh` on a folder that holds something else.
    #[error("--fresh: {} is not the state folder of job `{job}`: {reason}; nothing was removed", dir.display())]
    NotOurState {
        /// The folder.
        dir: PathBuf,
        /// The job.
        job: String,
        /// What was found.
        reason: String,
    },
    /// `--fresh` on a folder that another process uses.
    #[error("--fresh: state folder {} is in use by {holder}; nothing was removed", dir.display())]
    StateInUse {
        /// The folder.
        dir: PathBuf,
        /// Who uses it.
        holder: String,
    },
    /// `--fresh` cannot do its work.
    #[error("--fresh: the state in {} cannot be removed", dir.display())]
    CannotForget {
        /// The folder.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `explain` of a code that does not exist.
    #[error("there is no error code `{code}`{}", suggestion_text(suggestion.as_deref()))]
    NoSuchCode {
        /// What was asked for.
        code: String,
        /// The code that was probably meant.
        suggestion: Option<String>,
    },
    /// Standard output is gone or full.
    #[error("standard output cannot be written")]
    Output(#[source] io::Error),
    /// The operating system gives no threads or signals.
    #[error("the process cannot be set up: {what}")]
    SetUp {
        /// What failed.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn suggestion_text(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

fn column_text(column: usize) -> String {
    if column == 0 { String::new() } else { format!(" (column {column})") }
}

impl Error {
    /// What to do about it; one sentence a line. Empty when the message says it all.
    #[must_use]
    pub fn help(&self) -> Vec<String> {
        match self {
            Self::Missing { .. } => vec!["give a folder with a millpond.toml, or the path of such a file".to_owned()],
            Self::NoJobFile { .. } => {
                vec!["a job is a folder with a millpond.toml in it: write one, or give the right folder".to_owned()]
            }
            Self::NotAJob { remedy, .. } | Self::NotAPlugin { remedy, .. } | Self::BuildFailed { remedy, .. } => {
                vec![remedy.clone()]
            }
            Self::UnknownKey { owner, known, .. } if known.is_empty() => vec![format!("{owner} no keys")],
            Self::UnknownKey { owner, known, .. } => vec![format!("{owner} {}", known.join(", "))],
            Self::WrongValue { place, allowed, .. } => wrong_value_help(place, allowed),
            Self::NotDefined { kind, name, suggestion: None, .. } => {
                vec![format!("add a table [{kind}s.{}]", toml_key(name))]
            }
            Self::NotDefined { kind, name, suggestion: Some(_), .. } => {
                vec![format!("rename the table to [{kind}s.{}], or add one of that name", toml_key(name))]
            }
            Self::NotInPlan { kind, known, .. } if known.is_empty() => {
                vec![format!("remove the table: the plan uses no {kind}")]
            }
            Self::NotInPlan { kind, known, .. } => {
                vec![format!("remove the table, or give it a {kind}'s name of the plan: {}", known.join(", "))]
            }
            Self::ToolchainMissing { .. } => toolchain_help(),
            Self::MalformedSet { .. } => {
                vec!["write --set key.path=value, for example --set job.trigger=continuous".to_owned()]
            }
            Self::NotOurState { .. } => {
                vec!["give the job's own state folder with --state, or remove the folder yourself".to_owned()]
            }
            Self::StateInUse { .. } => vec!["stop that process first, or use another folder with --state".to_owned()],
            Self::Unreadable { path, .. } if path.is_dir() => {
                vec![
                    "this is a folder; `millpond build` makes a component of a plugin folder and prints its path"
                        .to_owned(),
                ]
            }
            Self::NoSuchCode { .. } => vec!["`millpond explain` lists all codes".to_owned()],
            Self::TransformColumns { .. } => {
                vec!["use another component, or change the job's plan: both must have the same columns".to_owned()]
            }
            Self::Unreadable { .. }
            | Self::NotToml { .. }
            | Self::CannotWrite { .. }
            | Self::CannotForget { .. }
            | Self::Output(_)
            | Self::SetUp { .. } => Vec::new(),
        }
    }
}

fn wrong_value_help(place: &Place, allowed: &str) -> Vec<String> {
    if allowed.is_empty() {
        return Vec::new();
    }
    let mut help = vec![format!("allowed: {allowed}")];
    if place.is_set() && allowed.starts_with("text") {
        help.push(
            "a value after --set is read as TOML where it can be; quote it to make it text: key='\"10\"'".to_owned(),
        );
    }
    help
}

fn toolchain_help() -> Vec<String> {
    vec![
        "with rustup: rustup target add wasm32-unknown-unknown".to_owned(),
        "on Debian without rustup: apt-get install rustc-web rust-web-src lld-22 cargo-web rust-web-llvm".to_owned(),
        "in Millpond's repository, `./just setup` does what fits this machine".to_owned(),
    ]
}

/// A name as it must be written in a table's head.
fn toml_key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if is_bare { name.to_owned() } else { format!("{name:?}") }
}

impl Classify for Error {
    fn code(&self) -> Code {
        Code(match self {
            Self::Missing { .. } | Self::NoJobFile { .. } | Self::NotAJob { .. } | Self::Unreadable { .. } => "MP0101",
            Self::NotToml { .. } => "MP0102",
            Self::UnknownKey { .. } => "MP0103",
            Self::WrongValue { .. } | Self::NoSuchCode { .. } => "MP0104",
            Self::NotDefined { .. } => "MP0105",
            Self::NotInPlan { .. } => "MP0106",
            Self::BuildFailed { .. } | Self::CannotWrite { .. } => "MP0107",
            Self::ToolchainMissing { .. } => "MP0108",
            Self::NotAPlugin { .. } => "MP0109",
            Self::MalformedSet { .. } => "MP0110",
            Self::TransformColumns { .. } => "MP0208",
            Self::Output(_) => "MP0601",
            Self::StateInUse { .. } => "MP0701",
            Self::NotOurState { .. } => "MP0707",
            Self::CannotForget { .. } => "MP0708",
            Self::SetUp { .. } => "MP0901",
        })
    }

    fn domain(&self) -> Domain {
        match self {
            Self::Unreadable { .. } | Self::CannotWrite { .. } | Self::CannotForget { .. } | Self::Output(_) => {
                Domain::External
            }
            Self::SetUp { .. } => Domain::Internal,
            _ => Domain::User,
        }
    }
}

/// The candidate that was probably meant.
#[must_use]
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // 0.7 is what clap uses for the same purpose.
    let scored = candidates.into_iter().map(|name| (strsim::jaro(word, name), name)).filter(|(score, _)| *score > 0.7);
    scored.max_by(|left, right| left.0.total_cmp(&right.0)).map(|(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_word() {
        let keys = ["path", "format", "max-files-per-batch", "on-bad-record"];
        assert_eq!(did_you_mean("pth", keys).as_deref(), Some("path"));
        assert_eq!(did_you_mean("max-file-per-batch", keys).as_deref(), Some("max-files-per-batch"));
        assert_eq!(did_you_mean("colour", keys), None);
    }

    #[test]
    fn toolchain_error_names_both_remedies() {
        let help = Error::ToolchainMissing { reason: String::new() }.help().join("\n");
        for part in ["rustup target add", "rustc-web rust-web-src lld-22", "./just setup"] {
            assert!(help.contains(part), "{part} is missing in {help}");
        }
    }

    #[test]
    fn unusual_names_are_quoted_in_help() {
        assert_eq!(toml_key("lines"), "lines");
        assert_eq!(toml_key("my lines"), "\"my lines\"");
    }
}
