//! Removing what the store made and nothing else: which names it gives, folder by folder.

use std::fs;
use std::io;
use std::path::Path;

/// What the store makes under a name.
pub(crate) enum Made {
    File,
    Folder(Names),
    Nothing,
}

/// What the store makes in a folder.
pub(crate) type Names = fn(&str) -> Made;

/// Removes from `dir` what the store made there. True = nothing is left in it.
///
/// A link to a folder stays, and what the store made behind it goes: somebody may have moved the log to another disk.
pub(crate) fn sweep(dir: &Path, names: Names) -> io::Result<bool> {
    let mut is_empty = true;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let is_removed = match name.to_str().map_or(Made::Nothing, names) {
            Made::File if !path.is_dir() => {
                fs::remove_file(&path)?;
                true
            }
            Made::Folder(names) if path.is_dir() => sweep_away(&path, names)?,
            _ => false,
        };
        is_empty &= is_removed;
    }
    Ok(is_empty)
}

/// As [`sweep`], and the folder itself when nothing is left in it.
pub(crate) fn sweep_away(dir: &Path, names: Names) -> io::Result<bool> {
    let is_removed = sweep(dir, names)? && !dir.is_symlink();
    if is_removed {
        fs::remove_dir(dir)?;
    }
    Ok(is_removed)
}

/// In the state folder, but for what says whose it is.
pub(crate) fn state(name: &str) -> Made {
    match name {
        "log" => Made::Folder(log),
        "store" => Made::Folder(|name| folder_if(is_number(name), checkpoint)),
        "snapshot" => Made::Folder(snapshots),
        _ => folder_if(name.strip_prefix("store.damaged-").is_some_and(is_number), checkpoint),
    }
}

fn log(name: &str) -> Made {
    file_if(name.strip_suffix(".log").or_else(|| name.strip_suffix(".stale")).is_some_and(is_epoch))
}

/// In a checkpoint store: these are sled's names.
pub(crate) fn checkpoint(name: &str) -> Made {
    if name == "blobs" {
        return Made::Folder(|name| file_if(is_number(name)));
    }
    let is_index = |name: &str| {
        let digits = name.strip_suffix(".generating").unwrap_or(name);
        digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    file_if(name == "db" || name == "conf" || name.strip_prefix("snap.").is_some_and(is_index))
}

fn snapshots(name: &str) -> Made {
    folder_if(is_snapshot(name), snapshot)
}

/// Whether a snapshot has this name, a whole one or one that was broken off.
pub(crate) fn is_snapshot(name: &str) -> bool {
    is_epoch(name.strip_suffix(".tmp").unwrap_or(name))
}

/// In one snapshot.
pub(crate) fn snapshot(name: &str) -> Made {
    let rows = name.strip_suffix(".keyed.arrows").or_else(|| name.strip_suffix(".panes.arrows"));
    file_if(name == "manifest.json" || name == "entries.bin" || rows.is_some_and(is_number))
}

fn file_if(is_made: bool) -> Made {
    if is_made { Made::File } else { Made::Nothing }
}

fn folder_if(is_made: bool, names: Names) -> Made {
    if is_made { Made::Folder(names) } else { Made::Nothing }
}

fn is_epoch(name: &str) -> bool {
    name.len() == 20 && is_number(name)
}

fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}
