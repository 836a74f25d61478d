//! The results for a person, as tables, and for a machine, as JSON.

use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use serde::Serialize;

use crate::case::{CaseResult, Figure, Phases};
use crate::machine::Machine;

/// Thin lines, one under the header.
const BORDERS: &str = "││──├─┼┤│    ┬┴┌┐└┘";

/// Everything that `--json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Results<'a> {
    /// Where it was measured.
    pub machine: &'a Machine,
    /// The day, UTC: `2026-11-21`.
    pub date: String,
    /// Runs of each side.
    pub repetitions: usize,
    /// Whether only a small part of the work was done: such figures mean nothing.
    pub quick: bool,
    /// What the cases found.
    pub cases: &'a [CaseResult],
    /// Cases that failed, with the reason.
    pub failures: &'a [(String, String)],
}

/// A case's result for a person.
pub(crate) fn render(result: &CaseResult) -> String {
    let mut table = Table::new();
    table.load_preset(BORDERS).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["", "unit", "median", "min .. max", "baseline", "ratio", "bar", "met"]);
    for figure in &result.figures {
        table.add_row(row(figure));
    }
    let mut text = format!("{}: {}\n", result.case, result.what);
    if !result.figures.is_empty() {
        writeln!(text, "{table}").expect("a string takes everything");
    }
    for Phases { of, phases } in &result.phases {
        let total: f64 = phases.iter().map(|(_, ms)| ms).sum();
        let of = if of.is_empty() { String::new() } else { format!(" of {of}") };
        let phases = phases.iter().map(|(name, ms)| format!("{name} {} ms ({:.0} %)", number(*ms), ms / total * 100.0));
        writeln!(text, "  time{of}: {}", phases.collect::<Vec<_>>().join(", ")).expect("a string takes everything");
    }
    for note in &result.notes {
        writeln!(text, "  {note}").expect("a string takes everything");
    }
    text
}

fn row(figure: &Figure) -> Vec<Cell> {
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let met = figure.met.map_or("", |met| if met { "yes" } else { "NO" });
    vec![
        Cell::new(&figure.name),
        Cell::new(&figure.unit),
        right(number(figure.median)),
        right(format!("{} .. {}", number(figure.min), number(figure.max))),
        right(figure.baseline.map(number).unwrap_or_default()),
        right(figure.ratio.map(|ratio| format!("{}x", number(ratio))).unwrap_or_default()),
        Cell::new(figure.bar.as_deref().unwrap_or_default()),
        Cell::new(met),
    ]
}

/// Three digits that count.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 || size == 0.0 => 2,
        size if size >= 0.09995 => 3,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Bar, figure};

    #[test]
    fn numbers_have_three_digits_that_count() {
        let shown = [123.4, 99.96, 12.34, 9.999, 1.234, 0.999_9, 0.1234, 0.0, -45.67].map(number);
        assert_eq!(shown, ["123", "100", "12.3", "10.0", "1.23", "1.00", "0.123", "0.00", "-45.7"]);
    }

    #[test]
    fn a_case_is_a_table_with_its_phases_and_notes() {
        let ours = [50.0, 60.0, 55.0];
        let phases = [("decode".to_owned(), 25.0), ("guest".to_owned(), 75.0)];
        let result = CaseResult {
            case: "w1".to_owned(),
            what: "counting".to_owned(),
            figures: vec![figure("throughput", "M/s", &ours).beside(&ours, &[100.0; 3]).must(Bar::RatioAtLeast(0.5))],
            phases: ["", "two"].map(|of| Phases { of: of.to_owned(), phases: phases.to_vec() }).into(),
            notes: vec!["a note".to_owned()],
        };
        let text = render(&result);
        for part in [
            "w1: counting\n",
            "│ throughput │ M/s  │   55.0 │ 50.0 .. 60.0 │      100 │ 0.550x │ >= 0.5x │ yes │\n",
            "  time: decode 25.0 ms (25 %), guest 75.0 ms (75 %)\n",
            "  time of two: decode 25.0 ms (25 %), guest 75.0 ms (75 %)\n",
            "  a note\n",
        ] {
            assert!(text.contains(part), "{part} is missing\n{text}");
        }
    }
}
