//! Log lines on standard error, in step with the live line.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::args::LogFormat;
use crate::screen::{Screen, ScreenWriter};
use crate::text::printable;

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
        let is_line = bytes.ends_with(b"\n");
        let text = String::from_utf8_lossy(if is_line { &bytes[..bytes.len() - 1] } else { bytes });
        // A line stays one line whatever a file is called. Colours are the log's own: it escapes those of others.
        let line =
            text.split('\u{1b}').map(|part| printable(part).replace('\n', "\\n")).collect::<Vec<_>>().join("\u{1b}");
        self.0.write_all(line.as_bytes())?;
        if is_line {
            self.0.write_all(b"\n")?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::screen::tests::captured;

    #[test]
    fn a_log_line_stays_one_line() {
        let (streams, _out, err) = captured();
        let screen = Screen::new(streams);
        LogWriter(screen).make_writer().write_all(b"\x1b[33mWARN\x1b[0m a\n  b\r\x07.txt\n").unwrap();
        assert_eq!(err.text(), "\u{1b}[33mWARN\u{1b}[0m a\\n  b\\r\\u{7}.txt\n");
    }
}
