//! Pages that are made of what the code says: the operator reference of the SDK's own docs, and the index of error codes.
//!
//! The one idea: the text stands where the code is, and nowhere else. `tests/docs.rs` compares the pages with what is made here;
//! `./just docs-bless` writes them anew. Sources are read as lines, as rustfmt leaves them: docs, attributes, `pub fn`.

use std::fs;
use std::path::Path;

use crate::root;

/// Files of the SDK in the order of the page, and the title of each. Files of `dstream/` that are not here come last, under
/// their own names.
const SECTIONS: &[(&str, &str)] = &[
    ("context.rs", "Inputs, settings, values on the side"),
    ("dstream/narrow.rs", "Row by row"),
    ("dstream/fallible.rs", "Row by row, where a row may be refused"),
    ("dstream/keyed.rs", "Merging within a batch"),
    ("dstream/aggregate.rs", "Merging into something else"),
    ("dstream/group.rs", "Grouping"),
    ("dstream/join.rs", "Two streams"),
    ("dstream/sort.rs", "Order and the first few"),
    ("dstream/partitions.rs", "Whole partitions"),
    ("dstream/whole.rs", "Whole batches"),
    ("dstream/window.rs", "Sliding windows"),
    ("dstream/session.rs", "Sessions"),
    ("dstream/state.rs", "Keyed state, key by key"),
    ("dstream/mapped.rs", "Keyed state, row by row"),
    ("dstream/broadcast.rs", "Values that every task sees"),
    ("dstream/output.rs", "Union, other components, outputs, names"),
];

/// Types besides streams whose functions are part of the language.
const OTHERS: &[&str] = &["StreamingContext", "MappedWithState<", "State<"];

/// A public function of the SDK that is part of the language.
#[derive(Debug)]
pub struct Operator {
    /// Its name.
    pub name: String,
    /// What it is a method of: `DStream<(K, V)>`.
    pub on: String,
    /// From `pub fn` to before the body.
    pub signature: String,
    /// Its docs, without the slashes.
    pub docs: Vec<String>,
}

impl Operator {
    /// Whether it makes a stream or takes one.
    #[must_use]
    pub fn is_step(&self) -> bool {
        self.signature.contains("DStream<") || self.name == "sink"
    }

    /// Whether its docs draw rows in and rows out.
    #[must_use]
    pub fn is_drawn(&self) -> bool {
        self.docs.iter().any(|line| line == "```text")
    }

    /// Its first sentence.
    fn summary(&self) -> String {
        let paragraph: Vec<&str> = self.docs.iter().map(String::as_str).take_while(|line| !line.is_empty()).collect();
        without_links(&self.on, &paragraph.join(" "))
    }

    /// What it is called in Spark, if its docs say so: the paragraph's part behind **Source**, wherever drawings stand.
    #[must_use]
    pub fn source(&self) -> Option<String> {
        let mut in_block = false;
        let prose = self.docs.iter().map(String::as_str).filter(|line| {
            let is_fence = line.starts_with("```");
            in_block ^= is_fence;
            !in_block && !is_fence
        });
        let text = prose.collect::<Vec<_>>().join(" ");
        let (_, rest) = text.split_once("**Source**: ")?;
        let end = rest.find("  ").or_else(|| rest.find(" **")).unwrap_or(rest.len());
        Some(without_links(&self.on, rest[..end].trim().trim_end_matches('.')))
    }
}

/// The operators of a section.
#[derive(Debug)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// The file's own docs.
    pub intro: Vec<String>,
    /// In the order of the file.
    pub operators: Vec<Operator>,
}

/// The SDK's operators, in the order of the page.
///
/// # Panics
/// When the SDK's files cannot be read.
#[must_use]
pub fn sections() -> Vec<Section> {
    let source = root().join("guest-sdk/src");
    let mut files: Vec<String> = SECTIONS.iter().map(|(file, _)| (*file).to_owned()).collect();
    let mut found: Vec<String> = fs::read_dir(source.join("dstream"))
        .expect("the SDK has operators")
        .map(|entry| format!("dstream/{}", entry.expect("readable").file_name().to_string_lossy()))
        .filter(|file| file.ends_with(".rs") && !file.contains("tests") && !files.contains(file))
        .collect();
    found.sort();
    files.extend(found);
    let sections = files.iter().filter(|file| source.join(file).is_file()).map(|file| section(&source, file));
    sections.filter(|section| !section.operators.is_empty()).collect()
}

