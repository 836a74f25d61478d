//! Log lines on standard error, in step with the live line.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::args::LogFormat;
use crate::screen::{Screen, ScreenWriter};

/// What is shown unless `RUST_LOG` says otherwise.
const DEFAULT_FILTER: &str = "warn,millpond=info,plugin=info";

/// Sends log lines of this process to a screen. Only the first call has an effect.
pub fn start(screen: &Screen, format: LogFormat) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(screen))
        .with_writer(LogWriter(screen.clone()))
        .with_ansi(format == LogFormat::Text && screen.err_is_colored());
    // A second command in the same process (a test) keeps the first one's log.
    match format {
        LogFormat::Text => builder.try_init().ok(),
        LogFormat::Json => builder.json().flatten_event(true).try_init().ok(),
    };
}

fn filter(screen: &Screen) -> EnvFilter {
    let default = || EnvFilter::new(DEFAULT_FILTER);
    match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(text) if !text.trim().is_empty() => EnvFilter::try_new(&text).unwrap_or_else(|error| {
            screen.message(&format!("warning: RUST_LOG={text} is not understood ({error}); using {DEFAULT_FILTER}"));
            default()
        }),
        _ => default(),
    }
}

struct LogWriter(Screen);

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LineWriter;

    fn make_writer(&'a self) -> LineWriter {
        LineWriter(self.0.err_writer())
    }
}

/// One log line; it is written when it is complete, which is when this is dropped.
struct LineWriter(ScreenWriter);

impl io::Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
