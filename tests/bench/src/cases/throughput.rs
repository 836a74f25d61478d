//! W1, W2 and W3: Millpond beside the native program on the same files, over whole processes, start-up included.
//!
//! Millpond commits its state durably every batch. Where the bar asks for that, the native program that is judged with does the
//! same; the one that keeps everything in memory runs as well, and its ratio is a row without a bar.

use anyhow::{Result, ensure};

use super::Bench;
use crate::answers::{of_console, of_folder};
use crate::case::CaseResult;
use crate::compare::{Bar, figure, same};
use crate::data::DataSet;
use crate::data::plays::{PlaysOptions, plays};
use crate::data::readings::{ReadingsOptions, readings};
use crate::data::text::{TextOptions, text};
use crate::jobs::{Job, Outcome, Totals, empty};
use crate::measure::Usage;

/// A job, its input, and what is expected.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) job: Job,
    pub(super) data: DataSet,
    /// The native program's name for it.
    pub(super) native: &'static str,
    /// What is counted, in millions a second.
    pub(super) unit: &'static str,
    /// How many of them there are; none if the answer says it.
    pub(super) units: Option<u64>,
    /// Whether the bar speaks of state, so that the native program must write and sync it every batch.
    pub(super) has_state: bool,
    /// Files of a batch when all rows are compared.
    pub(super) check_files: u64,
    pub(super) ratio_min: f64,
    pub(super) memory_mb_max: f64,
}

/// When all rows are compared, a whole answer of each batch is written and read: fewer, larger batches do.
const CHECK_BATCHES: u64 = 5;

/// Rows of an answer.
const TOP: u32 = 10;

impl Work {
    /// Running word count, with the plugin that ships.
    pub(super) fn w1(bench: &Bench) -> Result<Self> {
        let options = if bench.quick { TextOptions::QUICK } else { TextOptions::W1 };
        let data = text(&bench.places.data, options)?;
        Ok(Self {
            name: "w1",
            what: "running word count, plugins/wordcount: 2 M lines of Zipf text over 50 k words, one file of 40 per batch, state committed durably every batch, top 10",
            job: Job::build(&bench.places, "plugins/wordcount", "lines", "counts")?,
            check_files: data.files.div_ceil(CHECK_BATCHES),
            data,
            native: "w1",
            unit: "M words/s",
            units: None,
            has_state: true,
            ratio_min: 0.5,
            memory_mb_max: 300.0,
        })
    }

    /// Plays per video.
    pub(super) fn w2(bench: &Bench) -> Result<Self> {
        let options = if bench.quick { PlaysOptions::QUICK } else { PlaysOptions::W2 };
        let data = plays(&bench.places.data, options)?;
        Ok(Self {
            name: "w2",
            what: "plays per video over 60 s every 10 s with inverse: 10 M plays of 100 k videos, one file of 60 per batch, top 10",
            job: Job::build(&bench.places, "tests/bench/jobs/plays", "log", "plays")?,
            check_files: 1,
            units: Some(data.rows),
            data,
            native: "w2",
            unit: "M plays/s",
            has_state: false,
            ratio_min: 0.3,
            memory_mb_max: 300.0,
        })
    }

    /// Moving averages.
    pub(super) fn w3(bench: &Bench) -> Result<Self> {
        let options = if bench.quick { ReadingsOptions::QUICK } else { ReadingsOptions::W3 };
        let what = "moving average per sensor: 10 M readings of 1 M sensors, the guest's update function, one file of 20 per batch, state committed durably every batch, top 10";
        Self::averages(bench, "w3", what, options, CHECK_BATCHES)
    }

    /// The same of ten times as many sensors.
    pub(super) fn many_keys(bench: &Bench) -> Result<Self> {
        let options = if bench.quick { ReadingsOptions::QUICK_MANY_KEYS } else { ReadingsOptions::MANY_KEYS };
        Self::averages(bench, "many-keys", "w3 with 10 M sensors beside its own run with 1 M", options, 2)
    }

    fn averages(
        bench: &Bench,
        name: &'static str,
        what: &'static str,
        options: ReadingsOptions,
        check_batches: u64,
    ) -> Result<Self> {
        let data = readings(&bench.places.data, options)?;
        Ok(Self {
            name,
            what,
            job: Job::build(&bench.places, "tests/bench/jobs/ewma", "readings", "averages")?,
            check_files: data.files.div_ceil(check_batches),
            units: Some(data.rows),
            data,
            native: "w3",
            unit: "M readings/s",
            has_state: true,
            ratio_min: 0.12,
            memory_mb_max: 800.0,
        })
    }

