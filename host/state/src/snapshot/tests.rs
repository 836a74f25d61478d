//! Snapshots alone: what is written is read, and damage anywhere is noticed.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{BinaryArray, Int64Array, RecordBatch};
use millpond_core::{BatchTime, Epoch, SinkToken};
use millpond_testkit::contract::state_store::Contents;
use tempfile::TempDir;

use super::*;
use crate::checkpoint::{Checkpoint, import};
use crate::chunk::{join, keys_only, split};
use crate::overlay::{Overlay, Pane};
use crate::state::Merge;

const LIMIT: Duration = Duration::from_secs(30);

fn go() -> bool {
    false
}

fn state() -> Overlay {
    let values = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1, 2])) as _)]).unwrap();
    let keys = join(&BinaryArray::from_vec(vec![b"a", b"b"]), &values).unwrap();
    let mut overlay = Overlay { last: Some((Epoch(9), BatchTime(90))), ..Overlay::default() };
    overlay.meta.insert("start-ms".to_owned(), b"1".to_vec());
    overlay.sources.entry("source".to_owned()).or_default().insert(b"file".to_vec(), Some(b"10".to_vec()));
    overlay.sinks.insert("sink".to_owned(), SinkToken { batch_time: BatchTime(90), data: b"token".to_vec() });
    overlay.node("both".to_owned()).put(keys, false);
    let node = overlay.node("both".to_owned());
    node.put(keys_only(&BinaryArray::from_vec(vec![b"c"])), false);
    let other = split(keys_only(&BinaryArray::from_vec(vec![b"row"]))).values;
    for (index, (time, rows)) in (0..).zip([(-10, values.clone()), (20, other), (20, values.slice(0, 0)), (30, values)])
    {
        node.panes.push(Pane { time: BatchTime(time), epoch: 3, index, rows });
    }
    overlay
}

fn contents(visit: impl FnOnce(&mut Merge<'_>) -> Result<()>) -> Contents {
    let nothing = Overlay::default();
    let mut merge = Merge::new(&nothing);
    visit(&mut merge).unwrap();
    Contents::of(merge.finish(Some((Epoch(9), BatchTime(90)))).unwrap())
}

/// A folder with a store and a snapshot of it.
fn made() -> (TempDir, Checkpoint, PathBuf) {
    let dir = TempDir::new().unwrap();
    let mut store = Checkpoint::create(&dir.path().join("store"), LIMIT).unwrap();
    store.fold(&state(), &go).unwrap();
    let snapshots = dir.path().join("snapshot");
    fs::create_dir(&snapshots).unwrap();
    // One that was broken off, and an older one.
    fs::create_dir(path_of(&snapshots, 9).with_extension("tmp")).unwrap();
    fs::create_dir(path_of(&snapshots, 4)).unwrap();
    assert_eq!(write(&snapshots, "job", &mut store).unwrap(), 9);
    assert_eq!(list(&snapshots).unwrap().iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>(), [9, 4]);
    remove_others(&snapshots, 9).unwrap();
    assert_eq!(fs::read_dir(&snapshots).unwrap().count(), 1);
    (dir, store, path_of(&snapshots, 9))
}

#[test]
fn snapshot_holds_what_the_checkpoint_holds_and_makes_another() {
    let (dir, mut store, path) = made();
    let expected = contents(|merge| store.visit(merge));
    let snapshot = Snapshot::open(&path).unwrap();
    assert_eq!(snapshot.last(), Some((Epoch(9), BatchTime(90))));
    assert_eq!(contents(|merge| snapshot.visit(merge)), expected);
    assert_eq!(expected.panes["both"].keys().map(|time| time.0).collect::<Vec<_>>(), [-10, 20, 30]);

    let mut second = Checkpoint::create(&dir.path().join("second"), LIMIT).unwrap();
    import(&mut second, &snapshot, &go).unwrap();
    assert_eq!(second.progress().epoch, 9);
    assert_eq!(contents(|merge| second.visit(merge)), expected);
}

#[test]
fn damage_in_any_file_is_noticed() {
    let (_dir, _store, path) = made();
    for entry in fs::read_dir(&path).unwrap() {
        let file = entry.unwrap().path();
        let whole = fs::read(&file).unwrap();
        for at in (0..whole.len()).step_by(17) {
            let mut bytes = whole.clone();
            bytes[at] ^= 2;
            fs::write(&file, &bytes).unwrap();
            // White space in the manifest may change without harm; nothing else may.
            let harmless = whole[at].is_ascii_whitespace() && bytes[at].is_ascii_whitespace();
            assert!(harmless || Snapshot::open(&path).is_err(), "byte {at} of {}", file.display());
        }
        fs::remove_file(&file).unwrap();
        assert!(Snapshot::open(&path).is_err());
        fs::write(&file, whole).unwrap();
        Snapshot::open(&path).unwrap();
    }
}

#[test]
fn snapshot_that_fails_leaves_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    Checkpoint::create(&path, LIMIT).unwrap().fold(&state(), &go).unwrap();
    let db = sled::open(&path).unwrap();
    let page = db.scan_prefix([0x20]).keys().next().unwrap().unwrap();
    db.remove(page).unwrap();
    db.flush().unwrap();
    drop(db);
    let mut store = Checkpoint::open(&path, LIMIT).unwrap().unwrap();
    let snapshots = dir.path().join("snapshot");
    fs::create_dir(&snapshots).unwrap();
    assert!(write(&snapshots, "job", &mut store).is_err());
    assert_eq!(fs::read_dir(&snapshots).unwrap().count(), 0);
}
