//! What the command line itself can find wrong: job files, options, what they name. (Plugin folders and builds: `millpond-build`.)
//!
//! Each message says place and reason; the remedy is in [`Error::help`], which is printed on lines of its own. Errors of
//! the other crates travel as `BoxError` and carry their remedy in their message.

mod help;
mod suggest;

use std::fmt;
use std::io;
use std::path::PathBuf;

use millpond_core::{BoxError, Classify, Code, Domain};

use crate::job_file::Place;

pub use suggest::did_you_mean;

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
    /// There is no folder to build.
    #[error("{}: no such folder", path.display())]
    NoFolder {
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
    /// A key that must be there is not.
    #[error("{place}: {table}.{key}: is missing")]
    MissingKey {
        /// Where its table begins.
        place: Place,
        /// The table.
        table: String,
        /// The key.
        key: String,
        /// What may stand there; empty = not said.
        allowed: String,
    },
    /// A component that cannot be used, and which one it is.
    #[error("{about}")]
    Component {
        /// Where it is named, and its file.
        about: String,
        /// What is wrong with it.
        #[source]
        source: Cause,
    },
    /// A sink makes files that a source of the same job reads.
    #[error("{place}: sinks.{sink}.path: the files that this sink makes in {} would be input of source `{source_name}` \
             ({source_path}), and the job would feed itself for ever", folder.display())]
    OutputIsInput {
        /// Where the sink's path is written.
        place: Place,
        /// The sink's name.
        sink: String,
        /// Its folder.
        folder: PathBuf,
        /// The source's name.
        source_name: String,
        /// The source's path, as written.
        source_path: String,
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
    #[error("transform `{name}`: its {side} columns are not those of the plan\n{difference}")]
    TransformColumns {
        /// Its name.
        name: String,
        /// `input` or `output`.
        side: &'static str,
        /// Both, and where they differ.
        difference: String,
    },
    /// A `--set` that cannot be applied.
    #[error("--set {text}: {problem}")]
    MalformedSet {
        /// What follows `--set`.
        text: String,
        /// What is wrong.
        problem: String,
    },
    /// A job without golden cases, or none of the wanted name.
    #[error("{}: {}", folder.display(), match filter {
        Some(filter) => format!("no golden case has `{filter}` in its name"),
        None => "there are no golden cases".to_owned(),
    })]
    NoCases {
        /// Where they would be.
        folder: PathBuf,
        /// The wanted part of the name.
        filter: Option<String>,
        /// The cases that there are.
        known: Vec<String>,
    },
    /// A golden case that makes no sense.
    #[error("{}: {problem}", path.display())]
    BadCase {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// Golden cases did not give what they must.
    #[error("{failed} of {cases} golden cases failed")]
    CasesFailed {
        /// How many failed.
        failed: usize,
        /// How many were run.
        cases: usize,
    },
    /// A file of the user's project cannot be written.
    #[error("{}: cannot be written", path.display())]
    CannotWrite {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `new` cannot make what it was asked for.
    #[error("{problem}")]
    CannotMake {
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// The operating system does not tell of changes in a folder.
    #[error("{}: cannot be watched: {reason}", folder.display())]
    CannotWatch {
        /// The folder.
        folder: PathBuf,
        /// Why.
        reason: String,
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
    /// The file of `--report` cannot be made or written.
    #[error("--report {}: cannot be written", path.display())]
    Report {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
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

/// Another crate's error, as the cause of one of ours.
#[derive(Debug)]
pub struct Cause(pub BoxError);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.full_message())
    }
}

impl std::error::Error for Cause {}

fn suggestion_text(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

fn column_text(column: usize) -> String {
    if column == 0 { String::new() } else { format!(" (column {column})") }
}

impl Classify for Error {
    fn code(&self) -> Code {
        Code(match self {
            Self::Component { source, .. } => return source.0.code(),
            Self::Missing { .. }
            | Self::NoFolder { .. }
            | Self::NoJobFile { .. }
            | Self::NotAJob { .. }
            | Self::Unreadable { .. } => "MP0101",
            Self::NotToml { .. } => "MP0102",
            Self::UnknownKey { .. } => "MP0103",
            Self::WrongValue { .. } | Self::MissingKey { .. } | Self::NoSuchCode { .. } => "MP0104",
            Self::NotDefined { .. } => "MP0105",
            Self::NotInPlan { .. } => "MP0106",
            Self::MalformedSet { .. } => "MP0110",
            Self::Report { .. } => "MP0111",
            Self::CannotMake { .. } | Self::CannotWrite { .. } => "MP0112",
            Self::NoCases { .. } | Self::BadCase { .. } => "MP0113",
            Self::CasesFailed { .. } => "MP0114",
            Self::CannotWatch { .. } => "MP0115",
            Self::TransformColumns { .. } => "MP0208",
            Self::Output(_) => "MP0601",
            Self::OutputIsInput { .. } => "MP0603",
            Self::SetUp { .. } => "MP0901",
        })
    }

    fn domain(&self) -> Domain {
        match self {
            Self::Component { source, .. } => source.0.domain(),
            Self::Unreadable { .. }
            | Self::Output(_)
            | Self::Report { .. }
            | Self::CannotWrite { .. }
            | Self::CannotWatch { .. } => Domain::External,
            Self::SetUp { .. } => Domain::Internal,
            _ => Domain::User,
        }
    }
}
