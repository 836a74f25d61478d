//! The standard output sink: the contract, its lines, and a reader that goes away.

use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use millpond_testkit::contract::sink::{SinkFixture, all};
use millpond_testkit::rows::{pair_schema, pairs};
use serde_json::json;

use super::*;
use crate::SinkSpec;

/// A pipe that remembers each write, until its reader goes.
#[derive(Clone, Default)]
struct Pipe(Arc<Mutex<(Vec<String>, bool)>>);

impl Pipe {
    fn writes(&self) -> Vec<String> {
        self.0.lock().unwrap().0.clone()
    }

    fn close(&self) {
        self.0.lock().unwrap().1 = true;
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.0.lock().unwrap();
        if inner.1 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        inner.0.push(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(options: serde_json::Value, pipe: &Pipe, stop: &StopSignal) -> Result<Box<dyn Sink>, BoxError> {
    let open = OpenSink {
        name: "counts".into(),
        job: "job".into(),
        job_dir: ".".into(),
        schema: pair_schema("key", "value"),
        color: true,
        out: Box::new(pipe.clone()),
        stop: stop.clone(),
    };
    SinkSpec::parse("stdout", options).unwrap().open(open)
}

fn put(sink: &mut dyn Sink, time: i64, rows: Vec<RecordBatch>) {
    let batch = SinkBatch {
        batch_time: BatchTime(time),
        schema: pair_schema("key", "value"),
        partitions: millpond_core::batch::partitions(rows),
    };
    let token = sink.prepare(&batch).unwrap();
    sink.commit(&token).unwrap();
}

fn written(options: serde_json::Value) -> Vec<String> {
    let pipe = Pipe::default();
    let mut sink = open(options, &pipe, &StopSignal::new()).unwrap();
    put(&mut *sink, 500, vec![pairs(&[("a,b", 2)]), pairs(&[("tab\t", 1)])]);
    put(&mut *sink, 1000, vec![pairs::<&str>(&[])]);
    put(&mut *sink, 1500, vec![pairs(&[("c", 3)])]);
    pipe.writes()
}

impl SinkFixture for Pipe {
    fn open(&mut self) -> Box<dyn Sink> {
        open(json!({}), self, &StopSignal::new()).unwrap()
    }

    fn is_durable(&self) -> bool {
        false
    }

    fn visible(&mut self) -> Vec<String> {
        let text = self.writes().concat();
        let mut keys: Vec<String> =
            text.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect();
        keys.sort();
        keys
    }
}

#[test]
fn the_stdout_sink_keeps_the_contract() {
    all(Pipe::default);
}

#[test]
fn a_batch_is_one_write_of_its_rows() {
    assert_eq!(written(json!({})), ["a,b\t2\ntab\\t\t1\n", "c\t3\n"]);
    assert_eq!(
        written(json!({ "format": "csv", "batch-time": true })),
        ["key,value,batch_time\n\"a,b\",2,500\ntab\t,1,500\n", "c,3,1500\n"]
    );
    assert_eq!(written(json!({ "format": "csv", "header": false, "delimiter": ";" })), ["a,b;2\ntab\t;1\n", "c;3\n"]);
    assert_eq!(
        written(json!({ "format": "json" })),
        ["{\"key\":\"a,b\",\"value\":2}\n{\"key\":\"tab\\t\",\"value\":1}\n", "{\"key\":\"c\",\"value\":3}\n"]
    );
}

#[test]
fn a_reader_that_goes_away_stops_the_job_and_is_no_error() {
    let (pipe, stop) = (Pipe::default(), StopSignal::new());
    let mut sink = open(json!({}), &pipe, &stop).unwrap();
    put(&mut *sink, 500, vec![pairs(&[("a", 1)])]);
    assert!(!stop.is_raised());
    pipe.close();
    put(&mut *sink, 1000, vec![pairs(&[("b", 1)])]);
    assert!(stop.is_raised() && !stop.is_abort());
    put(&mut *sink, 1500, vec![pairs(&[("c", 1)])]);
    assert_eq!(pipe.writes(), ["a\t1\n"]);
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let stop = StopSignal::new();
    let options = StdoutSinkOptions::from_table(json!({})).unwrap();
    let open = OpenSink {
        name: "counts".into(),
        job: "job".into(),
        job_dir: ".".into(),
        schema: pair_schema("key", "value"),
        color: false,
        out: Box::new(Full),
        stop: stop.clone(),
    };
    let mut sink = StdoutSink::try_new(&options, open).unwrap();
    let batch = SinkBatch {
        batch_time: BatchTime(500),
        schema: pair_schema("key", "value"),
        partitions: millpond_core::batch::partitions(vec![pairs(&[("a", 1)])]),
    };
    let token = sink.prepare(&batch).unwrap();
    let error = sink.commit(&token).unwrap_err();
    assert_eq!(error.code().0, "MP0602");
    assert!(error.to_string().contains("sink `counts`") && !stop.is_raised(), "{error}");
}
