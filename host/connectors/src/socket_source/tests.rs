//! The socket source against a real server on the loopback interface.

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::JoinHandle;

use millpond_core::{BatchTime, Split, SystemClock};
use millpond_testkit::contract::receiver::{ReceiverFixture, all};
use millpond_testkit::rows::{pair_schema, text_schema, to_pairs, to_texts};
use serde_json::json;
use tokio::runtime::Runtime;

use super::*;
use crate::SourceSpec;

/// A bound for a hanging test, not a measure.
const WAIT_US: u64 = 30_000_000;

struct Server {
    listener: TcpListener,
    runtime: Runtime,
}

impl Server {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap(), runtime }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    fn receiver(&self, options: serde_json::Value) -> Box<dyn Receiver> {
        open(self.port(), options, &self.runtime)
    }

    fn accept(&self) -> TcpStream {
        self.listener.accept().unwrap().0
    }
}

fn open(port: u16, mut options: serde_json::Value, runtime: &Runtime) -> Box<dyn Receiver> {
    options["host"] = json!("127.0.0.1");
    options["port"] = json!(port);
    if options.get("retry-min").is_none() {
        options["retry-min"] = json!("1ms");
        options["retry-max"] = json!("5ms");
    }
    let csv = options["format"] == "csv";
    let open = OpenSource {
        name: "lines".into(),
        job_dir: ".".into(),
        schema: if csv { pair_schema("word", "n") } else { text_schema("line") },
        runtime: runtime.handle().clone(),
        clock: Arc::new(SystemClock::new()),
        stdin: Box::new(std::io::empty()),
    };
    let mut receiver = SourceSpec::parse("socket", options).unwrap().open(open).unwrap();
    receiver.restore(Vec::new()).unwrap();
    receiver
}

/// What came over several polls.
#[derive(Debug, Default)]
struct Came {
    rows: Vec<String>,
    bad: Vec<String>,
    notes: Vec<String>,
    ended: bool,
}

fn try_poll(receiver: &mut dyn Receiver, came: &mut Came) -> Result<(), BoxError> {
    let poll = receiver.poll(&PollRequest::new(BatchTime(1), 2))?;
    for split in &poll.splits {
        let decoded = receiver.reader().read(split)?;
        came.rows.extend(to_texts(&decoded.batch));
        came.bad.extend(decoded.bad_records.iter().map(|bad| format!("{}: {}", bad.place, bad.reason)));
    }
    assert_eq!(poll.reports, [], "news of the connection are no lost records");
    came.notes.extend(poll.notes);
    came.ended |= poll.ended;
    std::thread::yield_now();
    Ok(())
}

fn until(receiver: &mut dyn Receiver, done: impl Fn(&Came) -> bool) -> Came {
    let clock = SystemClock::new();
    let mut came = Came::default();
    while !done(&came) {
        assert!(clock.monotonic_us() < WAIT_US, "it did not come: {came:?}");
        try_poll(receiver, &mut came).unwrap();
    }
    came
}

fn error_of(receiver: &mut dyn Receiver) -> BoxError {
    let clock = SystemClock::new();
    loop {
        assert!(clock.monotonic_us() < WAIT_US, "no error came");
        if let Err(error) = try_poll(receiver, &mut Came::default()) {
            return error;
        }
    }
}

/// A server that sends what it is fed to whoever connected last.
struct Feed {
    server: Server,
    stream: Option<TcpStream>,
    /// A thread of its own: a large feed blocks until somebody reads.
    writer: Option<JoinHandle<()>>,
}

impl ReceiverFixture for Feed {
    fn open(&mut self) -> Box<dyn Receiver> {
        let receiver = self.server.receiver(json!({}));
        self.stream = Some(self.server.accept());
        receiver
    }

    fn feed(&mut self, rows: &[&str]) {
        let text: String = rows.iter().flat_map(|row| [row, "\n"]).collect();
        if let Some(writer) = self.writer.take() {
            writer.join().unwrap();
        }
        let mut stream = self.stream.as_ref().expect("a receiver is open").try_clone().unwrap();
        self.writer = Some(std::thread::spawn(move || stream.write_all(text.as_bytes()).unwrap()));
    }
}

#[test]
fn the_socket_source_keeps_the_contract() {
    all(|| Feed { server: Server::new(), stream: None, writer: None });
}

