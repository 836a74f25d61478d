//! What a built plugin is: a small component that can do nothing but log; and what is said of components that can do more, or
//! are of another version. Also the pictures of its plan.

use std::fs;

use millpond_tests::guests::write_wat;
use millpond_tests::{Finished, Job, component, root, run};
use wasmparser::component_types::ComponentEntityType;
use wasmparser::{Parser, Payload, Validator};

const PLUGINS: [&str; 2] = ["plugins/wordcount", "plugins/sliding-wordcount"];
const LOG: &str = "millpond:plugin/log@0.1.0";
const ACCUMULATORS: &str = "millpond:plugin/accumulators@0.1.0";
/// Interfaces without functions: a component names them for their types.
const TYPES: [&str; 2] = ["millpond:plugin/types@0.1.0", "millpond:plugin/dataflow@0.1.0"];
const JOB_GUEST: &str = "millpond:plugin/job-guest@0.1.0";

/// Well above what they are (some 200 KB), and well below what a careless dependency makes of them.
const COMPONENT_BYTES_MAX: usize = 400_000;

/// The names of all imports and exports: of the component, and of the modules in it.
#[derive(Default)]
struct Names {
    imports: Vec<String>,
    exports: Vec<String>,
    inner: Vec<String>,
}

fn names(bytes: &[u8]) -> Names {
    let mut names = Names::default();
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.expect("a component that was just built is valid") {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) => {
                let into = if depth == 1 { &mut names.imports } else { &mut names.inner };
                into.extend(section.into_iter().map(|import| import.expect("valid").name.name.to_owned()));
            }
            Payload::ComponentExportSection(section) => {
                let into = if depth == 1 { &mut names.exports } else { &mut names.inner };
                into.extend(section.into_iter().map(|export| export.expect("valid").name.name.to_owned()));
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.expect("valid");
                    names.inner.push(format!("{} {}", import.module, import.name));
                }
            }
            _ => {}
        }
    }
    names
}

/// The functions among a component's imports, as `interface function`.
fn imported_functions(bytes: &[u8], imports: &[String]) -> Vec<String> {
    let types = Validator::new().validate_all(bytes).expect("a component that was just built is valid");
    let types = types.as_ref();
    let functions = |import: &String| {
        let item = types.component_item_for_import(import).expect("it is one of the imports");
        let ComponentEntityType::Instance(id) = item.ty else { return vec![import.clone()] };
        let exports = types[id].exports.iter();
        let functions = exports.filter(|(_, item)| !matches!(item.ty, ComponentEntityType::Type { .. }));
        functions.map(|(name, _)| format!("{import} {name}")).collect()
    };
    imports.iter().flat_map(functions).collect()
}

#[test]
fn plugins_import_nothing_but_log_and_accumulators() {
    for plugin in PLUGINS {
        let bytes = fs::read(component(plugin)).expect("it was just built");
        let names = names(&bytes);
        assert_eq!(
            imported_functions(&bytes, &names.imports),
            [format!("{LOG} log"), format!("{ACCUMULATORS} add")],
            "{plugin}"
        );
        let strange = names
            .imports
            .iter()
            .find(|name| ![LOG, ACCUMULATORS].contains(&name.as_str()) && !TYPES.contains(&name.as_str()));
        assert_eq!(strange, None, "{plugin}");
        assert_eq!(names.exports, [JOB_GUEST], "{plugin}");
        let all = names.imports.iter().chain(&names.exports).chain(&names.inner);
        let wasi: Vec<_> = all.filter(|name| name.contains("wasi")).collect();
        assert!(wasi.is_empty() && !names.inner.is_empty(), "{plugin}: {wasi:?}");
    }
}

#[test]
fn plugins_are_small() {
    for plugin in PLUGINS {
        let bytes = fs::metadata(component(plugin)).expect("it was just built").len();
        assert!(bytes < COMPONENT_BYTES_MAX as u64, "{plugin} has {bytes} bytes");
    }
}

