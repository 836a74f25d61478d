//! The standard input source, over a pipe in memory.

use std::io::{PipeWriter, Write, pipe};
use std::thread;

use millpond_core::{BatchTime, Clock, SystemClock};
use millpond_testkit::contract::receiver::{ReceiverFixture, all};
use millpond_testkit::rows::{pair_schema, text_schema, to_pairs, to_texts};
use serde_json::json;
use tokio::runtime::Runtime;

use super::*;
use crate::SourceSpec;

/// A bound for a hanging test, not a measure.
const WAIT_US: u64 = 30_000_000;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn open(runtime: &Runtime, options: serde_json::Value, input: impl Read + Send + 'static) -> Box<dyn Receiver> {
    let csv = options["format"] == "csv";
    let open = OpenSource {
        name: "lines".into(),
        job_dir: ".".into(),
        schema: if csv { pair_schema("word", "n") } else { text_schema("line") },
        runtime: runtime.handle().clone(),
        clock: Arc::new(SystemClock::new()),
        stdin: Box::new(input),
    };
    SourceSpec::parse("stdin", options).unwrap().open(open).unwrap()
}

/// What came until the end.
#[derive(Debug, Default)]
struct Came {
    rows: Vec<String>,
    bad: Vec<String>,
}

fn to_the_end(receiver: &mut dyn Receiver) -> Result<Came, BoxError> {
    let clock = SystemClock::new();
    let mut came = Came::default();
    loop {
        assert!(clock.monotonic_us() < WAIT_US, "the end does not come: {came:?}");
        let poll = receiver.poll(&PollRequest::new(BatchTime(1), 2))?;
        for split in &poll.splits {
            let decoded = receiver.reader().read(split)?;
            came.rows.extend(to_texts(&decoded.batch));
            came.bad.extend(decoded.bad_records.iter().map(|bad| format!("{}: {}", bad.place, bad.reason)));
        }
        assert_eq!(poll.more, !poll.ended, "there is more until the end");
        if poll.ended {
            return Ok(came);
        }
        thread::yield_now();
    }
}

fn read_all(options: serde_json::Value, input: &'static [u8]) -> Result<Came, BoxError> {
    let runtime = runtime();
    let mut receiver = open(&runtime, options, input);
    receiver.restore(Vec::new()).unwrap();
    to_the_end(&mut *receiver)
}

struct Pipe {
    runtime: Runtime,
    writer: Option<PipeWriter>,
    feeder: Option<JoinHandle<()>>,
}

impl ReceiverFixture for Pipe {
    fn open(&mut self) -> Box<dyn Receiver> {
        let (reader, writer) = pipe().unwrap();
        self.writer = Some(writer);
        open(&self.runtime, json!({}), reader)
    }

    fn feed(&mut self, rows: &[&str]) {
        let text: String = rows.iter().flat_map(|row| [row, "\n"]).collect();
        if let Some(feeder) = self.feeder.take() {
            feeder.join().unwrap();
        }
        let mut writer = self.writer.as_ref().expect("a receiver is open").try_clone().unwrap();
        // A thread of its own: a pipe that is full makes its writer wait.
        self.feeder = Some(thread::spawn(move || writer.write_all(text.as_bytes()).unwrap()));
    }

    fn waits_for_an_end(&self) -> bool {
        true
    }
}

#[test]
fn the_stdin_source_keeps_the_contract() {
    all(|| Pipe { runtime: runtime(), writer: None, feeder: None });
}

#[test]
fn the_end_of_the_input_is_the_end_and_the_last_line_needs_no_line_end() {
    assert_eq!(read_all(json!({}), b"a\n\nlast").unwrap().rows, ["a", "", "last"]);
    assert_eq!(read_all(json!({}), b"").unwrap().rows, [""; 0]);
}

#[test]
fn bad_lines_have_a_place() {
    let came = read_all(json!({ "line-bytes-max": "4B" }), b"one\nt\xffo\nfour5\nfive").unwrap();
    assert_eq!(came.rows, ["one", "five"]);
    assert!(came.bad[0].starts_with("standard input line 2: not UTF-8"), "{came:?}");
    assert!(came.bad[1].starts_with("standard input line 3: the line has"), "{came:?}");
    let error = read_all(json!({ "on-bad-record": "fail" }), b"\xff\n").unwrap_err();
    assert_eq!(error.code().0, "MP0504");
}

#[test]
fn csv_columns_are_taken_by_position() {
    let runtime = runtime();
    let mut receiver = open(&runtime, json!({ "format": "csv", "delimiter": ";" }), &b"a;1\nb;2\n"[..]);
    receiver.restore(Vec::new()).unwrap();
    let (clock, mut rows) = (SystemClock::new(), Vec::new());
    while rows.len() < 2 {
        assert!(clock.monotonic_us() < WAIT_US);
        let poll = receiver.poll(&PollRequest::new(BatchTime(1), 1)).unwrap();
        rows.extend(poll.splits.iter().flat_map(|split| to_pairs(&receiver.reader().read(split).unwrap().batch)));
        thread::yield_now();
    }
    assert_eq!(rows, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
}

#[test]
fn nothing_is_read_before_the_job_starts() {
    struct Untouched;
    impl Read for Untouched {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("the job was only checked");
        }
    }
    let runtime = runtime();
    let mut receiver = open(&runtime, json!({}), Untouched);
    receiver.stop();
}

#[test]
fn an_input_that_fails_or_panics_fails_the_job() {
    struct Broken(bool);
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            assert!(self.0, "a defect");
            Err(io::Error::other("the terminal is gone"))
        }
    }
    for (fails, code) in [(true, "MP0503"), (false, "MP0507")] {
        let runtime = runtime();
        let mut receiver = open(&runtime, json!({}), Broken(fails));
        receiver.restore(Vec::new()).unwrap();
        let error = to_the_end(&mut *receiver).unwrap_err();
        assert_eq!(error.code().0, code);
        assert!(error.to_string().contains("standard input"), "{error}");
    }
}

#[test]
fn a_full_inbox_stops_reading_and_loses_nothing() {
    let runtime = runtime();
    let (reader, mut writer) = pipe().unwrap();
    let mut receiver = open(&runtime, json!({ "buffer-bytes": "4KiB", "line-bytes-max": "1KiB" }), reader);
    receiver.restore(Vec::new()).unwrap();
    let rows = 50_000;
    let feeder = thread::spawn(move || (0..rows).try_for_each(|row| writeln!(writer, "row {row}")).unwrap());
    let came = to_the_end(&mut *receiver).unwrap();
    feeder.join().unwrap();
    assert_eq!(came.rows.len(), rows);
    assert!(came.rows.iter().enumerate().all(|(row, text)| *text == format!("row {row}")));
}
