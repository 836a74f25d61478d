//! What every plugin may use of the host: its log.
//!
//! Fragments are joined up to a line end; each line becomes one `tracing` event with target `plugin` and the place of the
//! call. What a call may log is bounded; the rest is counted. Guest text is made printable, so that it cannot steer a
//! terminal.

use tracing::Level;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use crate::bindings::job::millpond::plugin::log::Level as GuestLevel;
use crate::call::HostState;
use crate::error::{Place, printable};

/// The interface's name; both worlds may import it.
pub(crate) const LOG_INTERFACE: &str = "millpond:plugin/log@0.1.0";

/// What a message costs on top of its text, so that empty messages are bounded, too. About what an event's own fields
/// take in a log file.
const MESSAGE_BYTES: u64 = 32;
/// How much of an error message goes into a trap's report.
const LAST_ERROR_BYTES_MAX: usize = 1024;

/// The log of one instance.
#[derive(Debug)]
pub(crate) struct GuestLog {
    bytes_max: u64,
    bytes: u64,
    dropped: u64,
    dropped_bytes: u64,
    place: Option<Place>,
    line: String,
    line_level: Level,
    last_error: String,
    last_error_ended: bool,
}

impl GuestLog {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            bytes: 0,
            dropped: 0,
            dropped_bytes: 0,
            place: None,
            line: String::new(),
            line_level: Level::INFO,
            last_error: String::new(),
            last_error_ended: false,
        }
    }

    /// Starts anew for a call.
    pub(crate) fn start_call(&mut self, place: &Place) {
        *self = Self { place: Some(place.clone()), ..Self::new(self.bytes_max) };
    }

    /// Writes out what is left of the call's last line. Returns how many messages were dropped, and the newest message at
    /// level `error`.
    pub(crate) fn end_call(&mut self) -> (u64, Option<String>) {
        self.end_line();
        if self.dropped > 0 {
            let text = format!(
                "{} log messages of this call were dropped: it logged {} bytes, and `limits.log` is {}; raise `limits.log`, \
                 or log less",
                self.dropped,
                self.bytes + self.dropped_bytes,
                self.bytes_max
            );
            self.emit(Level::WARN, &text);
        }
        let last_error = (!self.last_error.is_empty()).then(|| printable(&self.last_error, LAST_ERROR_BYTES_MAX));
        (self.dropped, last_error)
    }

    fn write(&mut self, level: Level, message: &str, end_of_line: bool) {
        if level == Level::ERROR {
            self.remember(message, end_of_line);
        }
        let cost = message.len() as u64 + MESSAGE_BYTES;
        if self.bytes.saturating_add(cost) > self.bytes_max {
            self.dropped += 1;
            self.dropped_bytes += cost;
            return;
        }
        self.bytes += cost;
        if level != self.line_level {
            self.end_line();
            self.line_level = level;
        }
        self.line.push_str(message);
        if end_of_line {
            // A line without text is still a line.
            let line = std::mem::take(&mut self.line);
            self.emit(level, &line);
        }
    }

    /// Keeps the newest error even when the log is full: a guest that panics may have logged much before.
    fn remember(&mut self, message: &str, end_of_line: bool) {
        if std::mem::replace(&mut self.last_error_ended, end_of_line) {
            self.last_error.clear();
        }
        let room = (LAST_ERROR_BYTES_MAX + 4).saturating_sub(self.last_error.len());
        self.last_error.push_str(&message[..message.floor_char_boundary(room)]);
    }

    fn end_line(&mut self) {
        if !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.emit(self.line_level, &line);
        }
    }

    fn emit(&self, level: Level, text: &str) {
        let Some(place) = &self.place else { return };
        let job = place.job.as_str();
        let node = place.node.as_deref().unwrap_or(place.export);
        let (partition, batch_time) = place.task.map_or((0, 0), |(partition, time)| (partition.0, time.0));
        for line in text.split('\n') {
            let line = printable(line, usize::MAX);
            // A macro's level must be a constant.
            match level {
                Level::ERROR => tracing::error!(target: "plugin", job, node, partition, batch_time, "{line}"),
                Level::WARN => tracing::warn!(target: "plugin", job, node, partition, batch_time, "{line}"),
                Level::INFO => tracing::info!(target: "plugin", job, node, partition, batch_time, "{line}"),
                Level::DEBUG => tracing::debug!(target: "plugin", job, node, partition, batch_time, "{line}"),
                Level::TRACE => tracing::trace!(target: "plugin", job, node, partition, batch_time, "{line}"),
            }
        }
    }
}

/// Gives components the log.
pub(crate) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.instance(LOG_INTERFACE)?.func_wrap("log", log)
}

/// The text is read where it lies in the guest's memory: a message of any size costs the host no memory of its own
/// before the limit is looked at.
fn log(
    mut store: StoreContextMut<'_, HostState>,
    (level, message, end_of_line): (GuestLevel, WasmStr, bool),
) -> wasmtime::Result<()> {
    let level = match level {
        GuestLevel::Trace => Level::TRACE,
        GuestLevel::Debug => Level::DEBUG,
        GuestLevel::Info => Level::INFO,
        GuestLevel::Warn => Level::WARN,
        GuestLevel::Error => Level::ERROR,
    };
    // The log is out of the store while the message is borrowed from it.
    let mut log = store.data_mut().take_log();
    match message.to_str(&store) {
        Ok(text) => log.write(level, &text, end_of_line),
        Err(_) => log.write(level, "(a message that is not UTF-8)", end_of_line),
    }
    store.data_mut().put_log(log);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Capture(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Capture {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Capture {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn captured(work: impl FnOnce(&mut GuestLog)) -> Vec<String> {
        let capture = Capture::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(capture.clone())
            .with_max_level(Level::TRACE)
            .with_ansi(false)
            .without_time()
            .finish();
        let mut log = GuestLog::new(400);
        log.start_call(&Place { job: "wc".into(), export: "plan", node: None, task: None });
        tracing::subscriber::with_default(subscriber, || work(&mut log));
        let bytes = capture.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn fragments_become_lines() {
        let lines = captured(|log| {
            log.write(Level::INFO, "one ", false);
            log.write(Level::INFO, "line", true);
            log.write(Level::WARN, "left over", false);
            log.end_call();
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("INFO plugin: one line job=\"wc\""), "{lines:?}");
        assert!(lines[1].starts_with("WARN plugin: left over"), "{lines:?}");
    }

    #[test]
    fn messages_past_the_limit_are_dropped_and_counted() {
        let lines = captured(|log| {
            for _ in 0..20 {
                log.write(Level::INFO, "", true);
            }
            log.write(Level::ERROR, "the reason", true);
            let (dropped, last_error) = log.end_call();
            assert_eq!(dropped, 9);
            assert_eq!(last_error.as_deref(), Some("the reason"));
        });
        assert_eq!(lines.len(), 13);
        assert!(lines[12].contains("9 log messages of this call were dropped"), "{lines:?}");
    }

    #[test]
    fn newest_error_is_remembered_whole_and_bounded() {
        let mut log = GuestLog::new(1000);
        log.write(Level::ERROR, "old", true);
        log.write(Level::ERROR, "panicked ", false);
        log.write(Level::INFO, "between", true);
        log.write(Level::ERROR, "at lib.rs:1\nboom", true);
        assert_eq!(log.end_call().1.as_deref(), Some("panicked at lib.rs:1 boom"));
        log.write(Level::ERROR, &"ä".repeat(5000), true);
        assert_eq!(log.end_call().1.unwrap().chars().last(), Some('…'));
    }
}