#[test]
fn inspect_shows_what_a_plugin_is() {
    for plugin in PLUGINS {
        let path = component(plugin);
        let finished = run(&["inspect", path.to_str().expect("UTF-8")]).expect_code(0);
        let line = |title: &str| {
            let line = finished.out.lines().find(|line| line.starts_with(title)).expect("each title has its line");
            line[title.len()..].trim().to_owned()
        };
        assert_eq!(line("kind"), "job");
        assert_eq!(line("wit version"), "0.1.0");
        let imports = line("imports");
        assert!(
            imports.split(", ").all(|name| [LOG, ACCUMULATORS].contains(&name) || TYPES.contains(&name)),
            "{imports}"
        );
        assert!(imports.contains(LOG), "{imports}");
        assert_eq!(line("exports"), JOB_GUEST);
        assert_eq!(line("digest").len(), 64);
        assert_eq!(line("size"), format!("{} bytes", fs::metadata(&path).expect("it is there").len()));
        assert!(finished.out.contains("source lines (source): line: utf8"), "{}", finished.out);
        assert!(finished.err.is_empty() && !finished.out.contains("wasi"), "{}{}", finished.out, finished.err);
    }
}

fn plan(plugin: &str, format: &str) -> String {
    component(plugin);
    let folder = root().join(plugin);
    let finished = run(&["plan", folder.to_str().expect("UTF-8"), "--no-build", "--format", format]).expect_code(0);
    assert!(finished.err.is_empty(), "{}", finished.err);
    finished.out
}

#[test]
fn narrow_operators_are_one_stage_before_the_first_shuffle() {
    for plugin in PLUGINS {
        let text = plan(plugin, "text");
        let first = text.split("stage 1\n").next().expect("there is something before the first shuffle");
        assert!(first.starts_with("stage 0\n") && text.contains("stage 1\n"), "{text}");
        let nodes: Vec<_> = first.lines().filter(|line| line.trim_start().starts_with('[')).collect();
        assert_eq!(nodes.len(), 2, "the source, and one stage that does all the rest: {text}");
        let operator = if plugin == PLUGINS[0] { "split" } else { "flat_map" };
        assert!(nodes[0].contains("source lines"), "{text}");
        assert!(nodes[1].contains(&format!("stage: {operator}, combine")), "{text}");
        assert_eq!(text.matches("stage: ").count(), 1, "{text}");
    }
}

#[test]
fn text_plan_shows_operators_and_columns() {
    let text = plan(PLUGINS[0], "text");
    for part in
        ["split", "reduce sum <- 1", "update-state", "top 10", "(word: utf8, count: int64) key word", "sink counts"]
    {
        assert!(text.contains(part), "`{part}` is missing in\n{text}");
    }
    let text = plan(PLUGINS[1], "text");
    assert!(text.contains("over 5s every 1s, with inverse"), "{text}");
}

#[test]
fn plan_follows_the_settings() {
    component(PLUGINS[0]);
    let folder = root().join(PLUGINS[0]);
    let args = ["plan", folder.to_str().expect("UTF-8"), "--no-build", "--set", "params.top=3"];
    assert!(run(&args).expect_code(0).out.contains("top 3"));
}

/// Node numbers of the edges in a picture, and its nodes.
fn shape(picture: &str, arrow: &str) -> (usize, Vec<(String, String)>) {
    let edges = picture.lines().filter_map(|line| line.trim().split_once(arrow));
    let edges: Vec<_> = edges
        .map(|(from, to)| (from.trim().to_owned(), to.split([' ', ';']).next().unwrap_or_default().to_owned()))
        .collect();
    let is_node = |line: &&str| {
        let name = line.trim().split(['[', ' ']).next().unwrap_or_default();
        name.strip_prefix('n').is_some_and(|number| number.parse::<u32>().is_ok()) && !line.contains(arrow)
    };
    (picture.lines().filter(is_node).count(), edges)
}

