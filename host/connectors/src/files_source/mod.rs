//! Source `files`: the files of a folder, each once for ever.
//!
//! ```text
//! discover.rs  which files are there          look.rs      which of them are new, gone or changed
//! receiver.rs  what the next batch takes of them, and reports
//! take.rs      how much of a file             split.rs     byte ranges and how they are shared out
//! listed.rs    the latest listing, if still good
//! read.rs      ranges to rows, on any thread  progress.rs  what is kept in the job's state
//! ```
//! - **Order**: files that one look found are taken by name; those found later come later. Inside a split rows keep the
//!   order of the file; splits are in the order of the files.
//! - **Once**: a file belongs to the batch that first sees it (empty ones are not seen until they have content). What a
//!   batch took is committed with the batch, so after a crash the same ranges are read again and nothing twice.
//! - **Growth**, or any other change, of a file that was read is reported once and not read, and fails the job under
//!   `on-bad-record = "fail"`, because its rows are lost. With `follow` growth is read on, and a file that is replaced under
//!   its name is read from its start. When a log is rotated by renaming, let `path` match the live file only.
//! - **Gone**: what is known of a file that no longer exists is dropped, so state does not grow for ever; a file that comes
//!   under the same name later is a new one.
//! - **Look**: a folder is looked at again only when everything that the last look found is taken, and without `follow` at
//!   most some hundred finished files are checked for changes each time: folders with very many files stay cheap. A folder
//!   that is away for a while is a trouble, told once, and nothing is forgotten for it.
//!
//! Source: `textFileStream` of Spark Streaming, which reads new files only and forgets those older than a minute.

mod config;
mod discover;
mod listed;
mod look;
mod progress;
mod read;
mod receiver;
mod split;
mod take;

#[cfg(test)]
mod tests;

pub use config::FilesSourceOptions;
use receiver::FilesReceiver;
