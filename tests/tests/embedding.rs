//! Millpond inside another program: a receiver and a sink of its own, ends in memory, connectors; and what a program is told that
//! puts a job together wrongly.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use millpond_core::BoxError;
use millpond_embed::{Host, JobBuilder, MemoryOutput, OutputMode, Trigger};
use millpond_testkit::rows::{to_pairs, to_texts};
use millpond_testkit::{CollectListener, ManualClock};
use millpond_tests::component;
use millpond_tests::guests::upper;
use serde_json::json;
use tempfile::tempdir;

/// The example that the documentation shows.
#[expect(dead_code, unreachable_pub, reason = "it is a program of its own, too")]
#[path = "../../host/embed/examples/embedding.rs"]
mod embedding;

fn host() -> Host {
    Host::with(2, None).expect("a host")
}

fn wordcount(host: &Host) -> JobBuilder {
    let component = fs::read(component("plugins/wordcount")).expect("it was just built");
    host.job("wordcount", component).trigger(Trigger::AvailableNow).param("top", 2)
}

fn counts(output: &MemoryOutput) -> Vec<(String, i64)> {
    let batches = output.take();
    let partitions = batches.iter().flat_map(|batch| &batch.partitions);
    partitions.flat_map(|partition| to_pairs(&partition.rows)).collect()
}

fn word(word: &str, count: i64) -> (String, i64) {
    (word.to_owned(), count)
}

#[test]
fn the_example_counts_and_goes_on_where_it_stopped() {
    let code = || fs::read(component("plugins/wordcount")).expect("it was just built");
    let state = tempdir().expect("a folder");
    let batches = embedding::count_words(code(), state.path()).expect("it runs");
    assert_eq!(batches.len(), 3, "{batches:?}");
    assert_eq!(batches[2], [word("the", 4), word("turns", 3), word("mill", 2)]);
    let again = embedding::count_words(code(), state.path()).expect("it runs");
    assert_eq!(again, Vec::<embedding::Counts>::new(), "each sentence is counted once");
}

#[test]
fn rows_go_in_and_come_out_while_the_job_runs() {
    let host = host();
    let mut job = wordcount(&host)
        .batch_interval(Duration::from_millis(5))
        .trigger(Trigger::Continuous)
        .memory_source("lines", 1000)
        .memory_sink("counts", OutputMode::Append, 1000)
        .open_without_state()
        .expect("a sound job");
    let (input, output, stop) =
        (job.input("lines").expect("one"), job.output("counts").expect("one"), job.stop_signal());
    assert!(job.input("lines").is_none(), "an input has one owner");
    let running = thread::spawn(move || job.run());
    input.push_lines(["a b a"]).expect("the job runs");
    let first = millpond_tests::until("the counts", || Some(counts(&output)).filter(|counts| !counts.is_empty()));
    assert_eq!(first[..2], [word("a", 2), word("b", 1)]);
    stop.finish();
    running.join().expect("no panic").expect("the job ends well");
    assert!(input.push_lines(["c"]).is_err(), "nobody takes it");
}

#[test]
fn a_program_may_keep_time_itself_and_state_outlives_the_job() {
    let (host, state) = (host(), tempdir().expect("a folder"));
    let clock = ManualClock::new(1_700_000_000_000);
    let listener = CollectListener::new();
    let open = || {
        wordcount(&host)
            .clock(Arc::new(clock.clone()))
            .listener(Arc::new(listener.clone()))
            .memory_source("lines", 10)
            .memory_sink("counts", OutputMode::Complete, 10)
            .open_in(state.path())
            .expect("a sound job")
    };
    for expected in [[word("b", 1)].as_slice(), &[word("b", 2)]] {
        let mut job = open();
        let (input, output) = (job.input("lines").expect("one"), job.output("counts").expect("one"));
        input.push_lines(["b"]).expect("there is room");
        let time = job.next_batch_time();
        assert_eq!(job.run_batch().expect("a batch").batch_time_ms, time.0);
        job.finish().expect("a clean end");
        assert_eq!(counts(&output), expected);
    }
    assert_eq!(listener.batches().len(), 2);
}

#[test]
fn connectors_and_transforms_are_those_of_job_files() {
    let (host, dir) = (host(), tempdir().expect("a folder"));
    fs::write(dir.path().join("a.txt"), "one\ntwo\n").expect("a fresh folder");
    let code = fs::read(component("tests/guests-sdk/shout")).expect("it was just built");
    let mut job = host
        .job("shout", code)
        .base_dir(dir.path())
        .trigger(Trigger::AvailableNow)
        .source_of_type("lines", "files", json!({ "path": "a.txt" }))
        .memory_sink("out", OutputMode::Append, 10)
        .transform("upper", fs::read(upper()).expect("it was just made"), &[])
        .open_without_state()
        .expect("a sound job");
    job.run().expect("it runs");
    let texts: Vec<String> = job
        .output("out")
        .expect("one")
        .take()
        .iter()
        .flat_map(|batch| batch.partitions.clone())
        .flat_map(|part| to_texts(&part.rows))
        .collect();
    assert_eq!(texts, ["ONE", "TWO"]);
}

#[test]
fn a_job_put_together_wrongly_names_what_is_wrong() {
    let host = host();
    let fail = |job: JobBuilder| -> (String, String) {
        let error: BoxError = job.open_without_state().err().expect("it must be refused");
        (error.code().0.to_owned(), error.full_message())
    };
    let sound = || wordcount(&host).memory_source("lines", 1).memory_sink("counts", OutputMode::Append, 1);
    for (job, code, says) in [
        (wordcount(&host).memory_sink("counts", OutputMode::Append, 1), "MP0105", "source `lines`"),
        (
            sound().memory_source("line", 1),
            "MP0106",
            "source `line`: leave it out, or use a name that the plan has (lines)",
        ),
        (sound().memory_sink("out", OutputMode::Append, 1), "MP0106", "sink `out`"),
        (sound().transform("upper", Vec::new(), &[]), "MP0106", "transform `upper`"),
        (
            sound().source_of_type("lines", "files", json!({})),
            "MP0104",
            "source `lines`: `path`: the key `path` is missing",
        ),
        (sound().sink_of_type("counts", "kafka", json!({})), "MP0104", "`kafka` is not a type of sink"),
        (sound().batch_interval(Duration::from_micros(1500)), "MP0104", "1.5ms is not one or more whole milliseconds"),
        (sound().param("top", "many"), "MP0206", "the setting `top`"),
        (host.job("broken", b"no component".to_vec()), "MP0201", ""),
    ] {
        let (found, message) = fail(job);
        assert_eq!(found, code, "{message}");
        assert!(message.contains(says), "{message}");
    }
}
