//! The expected output of a sink as a file, and what differs between two such outputs.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::datatypes::SchemaRef;
use millpond_connectors::{RecordFormatSpec, whole};
use millpond_testkit::diff::{Cells, Order, diff};
use serde_json::{Map, Value};

use super::case::bad;
use crate::error::Error;

/// What a sink gave: JSON lines by batch. A batch that gave nothing to the sink has no entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Batches(pub(crate) BTreeMap<u64, Vec<String>>);

const LINE_HELP: &str =
    "write a JSON object a line, and `# batch 1` before those of batch 1; `--bless` writes the whole file";

impl Batches {
    /// Reads a file, every row in the words in which the sink writes it.
    ///
    /// **Errors**: MP0113 for a line that is no row of the sink.
    pub(crate) fn parse(path: &Path, schema: &SchemaRef, text: &str) -> Result<Self, Error> {
        let wrong =
            |line: usize, problem: String| bad(path.to_owned(), format!("line {}: {problem}", line + 1), LINE_HELP);
        let mut batches: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        let mut current = None;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if let Some(comment) = line.strip_prefix('#') {
                let Some(batch) = comment.trim().strip_prefix("batch ") else { continue };
                let batch: u64 = batch.trim().parse().map_err(|_| wrong(number, format!("`{batch}` is no batch")))?;
                let (entry, before) = (batches.len(), batches.keys().next_back().copied().unwrap_or(0));
                if entry > 0 && batch <= before || batch == 0 {
                    return Err(wrong(number, format!("batch {batch} is out of order")));
                }
                batches.insert(batch, Vec::new());
                current = Some(batch);
            } else if !line.is_empty() {
                let batch = current.ok_or_else(|| wrong(number, "a row before the first `# batch 1`".to_owned()))?;
                let row = row(schema, line).map_err(|problem| wrong(number, problem))?;
                batches.entry(batch).or_default().push(row);
            }
        }
        Ok(Self(batches))
    }

    /// The file's text. Rows in any order are sorted, so that the file is the same each time.
    pub(crate) fn render(&self, order: Order) -> String {
        let mut text = String::new();
        for (batch, rows) in &self.0 {
            let mut rows = rows.clone();
            if order == Order::Any {
                rows.sort();
            }
            text.push_str(&format!("# batch {batch}\n"));
            rows.iter().for_each(|row| text.push_str(&format!("{row}\n")));
        }
        text
    }
}

/// A line as the sink would write it; what is wrong with it.
fn row(schema: &SchemaRef, line: &str) -> Result<String, String> {
    let cells: Map<String, Value> =
        serde_json::from_str(line).map_err(|error| format!("not a JSON object: {error}"))?;
    if let Some(stranger) = cells.keys().find(|name| schema.column_with_name(name).is_none()) {
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        return Err(format!("the sink has no column `{stranger}`; it has {}", names.join(", ")));
    }
    let decoded =
        whole::decode("", schema, RecordFormatSpec::Json, line.as_bytes()).map_err(|error| error.to_string())?;
    if let Some(bad) = decoded.bad_records.first() {
        return Err(bad.reason.clone());
    }
    let text = whole::json_lines(&decoded.batch).ok_or("a column of the sink has a type that cannot be written")?;
    Ok(text.trim_end().to_owned())
}

/// What differs, batch by batch; empty = nothing.
pub(crate) fn changes(schema: &SchemaRef, expected: &Batches, found: &Batches, order: Order) -> Vec<(u64, String)> {
    let columns: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let numbers: std::collections::BTreeSet<&u64> = expected.0.keys().chain(found.0.keys()).collect();
    let difference = |batch: &u64| {
        let (left, right) = (expected.0.get(batch), found.0.get(batch));
        let rows = |rows: Option<&Vec<String>>| rows.map_or_else(Vec::new, |rows| cells(&columns, rows));
        let note = match (left, right) {
            (Some(_), None) => "the batch gives nothing to the sink, and should\n",
            (None, Some(_)) => "the batch gives something to the sink, and should not\n",
            _ => "",
        };
        let table = diff(&columns, &rows(left), &rows(right), order);
        match (note, table) {
            ("", table) => table.map(|table| (*batch, table)),
            (note, table) => Some((*batch, format!("{note}{}", table.unwrap_or_default()).trim_end().to_owned())),
        }
    };
    numbers.into_iter().filter_map(difference).collect()
}

fn cells(columns: &[String], rows: &[String]) -> Vec<Cells> {
    let cells = |row: &String| {
        let row: Map<String, Value> = serde_json::from_str(row).unwrap_or_default();
        columns.iter().map(|name| row.get(name).map_or_else(String::new, Value::to_string)).collect()
    };
    rows.iter().map(cells).collect()
}
