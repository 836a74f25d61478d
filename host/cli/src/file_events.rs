//! Changes of files in a folder, as far as they matter for building and running a job.
//!
//! The operating system tells of them (`notify`); [`Events`] is the seam behind which a test tells instead.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use crate::error::Error;

/// Something to react to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A file was written, made, renamed or removed.
    Changed(PathBuf),
    /// Nothing has happened for as long as was asked.
    Quiet,
    /// The user wants an end.
    Stop,
}

/// One event after the other.
pub(crate) trait Events {
    /// Waits for an event; with a limit, not longer than that.
    fn next(&mut self, limit: Option<Duration>) -> Event;
}

/// Events of the operating system.
pub(crate) struct FolderEvents {
    events: Receiver<Event>,
    // Tells as long as it lives.
    _watcher: RecommendedWatcher,
}

impl FolderEvents {
    /// Watches a folder with all that is in it. What goes into the sender comes out as an event, too.
    ///
    /// **Errors**: MP0115.
    pub(crate) fn try_new(folder: &Path) -> Result<(Self, Sender<Event>), Error> {
        let cannot = |error: notify::Error| Error::CannotWatch { folder: folder.to_owned(), reason: error.to_string() };
        let root = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let (sender, events) = channel();
        let (teller, base) = (sender.clone(), root.clone());
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            if !is_change(event.kind) {
                return;
            }
            for path in event.paths {
                let inside = path.strip_prefix(&base).unwrap_or(&path);
                if matters(inside) {
                    // Nobody listens any more when the command ends.
                    teller.send(Event::Changed(inside.to_owned())).ok();
                }
            }
        })
        .map_err(cannot)?;
        watcher.watch(&root, RecursiveMode::Recursive).map_err(cannot)?;
        Ok((Self { events, _watcher: watcher }, sender))
    }
}

impl Events for FolderEvents {
    fn next(&mut self, limit: Option<Duration>) -> Event {
        let Some(limit) = limit else { return self.events.recv().unwrap_or(Event::Stop) };
        match self.events.recv_timeout(limit) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => Event::Quiet,
            Err(RecvTimeoutError::Disconnected) => Event::Stop,
        }
    }
}

/// Whether an event says that content may be another.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Modify(ModifyKind::Metadata(_)) => false,
        EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) => true,
        EventKind::Any | EventKind::Other => false,
    }
}

/// Whether a file of the job's folder has anything to do with what the job does. What builds and runs write themselves has not, nor have
/// editors' own files.
fn matters(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_hidden = path.iter().any(|part| part.to_string_lossy().starts_with('.'));
    let is_built = path.iter().next().is_some_and(|first| first == "target");
    let is_editors =
        name.ends_with('~') || name.ends_with(".tmp") || name.ends_with(".swp") || name.parse::<u32>().is_ok();
    !(is_hidden || is_built || is_editors || name.is_empty() || name == "Cargo.lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sources_data_and_settings_matter() {
        for path in
            ["src/lib.rs", "millpond.toml", "Cargo.toml", "data/a.txt", "src/target/mod.rs", "tests/a/1.lines.txt"]
        {
            assert!(matters(Path::new(path)), "{path}");
        }
        for path in [
            "target/debug/x",
            "Cargo.lock",
            ".millpond/state/a",
            ".git/index",
            "src/.lib.rs.swp",
            "src/lib.rs~",
            "src/4913",
            "",
        ] {
            assert!(!matters(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn reading_is_no_change() {
        use notify::event::{CreateKind, DataChange, MetadataKind, RemoveKind};
        for kind in [
            EventKind::Access(AccessKind::Open(AccessMode::Any)),
            EventKind::Access(AccessKind::Close(AccessMode::Read)),
            EventKind::Modify(ModifyKind::Metadata(MetadataKind::AccessTime)),
        ] {
            assert!(!is_change(kind), "{kind:?}");
        }
        for kind in [
            EventKind::Access(AccessKind::Close(AccessMode::Write)),
            EventKind::Modify(ModifyKind::Data(DataChange::Any)),
            EventKind::Create(CreateKind::File),
            EventKind::Remove(RemoveKind::File),
        ] {
            assert!(is_change(kind), "{kind:?}");
        }
    }

    #[test]
    fn a_written_file_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let (mut events, sender) = FolderEvents::try_new(dir.path()).unwrap();
        std::fs::write(dir.path().join("a.txt"), "x").unwrap();
        assert_eq!(events.next(None), Event::Changed("a.txt".into()));
        sender.send(Event::Stop).unwrap();
        let rest = std::iter::repeat_with(|| events.next(None)).find(|event| *event != Event::Changed("a.txt".into()));
        assert_eq!(rest, Some(Event::Stop));
    }

    #[test]
    fn a_folder_that_is_gone_cannot_be_watched() {
        let error = FolderEvents::try_new(Path::new("/nowhere/at/all")).err().unwrap();
        assert!(error.to_string().starts_with("/nowhere/at/all: cannot be watched: "), "{error}");
    }
}
