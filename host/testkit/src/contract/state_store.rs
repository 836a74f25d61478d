//! What every [`StateStore`] must do.
//!
//! Each claim is a function that takes an opener: a closure that opens the same state again and again, which is empty at first.
//! [`all`] runs every claim on a state of its own. Comparisons go through [`Contents`], in which the freedom that the port
//! leaves (how keys are cut into chunks, in which order they come) makes no difference.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use millpond_core::store::NodeState;
use millpond_core::{BatchTime, CommitRecord, Epoch, Recovered, SinkToken, StateChange, StateDelta, StateStore};

/// Opens one state; what an earlier store of it committed is there.
pub type Open = dyn Fn() -> Box<dyn StateStore>;

type Claim = fn(&Open);

/// Runs every claim. `fresh` gives an opener of a new and empty state.
pub fn all(mut fresh: impl FnMut() -> Box<Open>) {
    let claims: [(&str, Claim); 12] = [
        ("fresh_state_is_empty", fresh_state_is_empty),
        ("empty_commit_counts", empty_commit_counts),
        ("everything_comes_back", everything_comes_back),
        ("commits_outlive_a_store_that_was_not_closed", commits_outlive_a_store_that_was_not_closed),
        ("last_writer_wins", last_writer_wins),
        ("deletions_come_before_upserts", deletions_come_before_upserts),
        ("partitions_share_one_key_space", partitions_share_one_key_space),
        ("progress_is_set_and_deleted", progress_is_set_and_deleted),
        ("tokens_and_meta_are_replaced", tokens_and_meta_are_replaced),
        ("panes_keep_their_order_and_are_dropped", panes_keep_their_order_and_are_dropped),
        ("every_type_comes_back", every_type_comes_back),
        ("keys_may_be_any_bytes", keys_may_be_any_bytes),
    ];
    for (name, claim) in claims {
        // Shown with a failed test only: says which claim did not hold.
        eprintln!("state store contract: {name}");
        claim(&*fresh());
    }
}

/// A recovered state in a form that can be compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// The newest commit.
    pub last: Option<(Epoch, BatchTime)>,
    /// By name.
    pub meta: BTreeMap<String, Vec<u8>>,
    /// By source, then by key; sources without entries left out.
    pub sources: BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>,
    /// By sink.
    pub sinks: BTreeMap<String, SinkToken>,
    /// By node, then by key: one row of values; nodes without keys left out.
    pub keyed: BTreeMap<String, BTreeMap<Vec<u8>, RecordBatch>>,
    /// By node, then by time: the rows in order; nodes without panes left out.
    pub panes: BTreeMap<String, BTreeMap<BatchTime, Vec<RecordBatch>>>,
}

impl Contents {
    /// What was recovered.
    ///
    /// # Panics
    /// If a key comes twice, is null, or has no values.
    #[must_use]
    pub fn of(recovered: Recovered) -> Self {
        let mut contents =
            Self { last: recovered.last, meta: recovered.meta, sinks: recovered.sinks, ..Self::default() };
        for (source, entries) in recovered.sources.into_iter().filter(|(_, entries)| !entries.is_empty()) {
            let count = entries.len();
            let entries: BTreeMap<_, _> = entries.into_iter().collect();
            assert_eq!(entries.len(), count, "a progress entry of `{source}` comes twice");
            contents.sources.insert(source, entries);
        }
        for (node, state) in recovered.nodes {
            let keyed = keyed(&node, &state);
            if !keyed.is_empty() {
                contents.keyed.insert(node.clone(), keyed);
            }
            if !state.panes.is_empty() {
                contents.panes.insert(node, state.panes);
            }
        }
        contents
    }
}

fn keyed(node: &str, state: &NodeState) -> BTreeMap<Vec<u8>, RecordBatch> {
    let mut rows = BTreeMap::new();
    for chunk in &state.keyed {
        assert_eq!(chunk.keys.len(), chunk.values.num_rows(), "node `{node}`: as many values as keys");
        assert_eq!(chunk.keys.null_count(), 0, "node `{node}`: a null key");
        for row in 0..chunk.keys.len() {
            let earlier = rows.insert(chunk.keys.value(row).to_vec(), chunk.values.slice(row, 1));
            assert!(earlier.is_none(), "node `{node}`: key {:?} comes twice", chunk.keys.value(row));
        }
    }
    rows
}