fn section(source: &Path, file: &str) -> Section {
    let text = fs::read_to_string(source.join(file)).expect("a source file is text");
    let intro = text.lines().map_while(|line| line.strip_prefix("//!")).map(|line| line.trim_start().to_owned());
    let title = SECTIONS.iter().find(|(known, _)| *known == file).map(|(_, title)| (*title).to_owned());
    let own_name = file.trim_start_matches("dstream/").trim_end_matches(".rs");
    Section {
        title: title.unwrap_or_else(|| own_name.replace('_', " ")),
        intro: intro.collect(),
        operators: operators(&text),
    }
}

fn operators(text: &str) -> Vec<Operator> {
    let (mut found, mut docs, mut on) = (Vec::new(), Vec::new(), String::new());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let code = line.trim_start();
        if let Some(doc) = code.strip_prefix("///") {
            docs.push(doc.strip_prefix(' ').unwrap_or(doc).to_owned());
            continue;
        }
        if line.starts_with("impl") {
            on = line.split(" for ").last().unwrap_or(line).trim_start_matches("impl").to_owned();
            on = on.trim_end_matches(" {").rsplit_once("> ").map_or_else(|| on.clone(), |(_, on)| on.to_owned());
            on = on.trim().trim_end_matches('{').trim().to_owned();
        }
        if let Some(name) = line.strip_prefix("    pub fn ").and_then(|rest| rest.split(['<', '(']).next())
            && (on.starts_with("DStream<") || OTHERS.iter().any(|other| on.starts_with(other)))
        {
            let mut signature = vec![code.to_owned()];
            while !signature.last().is_some_and(|line| line.ends_with('{') || line.ends_with(';')) {
                signature.push(lines.next().map_or(";", |line| line.strip_prefix("    ").unwrap_or(line)).to_owned());
            }
            let signature = signature.join("\n").trim_end_matches(['{', ';']).trim_end().to_owned();
            found.push(Operator { name: name.to_owned(), on: on.clone(), signature, docs: std::mem::take(&mut docs) });
        }
        if !code.starts_with("#[") {
            docs.clear();
        }
    }
    found
}

/// The page `docs/operators.md`.
#[must_use]
pub fn operators_page() -> String {
    let sections = sections();
    let mut page = String::from(
        "<!-- Made of the SDK's own docs. Change them there, then: ./just docs-bless -->\n\n# Operators\n\n\
         Every operator of the Rust SDK: what comes in and what goes out, what it costs, what it is called in Spark. What they mean to the \
         row, in odd cases too, is in [semantics.md](semantics.md); beside Spark's own code they are in \
         [from-spark-streaming.md](from-spark-streaming.md).\n\n\
         In the drawings `_1`, `_2` are the columns of a pair as they are called unless `.columns([...])` says otherwise, and a line is a \
         row, or a batch where the first column says so. The types in signatures: `T` is a row, `K` a row that can be a key, `V` a row that \
         is a value; `T::Ref` is a view of a row, borrowed from the batch (`&str` for a `String`).\n",
    );
    for section in &sections {
        page.push_str(&format!("\n**{}**\n\n| | | Spark |\n|---|---|---|\n", section.title));
        for operator in &section.operators {
            let source = operator.source().unwrap_or_default();
            let Operator { name, on, .. } = operator;
            let (anchor, summary) = (anchor(on, name), cell(&operator.summary()));
            page.push_str(&format!("| [`{name}`](#{anchor}) | {summary} | {} |\n", cell(&source)));
        }
    }
    for section in &sections {
        page.push_str(&format!(
            "\n## {}\n\n{}\n",
            section.title,
            without_links("DStream<T>", &section.intro.join("\n"))
        ));
        section.operators.iter().for_each(|operator| push_operator(&mut page, operator));
    }
    page
}

