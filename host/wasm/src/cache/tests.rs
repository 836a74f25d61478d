//! Tests of the store of compiled components, with the smallest component there is.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::engine::{EngineOptions, WasmEngine};
use crate::limits::STACK_BYTES_DEFAULT;

fn component() -> Vec<u8> {
    wat::parse_str("(component (core module $m (func (export \"f\") unreachable)) (core instance (instantiate $m)))")
        .unwrap()
}

fn engine(dir: &Path) -> WasmEngine {
    WasmEngine::try_new(EngineOptions { cache_dir: Some(dir.to_owned()), ..EngineOptions::default() }).unwrap()
}

/// How often a new process would compile.
fn compilations(dir: &Path) -> u64 {
    let engine = engine(dir);
    engine.component(&component(), STACK_BYTES_DEFAULT).unwrap();
    engine.compiled().compilations()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap() != KEY_FILE).collect()
}

fn cached() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(compilations(dir.path()), 1);
    let file = files(dir.path()).pop().unwrap();
    (dir, file)
}

#[test]
fn second_process_does_not_compile() {
    let (dir, _) = cached();
    assert_eq!(compilations(dir.path()), 0);
    assert_eq!(files(dir.path()).len(), 1, "no temporary files stay");
}

#[test]
fn second_load_in_a_process_does_not_compile_without_a_folder() {
    let engine = WasmEngine::try_new(EngineOptions::default()).unwrap();
    for _ in 0..2 {
        engine.component(&component(), STACK_BYTES_DEFAULT).unwrap();
    }
    assert_eq!(engine.compiled().compilations(), 1);
}

#[test]
fn every_damaged_byte_means_compiling_anew() {
    let (dir, file) = cached();
    let whole = fs::read(&file).unwrap();
    let damaged = [0, MAGIC.len(), MAGIC.len() + MAC_BYTES, whole.len() - 1];
    for at in damaged {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&file, &bytes).unwrap();
        assert_eq!(compilations(dir.path()), 1, "byte {at}");
        assert_eq!(fs::read(&file).unwrap().len(), whole.len(), "the damaged file is replaced");
    }
    for len in [0, 5, MAGIC.len() + 3, whole.len() / 2] {
        fs::write(&file, &whole[..len]).unwrap();
        assert_eq!(compilations(dir.path()), 1, "cut to {len} bytes");
    }
}

#[test]
fn file_of_another_component_is_not_taken() {
    let (dir, file) = cached();
    let other = tempfile::tempdir().unwrap();
    fs::copy(dir.path().join(KEY_FILE), other.path().join(KEY_FILE)).unwrap();
    let larger = wat::parse_str("(component (core module (func (export \"g\") unreachable)))").unwrap();
    engine(other.path()).component(&larger, STACK_BYTES_DEFAULT).unwrap();
    fs::copy(files(other.path()).pop().unwrap(), &file).unwrap();
    assert_eq!(compilations(dir.path()), 1);
}

#[test]
fn file_of_another_host_is_not_taken() {
    let (dir, _) = cached();
    fs::remove_file(dir.path().join(KEY_FILE)).unwrap();
    assert_eq!(compilations(dir.path()), 1);
}

#[cfg(unix)]
#[test]
fn key_is_private_and_one_that_is_not_is_replaced() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, _) = cached();
    let path = dir.path().join(KEY_FILE);
    let before = fs::read(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(compilations(dir.path()), 1);
    assert_ne!(fs::read(&path).unwrap(), before);
}

#[test]
fn folder_that_cannot_be_made_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "in the way").unwrap();
    assert_eq!(compilations(&file), 1);
}

#[test]
fn old_components_leave_memory() {
    let engine = Engine::default();
    let component = Component::new(&engine, component()).unwrap();
    let mut memory = InMemory::default();
    for number in 0..IN_MEMORY_MAX as u64 + 5 {
        memory.insert(([0; 32], number), component.clone());
    }
    assert_eq!(memory.components.len(), IN_MEMORY_MAX);
    assert!(!memory.components.contains_key(&([0; 32], 0)));
}
