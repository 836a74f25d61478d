//! The bench itself, end to end: every case on a small part of its work. Answers are compared, times are not.

use std::env::consts::EXE_SUFFIX;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[test]
fn every_case_runs_and_says_what_it_found() {
    let bench = || Command::new(env!("CARGO_BIN_EXE_bench"));
    let list = bench().arg("--list").output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let names: Vec<&str> = list.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.len() >= 12, "{list}");

    // The program as the end-to-end tests have it, or as it was built last.
    let programs = Path::new(env!("CARGO_BIN_EXE_bench")).parent().unwrap();
    let found = ["millpond-under-test", "millpond"].map(|name| programs.join(format!("{name}{EXE_SUFFIX}")));
    let millpond = found.iter().find(|path| path.is_file());
    let millpond = millpond.expect("no program to measure: run `cargo test --workspace`, or `cargo build` first");
    let mut command = bench();
    command.args(["--quick", "--repetitions", "1", "--json", "--millpond"]).arg(millpond);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let results: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(results["failures"], Value::Array(Vec::new()), "{said}");
    assert_eq!((&results["quick"], &results["repetitions"]), (&Value::Bool(true), &Value::from(1)));
    let cases = results["cases"].as_array().unwrap();
    assert_eq!(cases.iter().map(|case| case["case"].as_str().unwrap()).collect::<Vec<_>>(), names);
    for case in cases {
        let figures = case["figures"].as_array().unwrap();
        assert!(!figures.is_empty(), "{case}");
        for figure in figures {
            let number = |name: &str| figure[name].as_f64().unwrap_or_else(|| panic!("{name} of {figure}"));
            let (min, median, max) = (number("min"), number("median"), number("max"));
            assert!(min <= median && median <= max && max >= 0.0, "{figure}");
            assert_eq!(figure["met"], Value::Null, "a small part of the work reaches no bar: {figure}");
        }
    }
    let phases_of = |name: &str| {
        let case = cases.iter().find(|case| case["case"] == name).unwrap();
        let phases = case["phases"].as_array().unwrap().iter();
        phases.map(|phases| phases["phases"].as_array().unwrap().len()).collect::<Vec<_>>()
    };
    for (name, kinds) in [
        ("w1", 1),
        ("w2", 1),
        ("w3", 1),
        ("many-keys", 2),
        ("cores", 2),
        ("empty", 1),
        ("latency", 1),
        ("bad-input", 8),
    ] {
        assert_eq!(phases_of(name), vec![6; kinds], "decode to sink: {name}");
    }
}
