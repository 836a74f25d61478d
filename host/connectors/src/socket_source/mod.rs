//! Source `socket`: lines from a TCP server.
//!
//! A task on the runtime connects and fills a bounded inbox with whole lines; each poll takes all of them as blocks, which
//! stay in memory until the next poll so that a batch can read them more than once. When the inbox is full the task stops
//! reading, and TCP makes the server wait. Nothing is acknowledged, so what a crash takes is lost (best effort).
//! Source: `socketTextStream` of Spark Streaming.

mod config;
mod task;

use std::sync::Arc;

use millpond_core::receiver::{ProgressEntry, Reliability};
use millpond_core::{BoxError, Clock, Poll, PollRequest, Receiver, SplitReader};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

pub use self::config::SocketSourceOptions;
use self::task::NetworkTask;
use crate::codec::Codec;
use crate::received::{Blocks, LineDecoder, Shared};
use crate::spec::OpenSource;
use crate::{Error, Result};

/// Receives lines from a TCP server.
struct SocketReceiver {
    options: SocketSourceOptions,
    name: String,
    address: String,
    runtime: Handle,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
    blocks: Arc<Blocks>,
}

impl SocketReceiver {
    fn try_new(options: SocketSourceOptions, open: OpenSource) -> Result<Self> {
        let codec = Codec::try_new(&open.name, &open.schema, options.codec_format(), options.line_bytes_max.0)?;
        let address = format!("{}:{}", options.host, options.port);
        let on_bad_record = options.on_bad_record;
        Ok(Self {
            blocks: Arc::new(Blocks::none(LineDecoder::new(codec, address.clone(), on_bad_record))),
            options,
            name: open.name,
            address,
            runtime: open.runtime,
            clock: open.clock,
            shared: Arc::default(),
            task: None,
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
        let mut came = self.shared.take();
        let (notes, ended) = (std::mem::take(&mut came.notes), came.ended);
        if let Some(failure) = came.failure.take() {
            return Err(failure.into());
        }
        if finished {
            self.check_task(ended)?;
        }
        self.blocks = Arc::new(self.blocks.next(came, request.partitions));
        let splits = self.blocks.splits();
        // Without reconnect the connection's end is the end of all there is; until then more may come.
        Ok(Poll { splits, more: !self.options.reconnect && !ended, ended, notes, ..Poll::default() })
    }

    fn reader(&self) -> Arc<dyn SplitReader> {
        Arc::clone(&self.blocks) as Arc<dyn SplitReader>
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

#[cfg(test)]
mod tests;
