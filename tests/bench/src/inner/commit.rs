//! `commit`: 50 k changed keys made durable by the real state store while it folds its log into a checkpoint, beside a bare
//! append and `fdatasync` of as many bytes in the same folder.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use arrow::array::{BinaryArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use millpond_core::{BatchTime, Clock, CommitRecord, Epoch, StateChange, StateDelta, StateStore, SystemClock};
use millpond_state::{FileStateStore, StateOptions};

use super::process::threads_cpu_us;
use super::support::{plain, quantile, timed};
use crate::case::{CaseResult, Figure, InnerOptions};
use crate::compare::{Bar, figure, median};
use crate::data::random::Random;

const CHANGED: usize = 50_000;
/// Keys that there are in all, so that folding has something to merge with.
const KEYS: usize = 500_000;
/// Commits of a repetition, each beside a bare append.
const COMMITS: usize = 100;
/// Commits without folding: less log than makes the store fold by itself.
const QUIET_COMMITS: usize = 30;
const RATIO_MAX: f64 = 3.0;
const P99_MAX_MS: f64 = 10.0;
/// The store folds on a thread of this name.
const FOLDING: &str = "millpond-fold";
const NEVER_MS: u64 = 1 << 40;

pub(super) fn run(options: &InnerOptions) -> Result<CaseResult> {
    let (keys, repetitions) = if options.quick { (100_000, 1) } else { (KEYS, options.repetitions) };
    let mut changes = Changes::new(keys);
    let folder = tempfile::tempdir_in(&options.data_dir)?;
    let mut folding = Beside::open(&folder.path().join("folding"), 0)?;
    // All keys there are, so that each fold merges into a full checkpoint.
    for _ in 0..2 * keys / CHANGED {
        folding.store.commit(changes.next()).map_err(plain)?;
    }
    folding.store.fold_now()?;
    let clock = SystemClock::new();
    let cpu_before_ms = folding_cpu_ms()?;
    let measured = folding.measure(&mut changes, repetitions * if options.quick { COMMITS / 5 } else { COMMITS })?;
    let cpu_ms = folding_cpu_ms()? - cpu_before_ms;
    let elapsed_ms = clock.monotonic_us() / 1000;
    folding.store.close().map_err(plain)?;
    ensure!(cpu_ms > 0, "no checkpoint was being folded");

    changes.epoch = 0;
    let mut quiet = Beside::open(&folder.path().join("quiet"), NEVER_MS)?;
    let undisturbed = quiet.measure(&mut changes, QUIET_COMMITS)?;
    quiet.store.close().map_err(plain)?;
    let p99 = quantile(&measured.commit_ms, 0.99);
    // Folding slows the bare append beside it as well, so the harder ratio is the one to an append that nothing disturbs.
    let alone = median(&undisturbed.append_ms);
    let beside_alone = Figure {
        baseline: Some(alone),
        ratio: Some(median(&measured.commit_ms) / alone),
        ..figure("commit, beside an append while nothing is folded", "ms", &measured.commit_ms)
    };
    Ok(CaseResult {
        case: "commit".to_owned(),
        what: format!("a durable commit of {CHANGED} changed keys of {keys} while a checkpoint is being folded"),
        figures: vec![
            figure("commit", "ms", &measured.commit_ms)
                .beside(&measured.commit_ms, &measured.append_ms)
                .must(Bar::RatioAtMost(RATIO_MAX)),
            beside_alone.must(Bar::RatioAtMost(RATIO_MAX)),
            figure("commit, p99", "ms", &[p99]).must(Bar::MedianAtMost(P99_MAX_MS)),
            figure("bare append + fdatasync, p99", "ms", &[quantile(&measured.append_ms, 0.99)]),
            figure("commit while nothing is folded", "ms", &undisturbed.commit_ms)
                .beside(&undisturbed.commit_ms, &undisturbed.append_ms),
        ],
        phases: Vec::new(),
        notes: vec![
            format!(
                "{} commits of {} bytes, each beside a bare append of as many",
                measured.commit_ms.len(),
                measured.bytes
            ),
            format!(
                "commits follow each other without a pause; folding used {cpu_ms} ms of processor in {elapsed_ms} ms"
            ),
        ],
    })
}

