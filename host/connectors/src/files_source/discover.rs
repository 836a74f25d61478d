//! Which files there are: a file, the files of a folder, or what a pattern matches.

use std::path::{Component, Path, PathBuf};
use std::{fs, io};

use glob::MatchOptions;
use io::ErrorKind::{NotADirectory, NotFound};

use super::progress::mtime_ns;
use crate::{Error, Result};

/// Where a source looks for files.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// One file.
    File(PathBuf),
    /// The files of a folder, without those of the folders in it.
    Folder(PathBuf),
    /// What matches. The pattern is the whole one, the folder's name escaped in it; the base is the folder before the
    /// first part that is a pattern, and `flat` says that only files of that folder can match.
    Pattern { pattern: String, base: PathBuf, flat: bool },
}

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Paths, sorted by name, relative to the job's folder where they lie below. Some may be folders or gone already.
    pub(super) paths: Vec<PathBuf>,
    /// What could not be looked into. If there is any, a file that is not listed may still be there.
    pub(super) troubles: Vec<(PathBuf, io::Error)>,
}

impl Place {
    /// Decides what `path` means, and that the folder to look into is there.
    pub(super) fn try_new(source_name: &str, job_dir: &Path, path: &str) -> Result<Self> {
        let path = &normal(job_dir, path);
        let missing = |path: PathBuf| Error::SourcePathMissing { source_name: source_name.to_owned(), path };
        let full = job_dir.join(path);
        match fs::metadata(&full) {
            Ok(found) if found.is_dir() => return Ok(Self::Folder(path.into())),
            Ok(found) if found.is_file() && !is_made_when_read(&full) => return Ok(Self::File(path.into())),
            Ok(_) => return Err(Error::SourcePathUnfit { source_name: source_name.to_owned(), path: full }),
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) || is_pattern(path) => {}
            Err(error) => return Err(Error::read(&full, error)),
        }
        if !is_pattern(path) {
            return Err(missing(full));
        }
        let base: PathBuf =
            Path::new(path).components().take_while(|part| !is_pattern(&part.as_os_str().to_string_lossy())).collect();
        let in_job_dir = job_dir.join(&base);
        if !in_job_dir.as_os_str().is_empty() && !in_job_dir.is_dir() {
            return Err(missing(in_job_dir));
        }
        let absolute = Path::new(path).is_absolute() || job_dir.as_os_str().is_empty();
        let pattern = if absolute {
            path.to_owned()
        } else {
            format!("{}/{path}", glob::Pattern::escape(&job_dir.to_string_lossy()))
        };
        let flat = Path::new(path).parent() == Some(&*base);
        Ok(Self::Pattern { pattern, base, flat })
    }

    /// What is wrong with the folder that it looks into, if anything: then nothing is known of the files in it.
    pub(super) fn outage(&self, job_dir: &Path) -> Option<(PathBuf, io::Error)> {
        let (Self::Folder(folder) | Self::Pattern { base: folder, .. }) = self else { return None };
        let full = job_dir.join(folder);
        let full = if full.as_os_str().is_empty() { Path::new(".") } else { &full };
        let error = match fs::metadata(full) {
            Ok(found) if found.is_dir() => return None,
            Ok(_) => NotADirectory.into(),
            Err(error) => error,
        };
        Some((if folder.as_os_str().is_empty() { full.to_owned() } else { folder.clone() }, error))
    }

    /// When a name last came into or went from the one folder that it looks into, as the file system has it, nanoseconds
    /// since the Unix epoch. `None` if it is not one folder, or not there.
    pub(super) fn folder_time_ns(&self, job_dir: &Path) -> Option<i64> {
        let (Self::Folder(folder) | Self::Pattern { base: folder, flat: true, .. }) = self else { return None };
        let full = job_dir.join(folder);
        let full = if full.as_os_str().is_empty() { Path::new(".") } else { &full };
        fs::metadata(full).ok().map(|found| mtime_ns(&found))
    }

    /// Looks. **Cost**: one directory scan, no look at the files themselves.
    pub(super) fn list(&self, job_dir: &Path) -> Listing {
        let mut listing = Listing::default();
        match self {
            Self::File(path) => listing.paths.push(path.clone()),
            Self::Folder(folder) => {
                if let Err(error) = list_folder(folder, job_dir, &mut listing) {
                    listing.troubles.push((folder.clone(), error));
                }
            }
            Self::Pattern { pattern, .. } => {
                list_pattern(pattern, job_dir, &mut listing);
                // A pattern matches nothing where nothing is. Looked at afterwards: a folder that went away meanwhile took
                // its files out of the listing.
                listing.troubles.extend(self.outage(job_dir));
            }
        }
        // By bytes: comparing paths part by part is ten times slower, and folders may hold very many files.
        listing.paths.sort_unstable_by(|left, right| left.as_os_str().cmp(right.as_os_str()));
        listing.paths.dedup_by(|left, right| left.as_os_str() == right.as_os_str());
        listing
    }
}

/// One spelling for one place, because progress is kept by path: without `.` parts, and relative where that is possible.
fn normal(job_dir: &Path, path: &str) -> String {
    let path = if is_pattern(path) {
        Path::new(path)
    } else {
        Path::new(path).strip_prefix(job_dir).unwrap_or(Path::new(path))
    };
    let parts: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    parts.to_string_lossy().into_owned()
}

