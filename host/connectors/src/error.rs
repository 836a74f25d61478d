//! What can go wrong between Millpond and the outside world.
//!
//! Every variant names the place, and its message ends with the remedy. The codes are explained by `millpond explain`.

use std::io;
#[cfg(feature = "files")]
use std::path::Path;
use std::path::PathBuf;

#[cfg(feature = "files")]
use millpond_core::BadRecord;
use millpond_core::{Classify, Code, Domain, Retry};

/// An error of a receiver or a sink.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A source's path leads nowhere.
    #[error(
        "source `{source_name}`: {} does not exist: create it, or correct `path` in [sources.{source_name}]",
        path.display()
    )]
    SourcePathMissing {
        /// The source's name in the job file.
        source_name: String,
        /// The file or folder that is missing.
        path: PathBuf,
    },

    /// A source's path is neither file nor folder.
    #[error(
        "source `{source_name}`: {} is no regular file or folder, and nothing else can be read more than once: \
         copy its content into a file, or correct `path` in [sources.{source_name}]",
        path.display()
    )]
    SourcePathUnfit {
        /// The source's name in the job file.
        source_name: String,
        /// The pipe, device or the like.
        path: PathBuf,
    },

    /// A file is not what it was when a batch took it.
    #[error(
        "{place}: the file {found} (it had {expected_bytes} bytes when the batch took it): \
         move files into the folder only when they are complete, and do not change them there"
    )]
    FileChanged {
        /// The file, or the part of it.
        place: String,
        /// What happened to it: `disappeared`, `shrank to 5 bytes`, `was replaced by another file` ...
        found: String,
        /// Its size when a batch took it.
        expected_bytes: u64,
    },

    /// The outside refused to give what it has.
    #[error("cannot read {place}: {source}; check that it is there and that this user may read it")]
    ReadFailed {
        /// The file or folder.
        place: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },

    /// A compressed file is broken.
    #[error("{place}: the gzip data is damaged after {unpacked_bytes} unpacked bytes: {source}; replace the file")]
    DamagedArchive {
        /// The file.
        place: String,
        /// How much could be unpacked.
        unpacked_bytes: u64,
        /// What the unpacker says.
        #[source]
        source: io::Error,
    },

    /// More rows than one record batch can hold.
    #[error(
        "{place}: more than {limit_bytes} bytes in one piece, and it cannot be cut: make the file smaller \
         (gzip files and CSV files with `multiline` are read whole), or lower max-bytes-per-batch"
    )]
    SplitTooLarge {
        /// The file.
        place: String,
        /// The most that one piece may hold.
        limit_bytes: u64,
    },

    /// A record could not be decoded and the source says `on-bad-record = "fail"`.
    #[error("{place}: {reason}; correct the record, or set on-bad-record = \"skip\" for this source")]
    BadRecord {
        /// Where.
        place: String,
        /// What is wrong.
        reason: String,
    },

    /// Nobody answers at the socket's address.
    #[error("cannot connect to {address}: {source}; start the server, or set reconnect = true to keep trying")]
    Unreachable {
        /// Host and port.
        address: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },

    /// The plan's columns and the source's format do not go together.
    #[error("source `{source_name}`: {reason}; the plan wants ({wanted})")]
    FormatMismatch {
        /// The source's name in the job file.
        source_name: String,
        /// Why they do not fit, and the remedy.
        reason: String,
        /// The columns of the plan.
        wanted: String,
    },

    /// A CSV file lacks a column.
    #[error(
        "{place}: the header has no column `{column}` (it has: {header}); the plan wants ({wanted}): correct the file, or set header = false to take columns by position"
    )]
    ColumnMissing {
        /// The file.
        place: String,
        /// The column that the plan wants.
        column: String,
        /// What the header names.
        header: String,
        /// The columns of the plan.
        wanted: String,
    },

    /// A CSV file has a column twice.
    #[error(
        "{place}: the header has more than one column `{column}` (it has: {header}), and the plan wants it: \
         give one of them another name, or set header = false to take columns by position"
    )]
    ColumnTwice {
        /// The file.
        place: String,
        /// The column that the plan wants.
        column: String,
        /// What the header names.
        header: String,
    },

    /// A broadcast has no value.
    #[error("broadcast `{name}`: {reason}; correct it, or [broadcasts.{name}] in the job file")]
    Broadcast {
        /// The broadcast's name in the job file.
        name: String,
        /// What is wrong, with its place.
        reason: String,
    },

    /// A receiver's task ended by itself.
    #[error("source `{source_name}`: the receiver stopped unexpectedly: {reason}; restart the job")]
    ReceiverStopped {
        /// The source's name in the job file.
        source_name: String,
        /// What is known.
        reason: String,
    },

    /// A sink could not write.
    #[error("cannot write {place}: {source}; check that the place exists, is open, and that this user may write there")]
    WriteFailed {
        /// The file, folder or stream.
        place: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },

    /// No room is left.
    #[error(
        "no space left while writing {}: {source}; free some space and start the job again, it goes on from its last commit",
        path.display()
    )]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },

    /// A sink's options and the plan, or the outside, do not go together.
    #[error("sink `{sink_name}`: {reason}")]
    SinkMismatch {
        /// The sink's name in the job file.
        sink_name: String,
        /// Why they do not fit, and the remedy.
        reason: String,
    },

    /// A batch is committed and its output cannot be made visible.
    #[error("cannot finish the committed output {}: {reason}", path.display())]
    CommitUnfinished {
        /// The file that should be visible.
        path: PathBuf,
        /// Why it is not, and the remedy.
        reason: String,
    },

    /// A split or token that this connector did not make.
    #[error("internal: {what} is not readable: {reason}; please report this with the job's log")]
    Unreadable {
        /// What.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// As a bad record: the message without the place, which a bad record has apart.
    #[cfg(feature = "files")]
    pub(crate) fn into_bad_record(self, place: String) -> BadRecord {
        let message = self.to_string();
        let reason = message.strip_prefix(place.as_str()).and_then(|rest| rest.strip_prefix(": "));
        BadRecord { reason: reason.map_or_else(|| message.clone(), str::to_owned), place }
    }

    /// An error of writing a file: a full disk is told apart, because the remedy differs.
    #[cfg(any(feature = "encode", feature = "console"))]
    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path: path.to_owned(), source }
            }
            _ => Self::WriteFailed { place: path.display().to_string(), source },
        }
    }

    /// An error of reading a file or folder.
    #[cfg(feature = "files")]
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::ReadFailed { place: path.display().to_string(), source }
    }
}

