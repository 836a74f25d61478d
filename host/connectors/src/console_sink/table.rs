//! A batch as a table.

use arrow::datatypes::DataType;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use millpond_core::schema::TIMESTAMP;
use millpond_core::{BatchTime, SinkBatch};

use super::ConsoleSinkOptions;
use crate::codec::values::{Value, Values};
use crate::time::format_ms;

/// Borders for comfy-table: thin lines, a line under the header, none between rows.
const BORDERS: &str = "││──├─┼┤│    ┬┴┌┐└┘";

/// What stands above a batch's table.
pub(super) fn title(batch_time: BatchTime, color: bool) -> String {
    let title = format!("Batch {}", format_ms(batch_time.0));
    if color { format!("\u{1b}[1m{title}\u{1b}[0m") } else { title }
}

/// The batch's table and, if rows were left out, their number. `None` if a column cannot be shown.
pub(super) fn draw(batch: &SinkBatch, options: &ConsoleSinkOptions) -> Option<String> {
    let limit = |value: u64| if value == 0 { usize::MAX } else { usize::try_from(value).unwrap_or(usize::MAX) };
    let (rows_max, chars_max) = (limit(options.rows), limit(options.truncate));
    let mut table = Table::new();
    table.load_preset(BORDERS).set_content_arrangement(ContentArrangement::Disabled);
    let fields = batch.schema.fields();
    let numeric = |data_type: &DataType| data_type.is_numeric() || *data_type == TIMESTAMP;
    let align = |column: usize| {
        if numeric(fields[column].data_type()) { CellAlignment::Right } else { CellAlignment::Left }
    };
    table.set_header(
        (0..fields.len())
            .map(|column| Cell::new(shorten(fields[column].name(), chars_max)).set_alignment(align(column))),
    );
    let (mut shown, mut total) = (0, 0);
    for partition in &batch.partitions {
        let columns = Values::of(&partition.rows)?;
        let take = partition.rows.num_rows().min(rows_max - shown);
        for row in 0..take {
            table.add_row(
                columns.iter().enumerate().map(|(column, values)| {
                    Cell::new(cell_text(values.get(row), chars_max)).set_alignment(align(column))
                }),
            );
        }
        shown += take;
        total += partition.rows.num_rows();
    }
    let mut text = format!("{table}\n");
    if total > shown {
        let rows = if total - shown == 1 { "row" } else { "rows" };
        text.push_str(&format!("... and {} more {rows}\n", total - shown));
    }
    Some(text)
}

fn cell_text(value: Value<'_>, chars_max: usize) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Utf8(text) => shorten(text, chars_max),
        value => shorten(&value.to_text(), chars_max),
    }
}

/// At most so many characters. Control characters are made visible: data must not steer the terminal or break the table.
fn shorten(text: &str, chars_max: usize) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count + 1 == chars_max && text.chars().nth(chars_max).is_some() {
            out.push('…');
            return out;
        }
        let bidi = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || bidi { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}