    /// The same job over other input.
    pub(super) fn over(self, name: &'static str, data: DataSet) -> Self {
        Self { name, check_files: data.files.div_ceil(CHECK_BATCHES), units: Some(data.rows), data, ..self }
    }

    /// The job's settings for the measured run: one file a batch, the first ten rows on the console.
    pub(super) fn settings(&self) -> Vec<String> {
        vec![
            self.job.source("path", self.data.pattern()),
            self.job.source("max-files-per-batch", 1),
            self.job.sink("rows", 0),
            self.job.sink("truncate", 0),
            format!("params.top={TOP}"),
        ]
    }

    /// The native program's arguments for the measured run.
    pub(super) fn native_args(&self, threads: usize) -> Vec<String> {
        self.native_args_of(threads, TOP, 1)
    }

    fn native_args_of(&self, threads: usize, top: u32, files_per_batch: u64) -> Vec<String> {
        let data = self.data.dir.display().to_string();
        let (threads, top, files) = (threads.to_string(), top.to_string(), files_per_batch.to_string());
        let args = [self.native, "--data", &data, "--threads", &threads, "--top", &top, "--files-per-batch", &files];
        args.map(str::to_owned).into()
    }

    /// Runs both once, compares all rows byte for byte, and gives how many units the input has. Not measured; it also warms the
    /// caches.
    pub(super) fn check(&self, bench: &Bench) -> Result<u64> {
        let out = bench.places.work.join("rows");
        empty(&out)?;
        let settings = [
            self.job.source("path", self.data.pattern()),
            self.job.source("max-files-per-batch", self.check_files),
            self.job.source("max-bytes-per-batch", "4GiB"),
            self.job.sink("type", "files"),
            self.job.sink("format", "text"),
            self.job.sink("mode", "complete"),
            self.job.sink("path", out.display()),
            "params.top=0".to_owned(),
        ];
        self.run_all(bench, &settings)?;
        let (_, native) = bench.native(&self.native_args_of(2, 0, self.check_files))?;
        let answer = of_folder(&out)?;
        // Some gigabytes a run would fill the disk.
        empty(&out)?;
        same(&format!("{}, all rows", self.name), &answer, &native, &bench.places.work)?;
        Ok(self.units.unwrap_or_else(|| sum_of_values(&native)))
    }

    /// Runs the job over all of the input.
    fn run_all(&self, bench: &Bench, settings: &[String]) -> Result<Outcome> {
        let outcome = self.job.run(&bench.places, settings)?;
        let (taken, rows) = (outcome.totals.rows_in, self.data.rows);
        ensure!(taken == rows, "{}: {taken} of {rows} rows were taken", self.name);
        Ok(outcome)
    }

    /// One measured run of Millpond, its answer compared.
    pub(super) fn run_millpond(&self, bench: &Bench, extra: &[String], native: &[u8]) -> Result<Outcome> {
        let mut settings = self.settings();
        settings.extend_from_slice(extra);
        let outcome = self.run_all(bench, &settings)?;
        let printed = std::fs::read_to_string(&outcome.stdout)?;
        same(self.name, &of_console(&printed)?, native, &bench.places.work)?;
        Ok(outcome)
    }
}

/// The sum of the second column in the last batch, which has the counts of all: how many words there are.
fn sum_of_values(answer: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(answer);
    let last = text.trim_end_matches('\n').rsplit("\n\n").next().unwrap_or_default();
    last.lines().filter_map(|line| line.split_once('\t')?.1.parse::<u64>().ok()).sum()
}

/// What each side used, run by run.
#[derive(Default)]
struct Sides {
    native: Vec<Usage>,
    /// Empty where the bar does not speak of state.
    native_with_state: Vec<Usage>,
    millpond: Vec<Usage>,
    totals: Vec<Totals>,
}

