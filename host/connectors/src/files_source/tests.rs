//! The files source: the contract, cutting at line ends, batches, changes of files, restarts.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use millpond_core::{BatchTime, BoxError, Poll, PollRequest, Receiver, SystemClock};
use millpond_testkit::contract::receiver::{ReceiverFixture, all};
use millpond_testkit::rows::{pair_schema, text_schema, to_pairs, to_texts};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::progress::Identity;
use super::split::{Piece, PieceKind};
use crate::{OpenSource, SourceSpec};

/// A folder with a job, its source and its committed progress.
struct Job {
    dir: TempDir,
    options: Value,
    progress: BTreeMap<Vec<u8>, Vec<u8>>,
    receiver: Option<Box<dyn Receiver>>,
}

/// What a batch brought.
#[derive(Debug, Default, PartialEq)]
struct Came {
    rows: Vec<String>,
    bad: Vec<String>,
    reports: Vec<String>,
    splits: usize,
    more: bool,
    bytes: u64,
}

fn try_open(dir: &Path, options: &Value) -> Result<Box<dyn Receiver>, BoxError> {
    // The runtime is for sources that need the network.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let csv = options["format"] == "csv" || options["format"] == "json";
    let open = OpenSource {
        name: "lines".into(),
        job_dir: dir.into(),
        schema: if csv { pair_schema("word", "n") } else { text_schema("line") },
        runtime: runtime.handle().clone(),
        clock: Arc::new(SystemClock::new()),
        stdin: Box::new(std::io::empty()),
    };
    SourceSpec::parse("files", options.clone()).unwrap().open(open)
}

