//! Standard output and standard error of one command, which share a terminal with the live line.
//!
//! Results go to the one, everything else to the other. Whoever writes does it while the live line is taken off the screen,
//! so neither cuts through the other. Where standard error is no terminal there is no live line and this is a plain writer.
//!
//! The live line never fills its row, and the cursor rests at its start: what the terminal echoes (`^C`) lands on the row
//! that is cleared next, instead of wrapping to another one.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use console::Term;

/// Goes to the start of the row and erases it (ECMA-48: EL).
const CLEAR_ROW: &str = "\r\u{1b}[K";

/// Where the terminal does not say how wide it is.
const WIDTH_DEFAULT: usize = 80;

/// Where a command writes.
pub struct Streams {
    /// Results.
    pub out: Box<dyn Write + Send>,
    /// Messages.
    pub err: Box<dyn Write + Send>,
    /// A person reads the results.
    pub out_is_terminal: bool,
    /// A person reads the messages: there may be a live line.
    pub err_is_terminal: bool,
    /// Terminals may be given colours.
    pub is_colored: bool,
}

impl Streams {
    /// The process's own.
    #[must_use]
    pub fn standard() -> Self {
        Self {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            out_is_terminal: io::stdout().is_terminal(),
            err_is_terminal: io::stderr().is_terminal(),
            // https://no-color.org
            is_colored: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }
}

/// The streams, shared by all who write. Clones are the same screen.
#[derive(Clone)]
pub struct Screen(Arc<Inner>);

struct Inner {
    out: Mutex<Box<dyn Write + Send>>,
    err: Mutex<Box<dyn Write + Send>>,
    out_is_colored: bool,
    err_is_colored: bool,
    err_is_terminal: bool,
    /// There is a live line; between `start_live` and `end_live`.
    is_live: AtomicBool,
    /// The live line's text; empty = nothing is drawn. Whoever writes to a terminal with a live line holds this.
    live: Mutex<String>,
}

impl Screen {
    /// Takes the streams.
    #[must_use]
    pub fn new(streams: Streams) -> Self {
        Self(Arc::new(Inner {
            out: Mutex::new(streams.out),
            err: Mutex::new(streams.err),
            out_is_colored: streams.is_colored && streams.out_is_terminal,
            err_is_colored: streams.is_colored && streams.err_is_terminal,
            err_is_terminal: streams.err_is_terminal,
            is_live: AtomicBool::new(false),
            live: Mutex::default(),
        }))
    }

    /// Whether results may be coloured.
    #[must_use]
    pub fn out_is_colored(&self) -> bool {
        self.0.out_is_colored
    }

    /// Whether messages may be coloured.
    #[must_use]
    pub fn err_is_colored(&self) -> bool {
        self.0.err_is_colored
    }

    /// Shows the live line from now on, if standard error is a terminal.
    pub fn start_live(&self) {
        self.0.is_live.store(self.0.err_is_terminal, Ordering::Relaxed);
    }

    /// Whether there is a live line, so that making its text is worth while.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.0.is_live.load(Ordering::Relaxed)
    }

    /// How many characters the live line may have now.
    #[must_use]
    pub fn live_width(&self) -> usize {
        let width = Term::stderr().size_checked().map_or(WIDTH_DEFAULT, |(_, columns)| usize::from(columns));
        width.saturating_sub(1)
    }

    /// Changes the live line; text that does not fit its row is the caller's mistake and is cut.
    pub fn set_live(&self, text: &str) {
        if !self.is_live() {
            return;
        }
        let mut live = self.live();
        *live = text.chars().take(self.live_width()).collect();
        // A live line that cannot be drawn is no loss.
        self.draw(&live).ok();
    }

    /// Takes the live line away for good.
    pub fn end_live(&self) {
        if self.0.is_live.swap(false, Ordering::Relaxed) {
            let mut live = self.live();
            live.clear();
            self.erase().ok();
        }
    }