/// Checks, measures, and says what it found.
pub(super) fn run(bench: &Bench, work: Work) -> Result<CaseResult> {
    let units = work.check(bench)? as f64;
    let state = bench.places.work.join("native-state");
    let mut sides = Sides::default();
    for _ in 0..bench.repetitions {
        // Millpond's run has both native ones as neighbours.
        if work.has_state {
            // The program shall not be the one that gives back a file's old blocks.
            empty(&state)?;
            let mut args = work.native_args(2);
            args.extend(["--state".to_owned(), state.join("changes").display().to_string()]);
            let (usage, answer) = bench.native(&args)?;
            sides.native_with_state.push(usage);
            sides.add(work.run_millpond(bench, &[], &answer)?);
            let (usage, plain_answer) = bench.native(&work.native_args(2))?;
            sides.native.push(usage);
            same("the native program with state and without", &answer, &plain_answer, &bench.places.work)?;
        } else {
            let (usage, answer) = bench.native(&work.native_args(2))?;
            sides.native.push(usage);
            sides.add(work.run_millpond(bench, &[], &answer)?);
        }
    }
    Ok(result(&work, units, &sides))
}

impl Sides {
    fn add(&mut self, outcome: Outcome) {
        self.millpond.push(outcome.usage);
        self.totals.push(outcome.totals);
    }

    /// The native runs that the bar is judged by.
    fn judge(&self, has_state: bool) -> &[Usage] {
        if has_state { &self.native_with_state } else { &self.native }
    }
}

const WITH_STATE: &str = "native, two threads, state written and synced";
const WITHOUT_STATE: &str = "native, two threads, no state written";

fn result(work: &Work, units: f64, sides: &Sides) -> CaseResult {
    let speed = |usage: &[Usage]| -> Vec<f64> { usage.iter().map(|usage| units / usage.wall_ms / 1000.0).collect() };
    let megabytes = |usage: &[Usage]| -> Vec<f64> { usage.iter().map(|usage| usage.peak_bytes / 1e6).collect() };
    let cpu = |usage: &[Usage]| -> Vec<f64> { usage.iter().map(|usage| usage.cpu_ms * 1e6 / units).collect() };
    let judge = sides.judge(work.has_state);
    let (native, ours) = (speed(judge), speed(&sides.millpond));
    let mut figures =
        vec![figure("throughput", work.unit, &ours).beside(&ours, &native).must(Bar::RatioAtLeast(work.ratio_min))];
    let plain = speed(&sides.native);
    if work.has_state {
        figures.push(figure("throughput, beside native without state", work.unit, &ours).beside(&ours, &plain));
        figures.push(figure(WITH_STATE, work.unit, &native));
    }
    figures.push(figure(WITHOUT_STATE, work.unit, &plain));
    let (native, ours) = (megabytes(judge), megabytes(&sides.millpond));
    figures.push(figure("peak memory", "MB", &ours).beside(&ours, &native).must(Bar::MaxAtMost(work.memory_mb_max)));
    let (native, ours) = (cpu(judge), cpu(&sides.millpond));
    figures.push(figure("processor time", "ns each", &ours).beside(&ours, &native));
    let wall: Vec<f64> = sides.totals.iter().map(|totals| totals.processing_us as f64 / 1000.0).collect();
    figures.push(figure("time in batches", "ms", &wall));
    let baseline = if work.has_state { WITH_STATE } else { WITHOUT_STATE };
    CaseResult {
        case: work.name.to_owned(),
        what: work.what.to_owned(),
        figures,
        phases: vec![Totals::mean_phases("", &sides.totals)],
        notes: vec![
            format!("the baseline is: {baseline}"),
            "whole processes, from start to exit; the component is compiled and cached; phases are summed over threads"
                .to_owned(),
            "answers equal byte for byte: the first ten of every batch in every run, and all rows in a run beside"
                .to_owned(),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_sum_of_their_counts() {
        assert_eq!(sum_of_values(b"a\t3\nb\t2\n\n"), 5);
        assert_eq!(sum_of_values(b"a\t1\n\na\t3\nb\t2\n\n"), 5, "counts run on from batch to batch");
    }

    #[test]
    fn who_must_write_state_is_judged_beside_who_does() {
        let usage = |wall_ms| Usage { wall_ms, ..Usage::default() };
        let sides = Sides { native: vec![usage(1.0)], native_with_state: vec![usage(2.0)], ..Sides::default() };
        assert_eq!((sides.judge(true), sides.judge(false)), (&[usage(2.0)][..], &[usage(1.0)][..]));
    }
}
