//! The source and the sink in memory: the contracts, their bounds, and their ends.

use std::sync::Arc;
use std::thread;

use arrow::array::{Array, Int64Builder, MapBuilder, MapFieldNames, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema};
use millpond_core::{BatchTime, PollRequest, Receiver, Sink, SinkBatch};
use millpond_testkit::contract::{receiver, sink};
use millpond_testkit::rows::{lines, pair_schema, pairs, text_schema, to_pairs, to_texts};

use super::*;

/// The newest receiver's input; a restart loses what is in memory.
#[derive(Default)]
struct Pushed(Option<MemoryInput>);

impl receiver::ReceiverFixture for Pushed {
    fn open(&mut self) -> Box<dyn Receiver> {
        let (source, input) = MemorySource::new(text_schema("line"), 1_000_000);
        self.0 = Some(input);
        Box::new(source)
    }

    fn feed(&mut self, rows: &[&str]) {
        self.0.as_ref().expect("a receiver is open").push_lines(rows.iter().copied()).expect("there is room");
    }
}

#[derive(Default)]
struct Taken {
    outputs: Vec<MemoryOutput>,
    rows: Vec<String>,
}

impl sink::SinkFixture for Taken {
    fn open(&mut self) -> Box<dyn Sink> {
        let (sink, output) = MemorySink::new("counts", 1000);
        self.outputs.push(output);
        Box::new(sink)
    }

    fn is_durable(&self) -> bool {
        false
    }

    fn visible(&mut self) -> Vec<String> {
        for batch in self.outputs.iter().flat_map(MemoryOutput::take) {
            let rows = batch.partitions.iter().flat_map(|partition| to_pairs(&partition.rows));
            self.rows.extend(rows.map(|(key, _)| key));
        }
        self.rows.sort();
        self.rows.clone()
    }
}

#[test]
fn the_memory_source_keeps_the_contract() {
    receiver::all(Pushed::default);
}

#[test]
fn the_memory_sink_keeps_the_contract() {
    sink::all(Taken::default);
}

fn poll(source: &mut MemorySource) -> (Vec<String>, bool) {
    let poll = source.poll(&PollRequest::new(BatchTime(1), 2)).unwrap();
    let rows = |split| to_texts(&source.reader().read(split).unwrap().batch);
    (poll.splits.iter().flat_map(rows).collect(), poll.ended)
}

#[test]
fn rows_that_are_too_many_are_given_back_or_wait() {
    let (mut source, input) = MemorySource::new(text_schema("line"), 2);
    input.try_push(lines(&["a", "b", "c"])).expect("one push may have more than there is room for");
    assert!(matches!(input.try_push(lines(&["d"])), Err(PushError::Full(rows)) if to_texts(&rows) == ["d"]));
    let pusher = thread::spawn(move || input.push(lines(&["e"])));
    assert_eq!(poll(&mut source), (vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], false));
    pusher.join().unwrap().expect("there is room now");
    assert_eq!(poll(&mut source).0, ["e"]);
}

#[test]
fn the_source_ends_with_its_last_input_and_no_row_is_lost() {
    let (mut source, input) = MemorySource::new(text_schema("line"), 10);
    let other = input.clone();
    drop(input);
    assert!(!poll(&mut source).1, "one input is left");
    other.push_lines(["a"]).unwrap();
    drop(other);
    assert_eq!(poll(&mut source), (vec!["a".to_owned()], true));
}

#[test]
fn nobody_waits_for_a_job_that_has_ended() {
    let (mut source, input) = MemorySource::new(text_schema("line"), 1);
    input.push_lines(["a"]).unwrap();
    let waiting = input.clone();
    let pusher = thread::spawn(move || waiting.push(lines(&["b"])));
    source.stop();
    assert!(matches!(pusher.join().unwrap(), Err(PushError::Closed(_))));
    assert!(matches!(input.try_push(lines(&["c"])), Err(PushError::Closed(_))));
}

#[test]
fn other_columns_are_refused_with_both_sides() {
    let (_source, input) = MemorySource::new(pair_schema("word", "n"), 10);
    let error = input.push(lines(&["a"])).unwrap_err().to_string();
    assert!(error.contains("line: utf8") && error.contains("word: utf8, n: int64"), "{error}");
    assert!(input.push_lines(["a"]).unwrap_err().to_string().contains("one column of text"));
}

#[test]
fn output_that_nobody_takes_fails_the_batch_that_is_too_much() {
    let (mut sink, output) = MemorySink::new("counts", 3);
    let batch = |time, rows: Vec<RecordBatch>| SinkBatch {
        batch_time: BatchTime(time),
        schema: pair_schema("key", "value"),
        partitions: millpond_core::batch::partitions(rows),
    };
    let token = sink.prepare(&batch(1, vec![pairs(&[("a", 1), ("b", 2)])])).unwrap();
    sink.commit(&token).unwrap();
    let error = sink.prepare(&batch(2, vec![pairs(&[("c", 1), ("d", 2)])])).unwrap_err();
    assert_eq!(error.code().0, "MP0603");
    assert!(error.to_string().contains("sink `counts`: 2 rows wait"), "{error}");
    assert_eq!(output.take().len(), 1);
    sink.prepare(&batch(2, vec![pairs(&[("c", 1), ("d", 2)])])).unwrap();
    // Empty batches count, too.
    sink.prepare(&batch(3, Vec::new())).unwrap();
    assert!(sink.prepare(&batch(4, Vec::new())).is_err());
}

#[test]
fn a_map_with_a_key_twice_is_not_taken() {
    let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
    let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), Int64Builder::new())
        .with_values_field(Field::new("value", DataType::Int64, false));
    for key in ["a", "b", "a"] {
        maps.keys().append_value(key);
        maps.values().append_value(1);
    }
    maps.append(true).unwrap();
    let maps = maps.finish();
    let schema = Arc::new(Schema::new(vec![Field::new("m", maps.data_type().clone(), false)]));
    let (_source, input) = MemorySource::new(Arc::clone(&schema), 100);
    let rows = RecordBatch::try_new(schema, vec![Arc::new(maps)]).unwrap();
    let refused = input.push(rows).unwrap_err();
    assert_eq!(refused.to_string(), "column `m`: a map has the key `a` more than once in a row");
}

#[test]
fn rows_of_other_columns_are_not_taken_and_the_difference_is_marked() {
    let (_source, input) = MemorySource::new(text_schema("line"), 100);
    let refused = input.push(pairs(&[("a".to_owned(), 1)])).unwrap_err().to_string();
    let shown = "the rows have other columns than the source\n  the source: line: utf8\n  the rows:   key:  utf8, value: int64\n                          ^^^^^^^^^^^^";
    assert_eq!(refused, shown);
}