/// Whether this is one of the system's files without a size, whose content is made when somebody reads it (`/proc`).
fn is_made_when_read(path: &Path) -> bool {
    let is_empty = || fs::metadata(path).is_ok_and(|found| found.len() == 0);
    let reads = || io::Read::read(&mut fs::File::open(path)?, &mut [0]);
    is_empty() && reads().is_ok_and(|count| count > 0) && is_empty()
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

fn list_folder(folder: &Path, job_dir: &Path, listing: &mut Listing) -> io::Result<()> {
    for entry in fs::read_dir(job_dir.join(folder))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if (kind.is_file() || kind.is_symlink()) && is_input(Path::new(&entry.file_name())) {
            listing.paths.push(folder.join(entry.file_name()));
        }
    }
    Ok(())
}

fn list_pattern(pattern: &str, job_dir: &Path, listing: &mut Listing) {
    let options =
        MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let found = match glob::glob_with(pattern, options) {
        Ok(found) => found,
        Err(error) => {
            listing.troubles.push((pattern.into(), io::Error::new(io::ErrorKind::InvalidInput, error)));
            return;
        }
    };
    for path in found {
        match path {
            Ok(path) if is_input(&path) => {
                listing.paths.push(path.strip_prefix(job_dir).map(Path::to_owned).unwrap_or(path));
            }
            Ok(_) => {}
            Err(error) => listing.troubles.push((error.path().to_owned(), error.into())),
        }
    }
}

/// Hidden and unfinished files are none.
fn is_input(path: &Path) -> bool {
    let Some(name) = path.file_name() else { return false };
    let name = name.as_encoded_bytes();
    !name.starts_with(b".") && !name.starts_with(b"_") && !name.ends_with(b".tmp")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x\n").unwrap();
        }
        dir
    }

    fn list(dir: &Path, path: &str) -> Vec<String> {
        let listing = Place::try_new("lines", dir, path).unwrap().list(dir);
        assert!(listing.troubles.is_empty(), "{listing:?}");
        listing.paths.iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn a_folder_gives_its_files_by_name_without_hidden_and_unfinished_ones() {
        let dir = folder(&["in/b.txt", "in/a.txt", "in/.hidden", "in/_SUCCESS", "in/c.tmp", "in/deep/d.txt"]);
        assert_eq!(list(dir.path(), "in"), ["in/a.txt", "in/b.txt"]);
    }

    #[test]
    fn a_pattern_gives_what_matches() {
        let dir = folder(&["in/b.txt", "in/a.txt", "in/c.csv", "in/.d.txt", "in/deep/e.txt"]);
        assert_eq!(list(dir.path(), "in/*.txt"), ["in/a.txt", "in/b.txt"]);
        assert_eq!(list(dir.path(), "in/**/*.txt"), ["in/a.txt", "in/b.txt", "in/deep/e.txt"]);
        assert_eq!(list(dir.path(), "in/*.json"), [""; 0]);
    }

    #[test]
    fn brackets_in_the_folder_of_the_job_are_no_pattern() {
        let dir = folder(&["[x]/in/a.txt"]);
        assert_eq!(list(&dir.path().join("[x]"), "in/*.txt"), ["in/a.txt"]);
        assert_eq!(list(dir.path(), "[x]/in/a.txt"), ["[x]/in/a.txt"]);
    }

    #[test]
    fn a_path_that_leads_nowhere_is_named() {
        let dir = folder(&["a.txt"]);
        for (path, named) in [("data", "data"), ("data/*.txt", "data"), ("a.txt/b", "a.txt/b")] {
            let error = Place::try_new("lines", dir.path(), path).unwrap_err();
            let message = error.to_string();
            assert!(message.contains(&dir.path().join(named).display().to_string()), "{message}");
        }
    }

    #[test]
    fn a_folder_that_went_away_is_a_trouble_not_an_empty_listing() {
        for path in ["in", "in/*.txt", "in/deep/**/*.txt"] {
            let dir = folder(&["in/a.txt", "in/deep/b.txt"]);
            let place = Place::try_new("lines", dir.path(), path).unwrap();
            fs::remove_dir_all(dir.path().join("in")).unwrap();
            assert_eq!(place.list(dir.path()).troubles.len(), 1, "{path}");
        }
    }

    #[test]
    fn a_pattern_in_the_folder_of_the_job_itself_has_a_base() {
        let dir = folder(&["a.txt"]);
        assert_eq!(list(dir.path(), "*.txt"), ["a.txt"]);
        assert!(Place::try_new("lines", Path::new(""), "*.toml").unwrap().outage(Path::new("")).is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_no_regular_file_or_folder_is_refused() {
        for path in ["/dev/null", "/dev/zero", "/proc/cpuinfo"] {
            let error = Place::try_new("lines", Path::new("/"), path).unwrap_err();
            let message = error.to_string();
            assert!(message.contains(path) && message.contains("is no regular file or folder"), "{message}");
        }
        let dir = folder(&["a.txt"]);
        fs::write(dir.path().join("empty"), "").unwrap();
        assert!(Place::try_new("lines", dir.path(), "empty").is_ok(), "an empty file may grow");
    }
}
