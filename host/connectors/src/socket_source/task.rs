//! The network task: connects, reads, connects again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use millpond_core::{BadRecord, Clock};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::SocketSourceOptions;
use crate::Error;
use crate::received::{Assembler, Shared};

/// Read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// More unfinished lines than this between two batches are left out (a server that sends half a line and closes, again and
/// again, must not fill the memory).
const FRAGMENTS_MAX: usize = 10_000;

/// What the task needs. It ends when the source has ended, and is aborted when the receiver stops.
pub(super) struct NetworkTask {
    pub(super) options: SocketSourceOptions,
    pub(super) address: String,
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Arc<dyn Clock>,
}

impl NetworkTask {
    pub(super) async fn run(self) {
        let mut wait_ms = self.options.retry_min.0;
        let mut down_since: Option<i64> = None;
        loop {
            match self.connect().await {
                Ok(stream) => {
                    if let Some(since) = down_since.take() {
                        let down_ms = self.clock.now_ms() - since;
                        self.note(&format!("connected again after {down_ms} ms; lines sent meanwhile are lost"));
                    }
                    let (received, result) = self.receive(stream).await;
                    if received {
                        wait_ms = self.options.retry_min.0;
                    }
                    let lost = match result {
                        Ok(()) => "the server closed the connection".to_owned(),
                        Err(error) => format!("the connection was lost: {error}"),
                    };
                    if !self.options.reconnect {
                        self.note(&format!("{lost}; reconnect is off, so the source has ended"));
                        self.shared.inbox().ended = true;
                        return;
                    }
                    down_since = Some(self.clock.now_ms());
                    self.note(&format!("{lost}; trying to connect again"));
                }
                Err(source) if !self.options.reconnect => {
                    let mut inbox = self.shared.inbox();
                    inbox.failure = Some(Error::Unreachable { address: self.address.clone(), source });
                    inbox.ended = true;
                    return;
                }
                Err(error) if down_since.is_none() => {
                    down_since = Some(self.clock.now_ms());
                    self.note(&format!("cannot connect: {error}; trying again until the server answers"));
                }
                // One note per outage is enough.
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            wait_ms = wait_ms.saturating_mul(2).min(self.options.retry_max.0);
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((self.options.host.as_str(), self.options.port)).await?;
        // While nobody listens on a local port, one try in some ten thousand meets itself (TCP's simultaneous open), and
        // would keep the server from ever getting its port.
        if stream.local_addr()? == stream.peer_addr()? {
            Err(io::ErrorKind::ConnectionRefused.into())
        } else {
            Ok(stream)
        }
    }

    fn note(&self, news: &str) {
        self.shared.inbox().note(&self.address, news);
    }

    /// Reads until the connection ends; tells whether anything came, and how it ended.
    async fn receive(&self, mut stream: TcpStream) -> (bool, io::Result<()>) {
        let mut assembler = Assembler::new(self.options.line_bytes_max.0);
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut received = false;
        let result = loop {
            // While this waits, nothing is read, and TCP makes the server wait.
            let Some(room) = self.shared.wait_for_room(self.options.buffer_bytes.0).await else { break Ok(()) };
            let want = buffer.len().min(room);
            match stream.read(&mut buffer[..want]).await {
                Ok(0) => break Ok(()),
                Ok(count) => {
                    received = true;
                    assembler.push(&buffer[..count], &mut self.shared.inbox().lines);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        if let Some(reason) = assembler.end() {
            let mut inbox = self.shared.inbox();
            let line = inbox.next_line();
            if inbox.fragments.len() < FRAGMENTS_MAX {
                inbox.fragments.push(BadRecord { place: format!("{} line {line}", self.address), reason });
            }
        }
        (received, result)
    }
}