/// Opens, recovers, closes.
///
/// # Panics
/// If any of it fails.
#[must_use]
pub fn reopened(open: &Open) -> Contents {
    let mut store = open();
    let recovered = store.recover().expect("recovery works");
    store.close().expect("closing works");
    Contents::of(recovered)
}

/// A commit with nothing in it, at batch time `epoch * 100`.
#[must_use]
pub fn empty_commit(epoch: u64) -> CommitRecord {
    CommitRecord {
        epoch: Epoch(epoch),
        batch_time: BatchTime(i64::try_from(epoch).expect("a small epoch") * 100),
        meta: Vec::new(),
        sources: Vec::new(),
        state: Vec::new(),
        sinks: Vec::new(),
    }
}

/// Values of one integer column.
#[must_use]
pub fn numbers(numbers: &[i64]) -> RecordBatch {
    let column = Arc::new(Int64Array::from(numbers.to_vec())) as ArrayRef;
    RecordBatch::try_from_iter([("n", column)]).expect("one column")
}

/// A change of keyed state with one integer a key.
#[must_use]
pub fn keyed_change(node: &str, deletes: &[&str], upserts: &[(&str, i64)]) -> StateDelta {
    let values: Vec<i64> = upserts.iter().map(|(_, value)| *value).collect();
    let change = StateChange::Keyed {
        deletes: BinaryArray::from_iter_values(deletes),
        keys: BinaryArray::from_iter_values(upserts.iter().map(|(key, _)| key)),
        values: numbers(&values),
    };
    StateDelta { node: node.to_owned(), change }
}

fn append(node: &str, time: i64, rows: &[i64]) -> StateDelta {
    let change = StateChange::AppendPane { time: BatchTime(time), rows: numbers(rows) };
    StateDelta { node: node.to_owned(), change }
}

fn drop_panes(node: &str, up_to: i64) -> StateDelta {
    StateDelta { node: node.to_owned(), change: StateChange::DropPanes { up_to: BatchTime(up_to) } }
}

fn token(time: i64, data: &str) -> SinkToken {
    SinkToken { batch_time: BatchTime(time), data: data.as_bytes().to_vec() }
}

/// Commits one record after the other, each with a store opened anew, and gives what is there in the end.
fn committed(open: &Open, records: Vec<CommitRecord>) -> Contents {
    for record in records {
        let mut store = open();
        store.recover().expect("recovery works");
        store.commit(record).expect("the commit works");
        store.close().expect("closing works");
    }
    reopened(open)
}

fn with_state(state: Vec<Vec<StateDelta>>) -> Vec<CommitRecord> {
    (1..).zip(state).map(|(epoch, state)| CommitRecord { state, ..empty_commit(epoch) }).collect()
}

fn pairs(contents: &Contents, node: &str) -> Vec<(String, RecordBatch)> {
    let rows = contents.keyed.get(node).cloned().unwrap_or_default();
    rows.into_iter().map(|(key, row)| (String::from_utf8(key).expect("the suite's keys are text"), row)).collect()
}

fn expected(pairs: &[(&str, i64)]) -> Vec<(String, RecordBatch)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), numbers(&[*value]))).collect()
}

/// A state without commits has nothing, however often it is opened.
pub fn fresh_state_is_empty(open: &Open) {
    assert_eq!(reopened(open), Contents::default());
    assert_eq!(reopened(open), Contents::default());
}

/// A commit without changes moves the epoch and the batch time.
pub fn empty_commit_counts(open: &Open) {
    let contents = committed(open, vec![empty_commit(1), empty_commit(2)]);
    assert_eq!(contents, Contents { last: Some((Epoch(2), BatchTime(200))), ..Contents::default() });
}

