//! Every operator of the SDK has a golden case that passes: run straight, with a restart in the middle, with more partitions, with
//! fresh instances. The cases are those of `guests-sdk/operators`, and one of `guests-sdk/shout` with a second component.

use std::fs;
use std::path::PathBuf;

use millpond_tests::guests::upper;
use millpond_tests::reference::{Operator, sections};
use millpond_tests::{Finished, component, millpond, outside_target, root};

const OPERATORS: &str = "tests/guests-sdk/operators";
const SHOUT: &str = "tests/guests-sdk/shout";

/// Operators whose case has another name than theirs.
const ELSEWHERE: &[(&str, &str)] = &[
    ("StreamingContext.counter", "accumulators"),
    ("StreamingContext.sum", "accumulators"),
    ("StreamingContext.min", "accumulators"),
    ("StreamingContext.max", "accumulators"),
    ("StreamingContext.broadcast_map", "rates"),
    // Every case chooses its job with one.
    ("StreamingContext.param", "map"),
    ("State.get", "State"),
    ("State.exists", "State"),
    ("State.is_timing_out", "State"),
    ("State.update", "State"),
    ("State.remove", "State"),
];

/// Operators that no case of `guests-sdk/operators` can have.
const NOT_HERE: &[(&str, &str)] = &[
    ("StreamingContext.refuse", "it makes the plan fail, so that nothing comes out"),
    ("transform_by", "it takes a second component; see another_component_passes_its_case"),
];

/// What an operator's case is called: as the operator, behind its type where that is no stream.
fn case(operator: &Operator) -> String {
    let on = operator.on.split('<').next().unwrap_or_default();
    if on == "DStream" { operator.name.clone() } else { format!("{on}.{}", operator.name) }
}

/// Runs the cases of a plugin of `tests/`; what `millpond test` printed.
fn cases(folder: &str, args: &[&str]) -> String {
    component(folder);
    let folder = root().join(folder);
    let mut command = millpond(&[&["test", folder.to_str().expect("UTF-8"), "--no-build"], args].concat());
    command.env("CARGO_TARGET_DIR", outside_target());
    Finished::from(command.output().expect("the program starts")).expect_code(0).out
}

fn folder_of(case: &str) -> PathBuf {
    root().join(OPERATORS).join("tests").join(case)
}

#[test]
fn every_operator_has_a_golden_case() {
    let source = fs::read_to_string(root().join(OPERATORS).join("src/lib.rs")).expect("the guest has source");
    let sections = sections();
    let operators: Vec<&Operator> = sections.iter().flat_map(|section| &section.operators).collect();
    let mut lacking = Vec::new();
    for operator in &operators {
        let name = case(operator);
        if NOT_HERE.iter().any(|(known, _)| *known == name) {
            continue;
        }
        let case = ELSEWHERE.iter().find(|(known, _)| *known == name).map_or(name.as_str(), |(_, case)| case);
        let settings = fs::read_to_string(folder_of(case).join("case.toml")).unwrap_or_default();
        if !settings.contains(&format!("params.job={case}\"")) {
            lacking.push(format!("{name}: no tests/{case}/case.toml with params.job={case}"));
        }
        if !folder_of(case).join("expected.out.jsonl").is_file() {
            lacking.push(format!("{name}: no tests/{case}/expected.out.jsonl"));
        }
        let is_used = ["(", "::<"].iter().any(|end| source.contains(&format!(".{}{end}", operator.name)));
        if !is_used {
            lacking.push(format!("{name}: no job of src/lib.rs uses it"));
        }
    }
    let names: Vec<String> = operators.iter().map(|operator| case(operator)).collect();
    let known = ELSEWHERE.iter().chain(NOT_HERE).map(|(known, _)| *known);
    lacking.extend(
        known
            .filter(|known| !names.iter().any(|name| name == known))
            .map(|known| format!("{known}: the SDK has no such operator any more; take it out of this file")),
    );
    assert!(operators.len() > 80, "only {} operators were found", operators.len());
    assert!(lacking.is_empty(), "{OPERATORS} lacks\n{}", lacking.join("\n"));
}

#[test]
fn the_cases_of_all_operators_pass() {
    let out = cases(OPERATORS, &[]);
    let found = fs::read_dir(folder_of("")).expect("there are cases").count();
    assert!(out.ends_with(&format!("{found} cases, all ok, each 4 ways\n")), "{out}");
}

#[test]
fn another_component_passes_its_case() {
    let upper = format!("transforms.upper.component={}", upper().display());
    let out = cases(SHOUT, &["--set", &upper]);
    assert!(out.ends_with("1 case, all ok, each 4 ways\n"), "{out}");
}
