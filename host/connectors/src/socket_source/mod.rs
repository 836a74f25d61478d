//! Source `socket`: lines from a TCP server.
//!
//! A task on the runtime connects and fills a bounded inbox with whole lines; each poll takes all of them as blocks, which
//! stay in memory until the next poll so that a batch can read them more than once. When the inbox is full the task stops
//! reading, and TCP makes the server wait. Nothing is acknowledged, so what a crash takes is lost (best effort).
//! Source: `socketTextStream` of Spark Streaming.

mod config;
mod inbox;
mod task;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memchr::memchr;
use millpond_core::receiver::{ProgressEntry, Reliability};
use millpond_core::{BadRecord, BoxError, Clock, Decoded, Poll, PollRequest, Receiver, Split, SplitReader};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

pub use self::config::SocketSourceOptions;
use self::inbox::{Shared, count_lines};
use self::task::NetworkTask;
use crate::codec::{Codec, DecodeError, LastLine, Origin};
use crate::spec::OpenSource;
use crate::{Error, OnBadRecordSpec, Result};

/// A smaller block is not worth a task of its own (a guess: some 1000 lines).
const BLOCK_BYTES_MIN: usize = 64 << 10;

/// Receives lines from a TCP server.
struct SocketReceiver {
    options: SocketSourceOptions,
    name: String,
    address: String,
    runtime: Handle,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
    reader: Arc<BlockReader>,
    next_block: u64,
}

/// Lines of the latest poll.
#[derive(Debug)]
struct Block {
    lines: Arc<Vec<u8>>,
    range: Range<usize>,
    /// The number of its first line, from 1, over all connections.
    first_line: u64,
    first_byte: u64,
    fragments: Vec<BadRecord>,
}

/// Decodes blocks.
#[derive(Debug)]
struct BlockReader {
    codec: Codec,
    address: String,
    on_bad_record: OnBadRecordSpec,
    blocks: Mutex<HashMap<u64, Arc<Block>>>,
}

impl SocketReceiver {
    fn try_new(options: SocketSourceOptions, open: OpenSource) -> Result<Self> {
        let codec = Codec::try_new(&open.name, &open.schema, options.codec_format(), options.line_bytes_max.0)?;
        let address = format!("{}:{}", options.host, options.port);
        let on_bad_record = options.on_bad_record;
        Ok(Self {
            reader: Arc::new(BlockReader { codec, address: address.clone(), on_bad_record, blocks: Mutex::default() }),
            options,
            name: open.name,
            address,
            runtime: open.runtime,
            clock: open.clock,
            shared: Arc::default(),
            task: None,
            next_block: 0,
        })
    }

    fn start(&mut self) {
        let task = NetworkTask {
            options: self.options.clone(),
            address: self.address.clone(),
            shared: Arc::clone(&self.shared),
            clock: Arc::clone(&self.clock),
        };
        self.task = Some(self.runtime.spawn(task.run()));
    }

    /// Cuts lines into at most `partitions` blocks at line ends.
    fn blocks(&self, lines: Vec<u8>, first_line: u64, first_byte: u64, partitions: usize) -> Vec<Block> {
        let target = lines.len().div_ceil(partitions.max(1)).max(BLOCK_BYTES_MIN);
        let lines = Arc::new(lines);
        let (mut blocks, mut start, mut line) = (Vec::new(), 0, first_line);
        while start < lines.len() {
            // The inbox holds whole lines only, so there is a line end.
            let at = (start + target).min(lines.len()) - 1;
            let end = memchr(b'\n', &lines[at..]).map_or(lines.len(), |found| at + found + 1);
            let range = start..end;
            let first_byte = first_byte + start as u64;
            blocks.push(Block {
                lines: Arc::clone(&lines),
                range,
                first_line: line,
                first_byte,
                fragments: Vec::new(),
            });
            line += count_lines(&lines[start..end]);
            start = end;
        }
        blocks
    }

    fn check_task(&self, ended: bool) -> Result<()> {
        if !ended && self.task.as_ref().is_some_and(JoinHandle::is_finished) {
            let reason = format!("the task that reads from {} ended by itself", self.address);
            return Err(Error::ReceiverStopped { source_name: self.name.clone(), reason });
        }
        Ok(())
    }
}

impl Receiver for SocketReceiver {
    fn reliability(&self) -> Reliability {
        Reliability::BestEffort
    }