impl Job {
    fn new(mut options: Value) -> Self {
        if options.get("path").is_none() {
            options["path"] = json!("in");
        }
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        Self { dir, options, progress: BTreeMap::new(), receiver: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("in").join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    fn append(&self, name: &str, content: &str) {
        let mut file = OpenOptions::new().append(true).open(self.path(name)).unwrap();
        file.write_all(content.as_bytes()).unwrap();
    }

    fn receiver(&mut self) -> &mut dyn Receiver {
        let entries = || self.progress.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let receiver = self.receiver.take().unwrap_or_else(|| {
            let mut receiver = try_open(self.dir.path(), &self.options).unwrap();
            receiver.restore(entries()).unwrap();
            receiver
        });
        &mut **self.receiver.insert(receiver)
    }

    fn poll(&mut self) -> Poll {
        self.receiver().poll(&PollRequest::new(BatchTime(1), 4)).unwrap()
    }

    fn read(&mut self, poll: &Poll) -> Came {
        let mut came = Came { splits: poll.splits.len(), more: poll.more, ..Came::default() };
        came.reports = poll.reports.iter().map(|report| format!("{}: {}", report.place, report.reason)).collect();
        for split in &poll.splits {
            let decoded = self.receiver().reader().read(split).unwrap();
            came.rows.extend(to_texts(&decoded.batch));
            came.bad.extend(decoded.bad_records.iter().map(|bad| format!("{}: {}", bad.place, bad.reason)));
            came.bytes += decoded.bytes;
        }
        came
    }

    /// One committed batch.
    fn batch(&mut self) -> Came {
        let poll = self.poll();
        let came = self.read(&poll);
        for (key, value) in self.receiver().take_progress() {
            match value {
                Some(value) => self.progress.insert(key, value),
                None => self.progress.remove(&key),
            };
        }
        came
    }

    /// Batches until there is no more.
    fn batches(&mut self) -> Vec<Came> {
        let mut all = vec![self.batch()];
        while all.last().is_some_and(|came| came.more) {
            all.push(self.batch());
        }
        all
    }

    fn restart(&mut self) {
        self.receiver = None;
    }

    fn error(&mut self) -> BoxError {
        let poll = match self.receiver().poll(&PollRequest::new(BatchTime(1), 4)) {
            Ok(poll) => poll,
            Err(error) => return error,
        };
        let reader = self.receiver().reader();
        poll.splits.iter().find_map(|split| reader.read(split).err()).expect("reading fails")
    }
}

struct Folder {
    job: Job,
    fed: usize,
}

impl ReceiverFixture for Folder {
    fn open(&mut self) -> Box<dyn Receiver> {
        try_open(self.job.dir.path(), &self.job.options).unwrap()
    }

    fn feed(&mut self, rows: &[&str]) {
        self.fed += 1;
        let text: String = rows.iter().flat_map(|row| [row, "\n"]).collect();
        if self.job.options["follow"] == true {
            let mut file = OpenOptions::new().create(true).append(true).open(self.job.path("log")).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        } else {
            self.job.write(&format!("{:05}.txt", self.fed), text);
        }
    }
}

#[test]
fn of_many_batches_side_by_side_each_file_stays_whole_and_one_batch_is_cut() {
    let line = format!("{}\n", "x".repeat(1023));
    for (options, side_by_side, splits) in [
        (json!({ "max-files-per-batch": 1 }), true, 1),
        (json!({ "max-files-per-batch": 1 }), false, 4),
        // All of it is one batch: its parts are all that there is for the cores.
        (json!({}), true, 4),
        (json!({}), false, 4),
    ] {
        let mut job = Job::new(options);
        job.write("a.txt", line.repeat(3 << 10));
        let request = PollRequest { side_by_side, ..PollRequest::new(BatchTime(1), 4) };
        let poll = job.receiver().poll(&request).unwrap();
        assert_eq!((poll.splits.len(), poll.more), (splits, false));
        assert_eq!(job.read(&poll).rows.len(), 3 << 10);
    }
}

#[test]
fn the_files_source_keeps_the_contract() {
    for options in [
        json!({}),
        json!({ "path": "in/*.txt" }),
        json!({ "max-files-per-batch": 1 }),
        json!({ "max-bytes-per-batch": "100KB" }),
        json!({ "follow": true }),
        json!({ "follow": true, "max-bytes-per-batch": "100KB" }),
    ] {
        all(|| Folder { job: Job::new(options.clone()), fed: 0 });
    }
}

#[test]
fn files_come_by_name_and_later_ones_later() {
    let mut job = Job::new(json!({}));
    job.write("b.txt", "b1\nb2");
    job.write("a.txt", "a1\r\n\r\n");
    job.write(".hidden", "x\n");
    job.write("_SUCCESS", "x\n");
    job.write("c.tmp", "x\n");
    job.write("empty", "");
    let came = job.batch();
    assert_eq!(came.rows, ["a1", "", "b1", "b2"]);
    assert_eq!((came.more, came.bytes), (false, 11));
    fs::rename(job.path("c.tmp"), job.path("0.txt")).unwrap();
    job.write("empty", "not any more\n");
    assert_eq!(job.batch().rows, ["x", "not any more"]);
    assert_eq!(job.batch(), Came::default());
}

#[test]
fn a_number_of_files_bounds_a_batch() {
    let mut job = Job::new(json!({ "max-files-per-batch": 2 }));
    for n in 0..5 {
        job.write(&n.to_string(), format!("{n}\n"));
    }
    let came: Vec<_> = job.batches().into_iter().map(|came| came.rows.join(",")).collect();
    assert_eq!(came, ["0,1", "2,3", "4"]);
}

#[test]
fn a_large_file_goes_over_several_batches_cut_at_line_ends() {
    let mut job = Job::new(json!({ "max-bytes-per-batch": "100KB" }));
    let lines: Vec<String> = (0..30_000).map(|n| format!("line {n}")).collect();
    job.write("big", lines.join("\n"));
    let mut all = Vec::new();
    let mut batches = 0;
    loop {
        let came = job.batch();
        assert!(came.bytes < 101_000, "{} bytes", came.bytes);
        batches += 1;
        all.extend(came.rows);
        // A restart in the middle changes nothing.
        job.restart();
        if !came.more {
            break;
        }
    }
    assert_eq!(batches, 4);
    assert_eq!(all, lines);
    assert_eq!(job.batch(), Came::default());
}

#[test]
fn a_line_longer_than_allowed_does_not_stop_a_file_cut_into_batches() {
    let mut job = Job::new(json!({ "max-bytes-per-batch": "10KB", "line-bytes-max": "1KB" }));
    job.write("big", format!("first\n{}\nlast\n", "x".repeat(300_000)));
    let came = job.batches();
    let rows: Vec<_> = came.iter().flat_map(|came| came.rows.clone()).collect();
    let bad: Vec<_> = came.iter().flat_map(|came| came.bad.clone()).collect();
    assert_eq!(rows, ["first", "last"]);
    assert_eq!(bad, ["in/big line 2: the line has more than 1000 bytes; raise line-bytes-max"]);
}

#[test]
fn gzip_files_of_several_members_are_unpacked() {
    let mut job = Job::new(json!({}));
    let gzip = |text: &str| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let whole = [gzip("one\ntw"), gzip("o\nthree")].concat();
    job.write("a.txt.gz", &whole);
    let came = job.batch();
    assert_eq!(
        (came.rows, came.splits, came.bytes),
        (vec!["one".into(), "two".into(), "three".into()], 1, whole.len() as u64)
    );
}

#[test]
fn a_damaged_gzip_file_gives_its_whole_lines_and_a_bad_record() {
    let mut job = Job::new(json!({}));
    let text: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    let gzip = encoder.finish().unwrap();
    job.write("a.gz", &gzip[..gzip.len() / 2]);
    let came = job.batch();
    assert!(!came.rows.is_empty() && came.rows.len() < 20_000);
    assert!(came.rows.iter().enumerate().all(|(n, row)| *row == format!("line {n}")), "no half line");
    assert!(came.bad[0].starts_with("in/a.gz: the gzip data is damaged after"), "{:?}", came.bad);
    job.options["on-bad-record"] = json!("fail");
    job.progress.clear();
    job.restart();
    assert_eq!(job.error().code().0, "MP0503");
}

#[test]
fn new_files_only_passes_over_what_is_there_at_the_first_start() {
    let mut job = Job::new(json!({ "new-files-only": true }));
    job.write("old", "old\n");
    assert_eq!(job.batch().rows, [""; 0]);
    job.write("new", "new\n");
    job.restart();
    assert_eq!(job.batch().rows, ["new"], "a file that came while the job was down is new");
}

#[test]
fn new_files_only_knows_a_start_with_an_empty_folder() {
    let mut job = Job::new(json!({ "new-files-only": true }));
    job.batch();
    job.restart();
    job.write("new", "new\n");
    assert_eq!(job.batch().rows, ["new"]);
}

#[test]
fn growth_is_reported_once_and_not_read() {
    let mut job = Job::new(json!({}));
    job.write("log", "one\n");
    job.batch();
    job.append("log", "two\n");
    let came = job.batch();
    assert_eq!(came.rows, [""; 0]);
    assert_eq!(came.reports.len(), 1);
    assert!(
        came.reports[0].starts_with("in/log: the file grew from 4 to 8 bytes")
            && came.reports[0].contains("follow = true")
    );
    assert_eq!(job.batch(), Came::default(), "once");
    job.restart();
    assert_eq!(job.batch(), Came::default(), "not after a restart either");
}

#[test]
fn follow_reads_growth_by_whole_lines() {
    let mut job = Job::new(json!({ "follow": true }));
    job.write("log", "one\ntw");
    assert_eq!(job.batch().rows, ["one"]);
    assert_eq!(job.batch().rows, [""; 0], "an unfinished line waits");
    job.append("log", "o\nthree\nfo");
    job.restart();
    assert_eq!(job.batch().rows, ["two", "three"]);
    job.append("log", "ur\n");
    assert_eq!(job.batch(), Came { rows: vec!["four".into()], splits: 1, bytes: 5, ..Came::default() });
}

#[test]
fn follow_starts_over_when_a_file_was_cut_short() {
    let mut job = Job::new(json!({ "follow": true }));
    job.write("log", "one\ntwo\n");
    job.batch();
    job.write("log", "new\n");
    let came = job.batch();
    assert_eq!(came.rows, ["new"]);
    assert!(came.reports[0].contains("was cut short after 8 bytes"), "{:?}", came.reports);
}

#[test]
fn follow_with_new_files_only_reads_the_lines_that_begin_after_the_start() {
    let mut job = Job::new(json!({ "follow": true, "new-files-only": true }));
    job.write("whole", "old\n");
    job.write("half", "old\nha");
    assert_eq!(job.batch().rows, [""; 0]);
    job.append("whole", "new\n");
    job.append("half", "lf\nnew too\n");
    assert_eq!(job.batch().rows, ["new too", "new"]);
}

#[test]
fn follow_reports_a_line_that_never_ends_and_goes_on_after_it() {
    let mut job = Job::new(json!({ "follow": true, "line-bytes-max": "1KB" }));
    job.write("log", format!("one\n{}", "x".repeat(100_000)));
    let came = job.batch();
    assert_eq!((came.rows, came.bad.len()), (vec!["one".to_owned()], 1));
    assert!(came.bad[0].starts_with("in/log line 2: the line has more than 1000 bytes"), "{:?}", came.bad);
    job.append("log", &"x".repeat(100_000));
    assert_eq!(job.batch().bad, [""; 0], "told once");
    job.restart();
    job.append("log", "xxx\nafter\n");
    assert_eq!(job.batch().rows, ["after"]);
}

#[test]
fn a_file_that_disappears_before_it_is_read_is_a_bad_record() {
    let mut job = Job::new(json!({}));
    job.write("a", "a\n");
    job.write("b", "b\n");
    let poll = job.poll();
    fs::remove_file(job.path("a")).unwrap();
    let came = job.read(&poll);
    assert_eq!(came.rows, ["b"]);
    assert!(came.bad[0].starts_with("in/a bytes 0..2: the file disappeared (it had 2 bytes"), "{:?}", came.bad);
}

#[test]
fn a_file_that_shrinks_or_changes_is_a_bad_record_and_gives_no_rows() {
    let mut job = Job::new(json!({}));
    job.write("a", "one\ntwo\n");
    job.write("b", "one\ntwo\n");
    let poll = job.poll();
    job.write("a", "one\n");
    job.write("c", "one\ntwo\n");
    fs::rename(job.path("c"), job.path("b")).unwrap();
    let came = job.read(&poll);
    assert_eq!(came.rows, [""; 0]);
    assert!(came.bad[0].contains("shrank to 4 bytes"), "{:?}", came.bad);
    assert!(came.bad[1].contains("replaced"), "{:?}", came.bad);
}

#[test]
fn a_file_that_changes_fails_the_job_when_the_source_says_so() {
    let mut job = Job::new(json!({ "on-bad-record": "fail" }));
    job.write("a", "one\ntwo\n");
    let poll = job.poll();
    job.write("a", "one\n");
    let error = job.receiver().reader().read(&poll.splits[0]).unwrap_err();
    assert_eq!(error.code().0, "MP0502");
    assert!(error.to_string().contains("in/a") && error.to_string().contains("had 8 bytes"), "{error}");
}

#[test]
fn a_half_read_file_that_disappears_is_reported_by_name() {
    let mut job = Job::new(json!({ "max-bytes-per-batch": "70KB" }));
    job.write("big", "0123456789\n".repeat(10_000));
    assert!(job.batch().more);
    fs::remove_file(job.path("big")).unwrap();
    job.restart();
    let came = job.batch();
    assert!(came.reports[0].starts_with("in/big: ") && came.reports[0].contains("disappeared after"), "{came:?}");
    assert_eq!(job.batch(), Came::default());
}

#[test]
fn a_bad_record_fails_the_job_when_the_source_says_so() {
    let mut job = Job::new(json!({ "on-bad-record": "fail" }));
    job.write("a", b"ok\n\xff\n");
    let error = job.error();
    assert_eq!(error.code().0, "MP0504");
    assert!(error.to_string().contains("in/a line 2"), "{error}");
}

#[test]
fn what_is_known_of_removed_files_is_dropped() {
    let mut job = Job::new(json!({}));
    job.write("a", "a\n");
    job.write("b", "b\n");
    job.batch();
    assert_eq!(job.progress.len(), 3);
    fs::remove_file(job.path("a")).unwrap();
    job.batch();
    assert_eq!(job.progress.keys().cloned().collect::<Vec<_>>(), [b"\0started".to_vec(), b"in/b".to_vec()]);
    job.write("a", "again\n");
    assert_eq!(job.batch().rows, ["again"], "a file that comes under the name later is a new one");
}

#[test]
fn a_folder_that_cannot_be_looked_into_forgets_nothing_and_is_reported_once() {
    for path in ["in", "in/*"] {
        let mut job = Job::new(json!({ "path": path }));
        job.write("a", "a\n");
        job.batch();
        let away = job.dir.path().join("away");
        fs::rename(job.dir.path().join("in"), &away).unwrap();
        assert_eq!(job.batch().reports.len(), 1, "{path}");
        assert_eq!(job.batch().reports.len(), 0, "once per outage");
        fs::rename(&away, job.dir.path().join("in")).unwrap();
        job.write("b", "b\n");
        assert_eq!(job.batch().rows, ["b"], "{path}");
    }
}

#[test]
fn another_spelling_of_the_path_reads_nothing_again() {
    let mut job = Job::new(json!({}));
    job.write("a", "a\n");
    assert_eq!(job.batch().rows, ["a"]);
    let absolute = job.dir.path().join("in").display().to_string();
    for path in ["./in", "in/", "in/*", "./in/*", absolute.as_str(), "in/a", "././in/./a"] {
        job.options["path"] = json!(path);
        job.restart();
        assert_eq!(job.batch(), Came::default(), "{path}");
    }
    assert!(job.progress.contains_key(&b"in/a"[..]));
}

#[test]
fn a_path_that_does_not_exist_is_refused_at_open() {
    let job = Job::new(json!({}));
    job.write("file", "x\n");
    for path in ["nowhere", "nowhere/*.txt", "in/file/nowhere"] {
        let error = try_open(job.dir.path(), &json!({ "path": path })).err().unwrap();
        assert_eq!(error.code().0, "MP0501");
        assert!(error.to_string().contains("nowhere"), "{error}");
    }
    assert!(try_open(job.dir.path(), &json!({ "path": "in/*.txt" })).is_ok(), "a pattern may match later");
}

#[test]
fn a_csv_file_is_cut_and_every_part_knows_the_header() {
    let mut job = Job::new(json!({ "format": "csv", "max-bytes-per-batch": "300KB" }));
    let rows: String = (0..50_000).map(|n| format!("{n},\"w, {n}\"\n")).collect();
    job.write("a.csv", format!("n,word\n{rows}"));
    let (mut n, mut splits) = (0, 0);
    loop {
        let poll = job.poll();
        splits += poll.splits.len();
        for split in &poll.splits {
            let decoded = job.receiver().reader().read(split).unwrap();
            assert_eq!(decoded.bad_records, []);
            for (word, number) in to_pairs(&decoded.batch) {
                assert_eq!((word, number), (format!("w, {n}"), n));
                n += 1;
            }
        }
        if !poll.more {
            break;
        }
    }
    assert_eq!(n, 50_000);
    assert!(splits > 8, "{splits} splits");
}

#[test]
fn a_multiline_csv_file_is_one_split() {
    let mut job = Job::new(json!({ "format": "csv", "multiline": true }));
    let rows: String = (0..30_000).map(|n| format!("\"w\n{n}\",{n}\n")).collect();
    job.write("a.csv", format!("word,n\n{rows}"));
    let poll = job.poll();
    assert_eq!(poll.splits.len(), 1);
    assert_eq!(job.receiver().reader().read(&poll.splits[0]).unwrap().batch.num_rows(), 30_000);
}

#[test]
fn bad_json_lines_in_the_middle_of_a_file_have_a_place() {
    let mut job = Job::new(json!({ "format": "json" }));
    let line = "{\"word\":\"a\",\"n\":1}\n";
    job.write("a.jsonl", format!("{}oops\n{}", line.repeat(10_000), line.repeat(10_000)));
    let came = job.batch();
    assert_eq!(came.rows.len(), 20_000);
    let place = format!("in/a.jsonl byte {}: ", 10_000 * line.len());
    assert!(came.splits > 1 && came.bad.len() == 1 && came.bad[0].starts_with(&place), "{:?}", came.bad);
}

#[cfg(unix)]
#[test]
fn a_name_that_is_not_utf8_is_read_once() {
    use std::os::unix::ffi::OsStrExt;
    let mut job = Job::new(json!({}));
    let name = std::ffi::OsStr::from_bytes(b"odd\xff");
    fs::write(job.dir.path().join("in").join(name), "odd\n").unwrap();
    assert_eq!(job.batch().rows, ["odd"]);
    job.restart();
    assert_eq!(job.batch(), Came::default());
}

#[test]
fn many_finished_files_are_looked_at_in_turn_and_growth_is_still_found() {
    let mut job = Job::new(json!({}));
    for n in 0..2000 {
        job.write(&format!("{n:05}"), "x\n");
    }
    assert_eq!(job.batch().rows.len(), 2000);
    job.append("01321", "y\n");
    job.write("new", "new\n");
    let came = job.batch();
    assert_eq!(came.rows, ["new"], "a new file is found at once");
    let reports: usize = came.reports.len() + (0..7).map(|_| job.batch().reports.len()).sum::<usize>();
    assert_eq!(reports, 1, "within eight looks at 256 files each");
}

#[test]
fn growth_of_a_finished_file_fails_the_job_when_the_source_says_so() {
    let mut job = Job::new(json!({ "on-bad-record": "fail" }));
    job.write("log", "one\n");
    job.batch();
    job.append("log", "two\n");
    let error = job.error();
    assert_eq!(error.code().0, "MP0502");
    assert!(error.to_string().contains("in/log: the file grew from 4 to 8 bytes"), "{error}");
}

#[test]
fn a_finished_file_that_is_changed_or_replaced_is_reported_once() {
    let mut job = Job::new(json!({}));
    job.write("changed", "one\n");
    job.write("replaced", "one\n");
    job.batch();
    job.write("changed", "two\n");
    let later = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000);
    OpenOptions::new().append(true).open(job.path("changed")).unwrap().set_modified(later).unwrap();
    job.write("other.tmp", "longer than before\n");
    fs::rename(job.path("other.tmp"), job.path("replaced")).unwrap();
    let came = job.batch();
    assert_eq!(came.rows, [""; 0]);
    assert_eq!(came.reports.len(), 2, "{came:?}");
    assert!(came.reports[0].starts_with("in/changed: the file was changed after it was read"), "{came:?}");
    assert!(came.reports[1].starts_with("in/replaced: the file was replaced by another file"), "{came:?}");
    job.restart();
    assert_eq!(job.batch(), Came::default(), "once");
}

#[test]
fn a_half_read_file_survives_an_outage_of_its_folder() {
    let mut job = Job::new(json!({ "path": "in/*", "max-bytes-per-batch": "70KB" }));
    let lines: Vec<String> = (0..20_000).map(|n| format!("line {n}")).collect();
    job.write("big", lines.join("\n"));
    let mut all = job.batch().rows;
    let away = job.dir.path().join("away");
    fs::rename(job.dir.path().join("in"), &away).unwrap();
    let reports: usize = (0..3).map(|_| job.batch().reports.len()).sum();
    assert_eq!(reports, 1, "once per outage");
    fs::rename(&away, job.dir.path().join("in")).unwrap();
    all.extend(job.batches().into_iter().flat_map(|came| came.rows));
    assert_eq!(all, lines);
}

#[test]
fn a_folder_that_is_away_fails_the_job_when_the_source_says_so() {
    let mut job = Job::new(json!({ "path": "in/*.txt", "on-bad-record": "fail" }));
    job.write("a.txt", "a\n");
    job.batch();
    fs::rename(job.dir.path().join("in"), job.dir.path().join("away")).unwrap();
    assert_eq!(job.error().code().0, "MP0503");
}

#[test]
fn gzip_files_count_for_what_they_unpack_to_and_are_read_one_by_one() {
    let mut job = Job::new(json!({ "max-bytes-per-batch": "1KB" }));
    for n in 0..5 {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
        encoder.write_all(format!("{n:036}\n").as_bytes()).unwrap();
        let gzip = encoder.finish().unwrap();
        assert_eq!(gzip.len(), 60);
        job.write(&format!("{n}.gz"), gzip);
    }
    let splits: Vec<_> = job.batches().iter().map(|came| came.splits).collect();
    assert_eq!(splits, [2, 2, 1], "60 bytes count for 480");
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_line() {
    let mut job = Job::new(json!({}));
    job.write("a", "\u{feff}one\n\u{feff}two\n");
    assert_eq!(job.batch().rows, ["one", "\u{feff}two"]);
    let mut job = Job::new(json!({ "format": "json" }));
    job.write("a", "\u{feff}{\"word\":\"a\",\"n\":1}\n");
    let came = job.batch();
    assert_eq!((came.rows.len(), came.bad.len()), (1, 0), "{came:?}");
}

#[test]
fn a_column_that_a_header_has_twice_is_an_error_if_the_plan_wants_it() {
    let mut job = Job::new(json!({ "format": "csv" }));
    job.write("a.csv", "word,n,word\na,1,b\n");
    let error = job.error();
    assert_eq!(error.code().0, "MP0506");
    assert!(error.to_string().contains("in/a.csv: the header has more than one column `word`"), "{error}");
    let mut job = Job::new(json!({ "format": "csv" }));
    job.write("a.csv", "word,n,x,x\na,1,b,c\n");
    assert_eq!(job.batch().rows.len(), 1, "columns that nobody wants do not matter");
}

fn naive(content: &[u8]) -> Vec<String> {
    let mut lines: Vec<&[u8]> = content.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    let text = |line: &&[u8]| String::from_utf8(line.strip_suffix(b"\r").unwrap_or(line).to_vec()).unwrap();
    lines.iter().map(text).collect()
}

proptest! {
    #[test]
    fn splits_at_any_place_give_the_lines_of_the_whole(
        content in prop_oneof!["[a\r\n]{0,40}", "(é|b|\n|\r\n|漢字){0,30}"],
        cuts in prop::collection::vec(0_usize..80, 0..6),
    ) {
        let job = Job::new(json!({}));
        job.write("a", &content);
        let size = content.len() as u64;
        let seen = Identity::of(&fs::metadata(job.path("a")).unwrap());
        let mut at: Vec<u64> = cuts.iter().map(|cut| *cut as u64).filter(|cut| *cut < size && *cut > 0).collect();
        at.extend([0, size]);
        at.sort_unstable();
        at.dedup();
        let receiver = try_open(job.dir.path(), &job.options).unwrap();
        let mut rows = Vec::new();
        for range in at.windows(2) {
            let (start, end) = (range[0], range[1]);
            let (start_aligned, end_aligned) = (start == 0, end == size);
            let piece = Piece { path: "in/a".into(), kind: PieceKind::Plain, start, end, start_aligned, end_aligned, limit: size, seen };
            let locator = serde_json::to_vec(&json!({ "pieces": [piece] })).unwrap();
            let split = millpond_core::Split { locator, place: "a".into(), bytes: None };
            let decoded = receiver.reader().read(&split).unwrap();
            prop_assert_eq!(decoded.bad_records, []);
            rows.extend(to_texts(&decoded.batch));
        }
        prop_assert_eq!(rows, naive(content.as_bytes()));
    }

    #[test]
    fn any_batch_size_and_any_restart_give_each_line_once(
        files in prop::collection::vec("(a|\n|\r\n|é){0,40}", 1..5),
        bytes in 1_u64..60,
        restarts in prop::collection::vec(any::<bool>(), 40),
    ) {
        let mut job = Job::new(json!({ "max-bytes-per-batch": bytes }));
        for (n, content) in files.iter().enumerate() {
            job.write(&n.to_string(), content);
        }
        let mut rows = Vec::new();
        for restart in restarts.into_iter().chain(std::iter::repeat(false)) {
            let came = job.batch();
            rows.extend(came.rows);
            prop_assert_eq!(came.bad.len() + came.reports.len(), 0);
            if restart {
                job.restart();
            }
            if !came.more {
                break;
            }
        }
        let expected: Vec<String> = files.iter().flat_map(|content| naive(content.as_bytes())).collect();
        prop_assert_eq!(rows, expected);
    }

    #[test]
    fn follow_gives_each_line_once_however_a_file_grows(parts in prop::collection::vec("(a|\n|\r\n|é){0,8}", 1..8), bytes in 1_u64..30) {
        let mut job = Job::new(json!({ "follow": true, "max-bytes-per-batch": bytes }));
        job.write("log", "");
        let mut rows = Vec::new();
        for part in &parts {
            job.append("log", part);
            rows.extend(job.batches().into_iter().flat_map(|came| came.rows));
        }
        let whole = parts.concat();
        let ended = whole.rfind('\n').map_or(0, |last| last + 1);
        prop_assert_eq!(rows, naive(&whole.as_bytes()[..ended]));
    }
}