/// Every part of a commit is recovered.
pub fn everything_comes_back(open: &Open) {
    let record = CommitRecord {
        meta: vec![("start-ms".to_owned(), b"7".to_vec())],
        sources: vec![("lines".to_owned(), vec![(b"a.txt".to_vec(), Some(b"10".to_vec()))])],
        state: vec![keyed_change("count", &[], &[("a", 1), ("b", 2)]), append("window", 100, &[5, 6])],
        sinks: vec![("out".to_owned(), token(100, "part-0"))],
        ..empty_commit(1)
    };
    let contents = committed(open, vec![record]);
    assert_eq!(contents.last, Some((Epoch(1), BatchTime(100))));
    assert_eq!(contents.meta["start-ms"], b"7");
    assert_eq!(contents.sources["lines"], BTreeMap::from([(b"a.txt".to_vec(), b"10".to_vec())]));
    assert_eq!(contents.sinks["out"], token(100, "part-0"));
    assert_eq!(pairs(&contents, "count"), expected(&[("a", 1), ("b", 2)]));
    assert_eq!(contents.panes["window"], BTreeMap::from([(BatchTime(100), vec![numbers(&[5, 6])])]));
}

/// A store that is dropped without `close` has lost nothing, and the next goes on counting.
pub fn commits_outlive_a_store_that_was_not_closed(open: &Open) {
    for round in 0..3 {
        let mut store = open();
        let recovered = store.recover().expect("recovery works");
        assert_eq!(recovered.last.map_or(0, |(epoch, _)| epoch.0), round * 2);
        for epoch in [round * 2 + 1, round * 2 + 2] {
            let state = vec![keyed_change("count", &[], &[("latest", epoch.cast_signed())])];
            store.commit(CommitRecord { state, ..empty_commit(epoch) }).expect("the commit works");
        }
    }
    assert_eq!(pairs(&reopened(open), "count"), expected(&[("latest", 6)]));
}

/// A later commit's value replaces an earlier one's; other keys stay.
pub fn last_writer_wins(open: &Open) {
    let contents = committed(
        open,
        with_state(vec![
            vec![keyed_change("count", &[], &[("a", 1), ("b", 1), ("c", 1)])],
            vec![keyed_change("count", &[], &[("b", 2)]), keyed_change("other", &[], &[("b", 9)])],
            vec![keyed_change("count", &["c", "never there"], &[])],
        ]),
    );
    assert_eq!(pairs(&contents, "count"), expected(&[("a", 1), ("b", 2)]));
    assert_eq!(pairs(&contents, "other"), expected(&[("b", 9)]));
}

/// Within one change deletions come first; a deleted key may come back; a node may lose its last key.
pub fn deletions_come_before_upserts(open: &Open) {
    let contents = committed(
        open,
        with_state(vec![
            vec![keyed_change("count", &[], &[("a", 1), ("b", 1)]), keyed_change("emptied", &[], &[("a", 1)])],
            vec![keyed_change("count", &["a", "b"], &[("a", 2)]), keyed_change("emptied", &["a"], &[])],
            vec![keyed_change("count", &[], &[("b", 3)])],
        ]),
    );
    assert_eq!(pairs(&contents, "count"), expected(&[("a", 2), ("b", 3)]));
    assert!(!contents.keyed.contains_key("emptied"));
}

/// Several changes of one node in one commit are one change.
pub fn partitions_share_one_key_space(open: &Open) {
    let contents = committed(
        open,
        with_state(vec![
            vec![keyed_change("count", &[], &[("a", 1)]), keyed_change("count", &[], &[("b", 1)])],
            vec![keyed_change("count", &["b"], &[("c", 2)]), keyed_change("count", &[], &[("a", 2)])],
        ]),
    );
    assert_eq!(pairs(&contents, "count"), expected(&[("a", 2), ("c", 2)]));
}

/// Progress entries are set, replaced and deleted one by one.
pub fn progress_is_set_and_deleted(open: &Open) {
    let entry =
        |key: &str, value: Option<&str>| (key.as_bytes().to_vec(), value.map(|value| value.as_bytes().to_vec()));
    let commit = |epoch, entries| CommitRecord { sources: vec![("lines".to_owned(), entries)], ..empty_commit(epoch) };
    let contents = committed(
        open,
        vec![
            commit(1, vec![entry("a", Some("1")), entry("b", Some("1")), entry("c", Some(""))]),
            commit(2, vec![entry("a", Some("2")), entry("b", None), entry("never there", None)]),
        ],
    );
    let kept = BTreeMap::from([(b"a".to_vec(), b"2".to_vec()), (b"c".to_vec(), Vec::new())]);
    assert_eq!(contents.sources, BTreeMap::from([("lines".to_owned(), kept)]));
}

