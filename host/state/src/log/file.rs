//! The log's view of the disk, as a port: the real one here, one that fails on demand in the tests.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

/// Makes and opens log segments.
pub(crate) trait LogDisk: Send {
    /// Makes an empty segment whose directory entry is durable.
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;
    /// Opens an existing segment to append to it.
    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;
}

/// A segment that is appended to.
pub(crate) trait LogFile: Send {
    /// Writes at the end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to a length, durably; the next append goes there.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// Overwrites bytes in place, durably; needs no space.
    fn overwrite(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
}

/// The file system.
#[derive(Debug)]
pub(crate) struct RealDisk;

impl LogDisk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        if let Some(dir) = path.parent() {
            sync_dir(dir)?;
        }
        Ok(Box::new(RealFile { file }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Box::new(RealFile { file }))
    }
}

struct RealFile {
    file: File,
}

impl LogFile for RealFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.file.seek(SeekFrom::Start(length))?;
        self.file.sync_data()
    }

    fn overwrite(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(at))?;
        self.file.write_all(bytes)?;
        self.file.sync_data()
    }
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    // Elsewhere a directory cannot be opened as a file, and its entries need no sync of their own.
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}
