//! Paths as places: two spellings of one place become one.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern};

/// The place that an absolute path means: links and `..` are followed as far as the path exists, the rest is put in order as
/// text.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    let mut existing = path.to_owned();
    let mut rest: Vec<OsString> = Vec::new();
    loop {
        if let Ok(found) = existing.canonicalize() {
            return rest.iter().rev().fold(found, in_order);
        }
        let Some(last) = existing.components().next_back() else { return path.to_owned() };
        rest.push(last.as_os_str().to_owned());
        if !existing.pop() {
            return path.to_owned();
        }
    }
}

/// The path as it was given where it has one spelling only, else [`resolved`].
pub(crate) fn without_detours(path: PathBuf) -> PathBuf {
    let has_detour = path.components().any(|part| part == Component::ParentDir);
    if has_detour { resolved(&path) } else { path }
}

fn in_order(mut path: PathBuf, part: &OsString) -> PathBuf {
    match part.to_str() {
        Some("..") => {
            path.pop();
        }
        Some(".") => {}
        _ => path.push(part),
    }
    path
}

/// Whether a source of files that looks at `source` would read a file that is made at `made` (a path that need not exist yet).
/// Relative paths start at `dir`, which is absolute.
pub(crate) fn is_read_by(source: &str, made: &Path, dir: &Path) -> bool {
    let made = resolved(&dir.join(made));
    let full = dir.join(source);
    if full.is_dir() {
        return made.parent().is_some_and(|parent| parent == resolved(&full));
    }
    let is_pattern = |part: &Component<'_>| part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    // Only what the job file says is a pattern; the folder that it lies in may have any name.
    let base: PathBuf = Path::new(source).components().take_while(|part| !is_pattern(part)).collect();
    let tail: PathBuf = Path::new(source).components().skip_while(|part| !is_pattern(part)).collect();
    if tail.as_os_str().is_empty() {
        return false;
    }
    let Ok(below) = made.strip_prefix(resolved(&dir.join(base))) else { return false };
    let options =
        MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    Pattern::new(&tail.to_string_lossy()).is_ok_and(|pattern| pattern.matches_path_with(below, options))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_path_that_does_not_exist_is_put_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir(root.join("wc")).unwrap();
        assert_eq!(resolved(&root.join("wc/../s1/./x")), root.join("s1/x"));
        assert_eq!(resolved(&root.join("gone/../s1")), root.join("s1"));
        assert_eq!(without_detours(root.join("wc/../s1")), root.join("s1"));
    }

    #[test]
    fn output_in_the_source_is_seen_through_every_spelling() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("data")).unwrap();
        fs::create_dir(root.join("data [old]")).unwrap();
        std::os::unix::fs::symlink(root.join("data"), root.join("link")).unwrap();
        let is_read = |source: &str, folder: &str| is_read_by(source, &Path::new(folder).join("17-part-0.jsonl"), root);
        for (source, folder) in [
            ("data", "data"),
            ("data", "link"),
            ("link/*", "data"),
            ("data/*.jsonl", "./data/../data"),
            ("data/**/*.jsonl", "data/out/new"),
            ("data/*/*", "data/out"),
            ("*/*.jsonl", "made-later"),
            ("data/../data", "data"),
        ] {
            assert!(is_read(source, folder), "{source} {folder}");
        }
        for (source, folder) in [
            ("data", "data/out"),
            ("data/*", "data/out"),
            ("data/*.txt", "data"),
            ("data", "out"),
            ("data/**/*.jsonl", "data2"),
            ("data/a.jsonl", "data"),
            ("data/*", "data [old]"),
            ("gone", "gone"),
        ] {
            assert!(!is_read(source, folder), "{source} {folder}");
        }
    }
}
