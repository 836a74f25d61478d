//! The log's view of the disk, as a port: the real one here, one that fails on demand in the tests.
//!
//! A large record goes past the page cache, where system and file system let it: all of it but its first and its last bytes, which
//! share a block with what stands before and will stand behind. The cache would copy it into new pages, and nobody reads it soon.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use self::direct::DirectFile;

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
        Ok(Box::new(RealFile { file, end: 0, direct: DirectFile::open(path) }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let end = file.seek(SeekFrom::End(0))?;
        Ok(Box::new(RealFile { file, end, direct: DirectFile::open(path) }))
    }
}

struct RealFile {
    /// Its cursor is at the end.
    file: File,
    end: u64,
    /// The same file past the page cache.
    direct: Option<DirectFile>,
}

impl RealFile {
    fn append_cached(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// `false` = the system does not do it, after all.
    fn append_blocks(&mut self, blocks: &[u8]) -> io::Result<bool> {
        let Some(direct) = &mut self.direct else { return Ok(false) };
        match direct.write_all_at(blocks, self.end) {
            Ok(()) => {
                self.end = self.file.seek(SeekFrom::Start(self.end + blocks.len() as u64))?;
                Ok(true)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
                self.direct = None;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

impl LogFile for RealFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() < DIRECT_BYTES_MIN || self.direct.is_none() {
            return self.append_cached(bytes);
        }
        let (head, rest) = bytes.split_at((self.end.next_multiple_of(BLOCK as u64) - self.end) as usize);
        let (blocks, tail) = rest.split_at(rest.len() / BLOCK * BLOCK);
        self.append_cached(head)?;
        if !self.append_blocks(blocks)? {
            self.append_cached(blocks)?;
        }
        self.append_cached(tail)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.end = self.file.seek(SeekFrom::Start(length))?;
        self.file.sync_data()
    }

    fn overwrite(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(at))?;
        self.file.write_all(bytes)?;
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.sync_data()
    }
}

/// What goes past the page cache lies on a multiple of this, in memory too, and has a multiple of it as its length. No disk in use has
/// larger blocks.
const BLOCK: usize = 4096;

/// Below this many bytes it does not pay.
const DIRECT_BYTES_MIN: usize = 64 * 1024;

#[cfg(target_os = "linux")]
mod direct {
    use std::fs::{File, OpenOptions};
    use std::io;
    use std::os::unix::fs::{FileExt, OpenOptionsExt};
    use std::path::Path;

    use super::BLOCK;

    /// So much goes in one write: large, so that the disk is busy all the time, and bounded, as it is copied to where memory is aligned.
    const WRITE_BYTES_MAX: usize = 4 << 20;

    /// A file past the page cache.
    pub(super) struct DirectFile {
        file: File,
        /// What is written, from where the alignment is right.
        aligned: Vec<u8>,
    }

    impl DirectFile {
        /// `None` = this file system does not do it.
        pub(super) fn open(path: &Path) -> Option<Self> {
            let file = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path).ok()?;
            Some(Self { file, aligned: Vec::new() })
        }

        /// Writes whole blocks.
        pub(super) fn write_all_at(&mut self, blocks: &[u8], at: u64) -> io::Result<()> {
            let mut at = at;
            for blocks in blocks.chunks(WRITE_BYTES_MAX) {
                self.aligned.clear();
                self.aligned.reserve(blocks.len() + BLOCK);
                let start = self.aligned.as_ptr().align_offset(BLOCK);
                self.aligned.resize(start, 0);
                self.aligned.extend_from_slice(blocks);
                self.file.write_all_at(&self.aligned[start..], at)?;
                at += blocks.len() as u64;
            }
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod direct {
    use std::io;
    use std::path::Path;

    /// Only Linux has it in this way.
    pub(super) enum DirectFile {}

    impl DirectFile {
        pub(super) fn open(_path: &Path) -> Option<Self> {
            None
        }

        pub(super) fn write_all_at(&mut self, _blocks: &[u8], _at: u64) -> io::Result<()> {
            match *self {}
        }
    }
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    // Elsewhere a directory cannot be opened as a file, and its entries need no sync of their own.
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    /// What a test does with a file, a fraction of its length where one is needed.
    #[derive(Clone, Debug)]
    enum Step {
        Append(usize),
        Truncate(f64),
        Open,
    }

    fn step() -> impl Strategy<Value = Step> {
        let length = prop_oneof![
            0usize..200,
            BLOCK - 2..BLOCK + 2,
            DIRECT_BYTES_MIN - 2..DIRECT_BYTES_MIN + 2,
            DIRECT_BYTES_MIN..3 * DIRECT_BYTES_MIN,
        ];
        prop_oneof![6 => length.prop_map(Step::Append), 1 => (0.0..1.0).prop_map(Step::Truncate), 1 => Just(Step::Open)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_file_is_what_was_appended_however_it_went_there(steps in proptest::collection::vec(step(), 1..12)) {
            let dir = TempDir::new().unwrap();
            let path = dir.path().join("segment");
            let mut file = RealDisk.create(&path).unwrap();
            let (mut expected, mut byte) = (Vec::new(), 0_u8);
            for step in steps {
                match step {
                    Step::Append(length) => {
                        let bytes: Vec<u8> = (0..length).map(|_| { byte = byte.wrapping_mul(5).wrapping_add(1); byte }).collect();
                        file.append(&bytes).unwrap();
                        expected.extend(bytes);
                    }
                    Step::Truncate(part) => {
                        let length = (expected.len() as f64 * part) as usize;
                        file.truncate(length as u64).unwrap();
                        expected.truncate(length);
                    }
                    Step::Open => file = RealDisk.open(&path).unwrap(),
                }
                prop_assert!(fs::read(&path).unwrap() == expected, "after {} bytes", expected.len());
            }
            file.sync().unwrap();
        }
    }

    #[test]
    fn more_than_one_write_has_room_for_comes_in_order() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("segment");
        let mut file = RealDisk.create(&path).unwrap();
        let bytes: Vec<u8> = (0..9_000_001_u32).map(|at| (at / 1000) as u8).collect();
        file.append(b"head").unwrap();
        file.append(&bytes).unwrap();
        assert!(fs::read(&path).unwrap() == [b"head", &bytes[..]].concat());
    }

    #[test]
    fn overwriting_does_not_move_the_end() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("segment");
        let mut file = RealDisk.create(&path).unwrap();
        let large = vec![7; DIRECT_BYTES_MIN + 100];
        file.append(&large).unwrap();
        file.overwrite(2, b"xy").unwrap();
        file.append(&large).unwrap();
        let mut expected = [&large[..], &large[..]].concat();
        expected[2..4].copy_from_slice(b"xy");
        assert!(fs::read(&path).unwrap() == expected);
    }

    #[test]
    fn what_the_system_does_not_write_past_the_cache_is_written_through_it() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("segment");
        let file = File::create(&path).unwrap();
        let mut file = RealFile { file, end: 0, direct: DirectFile::open(&path) };
        // Not a whole number of blocks: most file systems refuse it.
        let is_written = file.append_blocks(b"odd").unwrap();
        assert_eq!(fs::read(&path).unwrap(), if is_written { &b"odd"[..] } else { b"" });
        assert_eq!(is_written, file.direct.is_some(), "it is not tried again");
        file.append(b"even").unwrap();
        assert_eq!(fs::read(&path).unwrap(), if is_written { &b"oddeven"[..] } else { b"even" });
    }
}