/// A sink has its newest token, a meta entry its newest value.
pub fn tokens_and_meta_are_replaced(open: &Open) {
    let commit = |epoch, name: &str, value: &str| CommitRecord {
        meta: vec![(name.to_owned(), value.as_bytes().to_vec())],
        sinks: vec![(name.to_owned(), token(0, value))],
        ..empty_commit(epoch)
    };
    let contents = committed(open, vec![commit(1, "a", "1"), commit(2, "b", "2"), commit(3, "a", "3")]);
    let sinks = BTreeMap::from([("a".to_owned(), token(0, "3")), ("b".to_owned(), token(0, "2"))]);
    assert_eq!(contents.sinks, sinks);
    assert_eq!(contents.meta, BTreeMap::from([("a".to_owned(), b"3".to_vec()), ("b".to_owned(), b"2".to_vec())]));
}

/// Panes come back by time, oldest first, the rows of one time in the order in which they were appended; dropping takes those
/// up to a time, and only those that were there.
pub fn panes_keep_their_order_and_are_dropped(open: &Open) {
    let contents = committed(
        open,
        with_state(vec![
            vec![append("window", 100, &[1]), append("window", -100, &[2]), append("window", 100, &[])],
            vec![append("window", 300, &[3, 4]), append("window", 100, &[5]), append("gone", 1, &[1])],
            vec![drop_panes("window", -1), drop_panes("gone", 1), append("window", -50, &[6])],
        ]),
    );
    let panes = BTreeMap::from([
        (BatchTime(-50), vec![numbers(&[6])]),
        (BatchTime(100), vec![numbers(&[1]), numbers(&[]), numbers(&[5])]),
        (BatchTime(300), vec![numbers(&[3, 4])]),
    ]);
    assert_eq!(contents.panes, BTreeMap::from([("window".to_owned(), panes)]));
}

/// All column types of the contract, with and without nulls, and values without columns.
pub fn every_type_comes_back(open: &Open) {
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("boolean", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])), true),
        ("int64", Arc::new(Int64Array::from(vec![i64::MIN, 0, i64::MAX])), false),
        ("float64", Arc::new(Float64Array::from(vec![Some(-0.5), Some(f64::INFINITY), None])), true),
        ("utf8", Arc::new(StringArray::from(vec![Some("é"), Some(""), None])), true),
        ("binary", Arc::new(BinaryArray::from(vec![Some(&b"\0\xff"[..]), None, Some(b"")])), true),
        ("timestamp", Arc::new(TimestampMicrosecondArray::from(vec![-1, 0, 1])), false),
    ];
    let values = RecordBatch::try_from_iter_with_nullable(columns).expect("six columns");
    let keys = BinaryArray::from_iter_values(["a", "b", "c"]);
    let change = StateChange::Keyed { deletes: BinaryArray::from_vec(vec![]), keys, values: values.clone() };
    let pane = StateChange::AppendPane { time: BatchTime(1), rows: values.slice(1, 2) };
    let node = |change| StateDelta { node: "node".to_owned(), change };
    let contents = committed(open, with_state(vec![vec![node(change), node(pane)]]));
    let rows: Vec<RecordBatch> = contents.keyed["node"].values().cloned().collect();
    assert_eq!(concat_batches(values.schema_ref(), &rows).expect("one schema"), values);
    assert_eq!(contents.panes["node"][&BatchTime(1)], [values.slice(1, 2)]);
}

/// Empty keys, long keys, keys of zeros.
pub fn keys_may_be_any_bytes(open: &Open) {
    let long = vec![0xff; 100_000];
    let all: Vec<&[u8]> = vec![b"", b"\0", b"\0\0", &long];
    let change = StateChange::Keyed {
        deletes: BinaryArray::from_vec(vec![b"\0\0\0"]),
        keys: BinaryArray::from_vec(all.clone()),
        values: numbers(&[1, 2, 3, 4]),
    };
    let contents = committed(open, with_state(vec![vec![StateDelta { node: "node".to_owned(), change }]]));
    let keys: Vec<&[u8]> = contents.keyed["node"].keys().map(Vec::as_slice).collect();
    assert_eq!(keys, all);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;

    #[test]
    fn memory_store_keeps_the_contract() {
        all(|| {
            let store = MemoryStore::new();
            Box::new(move || Box::new(store.clone()))
        });
    }
}
