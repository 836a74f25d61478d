//! Two lists of columns that should be the same, as the lines of an error message, with marks below what differs.
//!
//! ```text
//!   expected: id: utf8, at: timestamp
//!   found:    id: utf8, at: int64
//!                           ^^^^^^^^^
//! ```
//!
//! Columns that are too many or too long for two lines come one below the other:
//!
//! ```text
//!   - is expected, + is found:
//!       id: utf8
//!     - at: timestamp
//!     + at: int64
//!           ^^^^^^^^^
//!     ... 35 columns are the same
//! ```
//!
//! Every line begins with two spaces, which is how a message's own lines are told from text of others. How columns are paired and shown
//! one below the other is in `difference/list.rs`.

mod list;

use std::ops::Range;

use arrow::datatypes::{DataType, Field, Schema};

use super::{children, map_entry, type_name};

/// Lines are as long as this at most, where what they show can be cut or broken. A guess: the width of many a terminal.
const LINE_CHARS_MAX: usize = 100;

/// Two schemas, each with what to call it, and marks below the columns whose type or nullability differs. Names of columns are shown
/// and, as in [`same_types`](super::same_types), not compared; those of a struct's fields are.
#[must_use]
pub fn difference(expected: (&str, &Schema), found: (&str, &Schema)) -> String {
    let columns = |schema: &Schema| schema.fields().iter().map(|field| Column::of(field)).collect::<Vec<_>>();
    let names = Names::Differ;
    show(&Sides { labels: [expected.0, found.0], columns: [columns(expected.1), columns(found.1)], names })
}

/// As [`difference`], of schemas that were kept as [`describe`](super::describe) shows them. Here names are compared, too.
#[must_use]
pub fn difference_of_texts(expected: (&str, &str), found: (&str, &str)) -> String {
    let columns = [parse(expected.1), parse(found.1)];
    show(&Sides { labels: [expected.0, found.0], columns, names: Names::Count })
}

/// Whether columns of the same type and different names are the same.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Differ,
    Count,
}

/// What is compared: first what is expected, then what is found.
struct Sides<'a> {
    labels: [&'a str; 2],
    columns: [Vec<Column>; 2],
    names: Names,
}

/// A column, or a part of one; parts of lists and maps have no names.
struct Column {
    name: String,
    /// The type's name without what is inside: `struct`.
    kind: String,
    inside: Vec<Column>,
    is_nullable: bool,
}

/// A column of one side and that of the other that stands for it; never two times none.
type Pair<'a> = [Option<&'a Column>; 2];

impl Column {
    fn of(field: &Field) -> Self {
        let unnamed = |field: &Field| Self { name: String::new(), ..Self::of(field) };
        let (kind, inside) = match field.data_type() {
            DataType::List(item) => ("list", vec![unnamed(item)]),
            DataType::Map(entries, _) => {
                let entry = map_entry(entries).map(|(key, value)| vec![unnamed(key), unnamed(value)]);
                ("map", entry.unwrap_or_default())
            }
            structure @ DataType::Struct(_) => {
                ("struct", children(structure).iter().map(|field| Self::of(field)).collect())
            }
            _ => ("", Vec::new()),
        };
        let is_plain = inside.is_empty();
        let plain = || type_name(field.data_type()).unwrap_or_else(|| field.data_type().to_string());
        let kind = if is_plain { plain() } else { kind.to_owned() };
        Self { name: field.name().clone(), kind, inside, is_nullable: field.is_nullable() }
    }

    /// The type as [`describe`](super::describe) shows it.
    fn type_text(&self) -> String {
        let mark = if self.is_nullable { "?" } else { "" };
        if self.inside.is_empty() {
            return format!("{}{mark}", self.kind);
        }
        let inside: Vec<String> = self.inside.iter().map(|part| part.text(0)).collect();
        format!("{}<{}>{mark}", self.kind, inside.join(", "))
    }

    /// Name and type; the type begins as if the name had so many characters.
    fn text(&self, name_chars: usize) -> String {
        match (self.name.as_str(), name_chars) {
            ("", 0) => self.type_text(),
            ("", _) => format!("{:name_chars$}  {}", "", self.type_text()),
            (name, _) => {
                format!("{:name_chars$} {}", format!("{name}:"), self.type_text(), name_chars = name_chars + 1)
            }
        }
    }

    fn is_same(&self, other: &Self, names: Names) -> bool {
        (names == Names::Differ || self.name == other.name)
            && self.kind == other.kind
            && self.is_nullable == other.is_nullable
            && self.inside.len() == other.inside.len()
            && self.inside.iter().zip(&other.inside).all(|(part, other)| part.is_same(other, Names::Count))
    }
}

/// The columns of a text that [`describe`](super::describe) made. One of names with punctuation in them may be taken apart elsewhere
/// than it was put together; all of it is shown nevertheless.
fn parse(text: &str) -> Vec<Column> {
    let mut depth = 0u32;
    let mut columns = Vec::new();
    let mut start = 0;
    for (at, c) in text.char_indices() {
        match c {
            '<' | '(' => depth += 1,
            '>' | ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                columns.push(parse_column(text[start..at].trim()));
                start = at + 1;
            }
            _ => {}
        }
    }
    let last = text[start..].trim();
    columns.extend((!last.is_empty()).then(|| parse_column(last)));
    columns
}

