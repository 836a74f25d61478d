//! What can go wrong with durable state: one enum, each variant a situation with its place, reason and remedy.

use std::io;
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use millpond_core::{Classify, Code, Domain, Retry};

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the state store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process (or another store of this one) holds the folder.
    #[error("the state folder {dir} is in use by {holder}: stop it first, or give this job a state folder of its own")]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// Who holds it, as written in its LOCK file.
        holder: String,
    },
    /// The folder was made by a job with another name.
    #[error(
        "the state folder {dir} belongs to the job `{found}`, not to `{expected}`: give this job a state folder of its own, or rename the job back"
    )]
    OtherJob {
        /// The folder.
        dir: PathBuf,
        /// The job that made it.
        found: String,
        /// The job that wants it.
        expected: String,
    },
    /// The folder is not empty and no state folder.
    #[error("{dir} is no state folder, and this folder holds other files (`{entry}`): name an empty or new folder")]
    OtherFiles {
        /// The folder.
        dir: PathBuf,
        /// One of the files or folders in it.
        entry: String,
    },
    /// What says whose state it is cannot be understood.
    #[error(
        "{path} is damaged: {reason}; bring the state folder back from a copy, or start over with --fresh, which removes this job's state"
    )]
    MetaDamaged {
        /// The folder's `meta.json`.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Something was written in a format that this version does not know.
    #[error(
        "{path} has format version {found}; this version of Millpond reads version {expected}: use the version that wrote it, or a fresh state folder"
    )]
    Version {
        /// The file or folder.
        path: PathBuf,
        /// The version in it.
        found: u32,
        /// The version that can be read.
        expected: u32,
    },
    /// The folder, or a file in it, cannot be opened, created, renamed or removed.
    #[error(
        "cannot {action} {path}: {source}; check that the folder exists, that this user may write to it, and that the disk is not full"
    )]
    Open {
        /// The file or folder.
        path: PathBuf,
        /// What was tried: `create`, `lock`, `rename` ...
        action: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A commit could not be written; nothing of it is in the log.
    #[error(
        "cannot write commit {epoch} to {path}: {source}; the commits before it are whole: free space or repair the disk, then start the job again"
    )]
    Write {
        /// The log segment.
        path: PathBuf,
        /// The commit's number.
        epoch: u64,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An earlier commit failed and could not be taken back either.
    #[error(
        "the commit log {path} takes no more commits: commit {epoch} failed and what was written of it could not be removed ({reason}); repair the disk, then start the job again"
    )]
    Poisoned {
        /// The log segment.
        path: PathBuf,
        /// The commit that failed.
        epoch: u64,
        /// Why it could not be removed.
        reason: String,
    },
    /// The log has grown to its limit because checkpoints fail.
    #[error(
        "the commit log in {dir} has {bytes} bytes that no checkpoint holds, the limit is {limit}, because checkpoints fail: {reason}; free space or repair the disk, then start the job again"
    )]
    Backlog {
        /// The log's folder.
        dir: PathBuf,
        /// Bytes since the last checkpoint.
        bytes: u64,
        /// How many are allowed.
        limit: u64,
        /// Why the last checkpoint failed.
        reason: String,
    },
    /// A record in the log is damaged and others follow it, or records are missing.
    #[error(
        "the commit log is damaged at {path} byte {offset}: {reason}; bring the state folder back from a copy, or start the job with a fresh one"
    )]
    LogDamaged {
        /// The log segment.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// There were commits, and there are none any more.
    #[error(
        "the state in {dir} has lost all of its commits: log: none in {log}; checkpoint store: {store}; snapshot: {snapshot}; bring the state folder back from a copy, or start over with --fresh"
    )]
    CommitsMissing {
        /// The state folder.
        dir: PathBuf,
        /// The log's folder.
        log: PathBuf,
        /// Why the checkpoint store does not serve.
        store: String,
        /// Why no snapshot serves.
        snapshot: String,
    },
    /// A file of the log cannot be read.
    #[error("cannot read the commit log {path}: {source}; check the disk and the file's permissions")]
    LogRead {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The checkpoint store cannot be opened, read or written.
    #[error(
        "the checkpoint store {path} cannot be used: {reason}; it is rebuilt from the snapshot and the log when the job starts again"
    )]
    Store {
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// Whether what it holds is known to be wrong, so that trying again cannot help.
        damaged: bool,
    },
    /// A snapshot cannot be read or written.
    #[error("the snapshot {path} cannot be used: {reason}; check the disk's space and health")]
    Snapshot {
        /// Its folder or file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Neither the checkpoint store nor a snapshot with the log gives the state back.
    #[error(
        "the state in {dir} cannot be recovered: checkpoint store: {store}; snapshot: {snapshot}; log: {log}; bring the state folder back from a copy, or start the job with a fresh one"
    )]
    Unrecoverable {
        /// The state folder.
        dir: PathBuf,
        /// Why the checkpoint store does not serve.
        store: String,
        /// Why no snapshot serves.
        snapshot: String,
        /// Why the log does not serve.
        log: String,
    },
    /// A checkpoint was given up because the store is closing.
    #[error(
        "the checkpoint was given up because the state store is closing; the next start does it again from the log"
    )]
    Stopped,
    /// Rows cannot be encoded.
    #[error("cannot encode the state of node `{node}`: {source}; this is a defect of Millpond: please report it")]
    Encode {
        /// The node.
        node: String,
        /// Why not.
        #[source]
        source: ArrowError,
    },
    /// The store was used against its contract.
    #[error("the state store was used wrongly: {reason}; this is a defect of Millpond: please report it")]
    Misuse {
        /// How.
        reason: String,
    },
}

impl Error {
    pub(crate) fn open(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Open { path: path.to_owned(), action, source }
    }

    pub(crate) fn misuse(reason: impl Into<String>) -> Self {
        Self::Misuse { reason: reason.into() }
    }
}

impl Classify for Error {
    fn code(&self) -> Code {
        Code(match self {
            Self::InUse { .. } => "MP0701",
            Self::Write { .. } | Self::Poisoned { .. } | Self::Backlog { .. } => "MP0702",
            Self::LogDamaged { .. } | Self::LogRead { .. } | Self::CommitsMissing { .. } => "MP0703",
            Self::Store { .. } | Self::Snapshot { .. } | Self::Unrecoverable { .. } => "MP0704",
            Self::Version { .. } => "MP0705",
            Self::OtherJob { .. } | Self::OtherFiles { .. } => "MP0707",
            Self::Open { .. } | Self::MetaDamaged { .. } => "MP0708",
            Self::Stopped | Self::Encode { .. } | Self::Misuse { .. } => "MP0901",
        })
    }

    fn domain(&self) -> Domain {
        match self {
            Self::InUse { .. } | Self::OtherJob { .. } | Self::OtherFiles { .. } | Self::Version { .. } => Domain::User,
            Self::Stopped | Self::Encode { .. } | Self::Misuse { .. } => Domain::Internal,
            _ => Domain::External,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            // Trying again at once would meet the same disk and the same bytes.
            Self::Stopped | Self::Encode { .. } | Self::Misuse { .. } => Retry::No,
            Self::LogRead { .. } | Self::Store { .. } | Self::Snapshot { .. } => Retry::Backoff,
            _ => Retry::AfterAction,
        }
    }
}
