//! State that outlives the process: what changed in a batch, appended to a file and synced.
//!
//! ```text
//! batch    for each thread: a section of keys that are new, a section of values that changed; none that would be empty
//! section  batch: u32, kind: u32, thread: u32, entries: u32, the entries, zeros up to a multiple of 4096
//! new      value: 8 bytes, length: u32, key; a thread's keys are numbered from 1 in the order in which they come
//! changed  number of the key: u32, value: 8 bytes
//! ```
//! Little-endian, no checksums. Written past the page cache, for which everything is a multiple of 4096 bytes, in memory too:
//! a megabyte that nobody will read again costs less than half as much so, where the system lets it. A batch is one write. The
//! buffers are used again.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::path::Path;

use anyhow::{Context, Result};

#[cfg(test)]
mod tests;

/// What is written past the page cache lies on a multiple of this, and has a multiple of it as its length.
const ALIGNMENT: usize = 4096;

/// Batch, kind, thread, number of entries.
const HEADER_BYTES: usize = 16;

/// Kind of a section of new keys.
const NEW: u32 = 1;

/// Kind of a section of changed values.
const CHANGED: u32 = 2;

/// Bytes of a changed value, with its key's number.
const CHANGED_BYTES: usize = 12;

/// Entries of one kind, as they go to the file.
struct Section {
    kind: u32,
    thread: u32,
    entries: u32,
    /// The section is what stands from `start` on, where the alignment is right. Never grows beyond its capacity by itself.
    bytes: Vec<u8>,
    start: usize,
}

impl Section {
    fn new(kind: u32, thread: usize) -> Self {
        let mut section = Self { kind, thread: thread as u32, entries: 0, bytes: Vec::new(), start: 0 };
        section.clear();
        section
    }

    fn clear(&mut self) {
        self.entries = 0;
        self.bytes.truncate(self.start);
        self.reserve(HEADER_BYTES);
        self.bytes.extend_from_slice(&[0; HEADER_BYTES]);
    }

    #[inline(always)]
    fn reserve(&mut self, more: usize) {
        if self.bytes.capacity() - self.bytes.len() < more {
            self.grow(more);
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, more: usize) {
        let held = &self.bytes[self.start..];
        // Room for the alignment at the start, and for the zeros at the end.
        let mut fresh: Vec<u8> = Vec::with_capacity((held.len() + more).max(held.len() * 2) + 2 * ALIGNMENT);
        let start = fresh.as_ptr().align_offset(ALIGNMENT);
        fresh.resize(start, 0);
        fresh.extend_from_slice(held);
        (self.bytes, self.start) = (fresh, start);
    }

    /// The section with its header and its zeros.
    fn sealed(&mut self, batch: u32) -> &[u8] {
        let zeros = (self.bytes.len() - self.start).next_multiple_of(ALIGNMENT) + self.start - self.bytes.len();
        self.reserve(zeros);
        self.bytes.extend(std::iter::repeat_n(0, zeros));
        let header = [batch, self.kind, self.thread, self.entries].map(u32::to_le_bytes);
        self.bytes[self.start..][..HEADER_BYTES].copy_from_slice(header.as_flattened());
        &self.bytes[self.start..]
    }
}

/// What changed in one thread's part of a batch.
pub(super) struct Changes {
    new: Section,
    changed: Section,
}

impl Changes {
    /// None yet.
    pub(super) fn new(thread: usize) -> Self {
        Self { new: Section::new(NEW, thread), changed: Section::new(CHANGED, thread) }
    }

    /// Forgets all and makes room for so many changes, which need not be enough.
    pub(super) fn restart(&mut self, new: usize, key_bytes: usize, changed: usize) {
        self.new.clear();
        self.new.reserve(new * (8 + 4 + key_bytes));
        self.changed.clear();
        self.changed.reserve(changed * CHANGED_BYTES);
    }

    /// A key that the file does not have yet. Its number is one more than that of the key added before it.
    #[inline(always)]
    pub(super) fn add(&mut self, key: &[u8], value: [u8; 8]) {
        self.new.reserve(8 + 4 + key.len());
        self.new.bytes.extend_from_slice(&value);
        self.new.bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        self.new.bytes.extend_from_slice(key);
        self.new.entries += 1;
    }

    /// The value of a key that the file has.
    #[inline(always)]
    pub(super) fn change(&mut self, number: u32, value: [u8; 8]) {
        let mut entry = [0; CHANGED_BYTES];
        entry[..4].copy_from_slice(&number.to_le_bytes());
        entry[4..].copy_from_slice(&value);
        self.changed.reserve(CHANGED_BYTES);
        self.changed.bytes.extend_from_slice(&entry);
        self.changed.entries += 1;
    }
}

/// The file.
pub(super) struct StateFile {
    file: File,
    batches: u32,
}

impl StateFile {
    /// A new, empty one.
    pub(super) fn try_new(path: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        // Not every file system has it.
        let file = past_the_cache(&options).open(path).or_else(|_| options.open(path));
        Ok(Self { file: file.with_context(|| format!("cannot make {}", path.display()))?, batches: 0 })
    }

    /// Appends what changed in a batch and waits until it is on the disk.
    pub(super) fn commit<'a>(&mut self, batch: impl IntoIterator<Item = &'a mut Changes>) -> Result<()> {
        let sections = batch.into_iter().flat_map(|changes| [&mut changes.new, &mut changes.changed]);
        let sections = sections.filter(|section| section.entries > 0);
        let mut slices: Vec<IoSlice<'_>> = sections.map(|section| IoSlice::new(section.sealed(self.batches))).collect();
        self.batches += 1;
        write_all(&mut self.file, &mut slices).context("cannot write the state")?;
        self.file.sync_data().context("cannot sync the state")
    }
}

/// Writes all of it, in one call if the system takes it.
fn write_all(file: &mut File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn past_the_cache(options: &OpenOptions) -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;

    let mut options = options.clone();
    options.custom_flags(nix::libc::O_DIRECT);
    options
}

#[cfg(not(target_os = "linux"))]
fn past_the_cache(options: &OpenOptions) -> OpenOptions {
    options.clone()
}
