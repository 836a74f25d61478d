//! `[sources.NAME]`, `[sinks.NAME]` and `[broadcasts.NAME]`: which type, then the connector's own keys.
//!
//! What a key means is the connector's business; here its errors get their place in the file.

use std::collections::BTreeMap;

use millpond_connectors::{BroadcastSpec, SinkSpec, SourceSpec, SpecError};
use millpond_engine::OnBadRecord;
use serde_json::Value as Json;

use super::reader::{Reader, unknown_word};
use super::{Defined, Files};
use crate::error::Error;

/// What a source and a sink have in common as far as the job file goes.
trait Connector: Sized {
    /// `source` or `sink`.
    const KIND: &'static str;
    fn types() -> Vec<&'static str>;
    fn keys(connector_type: &str) -> Vec<&'static str>;
    fn parse(connector_type: &str, settings: Json) -> Result<Self, SpecError>;
}

impl Connector for SourceSpec {
    const KIND: &'static str = "source";
    fn types() -> Vec<&'static str> {
        Self::TYPES.to_vec()
    }
    fn keys(connector_type: &str) -> Vec<&'static str> {
        Self::keys(connector_type).unwrap_or_default().to_vec()
    }
    fn parse(connector_type: &str, settings: Json) -> Result<Self, SpecError> {
        Self::parse(connector_type, settings)
    }
}

impl Connector for SinkSpec {
    const KIND: &'static str = "sink";
    fn types() -> Vec<&'static str> {
        Self::TYPES.to_vec()
    }
    fn keys(connector_type: &str) -> Vec<&'static str> {
        Self::keys(connector_type).unwrap_or_default().to_vec()
    }
    fn parse(connector_type: &str, settings: Json) -> Result<Self, SpecError> {
        Self::parse(connector_type, settings)
    }
}

/// A source that does not say what happens to its bad records does what the job says.
pub(super) fn read_sources(
    sources: &Reader<'_>,
    on_bad_record: OnBadRecord,
) -> Result<BTreeMap<String, Defined<SourceSpec>>, Error> {
    let on_bad_record = match on_bad_record {
        OnBadRecord::Skip => "skip",
        OnBadRecord::Fail => "fail",
    };
    read_all(sources, &[("on-bad-record", on_bad_record)])
}

pub(super) fn read_sinks(sinks: &Reader<'_>) -> Result<BTreeMap<String, Defined<SinkSpec>>, Error> {
    read_all(sinks, &[])
}

/// Values of broadcasts have no types; which keys they have says what they are.
pub(super) fn read_broadcasts(section: &Reader<'_>) -> Result<BTreeMap<String, Defined<BroadcastSpec>>, Error> {
    let mut result = BTreeMap::new();
    for (name, table) in section.tables()? {
        table.check_keys(BroadcastSpec::KEYS, "a broadcast has")?;
        let spec = BroadcastSpec::parse(settings(&table)?).map_err(|error| placed(&table, error))?;
        result.insert(name.to_owned(), Defined { spec, place: table.place().clone(), files: None });
    }
    Ok(result)
}

/// The keys of a type in `[sources]` or `[sinks]`; `None` if the type does not exist.
pub(super) fn known_keys(section: &str, connector_type: &str) -> Option<Vec<String>> {
    fn of<C: Connector>(connector_type: &str) -> Option<Vec<String>> {
        let is_known = C::types().contains(&connector_type);
        is_known.then(|| C::keys(connector_type).into_iter().map(str::to_owned).collect())
    }
    match section {
        "sources" => of::<SourceSpec>(connector_type),
        _ => of::<SinkSpec>(connector_type),
    }
}

/// `defaults`: values of keys that a table leaves out, for types that have the key.
fn read_all<C: Connector>(
    section: &Reader<'_>,
    defaults: &[(&str, &str)],
) -> Result<BTreeMap<String, Defined<C>>, Error> {
    let mut result = BTreeMap::new();
    for (name, table) in section.tables()? {
        let spec = read_one(&table, defaults)?;
        result.insert(name.to_owned(), Defined { spec, place: table.place().clone(), files: files(&table)? });
    }
    Ok(result)
}

fn read_one<C: Connector>(table: &Reader<'_>, defaults: &[(&str, &str)]) -> Result<C, Error> {
    let types = C::types();
    let allowed = types.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" or ");
    let connector_type = table.text("type", &allowed)?;
    let connector_type = connector_type.ok_or_else(|| table.missing_key("type", allowed.as_str()))?;
    if !types.contains(&connector_type) {
        return Err(table.wrong("type", unknown_word(connector_type, types.iter().copied()), allowed));
    }
    let mut known = vec!["type"];
    known.extend(C::keys(connector_type).into_iter().filter(|key| *key != "type"));
    table.check_keys(&known, &format!("a {} of type `{connector_type}` has", C::KIND))?;
    let mut settings = settings(table)?;
    for (key, value) in defaults.iter().filter(|(key, _)| known.contains(key)) {
        if let Some(settings) = settings.as_object_mut() {
            settings.entry(*key).or_insert_with(|| Json::from(*value));
        }
    }
    C::parse(connector_type, settings).map_err(|error| placed(table, error))
}

/// A connector's error with its place in the file.
fn placed(table: &Reader<'_>, SpecError { key, message }: SpecError) -> Error {
    match key {
        Some(key) if table.entries().contains_key(&key) => {
            let (problem, allowed) = split_message(&message);
            table.wrong(&key, problem, allowed)
        }
        Some(key) if message.contains("is missing") => table.missing_key(&key, ""),
        Some(key) => table.wrong(&key, message, ""),
        None => table.wrong_as_a_whole(message),
    }
}

/// Cuts a connector's message into what is wrong and what is allowed instead, where it says that.
fn split_message(message: &str) -> (String, &str) {
    let cuts = [": it must be ", ", expected ", ": write ", ": name ", ": use "];
    let (problem, allowed) = cuts.iter().find_map(|cut| message.split_once(cut)).unwrap_or((message, ""));
    match allowed.split_once("; did you mean ") {
        Some((allowed, suggestion)) => (format!("{problem}; did you mean {suggestion}"), allowed),
        None => (problem.to_owned(), allowed),
    }
}

/// Where the connector reads or writes files, as far as the job file says it.
fn files(table: &Reader<'_>) -> Result<Option<Files>, Error> {
    if !matches!(table.text("type", "")?, Some("files" | "file")) {
        return Ok(None);
    }
    let extension = match table.text("format", "")? {
        Some("text") => "txt",
        Some("csv") => "csv",
        _ => "jsonl",
    };
    let path = table.text("path", "")?;
    Ok(path.map(|path| Files { path: path.to_owned(), place: table.place_of("path"), extension }))
}

/// The connector's keys as JSON.
fn settings(table: &Reader<'_>) -> Result<Json, Error> {
    let entries = table.entries().iter().filter(|(key, _)| *key != "type");
    let object = entries.map(|(key, entry)| {
        let value = entry.value.to_json();
        Ok((key.clone(), value.ok_or_else(|| table.wrong(key, "is not a finite number", "a finite number"))?))
    });
    Ok(Json::Object(object.collect::<Result<_, Error>>()?))
}
