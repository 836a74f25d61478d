//! The rules of the house that rustc does not check: which crate may depend on which, where a big dependency may be
//! named, how files open, and that every error code has its page.
//!
//! The one idea: read what Cargo and the files say, compare it with the tables below, and name every offender at once. A new
//! crate needs a line in `LAYERS`. `deny.toml` says the same of outside dependencies for the whole tree; `ARCHITECTURE.md`
//! has the reasons.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What a crate of ours may name among our crates.
struct Layer {
    name: &'static str,
    normal: &'static [&'static str],
    /// Beyond `normal`, for its tests.
    dev: &'static [&'static str],
}

const CORE: &[&str] = &["millpond-core"];
const TESTKIT: &[&str] = &["millpond-testkit"];
const ADAPTERS_AND_ENGINE: &[&str] =
    &["millpond-core", "millpond-engine", "millpond-wasm", "millpond-state", "millpond-connectors"];
const CLI: &[&str] = &[
    "millpond-core",
    "millpond-engine",
    "millpond-wasm",
    "millpond-build",
    "millpond-state",
    "millpond-connectors",
    "millpond-testkit",
];

const LAYERS: &[Layer] = &[
    Layer { name: "millpond-deps", normal: &[], dev: &[] },
    Layer { name: "millpond-core", normal: &[], dev: &[] },
    Layer { name: "millpond-testkit", normal: CORE, dev: &[] },
    Layer { name: "millpond-engine", normal: CORE, dev: TESTKIT },
    Layer { name: "millpond-wasm", normal: CORE, dev: TESTKIT },
    Layer { name: "millpond-build", normal: &["millpond-core", "millpond-wasm"], dev: &[] },
    Layer { name: "millpond-state", normal: CORE, dev: TESTKIT },
    Layer { name: "millpond-connectors", normal: CORE, dev: TESTKIT },
    // The testkit is what `millpond test` runs golden cases on.
    Layer { name: "millpond-cli", normal: CLI, dev: &[] },
    Layer { name: "millpond-embed", normal: ADAPTERS_AND_ENGINE, dev: &[] },
    Layer { name: "millpond-macros", normal: &[], dev: &[] },
    Layer { name: "millpond", normal: &["millpond-macros"], dev: &[] },
    Layer {
        name: "millpond-test",
        // The last two only with feature `component`.
        normal: &[
            "millpond",
            "millpond-core",
            "millpond-engine",
            "millpond-testkit",
            "millpond-wasm",
            "millpond-build",
        ],
        dev: &[],
    },
    // The end-to-end tests drive the product as a whole, so they may name any of the host's crates.
    Layer {
        name: "millpond-tests",
        normal: &[
            "millpond-core",
            "millpond-engine",
            "millpond-wasm",
            "millpond-state",
            "millpond-connectors",
            "millpond-cli",
            "millpond-testkit",
        ],
        dev: &["millpond", "millpond-embed", "millpond-test"],
    },
    // So does the bench.
    Layer {
        name: "millpond-bench",
        normal: &[
            "millpond",
            "millpond-core",
            "millpond-engine",
            "millpond-wasm",
            "millpond-state",
            "millpond-connectors",
            "millpond-cli",
            "millpond-test",
            "millpond-testkit",
        ],
        dev: &[],
    },
];

/// Outside crates that one of ours keeps to itself. `millpond-deps` names everything and may.
const KEPT: &[(&str, &str)] = &[
    ("wasmtime", "millpond-wasm"),
    ("sled", "millpond-state"),
    ("rdkafka", "millpond-connectors"),
    ("redis", "millpond-connectors"),
    ("axum", "millpond-server"),
];

/// The crate that only lists dependencies; see its own page.
const DEPS: &str = "millpond-deps";

struct Package {
    name: String,
    /// Name and kind (`normal`, `dev`, `build`) of each dependency.
    dependencies: Vec<(String, String)>,
}

#[test]
fn crates_depend_only_on_the_layers_below_them() {
    let packages = packages();
    let ours: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let layers: BTreeMap<&str, &Layer> = LAYERS.iter().map(|layer| (layer.name, layer)).collect();
    let mut offences = Vec::new();
    for package in &packages {
        let Some(layer) = layers.get(package.name.as_str()) else {
            offences.push(format!("{} has no line in LAYERS: say what it may depend on", package.name));
            continue;
        };
        for (dependency, kind) in &package.dependencies {
            let dependency = dependency.as_str();
            let allowed = layer.normal.contains(&dependency) || (kind == "dev" && layer.dev.contains(&dependency));
            if ours.contains(dependency) && !allowed {
                offences.push(format!("{} must not depend on {dependency} ({kind})", package.name));
            }
        }
    }
    assert_none(&offences);
}

#[test]
fn every_layer_is_a_crate_of_the_workspace() {
    let packages = packages();
    let gone: Vec<String> = LAYERS
        .iter()
        .filter(|layer| !packages.iter().any(|package| package.name == layer.name))
        .map(|layer| format!("{} is in LAYERS and not in the workspace", layer.name))
        .collect();
    assert_none(&gone);
}

#[test]
fn big_dependencies_are_named_by_one_crate_only() {
    let mut offences = Vec::new();
    for package in packages() {
        for (dependency, kind) in &package.dependencies {
            let keeper = KEPT.iter().find(|(name, _)| name == dependency).map(|(_, keeper)| *keeper);
            if let Some(keeper) = keeper
                && package.name != keeper
                && package.name != DEPS
            {
                offences.push(format!("{} names {dependency} ({kind}), which only {keeper} may", package.name));
            }
        }
    }
    assert_none(&offences);
}

