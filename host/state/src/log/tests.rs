//! The log alone: torn tails, damage in the middle, full disks.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millpond_core::{BatchTime, Classify, CommitRecord, Epoch};
use tempfile::TempDir;

use super::file::LogFile;
use super::scan::ReplayEnd;
use super::*;

fn bytes_of(epoch: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let meta = vec![("name".to_owned(), vec![epoch as u8; 50])];
    let record = CommitRecord {
        epoch: Epoch(epoch),
        batch_time: BatchTime(epoch as i64 * 10),
        meta,
        sources: vec![],
        state: vec![],
        sinks: vec![],
    };
    record::encode(&record, &mut bytes).unwrap();
    bytes
}

fn written(commits: u64, segment_bytes: u64) -> TempDir {
    let dir = TempDir::new().unwrap();
    let mut writer = LogWriter::try_new(dir.path(), Box::new(RealDisk), 1, segment_bytes).unwrap();
    (1..=commits).for_each(|epoch| writer.append(epoch, &bytes_of(epoch)).unwrap());
    dir
}

fn read_from(dir: &Path, from: u64) -> Result<(Vec<u64>, ReplayEnd)> {
    let mut seen = Vec::new();
    let end = replay(dir, from, None, &mut |commit, _| {
        seen.push(commit.epoch.0);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((seen, end))
}

#[test]
fn commits_come_back_in_order_from_any_start() {
    for segment_bytes in [1, 300, 1 << 20] {
        let dir = written(9, segment_bytes);
        for from in 1..=10 {
            let (seen, end) = read_from(dir.path(), from).unwrap();
            assert_eq!(seen, (from..=9).collect::<Vec<_>>());
            assert_eq!(end, ReplayEnd { last: Some(9), cut: None });
        }
    }
}

#[test]
fn torn_tail_is_cut_at_every_length() {
    let whole = bytes_of(3).len() as u64;
    for segment_bytes in [1, 1 << 20] {
        for left in 0..whole {
            let dir = written(3, segment_bytes);
            let newest = segments(dir.path()).unwrap().pop().unwrap().path;
            let length = fs::metadata(&newest).unwrap().len();
            fs::OpenOptions::new().write(true).open(&newest).unwrap().set_len(length - whole + left).unwrap();
            let (seen, end) = read_from(dir.path(), 1).unwrap();
            assert_eq!(seen, [1, 2]);
            assert_eq!(end.cut.is_some(), left > 0);
            let mut writer = LogWriter::try_new(dir.path(), Box::new(RealDisk), 3, segment_bytes).unwrap();
            writer.append(3, &bytes_of(3)).unwrap();
            assert_eq!(read_from(dir.path(), 1).unwrap().0, [1, 2, 3]);
        }
    }
}

#[test]
fn damage_before_valid_commits_is_refused() {
    for segment_bytes in [1, 1 << 20] {
        let dir = written(3, segment_bytes);
        let oldest = segments(dir.path()).unwrap().remove(0).path;
        let mut bytes = fs::read(&oldest).unwrap();
        bytes[60] ^= 1;
        fs::write(&oldest, bytes).unwrap();
        let error = read_from(dir.path(), 1).unwrap_err();
        assert_eq!(error.code().0, "MP0703");
        assert!(error.to_string().contains("bring the state folder back"), "{error}");
    }
}

#[test]
fn missing_segment_is_refused() {
    let dir = written(4, 1);
    fs::remove_file(&segments(dir.path()).unwrap()[1].path).unwrap();
    let error = read_from(dir.path(), 1).unwrap_err();
    assert!(error.to_string().contains("commit 3 stands where commit 2 belongs"), "{error}");
    fs::remove_file(&segments(dir.path()).unwrap()[0].path).unwrap();
    assert_eq!(read_from(dir.path(), 1).unwrap_err().code().0, "MP0703");
}

#[test]
fn unknown_record_version_is_named() {
    let dir = written(1, 1);
    let path = segments(dir.path()).unwrap().remove(0).path;
    let mut bytes = fs::read(&path).unwrap();
    bytes[4] = 9;
    let crc = crc32fast::hash(&bytes[..36]);
    bytes[36..40].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    assert_eq!(read_from(dir.path(), 1).unwrap_err().code().0, "MP0705");
}

#[test]
fn folded_segments_are_deleted_and_the_newest_stays() {
    let dir = written(4, 1);
    delete_up_to(dir.path(), 2).unwrap();
    assert_eq!(segments(dir.path()).unwrap().iter().map(|s| s.first).collect::<Vec<_>>(), [3, 4]);
    delete_up_to(dir.path(), 9).unwrap();
    assert_eq!(segments(dir.path()).unwrap().iter().map(|s| s.first).collect::<Vec<_>>(), [4]);
}

/// A disk with so many bytes left; what does not fit is written in part, as a real one does.
pub(crate) struct FullDisk {
    pub(crate) left: Arc<AtomicUsize>,
    pub(crate) truncate_fails: bool,
}

struct FullFile {
    inner: Box<dyn LogFile>,
    left: Arc<AtomicUsize>,
    truncate_fails: bool,
}

impl FullDisk {
    fn wrap(&self, inner: Box<dyn LogFile>) -> Box<dyn LogFile> {
        Box::new(FullFile { inner, left: Arc::clone(&self.left), truncate_fails: self.truncate_fails })
    }
}

impl LogDisk for FullDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(self.wrap(RealDisk.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(self.wrap(RealDisk.open(path)?))
    }
}

impl LogFile for FullFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let fits = bytes.len().min(self.left.load(Ordering::Relaxed));
        self.left.fetch_sub(fits, Ordering::Relaxed);
        self.inner.append(&bytes[..fits])?;
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.inner.sync()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        if self.truncate_fails { Err(io::ErrorKind::PermissionDenied.into()) } else { self.inner.truncate(length) }
    }

    fn overwrite(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.overwrite(at, bytes)
    }
}

