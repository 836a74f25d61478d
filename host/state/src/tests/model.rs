//! Random commits, folds, snapshots and restarts, compared with the store in memory.

use std::fs;

use arrow::array::{BinaryArray, StringArray};
use arrow::record_batch::RecordBatch;
use millpond_core::{BatchTime, SinkToken, StateChange, StateDelta};
use millpond_testkit::MemoryStore;
use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::TempDir;

use super::*;

/// One step of a store's life.
#[derive(Clone, Debug)]
enum Step {
    Commit(Commit),
    Fold,
    Snapshot,
    /// Close and reopen.
    Restart,
    /// Drop and reopen, perhaps in the middle of a fold.
    Crash,
    /// The folder as it is at this moment, with the log's unfolded tail cut at some byte.
    TornCopy(Index),
    /// The checkpoint store is gone.
    LoseStore,
}

#[derive(Clone, Debug)]
struct Commit {
    node: u8,
    upserts: Vec<(u16, String)>,
    deletes: Vec<u16>,
    pane: Option<(i64, Vec<String>)>,
    dropped: Option<i64>,
    progress: Vec<(u8, Option<u8>)>,
    fold: bool,
}

fn commit() -> impl Strategy<Value = Commit> {
    let keys = 0..600u16;
    let upserts = prop_oneof![
        prop::collection::vec((keys.clone(), "[a-z]{0,12}"), 0..30),
        prop::collection::vec((0..u16::MAX, "[a-z]{0,4}"), 0..1500),
    ];
    let pane = prop::option::of((0..20i64, prop::collection::vec("[a-z]{0,2000}", 0..40)));
    let dropped = prop::option::of(0..20i64);
    let progress = prop::collection::vec((0..20u8, prop::option::of(any::<u8>())), 0..5);
    let parts = (0..2u8, upserts, prop::collection::vec(keys, 0..20), pane, dropped, progress, any::<bool>());
    parts.prop_map(|(node, upserts, deletes, pane, dropped, progress, fold)| Commit {
        node,
        upserts,
        deletes,
        pane,
        dropped,
        progress,
        fold,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => commit().prop_map(Step::Commit),
        2 => Just(Step::Fold),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Restart),
        2 => Just(Step::Crash),
        2 => any::<Index>().prop_map(Step::TornCopy),
        1 => Just(Step::LoseStore),
    ]
}

fn texts(texts: &[String]) -> RecordBatch {
    RecordBatch::try_from_iter([("text", Arc::new(StringArray::from(texts.to_vec())) as _)]).unwrap()
}

fn record(epoch: u64, commit: &Commit) -> CommitRecord {
    let node = |change| StateDelta { node: format!("node {}", commit.node), change };
    let upserts: std::collections::BTreeMap<_, _> = commit.upserts.iter().cloned().collect();
    let deletes: std::collections::BTreeSet<_> = commit.deletes.iter().collect();
    let values: Vec<String> = upserts.values().cloned().collect();
    let mut state = vec![node(StateChange::Keyed {
        deletes: BinaryArray::from_iter_values(deletes.into_iter().map(|key| key.to_be_bytes())),
        keys: BinaryArray::from_iter_values(upserts.keys().map(|key| key.to_be_bytes())),
        values: texts(&values),
    })];
    let pane = commit.pane.iter();
    state.extend(pane.map(|(time, rows)| node(StateChange::AppendPane { time: BatchTime(*time), rows: texts(rows) })));
    state.extend(commit.dropped.map(|up_to| node(StateChange::DropPanes { up_to: BatchTime(up_to) })));
    let progress = commit.progress.iter().map(|(key, value)| (vec![*key], value.map(|value| vec![value])));
    CommitRecord {
        meta: vec![(format!("meta {}", epoch % 3), epoch.to_string().into_bytes())],
        sources: vec![("source".to_owned(), progress.collect())],
        state,
        sinks: vec![("sink".to_owned(), SinkToken { batch_time: BatchTime(0), data: vec![epoch as u8] })],
        ..empty_commit(epoch)
    }
}