#[test]
fn lines_arrive_whole_however_they_are_sent() {
    let server = Server::new();
    let mut receiver = server.receiver(json!({}));
    let mut stream = server.accept();
    stream.set_nodelay(true).unwrap();
    for byte in "hello wörld\r\n\nlast\n".as_bytes() {
        stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(until(&mut *receiver, |came| came.rows.len() == 3).rows, ["hello wörld", "", "last"]);
}

#[test]
fn a_connection_that_closes_in_mid_line_is_a_bad_record_with_its_place() {
    let server = Server::new();
    let mut receiver = server.receiver(json!({ "reconnect": false }));
    let mut stream = server.accept();
    stream.write_all(b"one\ntwo\nhalf a li").unwrap();
    drop(stream);
    let came = until(&mut *receiver, |came| came.ended);
    assert_eq!(came.rows, ["one", "two"]);
    let expected = format!(
        "127.0.0.1:{} line 3: the connection closed in the middle of a line, after 9 bytes: `half a li`",
        server.port()
    );
    assert_eq!(came.bad, [expected]);
}

#[test]
fn a_half_line_fails_the_job_when_the_source_says_so() {
    let server = Server::new();
    let mut receiver = server.receiver(json!({ "on-bad-record": "fail" }));
    let mut stream = server.accept();
    stream.write_all(b"half").unwrap();
    drop(stream);
    let error = error_of(&mut *receiver);
    assert_eq!(error.code().0, "MP0504");
    assert!(error.to_string().contains("half"), "{error}");
}

#[test]
fn a_lost_connection_is_made_again_and_reported_once() {
    let server = Server::new();
    let mut receiver = server.receiver(json!({}));
    let mut first = server.accept();
    first.write_all(b"one\n").unwrap();
    until(&mut *receiver, |came| came.rows == ["one"]);
    first.shutdown(Shutdown::Both).unwrap();
    let mut second = server.accept();
    second.write_all(b"two\n").unwrap();
    let came = until(&mut *receiver, |came| came.rows == ["two"]);
    assert!(!came.ended);
    assert_eq!(came.notes.len(), 2, "{:?}", came.notes);
    assert!(came.notes[0].contains("closed the connection"), "{:?}", came.notes);
    assert!(came.notes[1].contains("connected again"), "{:?}", came.notes);
}

#[test]
fn a_server_that_is_not_there_is_an_error_without_reconnect() {
    let server = Server::new();
    let port = server.port();
    drop(server.listener);
    let mut receiver = open(port, json!({ "reconnect": false }), &server.runtime);
    let error = error_of(&mut *receiver);
    assert_eq!(error.code().0, "MP0505");
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
}

#[test]
fn an_outage_is_reported_once_however_often_it_is_tried() {
    let server = Server::new();
    let port = server.port();
    drop(server.listener);
    let mut receiver = open(port, json!({}), &server.runtime);
    let came = until(&mut *receiver, |came| !came.notes.is_empty());
    assert!(came.notes[0].contains("cannot connect"), "{came:?}");
    // The server comes up on the same port: nothing but the recovery is reported since.
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    listener.accept().unwrap().0.write_all(b"up\n").unwrap();
    let came = until(&mut *receiver, |came| came.rows == ["up"]);
    assert!(came.notes[0].contains("connected again"), "{came:?}");
}

#[test]
fn a_full_inbox_stops_reading_and_loses_nothing() {
    let server = Server::new();
    let mut receiver = server.receiver(json!({ "buffer-bytes": "4KiB", "line-bytes-max": "1KiB" }));
    let stream = server.accept();
    let rows = 200_000;
    let writer = std::thread::spawn(move || {
        let mut stream = stream;
        let text: String = (0..rows).map(|row| format!("row {row}\n")).collect();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    });
    let (clock, mut all) = (SystemClock::new(), Vec::new());
    while all.len() < rows {
        assert!(clock.monotonic_us() < WAIT_US, "{} rows came", all.len());
        let mut came = Came::default();
        try_poll(&mut *receiver, &mut came).unwrap();
        let bytes: usize = came.rows.iter().map(|row| row.len() + 1).sum();
        assert!(bytes <= 5 << 10, "a batch of {bytes} bytes from an inbox of 4 KiB and a line");
        all.extend(came.rows);
    }
    assert!(all.iter().enumerate().all(|(row, text)| *text == format!("row {row}")));
    drop(writer.join().unwrap());
}

#[test]
fn huge_lines_and_wrong_utf8_are_bad_records_with_their_line() {
    let server = Server::new();
    let mut receiver = server.receiver(json!({ "reconnect": false, "line-bytes-max": "1KiB" }));
    let mut stream = server.accept();
    stream.write_all(b"one\n").unwrap();
    stream.write_all(&vec![b'x'; 200_000]).unwrap();
    stream.write_all(b"\nth\xffree\nfour\n").unwrap();
    drop(stream);
    let came = until(&mut *receiver, |came| came.ended);
    assert_eq!(came.rows, ["one", "four"]);
    assert_eq!(came.bad.len(), 2);
    assert!(
        came.bad[0].contains("line 2: the line has") && came.bad[1].contains("line 3: not UTF-8"),
        "{:?}",
        came.bad
    );
}

#[test]
fn csv_columns_are_taken_by_position() {
    let server = Server::new();
    let mut receiver = server.receiver(json!({ "format": "csv" }));
    server.accept().write_all(b"a,1\nb,2\n").unwrap();
    let clock = SystemClock::new();
    let mut rows = Vec::new();
    while rows.len() < 2 {
        assert!(clock.monotonic_us() < WAIT_US);
        let poll = receiver.poll(&PollRequest::new(BatchTime(1), 1)).unwrap();
        rows.extend(poll.splits.iter().flat_map(|split| to_pairs(&receiver.reader().read(split).unwrap().batch)));
        std::thread::yield_now();
    }
    assert_eq!(rows, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
}

#[test]
fn a_split_of_an_earlier_batch_is_refused() {
    let server = Server::new();
    let mut receiver = server.receiver(json!({}));
    let split = Split { locator: 7_u64.to_le_bytes().to_vec(), place: "x".into(), bytes: None };
    assert_eq!(receiver.reader().read(&split).unwrap_err().code().0, "MP0901");
    receiver.stop();
}
