//! Lines over TCP, from a server in the test: they arrive, connections break in the middle of a line, the job stops and starts.

use std::io::Write;
use std::net::{TcpListener, TcpStream};

use millpond_tests::guests::hostile;
use millpond_tests::{Job, Running, free_port};

fn job(port: u16, settings: &[&str]) -> Job {
    let file = format!(
        r#"
[job]
name = "lines"
component = "COMPONENT"
batch-interval = "10ms"

[sources.lines]
type = "socket"
host = "127.0.0.1"
port = {port}
retry-min = "5ms"
retry-max = "20ms"

[sinks.out]
type = "file"
path = "out"
"#
    );
    settings.iter().fold(Job::new(&hostile(), &file), |job, setting| job.set(setting))
}

fn server() -> (TcpListener, u16) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.set_nonblocking(true).expect("sockets can do that");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, port)
}

/// The job's next connection.
#[track_caller]
fn accept(listener: &TcpListener, running: &mut Running) -> TcpStream {
    let (stream, _) = running.until("a connection", || listener.accept().ok());
    stream.set_nonblocking(false).expect("sockets can do that");
    stream
}

fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).expect("the job reads");
}

/// Waits until these lines have come out, and nothing else.
#[track_caller]
fn expect_lines(job: &Job, running: &mut Running, lines: &[&str]) {
    running.until("the lines", || (job.lines().len() >= lines.len()).then_some(()));
    assert_eq!(job.lines(), lines);
}

#[test]
fn lines_arrive_and_the_job_outlives_connections_and_restarts() {
    let (listener, port) = server();
    let job = job(port, &[]);
    let mut running = job.start(&[]);
    let mut stream = accept(&listener, &mut running);
    send(&mut stream, "one\ntw");
    send(&mut stream, "o\nthr");
    expect_lines(&job, &mut running, &["one", "two"]);
    drop(stream);
    running.wait_for_line("the connection closed in the middle of a line, after 3 bytes: `thr`");
    let mut stream = accept(&listener, &mut running);
    send(&mut stream, "four\n");
    expect_lines(&job, &mut running, &["one", "two", "four"]);
    running.signal("TERM");
    let finished = running.finish().expect_code(0);
    let place = format!("127.0.0.1:{port} line 3");
    finished.expect_err(&[
        &place,
        "the server closed the connection; trying to connect again",
        "connected again after",
        "lines: stopped",
        "bad records  1",
    ]);

    let mut running = job.start(&[]);
    let mut stream = accept(&listener, &mut running);
    send(&mut stream, "five\n");
    expect_lines(&job, &mut running, &["one", "two", "four", "five"]);
    running.signal("TERM");
    running.finish().expect_code(0);
    assert_eq!(job.lines(), ["one", "two", "four", "five"], "no line comes twice");
}

#[test]
fn server_that_is_not_there_yet_is_waited_for() {
    let port = free_port();
    let job = job(port, &[]);
    let mut running = job.start(&[]);
    running.wait_for_line("cannot connect");
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("nobody took the port meanwhile");
    listener.set_nonblocking(true).expect("sockets can do that");
    let mut stream = accept(&listener, &mut running);
    send(&mut stream, "late\n");
    expect_lines(&job, &mut running, &["late"]);
    running.signal("INT");
    running.finish().expect_code(0).expect_err(&["connected again after"]);
}

#[test]
fn line_cut_off_by_the_server_fails_a_job_that_says_so() {
    let (listener, port) = server();
    let job = job(port, &["sources.lines.on-bad-record=fail"]);
    let mut running = job.start(&[]);
    let mut stream = accept(&listener, &mut running);
    send(&mut stream, "one\n");
    expect_lines(&job, &mut running, &["one"]);
    send(&mut stream, "half");
    drop(stream);
    let finished = running.finish().expect_code(1);
    finished.expect_err(&["error[MP0504]: ", &format!("127.0.0.1:{port} line 2"), "in the middle of a line", "`half`"]);
    assert_eq!(job.lines(), ["one"]);
}

#[test]
fn connection_is_all_there_is_without_reconnect() {
    let (listener, port) = server();
    let job = job(port, &["sources.lines.reconnect=false", "job.trigger=available-now"]);
    let mut running = job.start(&[]);
    let mut stream = accept(&listener, &mut running);
    send(&mut stream, "one\n\u{fffd}two\n");
    stream.write_all(b"\xff\nlast").expect("the job reads");
    drop(stream);
    let finished = running.finish().expect_code(0);
    finished.expect_err(&[
        "reconnect is off, so the source has ended",
        "not UTF-8",
        "after 4 bytes: `last`",
        "lines: done",
        "bad records  2",
    ]);
    assert_eq!(job.lines(), ["one", "\u{fffd}two"]);
}

#[test]
fn nobody_at_the_address_fails_a_job_without_reconnect() {
    let port = free_port();
    let job = job(port, &["sources.lines.reconnect=false", "job.trigger=available-now"]);
    let parts = ["error[MP0505]: ", &format!("127.0.0.1:{port}"), "reconnect = true"];
    job.run(&[]).expect_code(1).expect_err(&parts);
    assert_eq!(job.outputs(), [""; 0]);
}

#[test]
fn source_without_end_does_not_go_with_available_now() {
    let job = job(free_port(), &["job.trigger=available-now"]);
    job.run(&[]).expect_code(2).expect_err(&["MP0104", "sources.lines", "reconnect = false", "continuous"]);
    assert!(job.is_untouched());
}
