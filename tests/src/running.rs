//! A program that runs while the test looks on: its lines as they come, signals to it, and its end. Everything is bounded.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use millpond_core::{Clock, StopSignal, SystemClock};

use crate::Finished;

/// Nothing that a test waits for takes longer, on however slow a machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at something that does not tell when it changes.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Looks until there is what a test waits for.
///
/// # Panics
/// When it does not come within [`PATIENCE`]; `what` names it.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let (clock, never) = (SystemClock::new(), StopSignal::new());
    let patience_us = u64::try_from(PATIENCE.as_micros()).expect("a minute fits");
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(clock.monotonic_us() < patience_us, "{what}: not within {PATIENCE:?}");
        assert!(!never.wait_timeout(LOOK_EVERY), "nobody raises this signal");
    }
}

/// Between two signals of somebody who insists: shorter than a person's, and a few of them are enough for everything that the
/// program takes for one.
const INSIST_EVERY: Duration = Duration::from_millis(100);

/// A program at work. Its lines on standard error are read as they come; standard output is read by `finish`, so that a
/// program which has much to say waits for it. Killed when dropped.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    err: String,
    out: Option<ChildStdout>,
}

impl Running {
    /// Starts a command.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stderr = child.stderr.take().expect("it is piped");
        let out = child.stdout.take();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // The last send fails when the test is over.
            BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)).ok();
        });
        Self { child, lines, err: String::new(), out }
    }

    /// Waits until standard error has a line with this in it.
    ///
    /// # Panics
    /// When the program ends before, or it does not come within [`PATIENCE`].
    #[track_caller]
    pub fn wait_for_line(&mut self, part: &str) {
        let (clock, patience) = (SystemClock::new(), PATIENCE.as_micros());
        while !self.err.contains(part) {
            let left = patience.saturating_sub(u128::from(clock.monotonic_us()));
            assert!(left > 0, "`{part}` did not come\n--- stderr\n{}", self.err);
            let wait = Duration::from_micros(u64::try_from(left).expect("it is less than a minute"));
            match self.lines.recv_timeout(wait) {
                Ok(line) => self.keep(&line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("it ended without `{part}`\n--- stderr\n{}", self.err),
            }
        }
    }

    /// Looks until there is what the test waits for.
    ///
    /// # Panics
    /// When the program ends before, or it does not come within [`PATIENCE`].
    #[track_caller]
    pub fn until<T>(&mut self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        until(what, || {
            let found = look();
            if found.is_none() && self.has_ended() {
                self.drain();
                panic!("{what}: the program has ended\n--- stderr\n{}", self.err);
            }
            found
        })
    }

    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal: `TERM`, `INT`, `KILL`.
    ///
    /// # Panics
    /// When there is no such process any more.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.pid().to_string()]).status();
        assert!(status.expect("`kill` is everywhere").success(), "the process is there");
    }

    /// Waits until the program writes to standard output. What is read here is not given again.
    ///
    /// # Panics
    /// When it ends without writing.
    #[track_caller]
    pub fn wait_for_output(&mut self) {
        let out = self.out.as_mut().expect("`finish` takes it, and is the last");
        out.read_exact(&mut [0]).expect("the program writes to standard output");
    }

    /// Sends a signal again and again until the program ends, as a person does; what it writes to standard output is not read
    /// meanwhile.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`].
    #[track_caller]
    pub fn insist(&mut self, name: &str) {
        let never = StopSignal::new();
        until("the end of the program", || {
            if !self.has_ended() {
                self.signal(name);
                assert!(!never.wait_timeout(INSIST_EVERY), "nobody raises this signal");
            }
            self.has_ended().then_some(())
        });
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`].
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        let out = self.out.take().map(read_all);
        let status = until("the end of the program", || self.child.try_wait().expect("it is our child"));
        self.drain();
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        Finished {
            code: code.expect("it ended by itself or by a signal"),
            out: out.and_then(|reader| reader.join().ok()).unwrap_or_default(),
            err: std::mem::take(&mut self.err),
        }
    }

    fn keep(&mut self, line: &str) {
        self.err.push_str(line);
        self.err.push('\n');
    }

    /// Takes what is left after the program's end.
    fn drain(&mut self) {
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.keep(&line);
        }
    }
}

fn read_all(mut out: ChildStdout) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        out.read_to_end(&mut bytes).expect("a pipe can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when it has ended, which is as well.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