impl Classify for Error {
    fn code(&self) -> Code {
        Code(match self {
            Self::SourcePathMissing { .. } | Self::SourcePathUnfit { .. } => "MP0501",
            Self::FileChanged { .. } => "MP0502",
            Self::ReadFailed { .. } | Self::DamagedArchive { .. } | Self::SplitTooLarge { .. } => "MP0503",
            Self::BadRecord { .. } => "MP0504",
            Self::Unreachable { .. } => "MP0505",
            Self::FormatMismatch { .. } | Self::ColumnMissing { .. } | Self::ColumnTwice { .. } => "MP0506",
            Self::ReceiverStopped { .. } => "MP0507",
            Self::Broadcast { .. } => "MP0508",
            Self::WriteFailed { .. } => "MP0601",
            Self::DiskFull { .. } => "MP0602",
            Self::SinkMismatch { .. } => "MP0603",
            Self::CommitUnfinished { .. } => "MP0604",
            Self::Unreadable { .. } => "MP0901",
        })
    }

    fn domain(&self) -> Domain {
        match self {
            Self::ReadFailed { .. }
            | Self::Unreachable { .. }
            | Self::WriteFailed { .. }
            | Self::DiskFull { .. }
            | Self::CommitUnfinished { .. } => Domain::External,
            Self::ReceiverStopped { .. } | Self::Unreadable { .. } => Domain::Internal,
            _ => Domain::User,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::DiskFull { .. } | Self::CommitUnfinished { .. } => Retry::AfterAction,
            _ => match self.domain() {
                Domain::User => Retry::AfterAction,
                Domain::External => Retry::Backoff,
                Domain::Internal => Retry::No,
            },
        }
    }
}

#[cfg(all(test, feature = "files"))]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_from_other_write_errors() {
        let full = Error::write(Path::new("out/a"), io::ErrorKind::StorageFull.into());
        assert_eq!(full.code(), Code("MP0602"));
        assert_eq!(full.retry(), Retry::AfterAction);
        assert!(full.to_string().contains("out/a"), "{full}");
        let denied = Error::write(Path::new("out/a"), io::ErrorKind::PermissionDenied.into());
        assert_eq!(denied.code(), Code("MP0601"));
    }
}