    fn live(&self) -> MutexGuard<'_, String> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self, text: &str) -> io::Result<()> {
        write_to(&self.0.err, format!("{CLEAR_ROW}{text}\r").as_bytes())
    }

    fn erase(&self) -> io::Result<()> {
        write_to(&self.0.err, CLEAR_ROW.as_bytes())
    }

    /// Writes results.
    ///
    /// **Errors**: those of standard output; a reader that went away (`millpond explain | head`) is none.
    pub fn print(&self, text: &str) -> io::Result<()> {
        match self.write_out(text.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }

    /// Writes a message and a line end.
    pub fn message(&self, text: &str) {
        // Nowhere is left to say that standard error cannot be written.
        self.write_err(format!("{text}\n").as_bytes()).ok();
    }

    /// Standard output as a writer that holds text back until it is flushed.
    #[must_use]
    pub fn out_writer(&self) -> ScreenWriter {
        ScreenWriter { screen: self.clone(), buffer: Vec::new(), is_out: true }
    }

    /// Standard error as such a writer.
    #[must_use]
    pub fn err_writer(&self) -> ScreenWriter {
        ScreenWriter { screen: self.clone(), buffer: Vec::new(), is_out: false }
    }

    fn write_out(&self, bytes: &[u8]) -> io::Result<()> {
        self.write(&self.0.out, bytes)
    }

    fn write_err(&self, bytes: &[u8]) -> io::Result<()> {
        self.write(&self.0.err, bytes)
    }

    fn write(&self, stream: &Mutex<Box<dyn Write + Send>>, bytes: &[u8]) -> io::Result<()> {
        // Only a live line makes the streams wait for each other: messages must get through when nobody reads the results.
        if !self.is_live() {
            return write_to(stream, bytes);
        }
        let live = self.live();
        // Trouble with the live line must not cost results.
        self.erase().ok();
        write_to(stream, bytes)?;
        if !live.is_empty() {
            self.draw(&live).ok();
        }
        Ok(())
    }
}

fn write_to(stream: &Mutex<Box<dyn Write + Send>>, bytes: &[u8]) -> io::Result<()> {
    let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
    stream.write_all(bytes)?;
    stream.flush()
}

/// Text that is held back reaches the screen in pieces of at most this size even without a flush.
const BUFFER_BYTES_MAX: usize = 1 << 16;

/// A writer to one of a [`Screen`]'s streams.
pub struct ScreenWriter {
    screen: Screen,
    buffer: Vec<u8>,
    is_out: bool,
}

impl Write for ScreenWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES_MAX {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.buffer);
        match (bytes.is_empty(), self.is_out) {
            (true, _) => Ok(()),
            (false, true) => self.screen.write_out(&bytes),
            (false, false) => self.screen.write_err(&bytes),
        }
    }
}

impl Drop for ScreenWriter {
    fn drop(&mut self) {
        // Whoever cares for the error flushes.
        self.flush().ok();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A writer whose text a test can read.
    #[derive(Clone, Default)]
    pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A screen without a terminal, and what is written to it.
    pub(crate) fn captured() -> (Streams, Captured, Captured) {
        let (out, err) = (Captured::default(), Captured::default());
        let streams = Streams {
            out: Box::new(out.clone()),
            err: Box::new(err.clone()),
            out_is_terminal: false,
            err_is_terminal: false,
            is_colored: true,
        };
        (streams, out, err)
    }

    #[test]
    fn without_a_terminal_nothing_live_is_written() {
        let (streams, out, err) = captured();
        let screen = Screen::new(streams);
        screen.start_live();
        screen.set_live("batch 1");
        screen.print("result\n").unwrap();
        screen.message("message");
        screen.end_live();
        assert!(!screen.is_live());
        assert_eq!((out.text().as_str(), err.text().as_str()), ("result\n", "message\n"));
    }

    #[test]
    fn a_writer_holds_text_back_until_it_is_flushed() {
        let (streams, out, _err) = captured();
        let mut writer = Screen::new(streams).out_writer();
        write!(writer, "a").unwrap();
        writeln!(writer, "b").unwrap();
        assert_eq!(out.text(), "");
        writer.flush().unwrap();
        assert_eq!(out.text(), "ab\n");
    }

    #[test]
    fn live_line_is_erased_before_a_message_and_drawn_again_behind_it() {
        let (mut streams, _out, err) = captured();
        streams.err_is_terminal = true;
        let screen = Screen::new(streams);
        screen.start_live();
        screen.set_live("batch 1");
        screen.message("message");
        screen.end_live();
        screen.set_live("late");
        assert_eq!(err.text(), "\r\u{1b}[Kbatch 1\r\r\u{1b}[Kmessage\n\r\u{1b}[Kbatch 1\r\r\u{1b}[K");
    }
}
