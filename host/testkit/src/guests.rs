//! Builds the guests of `tests/guests` for the tests that run them, once per process.
//!
//! They are compiled for `wasm32-unknown-unknown` into `target/guests`, with rustup's target or, where that is not
//! installed, with Debian's `rustc-web rust-web-src`. Where neither works, build them elsewhere and set
//! `MILLPOND_GUESTS_DIR` to the folder with `hostile.wasm`. What comes out are core modules; the test makes components of
//! them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A folder with guests that are built already.
pub const GUESTS_DIR_VARIABLE: &str = "MILLPOND_GUESTS_DIR";
const TARGET: &str = "wasm32-unknown-unknown";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust/library";

/// The core module of a Rust guest: `hostile`.
///
/// # Panics
///
/// When it cannot be built, with the reason and the remedy.
#[must_use]
pub fn core_module(name: &str) -> Vec<u8> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let folder = match FOLDER.get_or_init(build) {
        Ok(folder) => folder,
        Err(reason) => panic!("{reason}"),
    };
    let path = folder.join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("the test guest `{name}` is not at {}: {error}", path.display()))
}

/// A file of `tests/guests`, such as `upper/upper.wat`.
///
/// # Panics
///
/// When it cannot be read.
#[must_use]
pub fn source_file(path: &str) -> String {
    let path = source_folder().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// The folder `wit/` of this repository.
#[must_use]
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this crate is host/testkit of the repository").to_owned()
}

fn source_folder() -> PathBuf {
    repository().join("tests/guests")
}

fn build() -> Result<PathBuf, String> {
    if let Some(folder) = std::env::var_os(GUESTS_DIR_VARIABLE) {
        return Ok(folder.into());
    }
    let target_folder = target_folder();
    let mut cargo = cargo()?;
    cargo.args(["build", "--release", "--locked", "--target", TARGET]);
    cargo.current_dir(source_folder()).env("CARGO_TARGET_DIR", &target_folder);
    // What the host is compiled with (coverage, sanitizers, warnings as errors) does not suit a guest.
    for variable in
        ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"]
    {
        cargo.env_remove(variable);
    }
    let output = cargo.output().map_err(|error| format!("cannot start cargo to build tests/guests: {error}"))?;
    if !output.status.success() {
        let messages = String::from_utf8_lossy(&output.stderr);
        return Err(format!("building tests/guests for {TARGET} failed:\n{messages}"));
    }
    Ok(target_folder.join(TARGET).join("release"))
}

/// `target/guests` of the build that this test belongs to: the test's own executable is in `<target>/<profile>/deps`.
fn target_folder() -> PathBuf {
    let executable = std::env::current_exe().unwrap_or_default();
    let target = executable.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    target.map_or_else(|| repository().join("target"), Path::to_owned).join("guests")
}

/// A cargo that can compile for the target.
fn cargo() -> Result<Command, String> {
    if has_rustup_target() {
        return Ok(Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())));
    }
    if Path::new(DEBIAN_CARGO).is_file() && Path::new(DEBIAN_SOURCE).is_dir() {
        let mut cargo = Command::new(DEBIAN_CARGO);
        cargo.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=std,panic_abort");
        return Ok(cargo);
    }
    Err(format!(
        "these tests run guests, and this machine cannot compile for {TARGET}: run `rustup target add {TARGET}`, or install \
         Debian's rustc-web, rust-web-src and lld, or set {GUESTS_DIR_VARIABLE} to a folder with the guests"
    ))
}

fn has_rustup_target() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    output.is_ok_and(|output| {
        output.status.success() && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir()
    })
}