#[test]
fn pictures_have_the_same_nodes_and_edges() {
    for plugin in PLUGINS {
        let text = plan(plugin, "text");
        let nodes = text.lines().filter(|line| line.trim_start().starts_with('[')).count();
        let stages = text.lines().filter(|line| line.starts_with("stage ")).count();
        let graphviz = plan(plugin, "graphviz");
        assert!(graphviz.starts_with("digraph job {\n") && graphviz.trim_end().ends_with('}'), "{graphviz}");
        assert_eq!(graphviz.matches('{').count(), graphviz.matches('}').count(), "{graphviz}");
        assert_eq!(graphviz.matches("subgraph cluster_").count(), stages);
        let mermaid = plan(plugin, "mermaid");
        assert!(mermaid.starts_with("graph LR\n"), "{mermaid}");
        assert_eq!(mermaid.matches("subgraph ").count(), stages);
        assert_eq!(mermaid.lines().filter(|line| line.trim() == "end").count(), stages);
        assert_eq!(shape(&graphviz, " -> "), shape(&mermaid, " --> "), "{graphviz}{mermaid}");
        let (drawn, edges) = shape(&mermaid, " --> ");
        assert_eq!((drawn, edges.len()), (nodes, nodes - 1), "{plugin} is a chain");
    }
}

const JOB: &str = r#"
[job]
name = "wordcount"
component = "COMPONENT"
trigger = "available-now"

[sources.lines]
type = "files"
path = "in/*.txt"

[sinks.counts]
type = "file"
path = "out"
"#;

/// Runs a component in text form, which must be refused before anything is written.
#[track_caller]
fn refused(text: &str, code: &str, parts: &[&str]) -> Finished {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("strange.wasm");
    write_wat(&path, text);
    let job = Job::new(&path, JOB);
    job.input("a.txt", "a\n");
    job.run(&[]).expect_code(2).expect_err(&[&format!("error[{code}]: ")]).expect_err(parts);
    assert!(job.is_untouched(), "nothing may be written");
    // To look at it is allowed.
    run(&["inspect", path.to_str().expect("UTF-8")]).expect_code(0)
}

#[test]
fn component_that_imports_more_is_refused() {
    for import in ["wasi:clocks/wall-clock@0.2.0", "wasi:cli/environment@0.2.0", "millpond:plugin/network@0.1.0", "env"]
    {
        let text = format!(
            r#"(component (import "{import}" (instance)) (instance $guest) (export "{JOB_GUEST}" (instance $guest)))"#
        );
        let inspected = refused(&text, "MP0203", &[&format!("`{import}`"), LOG, ACCUMULATORS]);
        assert!(inspected.out.contains(import), "{}", inspected.out);
    }
}

#[test]
fn component_of_another_version_is_refused() {
    for interface in ["millpond:plugin/job-guest@0.2.0", "millpond:plugin/job-guest@1.0.0"] {
        let text = format!(r#"(component (instance $guest) (export "{interface}" (instance $guest)))"#);
        refused(&text, "MP0202", &[interface, JOB_GUEST, "rebuild"]);
    }
    let text = format!(
        r#"(component (import "millpond:plugin/log@0.2.0" (instance)) (instance $guest)
             (export "{JOB_GUEST}" (instance $guest)))"#
    );
    refused(&text, "MP0202", &["millpond:plugin/log@0.2.0"]);
}

#[test]
fn component_without_a_jobs_exports_is_refused() {
    refused("(component)", "MP0204", &[JOB_GUEST, "nothing"]);
    let text = format!(r#"(component (instance $guest) (export "{JOB_GUEST}" (instance $guest)))"#);
    refused(&text, "MP0204", &[JOB_GUEST]);
    let text = r#"(component (instance $guest) (export "millpond:plugin/transform-guest@0.1.0" (instance $guest)))"#;
    refused(text, "MP0204", &["transform", "[transforms.NAME]"]);
}

#[test]
fn component_that_needs_a_feature_which_is_off_is_refused() {
    let text = format!(
        r#"(component (core module (memory 1 1 shared)) (instance $guest) (export "{JOB_GUEST}" (instance $guest)))"#
    );
    refused(&text, "MP0205", &["millpond build"]);
}
