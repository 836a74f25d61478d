//! What is in the state file, read back.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;

use super::*;
use crate::data::random::Random;
use crate::native::tests::{odd_text, write_files};
use crate::native::{NativeJob, NativeOptions, run};

/// An entry of a section: the number of a known key, or a new key; and its value.
type Entry = (Option<u32>, Vec<u8>, [u8; 8]);

/// Reads bytes from the front of a file.
struct Front<'a>(&'a [u8]);

impl<'a> Front<'a> {
    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }

    fn word(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes(4).try_into().unwrap())
    }

    fn value(&mut self) -> [u8; 8] {
        self.bytes(8).try_into().unwrap()
    }

    /// A section of a batch; one without entries is not there.
    fn section(&mut self, batch: usize, kind: u32, thread: usize) -> Vec<Entry> {
        let header = [batch as u32, kind, thread as u32].map(u32::to_le_bytes);
        if !self.0.starts_with(header.as_flattened()) {
            return Vec::new();
        }
        let before = self.0.len();
        self.bytes(header.as_flattened().len());
        let entries = (0..self.word()).map(|_| {
            if kind == CHANGED {
                (Some(self.word()), Vec::new(), self.value())
            } else {
                let (value, len) = (self.value(), self.word());
                (None, self.bytes(len as usize).to_vec(), value)
            }
        });
        let entries = entries.collect();
        let used = before - self.0.len();
        assert!(self.bytes(used.next_multiple_of(ALIGNMENT) - used).iter().all(|byte| *byte == 0));
        entries
    }
}

/// What a thread's keys and values are after the batches read so far.
type Known = Vec<(Vec<u8>, [u8; 8])>;

/// Applies the next batch.
fn apply(front: &mut Front<'_>, batch: usize, threads: &mut [Known]) {
    for (thread, known) in threads.iter_mut().enumerate() {
        // Changed values stand behind the new keys, and are of those that were there before.
        let (new, changed) = (front.section(batch, NEW, thread), front.section(batch, CHANGED, thread));
        for (number, _, value) in changed {
            known[number.unwrap() as usize - 1].1 = value;
        }
        known.extend(new.into_iter().map(|(_, key, value)| (key, value)));
    }
}

/// Runs a job with state and gives its answers, batch by batch, and the state file.
fn with_state(job: NativeJob, files: &[String], threads: usize) -> (String, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    write_files(dir.path(), files);
    let (out, state) = (dir.path().join("out"), dir.path().join("state"));
    let (data, state_file) = (dir.path().to_owned(), Some(state.clone()));
    run(job, &NativeOptions { data, threads, out: out.clone(), top: 0, files_per_batch: 1, state: state_file })
        .unwrap();
    (fs::read_to_string(out).unwrap(), fs::read(state).unwrap())
}

/// Checks that after every batch the state says what the answer says.
fn state_is_the_answer<V: PartialEq + Debug>(
    job: NativeJob,
    files: &[String],
    parsed: impl Fn(&str) -> V,
    merged: impl Fn(Option<V>, [u8; 8]) -> V,
) {
    for threads in [1, 2, 3] {
        let (answers, state) = with_state(job, files, threads);
        let mut front = Front(&state);
        let mut known = vec![Known::new(); threads];
        let batches: Vec<&str> = answers.split_terminator("\n\n").collect();
        assert_eq!(batches.len(), files.len());
        for (number, answer) in batches.into_iter().enumerate() {
            apply(&mut front, number, &mut known);
            let mut held: BTreeMap<String, V> = BTreeMap::new();
            for (key, value) in known.iter().flatten() {
                let key = String::from_utf8(key.clone()).unwrap();
                let value = merged(held.remove(&key), *value);
                held.insert(key, value);
            }
            let lines = answer.lines().filter_map(|line| line.split_once('\t'));
            let expected: BTreeMap<String, V> = lines.map(|(key, value)| (key.to_owned(), parsed(value))).collect();
            assert!(!expected.is_empty());
            assert_eq!(held, expected, "batch {number}, {threads} threads");
        }
        assert!(front.0.is_empty());
    }
}

#[test]
fn counts_read_back_are_those_of_the_answer() {
    let mut files: Vec<String> = (0..4).map(|file| odd_text(file, 5_000)).collect();
    files.push(format!("{} b", "x".repeat(50_000)));
    let sum = |before: Option<u64>, value| before.unwrap_or(0) + u64::from_le_bytes(value);
    state_is_the_answer(NativeJob::W1, &files, |text| text.parse().unwrap(), sum);
}

#[test]
fn averages_read_back_are_those_of_the_answer() {
    let mut random = Random::new(7);
    let mut files: Vec<String> = (0..5)
        .map(|_| {
            // Enough sensors for the table to grow while some of them are in the file and others are not.
            (0..9_000)
                .map(|_| format!("s{},{:.2}\n", random.below(20_000), random.below(10_000) as f64 / 100.0 - 20.0))
                .collect()
        })
        .collect();
    let odd = "a-sensor-of-a-long-name,1e3\nanother-long-name,-0.5\nz\0,8\n,7\n";
    [0, 1, 3].into_iter().for_each(|file| files[file].push_str(odd));
    let only = |before: Option<u64>, value| {
        assert_eq!(before, None, "a sensor belongs to one thread");
        f64::from_le_bytes(value).to_bits()
    };
    // The answers' text gives the same bits back.
    state_is_the_answer(NativeJob::W3, &files, |text| text.parse::<f64>().unwrap().to_bits(), only);
}

#[test]
fn only_what_changed_is_written() {
    let entry = |number: Option<u32>, key: &str, value: [u8; 8]| (number, key.as_bytes().to_vec(), value);
    let (answers, state) = with_state(NativeJob::W1, &["a b a\n".to_owned(), "a c\n".to_owned()], 1);
    assert_eq!(answers, "a\t2\nb\t1\n\na\t3\nb\t1\nc\t1\n\n");
    let count = |count: u64| count.to_le_bytes();
    let mut front = Front(&state);
    assert_eq!(front.section(0, NEW, 0), [entry(None, "a", count(2)), entry(None, "b", count(1))]);
    assert_eq!(front.section(0, CHANGED, 0), []);
    assert_eq!(front.section(1, NEW, 0), [entry(None, "c", count(1))]);
    assert_eq!(front.section(1, CHANGED, 0), [entry(Some(1), "", count(3))]);

    let (_, state) = with_state(NativeJob::W3, &["a,1\nb,2\n".to_owned(), "b,4\n".to_owned()], 1);
    let mut front = Front(&state);
    let mut first = front.section(0, NEW, 0);
    assert_eq!(front.section(0, CHANGED, 0), []);
    assert_eq!(front.section(1, NEW, 0), []);
    let place = first.iter().position(|(_, key, _)| key == b"b").unwrap() as u32;
    let average = (0.3 * 4.0 + (1.0 - 0.3) * 2.0_f64).to_le_bytes();
    assert_eq!(front.section(1, CHANGED, 0), [entry(Some(place + 1), "", average)]);
    assert!(front.0.is_empty(), "sections without entries are not written");
    first.sort();
    assert_eq!(first, [entry(None, "a", 1.0_f64.to_le_bytes()), entry(None, "b", 2.0_f64.to_le_bytes())]);
}

#[test]
fn a_job_without_state_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (out, state) = (dir.path().join("out"), Some(dir.path().join("state")));
    let options = NativeOptions { data: dir.path().to_owned(), threads: 1, out, top: 0, files_per_batch: 1, state };
    assert!(run(NativeJob::W2, &options).unwrap_err().to_string().contains("W2 writes no state"));
}