#[test]
fn anyhow_stays_at_the_edge() {
    let edge = ["millpond-cli", "millpond-tests", "millpond-bench", DEPS];
    let offences: Vec<String> = packages()
        .iter()
        .filter(|package| !edge.contains(&package.name.as_str()))
        .filter(|package| package.dependencies.contains(&("anyhow".to_owned(), "normal".to_owned())))
        .map(|package| format!("{} names anyhow: a library has an `Error` of its own", package.name))
        .collect();
    assert_none(&offences);
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let mut offences = Vec::new();
    for (path, text) in sources() {
        // trybuild compares these with compiler messages that quote their lines.
        let is_compile_test = path.components().any(|part| part.as_os_str() == "ui");
        if !is_compile_test && !text.starts_with("//!") {
            offences.push(format!("{} must open with `//!` and say what it is for", path.display()));
        }
    }
    assert_none(&offences);
}

#[test]
fn nothing_is_left_to_do() {
    // Put together here so that this file does not offend against itself.
    let marks = [concat!("todo", "!("), concat!("unimplemented", "!(")];
    let mut offences = Vec::new();
    for (path, text) in sources() {
        for (index, line) in text.lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| line.contains(**mark)) {
                offences.push(format!("{} line {} has `{mark}`", path.display(), index + 1));
            }
        }
    }
    assert_none(&offences);
}

#[test]
fn every_error_code_has_a_page() {
    let mut offences = Vec::new();
    for (path, text) in sources() {
        for code in error_codes(&text) {
            if millpond_core::error::explain(code).is_none() {
                offences.push(format!("{} names {code}, which has no page in host/core/src/codes", path.display()));
            }
        }
    }
    assert_none(&offences);
}

#[test]
fn every_page_is_listed_and_whole() {
    let folder = root().join("host/core/src/codes");
    let mut offences = Vec::new();
    for entry in list(&folder) {
        let path = entry.path();
        let code = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let Some(page) = millpond_core::error::explain(code) else {
            offences.push(format!("{} is not in the list of host/core/src/error.rs", path.display()));
            continue;
        };
        for part in ["\n## Example\n", "\n## What to do\n", &format!("error[{code}]: ")] {
            if !page.contains(part) {
                offences.push(format!("{} lacks `{}`", path.display(), part.trim()));
            }
        }
        // A page is read in a terminal, all at once: a dozen lines at least, or it says nothing; a screen at most.
        if !(12..=35).contains(&page.lines().count()) || page.lines().any(|line| line.chars().count() > 100) {
            offences.push(format!("{} should have 12 to 35 lines of at most 100 characters", path.display()));
        }
    }
    assert_none(&offences);
}

/// The error codes that a text names: `MP0` and three digits, with neither digit nor letter around them.
fn error_codes(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("MP0").filter_map(move |(start, _)| {
        let code = text.get(start..start + 6)?;
        let is_inside_a_word = text[..start].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            || text[start + 6..].starts_with(|c: char| c.is_ascii_alphanumeric());
        (code[3..].bytes().all(|byte| byte.is_ascii_digit()) && !is_inside_a_word).then_some(code)
    })
}

#[test]
fn error_codes_are_found_in_text() {
    let text = "Code(\"MP0301\") and MP0402, not MP1, MP03011, XMP0301 or MP03";
    assert_eq!(error_codes(text).collect::<Vec<_>>(), ["MP0301", "MP0402"]);
}

/// Names all offenders in one failure.
#[track_caller]
fn assert_none(offences: &[String]) {
    assert!(offences.is_empty(), "rules of the house are broken:\n  {}", offences.join("\n  "));
}

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests folder lies in the repository").to_path_buf()
}

/// The crates of the host workspace, as Cargo sees them. Needs no network.
fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs, for it runs this test");
    assert!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata writes JSON");
    metadata["packages"].as_array().expect("cargo metadata lists packages").iter().map(package).collect()
}

fn package(value: &Value) -> Package {
    let name_of = |value: &Value| value["name"].as_str().expect("everything in cargo metadata has a name").to_owned();
    let dependencies = value["dependencies"].as_array().expect("a package has a list of dependencies");
    // Cargo writes null for the kind of an ordinary dependency.
    let kind_of = |dependency: &Value| dependency["kind"].as_str().unwrap_or("normal").to_owned();
    Package {
        name: name_of(value),
        dependencies: dependencies.iter().map(|dependency| (name_of(dependency), kind_of(dependency))).collect(),
    }
}

/// Every Rust file of ours with its text; paths are relative to the repository.
fn sources() -> Vec<(PathBuf, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ["host", "guest-sdk", "tests", "plugins"].map(|name| root.join(name)).into();
    while let Some(folder) = folders.pop() {
        for entry in list(&folder) {
            let path = entry.path();
            let name = entry.file_name();
            // Build output, and what begins with a dot (state folders of jobs), is not ours.
            let is_ours = name != "target" && !name.to_string_lossy().starts_with('.');
            if path.is_dir() && is_ours {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                found.push((path.strip_prefix(&root).unwrap_or(&path).to_path_buf(), text));
            }
        }
    }
    assert!(!found.is_empty(), "no Rust file was found under {}", root.display());
    found
}

fn list(folder: &Path) -> Vec<DirEntry> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<_, _>>);
    entries.unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()))
}
