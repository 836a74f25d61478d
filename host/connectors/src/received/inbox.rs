//! What came and waits for the next batch: the place where whoever receives and the job's thread meet.

use std::sync::{Mutex, MutexGuard, PoisonError};

use memchr::{memchr, memchr_iter, memrchr};
use millpond_core::BadRecord;
use tokio::sync::Notify;

use super::Came;
use crate::Error;

/// More news than this between two batches are left out: all say the same.
#[cfg(feature = "socket")]
const NOTES_MAX: usize = 100;

/// How much of an unfinished line a message quotes.
#[cfg(feature = "socket")]
const QUOTE_BYTES: usize = 60;

/// Whole lines, and news of the connection.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// Whole lines with their line ends.
    pub(crate) lines: Vec<u8>,
    /// How many lines came before those, over all connections.
    lines_before: u64,
    /// And how many bytes.
    bytes_before: u64,
    /// Lines that a lost connection left unfinished.
    pub(crate) fragments: Vec<BadRecord>,
    /// News of the connection, for the operator: no loss by themselves.
    pub(crate) notes: Vec<String>,
    /// Nothing can be received, and it will not be tried again.
    pub(crate) failure: Option<Error>,
    /// Nothing will come any more.
    pub(crate) ended: bool,
    /// Nobody takes lines any more.
    closed: bool,
}

/// The inbox, shared between whoever receives and the receiver.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    inbox: Mutex<Inbox>,
    /// Told when a batch has emptied the inbox, and when nobody takes lines any more.
    emptied: Notify,
}

impl Shared {
    pub(crate) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        // Every change is made by single calls that cannot panic half-way: the content is right even after a panic.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all that came for a batch, and makes room.
    pub(crate) fn take(&self) -> Came {
        let mut inbox = self.inbox();
        let (first_line, first_byte) = (inbox.lines_before + 1, inbox.bytes_before);
        let lines = std::mem::take(&mut inbox.lines);
        inbox.lines_before += count_lines(&lines);
        inbox.bytes_before += lines.len() as u64;
        let came = Came {
            lines,
            fragments: std::mem::take(&mut inbox.fragments),
            first_line,
            first_byte,
            notes: std::mem::take(&mut inbox.notes),
            failure: inbox.failure.take(),
            ended: inbox.ended,
        };
        drop(inbox);
        self.emptied.notify_one();
        came
    }

    /// Waits until fewer than `buffer_bytes` wait; gives how many more may come. While this waits nothing is read, and the
    /// other side has to wait. `None` = nobody takes lines any more.
    pub(crate) async fn wait_for_room(&self, buffer_bytes: u64) -> Option<usize> {
        let buffer_bytes = usize::try_from(buffer_bytes).unwrap_or(usize::MAX);
        loop {
            {
                let inbox = self.inbox();
                let room = buffer_bytes.saturating_sub(inbox.lines.len());
                if inbox.closed {
                    return None;
                }
                if room > 0 {
                    return Some(room);
                }
            }
            self.emptied.notified().await;
        }
    }

    /// Nobody takes lines any more.
    pub(crate) fn close(&self) {
        self.inbox().closed = true;
        self.emptied.notify_one();
    }
}

impl Inbox {
    /// The number of the line that is coming, from 1.
    #[cfg(feature = "socket")]
    pub(crate) fn next_line(&self) -> u64 {
        self.lines_before + count_lines(&self.lines) + 1
    }

    #[cfg(feature = "socket")]
    pub(crate) fn note(&mut self, address: &str, news: &str) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(format!("{address}: {news}"));
        }
    }
}

/// Puts lines together from what single reads bring, and keeps no more of a line than a decoder needs to see that it is too
/// long.
#[derive(Debug)]
pub(crate) struct Assembler {
    line_bytes_max: usize,
    line: Vec<u8>,
    length: u64,
}

impl Assembler {
    pub(crate) fn new(line_bytes_max: u64) -> Self {
        Self { line_bytes_max: usize::try_from(line_bytes_max).unwrap_or(usize::MAX - 2), line: Vec::new(), length: 0 }
    }

    /// Moves every line that is complete with `chunk` into `lines`.
    pub(crate) fn push(&mut self, chunk: &[u8], lines: &mut Vec<u8>) {
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

    /// That was all: a last line without line end is a line.
    #[cfg(feature = "stdin")]
    pub(crate) fn finish(&mut self, lines: &mut Vec<u8>) {
        if self.length > 0 {
            lines.append(&mut self.line);
            lines.push(b'\n');
            self.length = 0;
        }
    }

    /// The connection is gone: what to say of the line that was not finished.
    #[cfg(feature = "socket")]
    pub(crate) fn end(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        let length = std::mem::take(&mut self.length);
        let shown = String::from_utf8_lossy(&line[..line.len().min(QUOTE_BYTES)]).escape_debug().to_string();
        (length > 0).then(|| format!("the connection closed in the middle of a line, after {length} bytes: `{shown}`"))
    }
}

/// How many lines there are in whole lines.
pub(crate) fn count_lines(lines: &[u8]) -> u64 {
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