    fn restore(&mut self, _entries: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), BoxError> {
        if self.task.is_none() {
            self.start();
        }
        Ok(())
    }

    fn poll(&mut self, request: &PollRequest) -> Result<Poll, BoxError> {
        let finished = self.task.as_ref().is_some_and(JoinHandle::is_finished);
        let mut inbox = self.shared.inbox();
        let lines = std::mem::take(&mut inbox.lines);
        let fragments = std::mem::take(&mut inbox.fragments);
        let notes = std::mem::take(&mut inbox.notes);
        let (lines_before, bytes_before) = (inbox.lines_before, inbox.bytes_before);
        inbox.lines_before += count_lines(&lines);
        inbox.bytes_before += lines.len() as u64;
        let (failure, ended) = (inbox.failure.take(), inbox.ended);
        drop(inbox);
        self.shared.emptied.notify_one();
        if let Some(failure) = failure {
            return Err(failure.into());
        }
        if finished {
            self.check_task(ended)?;
        }
        let mut blocks = self.blocks(lines, lines_before + 1, bytes_before, request.partitions);
        if !fragments.is_empty() {
            let empty = || Block {
                lines: Arc::default(),
                range: 0..0,
                first_line: lines_before + 1,
                first_byte: bytes_before,
                fragments: Vec::new(),
            };
            let mut last = blocks.pop().unwrap_or_else(empty);
            last.fragments = fragments;
            blocks.push(last);
        }
        let mut held = self.reader.blocks();
        held.clear();
        let mut splits = Vec::with_capacity(blocks.len());
        for block in blocks {
            splits.push(Split {
                locator: self.next_block.to_le_bytes().to_vec(),
                place: format!("{} from line {}", self.address, block.first_line),
                bytes: Some(block.range.len() as u64),
            });
            held.insert(self.next_block, Arc::new(block));
            self.next_block += 1;
        }
        // Without reconnect the connection's end is the end of all there is; until then more may come.
        Ok(Poll { splits, more: !self.options.reconnect && !ended, ended, notes, ..Poll::default() })
    }

    fn reader(&self) -> Arc<dyn SplitReader> {
        Arc::clone(&self.reader) as Arc<dyn SplitReader>
    }

    fn take_progress(&mut self) -> Vec<ProgressEntry> {
        Vec::new()
    }

    fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Drop for SocketReceiver {
    fn drop(&mut self) {
        self.stop();
    }
}

impl BlockReader {
    fn blocks(&self) -> MutexGuard<'_, HashMap<u64, Arc<Block>>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decode(&self, block: &Block, strict: bool) -> Result<Decoded, DecodeError> {
        let lines = &block.lines[block.range.clone()];
        let (first_line, first_byte) = (Some(block.first_line), block.first_byte);
        let origin = Origin { name: &self.address, first_line, first_byte, bytes: lines.len() as u64 };
        let mut decoder = self.codec.decoder(&origin, strict);
        decoder.push(lines)?;
        decoder.end(LastLine::Complete);
        let (batch, bad_records) = decoder.finish()?;
        Ok(Decoded { batch, bad_records, bytes: lines.len() as u64 })
    }
}

impl SplitReader for BlockReader {
    fn read(&self, split: &Split) -> Result<Decoded, BoxError> {
        let id = split.locator.as_slice().try_into().ok().map(u64::from_le_bytes);
        let block = id.and_then(|id| self.blocks().get(&id).cloned()).ok_or_else(|| Error::Unreadable {
            what: "a split",
            reason: format!("{}: it is not of the latest batch", split.place),
        })?;
        let decoded = match self.decode(&block, false) {
            Err(DecodeError::NotUtf8) => self.decode(&block, true),
            decoded => decoded,
        };
        let mut decoded = decoded.map_err(|error| match error {
            DecodeError::Fatal(error) => error,
            DecodeError::NotUtf8 => unreachable!("strict decoding leaves out what is not UTF-8"),
        })?;
        decoded.bad_records.extend(block.fragments.iter().cloned());
        if let (OnBadRecordSpec::Fail, Some(bad)) = (self.on_bad_record, decoded.bad_records.first()) {
            return Err(Error::BadRecord { place: bad.place.clone(), reason: bad.reason.clone() }.into());
        }
        Ok(decoded)
    }
}

#[cfg(test)]
mod tests;