#[test]
fn failed_commit_leaves_nothing_and_may_be_tried_again() {
    let dir = TempDir::new().unwrap();
    let left = Arc::new(AtomicUsize::new(bytes_of(1).len() + 70));
    let disk = FullDisk { left: Arc::clone(&left), truncate_fails: false };
    let mut writer = LogWriter::try_new(dir.path(), Box::new(disk), 1, 1 << 20).unwrap();
    writer.append(1, &bytes_of(1)).unwrap();
    let error = writer.append(2, &bytes_of(2)).unwrap_err();
    assert_eq!(error.code().0, "MP0702");
    assert!(error.to_string().contains(".log"), "{error}");
    assert_eq!(read_from(dir.path(), 1).unwrap(), (vec![1], ReplayEnd { last: Some(1), cut: None }));
    left.store(10_000, Ordering::Relaxed);
    writer.append(2, &bytes_of(2)).unwrap();
    assert_eq!(read_from(dir.path(), 1).unwrap().0, [1, 2]);
}

#[test]
fn log_that_cannot_be_cut_takes_no_more_commits() {
    let dir = TempDir::new().unwrap();
    let left = Arc::new(AtomicUsize::new(bytes_of(1).len() + 70));
    let disk = FullDisk { left: Arc::clone(&left), truncate_fails: true };
    let mut writer = LogWriter::try_new(dir.path(), Box::new(disk), 1, 1 << 20).unwrap();
    writer.append(1, &bytes_of(1)).unwrap();
    assert!(matches!(writer.append(2, &bytes_of(2)), Err(Error::Write { .. })));
    left.store(10_000, Ordering::Relaxed);
    assert!(matches!(writer.append(2, &bytes_of(2)), Err(Error::Poisoned { epoch: 2, .. })));
    let (seen, end) = read_from(dir.path(), 1).unwrap();
    assert_eq!(seen, [1]);
    assert!(end.cut.is_some());
}