fn folding_cpu_ms() -> Result<u64> {
    Ok(threads_cpu_us()?.get(FOLDING).copied().unwrap_or(0) / 1000)
}

/// Records of changed keys.
struct Changes {
    keys: Vec<String>,
    random: Random,
    epoch: u64,
    next_key: usize,
}

impl Changes {
    /// Keys as words are: 2 to 10 letters, and a number that makes them differ.
    fn new(count: usize) -> Self {
        let mut random = Random::new(2);
        let key = |number: usize| {
            let letters = random.between(2, 10);
            let letters: String = (0..letters).map(|_| char::from(b'a' + random.below(26) as u8)).collect();
            letters + &number.to_string()
        };
        Self { keys: (0..count).map(key).collect(), random, epoch: 0, next_key: 0 }
    }

    /// Other keys than last time, from all over the key space.
    fn next(&mut self) -> CommitRecord {
        self.epoch += 1;
        // A step without a common factor goes through all keys before one comes again.
        let step = (self.keys.len() / 3) | 1;
        let chosen: Vec<&[u8]> =
            (0..CHANGED).map(|row| self.keys[(self.next_key + row * step) % self.keys.len()].as_bytes()).collect();
        self.next_key = (self.next_key + CHANGED * step) % self.keys.len();
        let counts: Int64Array = (0..CHANGED).map(|_| Some(self.random.bits().cast_signed() >> 40)).collect();
        let schema = Schema::new(vec![Field::new("state", DataType::Int64, false)]);
        let change = StateChange::Keyed {
            deletes: BinaryArray::from(Vec::<&[u8]>::new()),
            keys: BinaryArray::from(chosen),
            values: RecordBatch::try_new(Arc::new(schema), vec![Arc::new(counts)]).expect("one column"),
        };
        CommitRecord {
            epoch: Epoch(self.epoch),
            batch_time: BatchTime(i64::try_from(self.epoch).expect("a few hundred") * 1000),
            meta: Vec::new(),
            sources: Vec::new(),
            state: vec![StateDelta { node: "totals".to_owned(), change }],
            sinks: Vec::new(),
        }
    }
}

/// A store, and a plain file in the same folder.
struct Beside {
    store: FileStateStore,
    file: File,
}

struct Measured {
    commit_ms: Vec<f64>,
    append_ms: Vec<f64>,
    /// Of a commit.
    bytes: u64,
}

impl Beside {
    fn open(folder: &Path, fold_every_ms: u64) -> Result<Self> {
        std::fs::create_dir(folder)?;
        let options = StateOptions {
            dir: folder.join("state"),
            job: "commit".to_owned(),
            fold_every_ms,
            clock: Arc::new(SystemClock::new()),
        };
        let mut store = FileStateStore::open(options)?;
        store.recover().map_err(plain)?;
        let file = OpenOptions::new().create(true).append(true).open(folder.join("bare"))?;
        Ok(Self { store, file })
    }

    /// A commit, a bare append, a commit ...
    fn measure(&mut self, changes: &mut Changes, commits: usize) -> Result<Measured> {
        let mut measured = Measured { commit_ms: Vec::new(), append_ms: Vec::new(), bytes: 0 };
        let mut bytes = Vec::new();
        for _ in 0..commits {
            let record = changes.next();
            let (ms, stats) = timed(|| self.store.commit(record));
            measured.commit_ms.push(ms);
            measured.bytes = stats.map_err(plain)?.bytes;
            bytes.resize(usize::try_from(measured.bytes)?, 0x5a);
            let (ms, written) = timed(|| self.file.write_all(&bytes).and_then(|()| self.file.sync_data()));
            written?;
            measured.append_ms.push(ms);
        }
        Ok(measured)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_commit_never_names_a_key_twice() {
        let mut changes = Changes::new(100_000);
        for _ in 0..3 {
            let record = changes.next();
            let StateChange::Keyed { keys, values, .. } = &record.state[0].change else { panic!("keyed state") };
            let distinct: BTreeSet<&[u8]> = keys.iter().flatten().collect();
            assert_eq!((distinct.len(), values.num_rows()), (CHANGED, CHANGED));
        }
    }
}
