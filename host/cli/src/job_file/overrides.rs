//! `--set key.path=value`: changes to a job file's tree, made before anything is checked.

use super::parse::{parse_key, parse_value};
use super::tree::{Entry, Place, Table, Value};
use crate::error::Error;

/// Applies the options in their order; a later one wins.
///
/// Tables that do not exist are made. Where an option gives a source or a sink another `type`, the file's keys which that
/// type does not know are dropped (`known_keys(section, type)`; `None` = no such type): they belonged to the old type.
///
/// **Errors**: MP0110 for text that is not `key.path=value`, or a path that leads through something that is no table.
pub(super) fn apply(
    root: &mut Table,
    sets: &[String],
    known_keys: impl Fn(&str, &str) -> Option<Vec<String>>,
) -> Result<(), Error> {
    let before = connector_types(root);
    for text in sets {
        apply_one(root, text)?;
    }
    for (section, name, new_type) in connector_types(root) {
        let old_type = before.iter().find(|(s, n, _)| *s == section && *n == name).map(|(_, _, old)| old);
        let is_changed = old_type.is_some_and(|old| *old != new_type);
        if let (true, Some(known)) = (is_changed, known_keys(section, &new_type))
            && let Some(table) = subtable(root, section).and_then(|tables| subtable(tables, &name))
        {
            table.retain(|key, entry| key == "type" || entry.place.is_set() || known.contains(key));
        }
    }
    Ok(())
}

fn apply_one(root: &mut Table, text: &str) -> Result<(), Error> {
    let malformed = |problem: &str| Error::MalformedSet { text: text.to_owned(), problem: problem.to_owned() };
    let (key, value) = text.split_once('=').ok_or_else(|| malformed("there is no `=`"))?;
    let key = key.trim();
    let mut path = parse_key(key).ok_or_else(|| malformed(&format!("`{key}` is not a dotted key")))?;
    let place = Place::Set { text: text.into() };
    let last = path.pop().expect("a key has at least one part");
    if path.is_empty() {
        return Err(malformed(&format!("`{key}` is a whole section; name a key in it, as `{key}.key=value`")));
    }
    let mut table = root;
    for part in path {
        let entry = table
            .entry(part.clone())
            .or_insert_with(|| Entry { value: Value::Table(Table::new()), place: place.clone() });
        let kind = entry.value.kind();
        match &mut entry.value {
            Value::Table(inner) => table = inner,
            _ => return Err(malformed(&format!("`{part}` is {kind}, not a table ({})", entry.place))),
        }
    }
    table.insert(last, Entry { value: parse_value(value, &place), place });
    Ok(())
}

/// (section, name, type) of every source and sink that has one.
fn connector_types(root: &Table) -> Vec<(&'static str, String, String)> {
    let mut types = Vec::new();
    for section in ["sources", "sinks"] {
        let Some(Entry { value: Value::Table(tables), .. }) = root.get(section) else { continue };
        for (name, entry) in tables {
            if let Value::Table(table) = &entry.value
                && let Some(Entry { value: Value::Text(kind), .. }) = table.get("type")
            {
                types.push((section, name.clone(), kind.clone()));
            }
        }
    }
    types
}

fn subtable<'a>(table: &'a mut Table, key: &str) -> Option<&'a mut Table> {
    match &mut table.get_mut(key)?.value {
        Value::Table(inner) => Some(inner),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::parse::parse_document;
    use super::*;

    const FILE: &str = "[job]\nname = \"a\"\n[sinks.counts]\ntype = \"console\"\nmode = \"complete\"\nmax-rows = 5\n";

    fn with(sets: &[&str]) -> Result<serde_json::Value, String> {
        let mut root = parse_document(Path::new("millpond.toml"), FILE).unwrap();
        let sets: Vec<_> = sets.iter().map(|set| (*set).to_owned()).collect();
        let known = |_: &str, kind: &str| match kind {
            "file" => Some(vec!["path".to_owned(), "mode".to_owned()]),
            "console" => Some(vec!["max-rows".to_owned(), "mode".to_owned()]),
            _ => None,
        };
        apply(&mut root, &sets, known).map_err(|error| error.to_string())?;
        Ok(Value::Table(root).to_json().unwrap())
    }

    #[test]
    fn set_replaces_a_value_and_makes_tables() {
        let root = with(&["job.name=b", "sources.lines.type=socket", "sources.lines.port=99"]).unwrap();
        assert_eq!(root["job"]["name"], "b");
        assert_eq!(root["sources"]["lines"], serde_json::json!({"type": "socket", "port": 99}));
    }

    #[test]
    fn another_type_drops_the_old_types_keys_only() {
        let root = with(&["sinks.counts.path=out", "sinks.counts.type=file"]).unwrap();
        assert_eq!(root["sinks"]["counts"], serde_json::json!({"type": "file", "mode": "complete", "path": "out"}));
        let same = with(&["sinks.counts.type=console"]).unwrap();
        assert_eq!(same["sinks"]["counts"]["max-rows"], 5);
    }

    #[test]
    fn a_key_given_by_set_is_never_dropped() {
        let root = with(&["sinks.counts.type=file", "sinks.counts.colour=red"]).unwrap();
        assert_eq!(root["sinks"]["counts"]["colour"], "red");
    }

    #[test]
    fn later_set_wins() {
        assert_eq!(with(&["job.name=b", "job.name=c"]).unwrap()["job"]["name"], "c");
    }

    #[test]
    fn malformed_set_says_what_is_wrong() {
        assert_eq!(with(&["job.name"]).unwrap_err(), "--set job.name: there is no `=`");
        assert_eq!(with(&["=3"]).unwrap_err(), "--set =3: `` is not a dotted key");
        assert_eq!(
            with(&["job=3"]).unwrap_err(),
            "--set job=3: `job` is a whole section; name a key in it, as `job.key=value`"
        );
        assert_eq!(
            with(&["job.name.first=3"]).unwrap_err(),
            "--set job.name.first=3: `name` is text, not a table (millpond.toml:2)"
        );
    }
}