fn parse_column(text: &str) -> Column {
    // What is inside of a list or map has no name, and what is inside of that may.
    let name_end = text.find(": ").filter(|end| !text[..*end].contains('<'));
    let (name, text) = name_end.map_or(("", text), |end| (&text[..end], &text[end + 2..]));
    let (text, is_nullable) = text.strip_suffix('?').map_or((text, false), |text| (text, true));
    let (kind, inside) = match text.strip_suffix('>').and_then(|text| text.split_once('<')) {
        Some((kind, inside)) => (kind, parse(inside)),
        None => (text, Vec::new()),
    };
    Column { name: name.to_owned(), kind: kind.to_owned(), inside, is_nullable }
}

fn show(sides: &Sides<'_>) -> String {
    let [expected, found] = &sides.columns;
    let pairs = list::pairs([expected, found], sides.names);
    in_two_lines(sides, &pairs).unwrap_or_else(|| list::below_each_other(sides, &pairs))
}

/// Both sides in a line each; `None` if they are too long for that.
fn in_two_lines(sides: &Sides<'_>, pairs: &[Pair<'_>]) -> Option<String> {
    let label_chars = sides.labels.iter().map(|label| label.chars().count()).max().unwrap_or(0) + 1;
    let mut lines = sides.labels.map(|label| format!("  {:label_chars$} ", format!("{label}:")));
    let mut marks = " ".repeat(label_chars + 3);
    for (number, pair) in pairs.iter().enumerate() {
        let (texts, differs) = pair_texts(*pair, sides.names);
        let chars = texts.iter().map(|text| text.chars().count()).max().unwrap_or(0);
        for (side, text) in texts.iter().enumerate() {
            let is_last = pairs[number + 1..].iter().all(|pair| pair[side].is_none());
            let comma = if pair[side].is_none() || is_last { "" } else { "," };
            lines[side].push_str(&format!("{:chars$} ", format!("{text}{comma}"), chars = chars + 1));
        }
        let differs = differs.unwrap_or(0..0);
        let mark = "^".repeat(differs.len());
        marks.push_str(&format!("{:start$}{mark:rest$}", "", start = differs.start, rest = chars + 2 - differs.start));
    }
    let lines = [lines[0].trim_end(), lines[1].trim_end(), marks.trim_end()];
    let fits = lines.iter().all(|line| line.chars().count() <= LINE_CHARS_MAX);
    fits.then(|| lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n"))
}

/// The texts of both sides, types below each other, and which characters of them differ.
fn pair_texts(pair: Pair<'_>, names: Names) -> ([String; 2], Option<Range<usize>>) {
    let name_chars = |column: Option<&Column>| column.map_or(0, |column| column.name.chars().count());
    let chars = name_chars(pair[0]).max(name_chars(pair[1]));
    let texts = pair.map(|column| column.map_or_else(String::new, |column| column.text(chars)));
    let [Some(expected), Some(found)] = pair else {
        let longest = texts[0].chars().count().max(texts[1].chars().count());
        return (texts, Some(0..longest));
    };
    if expected.is_same(found, names) {
        return (texts, None);
    }
    let types = [expected.type_text(), found.type_text()];
    let is_renamed = names == Names::Count && expected.name != found.name;
    let type_start = if chars == 0 { 0 } else { chars + 2 };
    let differs = differing_chars(&types);
    let start = if is_renamed { 0 } else { type_start + differs.start };
    // Where only the name differs, no character of the type does.
    let end = if is_renamed && types[0] == types[1] { chars } else { type_start + differs.end };
    (texts, Some(start..end))
}

/// From the first to the last character that differs, whole words.
fn differing_chars(texts: &[String; 2]) -> Range<usize> {
    let [left, right] = texts.each_ref().map(|text| words(text));
    let chars = |words: &[&str]| words.iter().map(|word| word.chars().count()).sum::<usize>();
    let start = left.iter().zip(&right).take_while(|(left, right)| left == right).count();
    let (left_rest, right_rest) = (&left[start..], &right[start..]);
    let same = left_rest.iter().rev().zip(right_rest.iter().rev()).take_while(|(left, right)| left == right).count();
    let longest = chars(&left_rest[..left_rest.len() - same]).max(chars(&right_rest[..right_rest.len() - same]));
    chars(&left[..start])..chars(&left[..start]) + longest
}

/// Runs of letters and digits, and what is between them character by character.
fn words(text: &str) -> Vec<&str> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = if is_part(first) { rest.find(|c| !is_part(c)) } else { Some(first.len_utf8()) };
        let (word, behind) = rest.split_at(end.unwrap_or(rest.len()));
        words.push(word);
        rest = behind;
    }
    words
}

#[cfg(test)]
mod tests;
