//! What came over the connection and waits for the next batch: the place where the network task and the job's thread meet.

use std::sync::{Mutex, MutexGuard, PoisonError};

use memchr::{memchr, memchr_iter, memrchr};
use millpond_core::BadRecord;
use tokio::sync::Notify;

use crate::Error;

/// More news than this between two batches are left out: all say the same.
const NOTES_MAX: usize = 100;

/// How much of an unfinished line a message quotes.
const QUOTE_BYTES: usize = 60;

/// Whole lines, and news of the connection.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Whole lines with their line ends.
    pub(super) lines: Vec<u8>,
    /// How many lines came before those, over all connections.
    pub(super) lines_before: u64,
    /// And how many bytes.
    pub(super) bytes_before: u64,
    /// Lines that a lost connection left unfinished.
    pub(super) fragments: Vec<BadRecord>,
    /// News of the connection, for the operator: no loss by themselves.
    pub(super) notes: Vec<String>,
    /// The connection could not be made and will not be tried again.
    pub(super) failure: Option<Error>,
    /// Nothing will come any more.
    pub(super) ended: bool,
}

/// The inbox, shared between the task and the receiver.
#[derive(Debug, Default)]
pub(super) struct Shared {
    inbox: Mutex<Inbox>,
    /// Told when a batch has emptied the inbox.
    pub(super) emptied: Notify,
}

impl Shared {
    pub(super) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        // Every change is made by single calls that cannot panic half-way: the content is right even after a panic.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    pub(super) fn note(&mut self, address: &str, news: &str) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(format!("{address}: {news}"));
        }
    }
}

/// Puts lines together from what single reads bring, and keeps no more of a line than a decoder needs to see that it is too
/// long.
#[derive(Debug)]
pub(super) struct Assembler {
    line_bytes_max: usize,
    line: Vec<u8>,
    length: u64,
}

impl Assembler {
    pub(super) fn new(line_bytes_max: u64) -> Self {
        Self { line_bytes_max: usize::try_from(line_bytes_max).unwrap_or(usize::MAX - 2), line: Vec::new(), length: 0 }
    }

    /// Moves every line that is complete with `chunk` into `lines`.
    pub(super) fn push(&mut self, chunk: &[u8], lines: &mut Vec<u8>) {
        let Some(last) = memrchr(b'\n', chunk) else {
            self.keep(chunk);
            return;
        };
        let (mut whole, rest) = chunk.split_at(last + 1);
        if self.length > 0 {
            let end = memchr(b'\n', whole).map_or(whole.len(), |end| end + 1);
            self.keep(&whole[..end - 1]);
            lines.append(&mut self.line);
            lines.push(b'\n');
            self.length = 0;
            whole = &whole[end..];
        }
        lines.extend_from_slice(whole);
        self.keep(rest);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = (self.line_bytes_max + 2).saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.length += bytes.len() as u64;
    }

    /// The connection is gone: what to say of the line that was not finished.
    pub(super) fn end(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        let length = std::mem::take(&mut self.length);
        let shown = String::from_utf8_lossy(&line[..line.len().min(QUOTE_BYTES)]).escape_debug().to_string();
        (length > 0).then(|| format!("the connection closed in the middle of a line, after {length} bytes: `{shown}`"))
    }
}

/// How many lines there are in whole lines.
pub(super) fn count_lines(lines: &[u8]) -> u64 {
    memchr_iter(b'\n', lines).count() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_over_the_limit_is_kept_short_and_stays_over_the_limit() {
        let mut assembler = Assembler::new(3);
        let mut lines = Vec::new();
        for chunk in [&b"abcdefg"[..], b"hij", b"k\nab\n", b"c"] {
            assembler.push(chunk, &mut lines);
        }
        assert_eq!(lines, b"abcde\nab\n");
        assert!(assembler.end().unwrap().contains("after 1 bytes: `c`"));
        assert_eq!(assembler.end(), None);
    }

    proptest! {
        #[test]
        fn whole_lines_come_out_as_they_were(text in "[ab\r\n]{0,40}", chunk in 1_usize..9) {
            let mut assembler = Assembler::new(100);
            let mut lines = Vec::new();
            text.as_bytes().chunks(chunk).for_each(|chunk| assembler.push(chunk, &mut lines));
            let whole = text.rfind('\n').map_or(0, |last| last + 1);
            prop_assert_eq!(&lines, &text.as_bytes()[..whole]);
            prop_assert_eq!(assembler.end().is_some(), whole < text.len());
        }
    }
}