fn push_operator(page: &mut String, operator: &Operator) {
    let Operator { name, on, signature, docs } = operator;
    let title = heading(on, name);
    page.push_str(&format!("\n### {title}\n\nOn `{on}`:\n\n```rust,ignore\n{signature}\n```\n\n"));
    let (mut in_block, mut in_list) = (false, false);
    for line in docs {
        if let Some(tag) = line.strip_prefix("```") {
            let opening = if tag.is_empty() || tag == "no_run" { "```rust" } else { line.as_str() };
            page.push_str(if in_block { "```" } else { opening });
            page.push('\n');
            in_block = !in_block;
            continue;
        }
        // rustdoc hides these lines.
        if in_block && (line.starts_with("# ") || line == "#") {
            continue;
        }
        if in_block || line.is_empty() {
            in_list = false;
            page.push_str(line);
        } else {
            // What begins in bold is an item of a list on the page, so that it is a line of its own.
            let is_item = line.starts_with("**");
            if is_item && !in_list && !page.ends_with("\n\n") {
                page.push('\n');
            }
            in_list |= is_item;
            page.push_str(if is_item {
                "- "
            } else if in_list {
                "  "
            } else {
                ""
            });
            page.push_str(&without_links(on, line));
        }
        page.push('\n');
    }
}

/// Links inside the SDK become links inside the page; links that only rustdoc can follow become plain text.
fn without_links(on: &str, text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, tail)) = rest.split_once('[') {
        out.push_str(before);
        let (label, after) = tail.split_once(']').unwrap_or((tail, ""));
        let target = after.strip_prefix('(').and_then(|after| after.split_once(')'));
        match target {
            Some((target, after)) if method_of(on, target).is_some() => {
                out.push_str(&format!("[{label}](#{})", method_of(on, target).unwrap_or_default()));
                rest = after;
            }
            Some((target, after)) if target.contains("::") => {
                out.push_str(label);
                rest = after;
            }
            None if label.len() > 2 && label.starts_with('`') && label.ends_with('`') => {
                out.push_str(label);
                rest = after;
            }
            // Brackets of code, or a link that anybody can follow.
            _ => {
                out.push('[');
                rest = tail;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The anchor of the operator that a link of the SDK's docs names, if it is one.
fn method_of(on: &str, target: &str) -> Option<String> {
    let (owner, name) = target.rsplit_once("::")?;
    let owner = owner.rsplit("::").next().unwrap_or(owner);
    match owner {
        "Self" => Some(anchor(on, name)),
        "DStream" => Some(anchor("DStream<T>", name)),
        _ => OTHERS.iter().any(|other| other.trim_end_matches('<') == owner).then(|| anchor(owner, name)),
    }
}

/// Operators of streams are called by their names; functions of others may have the same ones.
fn heading(on: &str, name: &str) -> String {
    match on.split('<').next().unwrap_or(on) {
        "DStream" => name.to_owned(),
        other => format!("{other}::{name}"),
    }
}

fn anchor(on: &str, name: &str) -> String {
    heading(on, name).to_lowercase().replace("::", "")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// The page `docs/error-codes.md`.
///
/// # Panics
/// When the pages of the codes cannot be read.
#[must_use]
pub fn error_codes_page() -> String {
    let groups = [
        ("MP01", "The job file and the command"),
        ("MP02", "Components"),
        ("MP03", "Calls into a component"),
        ("MP04", "Plans"),
        ("MP05", "Sources"),
        ("MP06", "Sinks"),
        ("MP07", "State on disk"),
        ("MP08", "Batches"),
        ("MP09", "Defects of Millpond"),
    ];
    let folder = root().join("host/core/src/codes");
    let mut codes: Vec<String> = fs::read_dir(&folder)
        .expect("the codes have pages")
        .map(|entry| entry.expect("readable").file_name().to_string_lossy().trim_end_matches(".md").to_owned())
        .collect();
    codes.sort();
    let mut page = String::from(
        "<!-- Made of the codes' own pages. Change them in host/core/src/codes, then: ./just docs-bless -->\n\n# Error codes\n\n\
         Every error has a code that stays the same. `millpond explain CODE` prints its page: what it means, an example, what to do.\n",
    );
    for code in &codes {
        let text = fs::read_to_string(folder.join(format!("{code}.md"))).expect("a page is text");
        let title = text.lines().next().and_then(|line| line.split_once(": ")).map_or("", |(_, title)| title);
        let group = groups.iter().find(|(prefix, _)| code.starts_with(prefix)).map_or("Others", |(_, group)| *group);
        let heading = format!("\n## {group}\n\n| code | |\n|---|---|\n");
        if !page.contains(&heading) {
            page.push_str(&heading);
        }
        page.push_str(&format!("| [{code}](../host/core/src/codes/{code}.md) | {} |\n", cell(title)));
    }
    page
}
