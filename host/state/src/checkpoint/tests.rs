//! The checkpoint store alone: folds, broken-off folds, growth of a node's pages.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{BinaryArray, Int64Array};
use millpond_testkit::contract::state_store::Contents;
use tempfile::TempDir;

use super::*;
use crate::chunk::{join, keys_only};
use crate::overlay::Overlay;
use crate::state::Merge;

const LIMIT: Duration = Duration::from_secs(30);

fn go() -> bool {
    false
}

fn rows(keys: Range<i64>, value: i64) -> RecordBatch {
    let values = Int64Array::from_iter_values(keys.clone().map(|_| value));
    let keys = BinaryArray::from_iter_values(keys.map(|key| key.to_string()));
    join(&keys, &RecordBatch::try_from_iter([("n", Arc::new(values) as _)]).unwrap()).unwrap()
}

fn overlay(epoch: u64, parts: &[(Range<i64>, bool)]) -> Overlay {
    let mut overlay = Overlay { last: Some((Epoch(epoch), BatchTime(0))), ..Overlay::default() };
    for (keys, deleted) in parts {
        let rows = rows(keys.clone(), epoch.cast_signed());
        let rows = if *deleted { keys_only(crate::chunk::keys_of(&rows)) } else { rows };
        overlay.node("node".to_owned()).put(rows, *deleted);
    }
    overlay
}

fn contents(store: &mut Checkpoint) -> Contents {
    let nothing = Overlay::default();
    let mut merge = Merge::new(&nothing);
    store.visit(&mut merge).unwrap();
    Contents::of(merge.finish(store.progress().last()).unwrap())
}

fn made(dir: &TempDir) -> Checkpoint {
    let mut store = Checkpoint::create(&dir.path().join("store"), LIMIT).unwrap();
    store.begin().unwrap();
    store
}

fn reopened(dir: &TempDir, store: Checkpoint) -> Checkpoint {
    drop(store);
    Checkpoint::open(&dir.path().join("store"), LIMIT).unwrap().unwrap()
}

#[test]
fn growing_node_gets_more_pages_and_keeps_its_keys() {
    let dir = TempDir::new().unwrap();
    let mut store = made(&dir);
    let mut expected = BTreeMap::new();
    for epoch in 1..=8 {
        let (from, to) = (1i64 << (epoch + 4), 1i64 << (epoch + 6));
        store.fold(&overlay(epoch, &[(from..to, false), (0..from / 2, true)]), &go).unwrap();
        expected.extend((from..to).map(|key| (key.to_string().into_bytes(), epoch)));
        expected.retain(|key, _| std::str::from_utf8(key).unwrap().parse::<i64>().unwrap() >= from / 2);
        store = reopened(&dir, store);
        let found = contents(&mut store);
        assert_eq!(found.keyed["node"].len(), expected.len());
        assert!(found.keyed["node"].keys().eq(expected.keys()));
    }
    let node = store.nodes["node"];
    assert!(node.bits >= 5, "{node:?}");
    assert_eq!(node.keys, expected.len() as u64);
    assert_eq!(node.bits, node.bits_max);
}

#[test]
fn fold_done_twice_is_as_one_done_once() {
    let dir = TempDir::new().unwrap();
    let mut store = made(&dir);
    store.fold(&overlay(1, &[(0..1000, false)]), &go).unwrap();
    // Applied and never declared whole, in one case with more pages.
    for (broken, again) in [(0..500, 0..600), (0..9000, 0..10_000)] {
        store.write_progress(Progress { folding_to: 2, ..store.progress }).unwrap();
        store.apply(&overlay(2, &[(broken.clone(), false), (700..800, true)]), &go).unwrap();
        store = reopened(&dir, store);
        store.fold(&overlay(2, &[(again.clone(), false), (700..800, true), (1..2, true)]), &go).unwrap();
        let found = contents(&mut store);
        let deleted = |key: &i64| (700..800).contains(key) || *key == 1;
        let expected = (0..again.end.max(1000)).filter(|key| !deleted(key)).count();
        assert_eq!(found.keyed["node"].len(), expected);
        store = reopened(&dir, store);
        assert_eq!(contents(&mut store), found);
        store.progress.epoch = 1;
    }
}

#[test]
fn growth_broken_off_anywhere_loses_and_doubles_nothing() {
    let dir = TempDir::new().unwrap();
    let mut store = made(&dir);
    store.fold(&overlay(1, &[(0..3000, false)]), &go).unwrap();
    let before = store.nodes["node"].bits;
    let mut epoch = 1u64;
    for families in [0u32, 1, 3, 7, 1000] {
        epoch += 1;
        let from = 3000 * epoch.cast_signed();
        let more = |keys: i64| overlay(epoch, &[(from..from + keys, false), (epoch.cast_signed()..100, true)]);
        let left = std::cell::Cell::new(families);
        let broken = store.fold(&more(2500), &|| left.replace(left.get().saturating_sub(1)) == 0);
        assert_eq!(broken.is_err(), families < 1000);
        store = reopened(&dir, store);
        // The second try has more to fold than the first had.
        store.fold(&more(3000), &go).unwrap();
        store = reopened(&dir, store);
        assert_eq!(contents(&mut store).keyed["node"].len(), 3000 - 98 + 3000 * (epoch as usize - 1));
    }
    assert!(store.nodes["node"].bits > before);
}

#[test]
fn store_whose_making_was_broken_off_counts_for_nothing() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    drop(Checkpoint::create(&path, LIMIT).unwrap());
    assert!(Checkpoint::open(&path, LIMIT).unwrap().is_none());
}

#[test]
fn stopped_fold_says_so() {
    let dir = TempDir::new().unwrap();
    let mut store = made(&dir);
    let stopped = store.fold(&overlay(1, &[(0..10, false)]), &|| true);
    assert!(matches!(stopped, Err(Error::Stopped)));
    let mut store = reopened(&dir, store);
    assert_eq!(store.progress(), Progress { epoch: 0, batch_time: 0, folding_to: 1 });
    store.fold(&overlay(1, &[(0..10, false)]), &go).unwrap();
    assert_eq!(contents(&mut store).keyed["node"].len(), 10);
}

#[test]
fn other_entry_version_is_named_and_not_called_damage() {
    let dir = TempDir::new().unwrap();
    let store = made(&dir);
    let mut value = store.db.get(layout::PROGRESS).unwrap().unwrap().to_vec();
    value[0] = 9;
    let mut hasher = crc32fast::Hasher::new();
    [&value[..1], layout::PROGRESS, &value[5..]].iter().for_each(|part| hasher.update(part));
    value[1..5].copy_from_slice(&hasher.finalize().to_le_bytes());
    store.db.insert(layout::PROGRESS, value).unwrap();
    drop(store);
    let opened = Checkpoint::open(&dir.path().join("store"), LIMIT);
    assert!(matches!(opened, Err(Error::Version { found: 9, expected: 1, .. })));
}
