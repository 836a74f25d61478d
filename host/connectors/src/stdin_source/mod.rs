//! Source `stdin`: lines from standard input.
//!
//! A thread of its own reads and fills a bounded inbox with whole lines; each poll takes all of them. When the inbox is full the
//! thread stops reading, and a pipe makes the program at its other end wait. A pipe cannot be read again, so what a crash takes
//! is lost (best effort). The end of the input is the end of the source; a last line without a line end is a line.
//!
//! A thread that waits in a read cannot be woken: `stop` tells it that nobody takes lines any more, and it ends with the next
//! read or with the process.

mod config;

use std::io::{self, Read};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use millpond_core::receiver::{ProgressEntry, Reliability, StoredEntry};
use millpond_core::{BoxError, Poll, PollRequest, Receiver, SplitReader};
use tokio::runtime::Handle;

pub use self::config::StdinSourceOptions;
use crate::codec::Codec;
use crate::received::{Assembler, Blocks, LineDecoder, Shared};
use crate::spec::OpenSource;
use crate::{Error, Result};

/// Read at once: what a pipe holds (Linux: 64 KiB).
const CHUNK_BYTES: usize = 64 << 10;

/// What messages call it.
const PLACE: &str = "standard input";

/// Receives lines from standard input.
struct StdinReceiver {
    options: StdinSourceOptions,
    name: String,
    runtime: Handle,
    shared: Arc<Shared>,
    /// Until the thread has it.
    input: Option<Box<dyn Read + Send>>,
    thread: Option<JoinHandle<()>>,
    blocks: Arc<Blocks>,
}

impl StdinReceiver {
    fn try_new(options: StdinSourceOptions, open: OpenSource) -> Result<Self> {
        let codec = Codec::try_new(&open.name, &open.schema, options.codec_format(), options.line_bytes_max.0)?;
        Ok(Self {
            blocks: Arc::new(Blocks::none(LineDecoder::new(codec, PLACE.to_owned(), options.on_bad_record))),
            options,
            name: open.name,
            runtime: open.runtime,
            shared: Arc::default(),
            input: Some(open.stdin),
            thread: None,
        })
    }

    fn start(&mut self, input: Box<dyn Read + Send>) -> Result<()> {
        let reading = Reading {
            input,
            shared: Arc::clone(&self.shared),
            runtime: self.runtime.clone(),
            line_bytes_max: self.options.line_bytes_max.0,
            buffer_bytes: self.options.buffer_bytes.0,
        };
        let thread = Builder::new().name("millpond-stdin".to_owned()).spawn(move || reading.run());
        let stopped = |error: io::Error| Error::ReceiverStopped {
            source_name: self.name.clone(),
            reason: format!("there is no thread for it: {error}"),
        };
        self.thread = Some(thread.map_err(stopped)?);
        Ok(())
    }
}

impl Receiver for StdinReceiver {
    fn reliability(&self) -> Reliability {
        Reliability::BestEffort
    }

    fn restore(&mut self, _entries: Vec<StoredEntry>) -> Result<(), BoxError> {
        match self.input.take() {
            Some(input) => Ok(self.start(input)?),
            None => Ok(()),
        }
    }

    fn poll(&mut self, request: &PollRequest) -> Result<Poll, BoxError> {
        // Looked at before what came is taken: a thread that ends after this look may have left something for the next poll.
        let finished = self.thread.as_ref().is_some_and(JoinHandle::is_finished);
        let mut came = self.shared.take();
        if let Some(failure) = came.failure.take() {
            return Err(failure.into());
        }
        let ended = came.ended;
        if finished && !ended {
            let reason = "the thread that reads standard input ended by itself".to_owned();
            return Err(Error::ReceiverStopped { source_name: self.name.clone(), reason }.into());
        }
        self.blocks = Arc::new(self.blocks.next(came, request.partitions));
        let splits = self.blocks.splits();
        Ok(Poll { splits, more: !ended, ended, ..Poll::default() })
    }

    fn reader(&self) -> Arc<dyn SplitReader> {
        Arc::clone(&self.blocks) as Arc<dyn SplitReader>
    }

    fn take_progress(&mut self) -> Vec<ProgressEntry> {
        Vec::new()
    }

    fn stop(&mut self) {
        self.shared.close();
    }
}

impl Drop for StdinReceiver {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the thread needs.
struct Reading {
    input: Box<dyn Read + Send>,
    shared: Arc<Shared>,
    runtime: Handle,
    line_bytes_max: u64,
    buffer_bytes: u64,
}

impl Reading {
    fn run(mut self) {
        let mut assembler = Assembler::new(self.line_bytes_max);
        let mut buffer = vec![0; CHUNK_BYTES];
        let read = loop {
            let room = self.runtime.block_on(self.shared.wait_for_room(self.buffer_bytes));
            let Some(room) = room else { return };
            let want = buffer.len().min(room);
            match self.input.read(&mut buffer[..want]) {
                Ok(0) => break Ok(()),
                Ok(count) => assembler.push(&buffer[..count], &mut self.shared.inbox().lines),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => break Err(Error::ReadFailed { place: PLACE.to_owned(), source }),
            }
        };
        let mut inbox = self.shared.inbox();
        assembler.finish(&mut inbox.lines);
        inbox.failure = read.err();
        inbox.ended = true;
    }
}

#[cfg(test)]
mod tests;
