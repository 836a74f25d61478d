//! The baselines against models that a reader believes at once.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::*;
use crate::data::random::Random;

pub(super) fn write_files(dir: &Path, files: &[String]) {
    for (number, text) in files.iter().enumerate() {
        fs::write(dir.join(format!("part-{number:04}.txt")), text).unwrap();
    }
}

fn answers(job: NativeJob, files: &[String], threads: usize, top: usize, files_per_batch: usize) -> String {
    let dir = tempfile::tempdir().unwrap();
    write_files(dir.path(), files);
    let out = dir.path().join("out");
    let data = dir.path().to_owned();
    run(job, &NativeOptions { data, threads, out: out.clone(), top, files_per_batch, state: None }).unwrap();
    fs::read_to_string(out).unwrap()
}

fn show<V: Copy>(
    rows: &mut [(String, V)],
    top: usize,
    order: impl Fn(&V, &V) -> std::cmp::Ordering,
    text: impl Fn(V) -> String,
) -> String {
    rows.sort_by(|left, right| order(&right.1, &left.1).then_with(|| left.0.as_bytes().cmp(right.0.as_bytes())));
    let shown = if top == 0 { rows.len() } else { top.min(rows.len()) };
    let mut out = String::new();
    for (key, value) in &rows[..shown] {
        writeln!(out, "{key}\t{}", text(*value)).unwrap();
    }
    out.push('\n');
    out
}

fn counted(files: &[String], top: usize) -> String {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut out = String::new();
    for text in files {
        for word in text.split([' ', '\n']).filter(|word| !word.is_empty()) {
            *counts.entry(word.to_owned()).or_default() += 1;
        }
        let mut rows: Vec<_> = counts.clone().into_iter().collect();
        out.push_str(&show(&mut rows, top, u64::cmp, |count| count.to_string()));
    }
    out
}

/// Words of all lengths around those where the code changes its way, in lines with odd spaces.
pub(super) fn odd_text(seed: u64, words: u64) -> String {
    let mut random = Random::new(seed);
    let mut text = String::new();
    for _ in 0..words {
        let length = random.between(1, 20) as usize;
        let letter = char::from(b'a' + random.below(3) as u8);
        text.extend(std::iter::repeat_n(letter, length));
        text.push_str(["", " ", "  ", "\n", "\n\n", " \n"][random.between(1, 5) as usize]);
    }
    text
}

#[test]
fn words_are_counted_as_the_model_counts_them() {
    let mut files: Vec<String> = (0..4).map(|file| odd_text(file, 5_000)).collect();
    files.push(String::new());
    files.push("no line end".to_owned());
    files.push("\n\n\n".to_owned());
    files.push(format!("{} {}", "x".repeat(600_000), "y".repeat(17)));
    for threads in [1, 2, 3] {
        for top in [0, 1, 10] {
            assert!(
                answers(NativeJob::W1, &files, threads, top, 1) == counted(&files, top),
                "{threads} threads, top {top}"
            );
        }
    }
    let all_at_once = answers(NativeJob::W1, &files, 2, 0, files.len());
    assert!(counted(&files, 0).ends_with(&all_at_once));
}

#[test]
fn a_word_that_no_thread_has_first_is_still_found() {
    // Each half has ten words of its own with 9; `both` has 5 in each half and 10 in all.
    let half = |letter: &str| {
        let mut text = String::new();
        (0..10).for_each(|n| text.push_str(&format!("{letter}{n:04}\n").repeat(9)));
        text + &"both \n".repeat(5)
    };
    let files = [half("a") + &half("b")];
    assert!(answers(NativeJob::W1, &files, 2, 1, 1).starts_with("both\t10\n"));
    assert_eq!(answers(NativeJob::W1, &files, 2, 10, 1), counted(&files, 10));
}

fn windowed(files: &[String], top: usize) -> String {
    let mut window: VecDeque<Vec<&str>> = VecDeque::new();
    let mut out = String::new();
    for text in files {
        window.push_back(text.lines().filter_map(|line| Some(line.split_once(',')?.0)).collect());
        if window.len() > w2::WINDOW {
            window.pop_front();
        }
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        window.iter().flatten().for_each(|video| *counts.entry(video).or_default() += 1);
        let mut rows: Vec<_> = counts.into_iter().map(|(video, count)| (video.to_owned(), count)).collect();
        out.push_str(&show(&mut rows, top, u64::cmp, |count| count.to_string()));
    }
    out
}

#[test]
fn plays_are_counted_as_the_model_counts_them() {
    let mut random = Random::new(5);
    let mut files: Vec<String> = (0..20_u64)
        .map(|file| {
            // Few videos, and others in each file, so that some leave the window.
            (0..500).map(|_| format!("v{},17000000{file:02}\n", random.below(30) + file * 10)).collect()
        })
        .collect();
    files[3].push_str("no comma\n\n,1\nv1,2,3\na-video-of-a-long-name,1");
    files[7].clear();
    for threads in [1, 2, 3] {
        for top in [0, 10] {
            assert_eq!(
                answers(NativeJob::W2, &files, threads, top, 1),
                windowed(&files, top),
                "{threads} threads, top {top}"
            );
        }
    }
}

fn averaged(files: &[String], top: usize) -> String {
    let mut averages: BTreeMap<String, f64> = BTreeMap::new();
    let mut out = String::new();
    for text in files {
        for (sensor, value) in text.lines().filter_map(|line| line.split_once(',')) {
            let Ok(value) = value.parse::<f64>() else { continue };
            averages
                .entry(sensor.to_owned())
                .and_modify(|average| *average = 0.3 * value + (1.0 - 0.3) * *average)
                .or_insert(value);
        }
        let mut rows: Vec<_> = averages.clone().into_iter().collect();
        out.push_str(&show(&mut rows, top, f64::total_cmp, |average| format!("{average:?}")));
    }
    out
}

#[test]
fn averages_move_as_the_model_moves_them() {
    let mut random = Random::new(6);
    let mut files: Vec<String> = (0..5)
        .map(|_| {
            (0..4_000)
                .map(|_| format!("s{},{:.2}\n", random.below(3_000), random.below(10_000) as f64 / 100.0 - 20.0))
                .collect()
        })
        .collect();
    files[2].push_str("s1\n\ns1,warm\ns1,\na-sensor-of-a-long-name,1e3\ns2,123456789.125\ns3,-0.5\n,7\nz\0,8\nz,9\neightbyt,1\nninebytes,2");
    for threads in [1, 2, 3] {
        for top in [0, 10] {
            assert_eq!(
                answers(NativeJob::W3, &files, threads, top, 1),
                averaged(&files, top),
                "{threads} threads, top {top}"
            );
        }
    }
}
