//! Components that no plugin folder gives: the hostile guest, the one in hand-written WebAssembly, and text of any kind.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use millpond_testkit::guests;
use millpond_wasm::componentize;
use wit_component::StringEncoding;

/// The job that misbehaves as its settings say, and passes lines on when they say nothing; see
/// `tests/guests/hostile/src/lib.rs`.
pub fn hostile() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let component = componentize(&guests::core_module("hostile")).expect("the test guest is a job");
        file("hostile", &component)
    })
    .clone()
}

/// The transform in hand-written WebAssembly: ASCII letters of its one column become upper case.
#[must_use]
pub fn upper() -> PathBuf {
    file("upper", &component_of_wat(&upper_text(), "transform"))
}

/// Its text, for tests that change it.
#[must_use]
pub fn upper_text() -> String {
    guests::source_file("upper/upper.wat")
}

/// A core module in text form as a component of a world.
///
/// # Panics
/// When the text is not that of a module which implements the world.
#[must_use]
pub fn component_of_wat(text: &str, world: &str) -> Vec<u8> {
    let mut module = wat::parse_str(text).expect("the guest is valid text");
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_dir(guests::repository().join("wit")).expect("the contract is valid");
    let world = resolve.select_world(&[package], Some(world)).expect("the contract has this world");
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .expect("metadata can be added to a module");
    componentize(&module).expect("the guest implements the world")
}

/// A file of these bytes. Renamed into place, so that a test program which runs at the same time sees all of it or none.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = crate::target().join("guests");
    std::fs::create_dir_all(&folder).expect("the target folder is ours");
    let path = folder.join(format!("{name}.component.wasm"));
    let temporary = folder.join(format!("{name}.{}.wasm.tmp", unique()));
    std::fs::write(&temporary, bytes).expect("the folder was just made");
    std::fs::rename(&temporary, &path).expect("both are in one folder");
    path
}

/// A number that no other thread or process has at this moment.
fn unique() -> String {
    format!("{}-{:?}", std::process::id(), std::thread::current().id()).replace(['(', ')'], "")
}

/// Writes a component in text form, or any other text that becomes binary WebAssembly, to a file.
///
/// # Panics
/// When the text is wrong, or the file cannot be written.
pub fn write_wat(path: &Path, text: &str) {
    std::fs::write(path, wat::parse_str(text).expect("the text is valid")).expect("a writable folder");
}