/// The store under test, and what it must hold after each commit.
struct Pair {
    dir: TempDir,
    store: Option<FileStateStore>,
    memory: MemoryStore,
    history: Vec<Contents>,
    /// The checkpoint store may hold commits up to this one ...
    folded: usize,
    /// ... and, while a fold may be about to begin, those that still come.
    folding: bool,
}

impl Pair {
    fn run(steps: &[Step]) {
        let dir = TempDir::new().unwrap();
        let mut pair =
            Self { dir, store: None, memory: MemoryStore::new(), history: vec![], folded: 0, folding: false };
        pair.history.push(Contents::default());
        pair.reopen();
        steps.iter().for_each(|step| pair.step(step));
        pair.reopen();
    }

    fn store(&mut self) -> &mut FileStateStore {
        self.store.as_mut().unwrap()
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Commit(commit) => {
                let record = record(self.history.len() as u64, commit);
                self.memory.commit(record.clone()).unwrap();
                self.store().commit(record).unwrap();
                self.history.push(Contents::of(self.memory.recover().unwrap()));
                if commit.fold {
                    // In the background, so that the next step meets it at work.
                    self.store().ask_for_fold();
                    self.folding = true;
                }
                if self.folding {
                    self.folded = self.history.len() - 1;
                }
            }
            Step::Fold => {
                self.store().fold_now().unwrap();
                self.folded = self.history.len() - 1;
            }
            Step::Snapshot => {
                self.store().snapshot_now().unwrap();
                self.folded = self.history.len() - 1;
            }
            Step::Restart => {
                self.store().close().unwrap();
                self.reopen();
            }
            Step::Crash => self.reopen(),
            Step::TornCopy(at) => self.torn_copy(at),
            Step::LoseStore => {
                self.store = None;
                drop(fs::remove_dir_all(self.dir.path().join("store")));
                self.reopen();
            }
        }
    }

    fn reopen(&mut self) {
        self.store = None;
        self.folding = false;
        let (store, contents, notes) = recovered(self.dir.path());
        assert_eq!(Some(&contents), self.history.last(), "{notes:?}");
        self.store = Some(store);
    }

    /// Cuts what no checkpoint can hold: the last commits' bytes in the newest segment.
    fn torn_copy(&mut self, at: &Index) {
        // Files are copied one after the other, where a crash takes them all at one moment: nothing may be at work.
        self.store().settle();
        self.folding = false;
        let log = self.dir.path().join("log");
        let Some(newest) = crate::log::segments(&log).unwrap().pop() else { return };
        // Offsets in the newest segment at which each commit ends.
        let mut ends = vec![(newest.first as usize - 1, 0)];
        let collect = &mut |commit: crate::record::Commit, bytes: u64| {
            let end = ends.last().unwrap().1 + bytes;
            ends.push((commit.epoch.0 as usize, end));
            Ok(std::ops::ControlFlow::Continue(()))
        };
        crate::log::replay(&log, newest.first, Some(self.history.len() as u64 - 1), collect).unwrap();
        let Some(first) = ends.iter().position(|(epoch, _)| *epoch >= self.folded) else { return };
        let (low, high) = (ends[first].1, ends.last().unwrap().1);
        let cut = low + at.index((high - low + 1) as usize) as u64;
        let (whole, _) = ends.iter().rev().find(|(_, end)| *end <= cut).unwrap();

        let copy = TempDir::new().unwrap();
        copy_dir(self.dir.path(), copy.path());
        let segment = copy.path().join("log").join(newest.path.file_name().unwrap());
        fs::OpenOptions::new().write(true).open(segment).unwrap().set_len(cut).unwrap();
        if *whole == 0 {
            // That there are commits is noted only once the first one is whole.
            crate::meta::Meta::new("job").write(copy.path()).unwrap();
        }
        let (mut store, contents, _) = recovered(copy.path());
        assert_eq!(contents, self.history[*whole], "after the cut at byte {cut} only commit {whole} is whole");
        store.commit(empty_commit(*whole as u64 + 1)).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn store_holds_what_memory_holds(steps in prop::collection::vec(step(), 1..25)) {
        Pair::run(&steps);
    }
}
