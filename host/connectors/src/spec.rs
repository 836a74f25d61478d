//! From the job file's tables to connectors: which types and keys there are, and opening what was configured.
//!
//! The tables of types stand at the end of this file, one line per connector.

use std::fmt;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use millpond_core::{BoxError, Clock, OutputMode, Receiver, Sink, StopSignal};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[cfg(feature = "options")]
use crate::wording;

/// What happens to a record that cannot be decoded: key `on-bad-record` of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBadRecordSpec {
    /// It is counted and reported, and the job goes on.
    #[default]
    Skip,
    /// The job fails, naming the place.
    Fail,
}

/// What records look like: key `format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordFormatSpec {
    /// Plain lines.
    #[default]
    Text,
    /// Comma-separated values.
    Csv,
    /// One JSON object per line (`json`, `jsonl` and `ndjson` mean the same).
    #[serde(alias = "jsonl", alias = "ndjson")]
    Json,
}

/// An option that is not right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// The key, if one is to blame.
    pub key: Option<String>,
    /// What is wrong with it and how it should be.
    pub message: String,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "`{key}`: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for SpecError {}

/// What a source needs to open.
pub struct OpenSource {
    /// Its name in the job file.
    pub name: String,
    /// The folder of the job file: relative paths start here.
    pub job_dir: PathBuf,
    /// The columns that the plan wants.
    pub schema: SchemaRef,
    /// Where network tasks run; its I/O and its timers must be on (`enable_all`).
    pub runtime: tokio::runtime::Handle,
    /// Tells how long an outage took, and when rows of a set pace are due.
    pub clock: Arc<dyn Clock>,
    /// What a source of type `stdin` reads.
    pub stdin: Box<dyn Read + Send>,
}

/// What a sink needs to open.
pub struct OpenSink {
    /// Its name in the job file.
    pub name: String,
    /// The job's name.
    pub job: String,
    /// The folder of the job file: relative paths start here.
    pub job_dir: PathBuf,
    /// The columns that the plan gives.
    pub schema: SchemaRef,
    /// Whether `out` is a terminal that shows colours.
    pub color: bool,
    /// Where sinks of type `console` and `stdout` write.
    pub out: Box<dyn Write + Send>,
    /// The job's: raised when nobody reads `out` any more.
    pub stop: StopSignal,
}

/// A configured source.
#[derive(Clone, Debug)]
pub struct SourceSpec {
    options: Arc<dyn SourceOptions>,
}

/// A configured sink.
#[derive(Clone, Debug)]
pub struct SinkSpec {
    options: Arc<dyn SinkOptions>,
}

impl SourceSpec {
    /// The types that this build has, for `type = ...` in `[sources.NAME]`.
    pub const TYPES: &'static [&'static str] = &[
        #[cfg(feature = "files")]
        "files",
        #[cfg(feature = "socket")]
        "socket",
        #[cfg(feature = "stdin")]
        "stdin",
        #[cfg(feature = "rate")]
        "rate",
    ];

    /// The keys that a source of this type may have besides `type`; `None` if there is no such type.
    #[must_use]
    pub fn keys(type_name: &str) -> Option<&'static [&'static str]> {
        source_types().iter().find(|known| known.name == type_name).map(|known| known.keys)
    }

    /// Checks a table's options; `options` is the table without `type`.
    pub fn parse(type_name: &str, options: Value) -> Result<Self, SpecError> {
        let types = source_types();
        let known = types.iter().find(|known| known.name == type_name);
        let known = known.ok_or_else(|| unknown_type("source", type_name, Self::TYPES))?;
        Ok(Self { options: (known.parse)(options)? })
    }

    /// What happens to records that cannot be decoded.
    #[must_use]
    pub fn on_bad_record(&self) -> OnBadRecordSpec {
        self.options.on_bad_record()
    }

    /// Whether the source never comes to an end, so that "all there is" means nothing for it. `None` = it ends; else how to
    /// make it end.
    #[must_use]
    pub fn endless(&self) -> Option<&'static str> {
        self.options.endless()
    }

    /// Whether it reads standard input, which only one source of a job can.
    #[must_use]
    pub fn reads_stdin(&self) -> bool {
        self.options.reads_stdin()
    }

    /// Opens the source. **Errors**: MP0501, MP0503, MP0506.
    pub fn open(&self, open: OpenSource) -> Result<Box<dyn Receiver>, BoxError> {
        self.options.open(open)
    }
}

impl SinkSpec {
    /// The types that this build has, for `type = ...` in `[sinks.NAME]`; `file` is another word for `files`.
    pub const TYPES: &'static [&'static str] = &[
        #[cfg(feature = "console")]
        "console",
        #[cfg(feature = "files")]
        "files",
        #[cfg(feature = "files")]
        "file",
        #[cfg(feature = "stdout")]
        "stdout",
    ];

    /// The keys that a sink of this type may have besides `type`; `None` if there is no such type.
    #[must_use]
    pub fn keys(type_name: &str) -> Option<&'static [&'static str]> {
        sink_types().iter().find(|known| known.name == type_name).map(|known| known.keys)
    }

    /// Checks a table's options; `options` is the table without `type`.
    pub fn parse(type_name: &str, options: Value) -> Result<Self, SpecError> {
        let types = sink_types();
        let known = types.iter().find(|known| known.name == type_name);
        let known = known.ok_or_else(|| unknown_type("sink", type_name, Self::TYPES))?;
        Ok(Self { options: (known.parse)(options)? })
    }

    /// Which of a batch's rows the sink wants.
    #[must_use]
    pub fn mode(&self) -> OutputMode {
        self.options.mode()
    }

    /// Whether it writes to standard output.
    #[must_use]
    pub fn writes_to_stdout(&self) -> bool {
        self.options.writes_to_stdout()
    }

    /// Whether nothing else may write to standard output, because another program reads it.
    #[must_use]
    pub fn owns_stdout(&self) -> bool {
        self.options.owns_stdout()
    }

    /// Opens the sink. **Errors**: MP0601, MP0603.
    pub fn open(&self, open: OpenSink) -> Result<Box<dyn Sink>, BoxError> {
        self.options.open(open)
    }
}

/// A source's options, checked.
pub(crate) trait SourceOptions: fmt::Debug + Send + Sync {
    fn on_bad_record(&self) -> OnBadRecordSpec;
    /// How to make it end, if it does not end as it is.
    fn endless(&self) -> Option<&'static str> {
        None
    }
    fn reads_stdin(&self) -> bool {
        false
    }
    fn open(&self, open: OpenSource) -> Result<Box<dyn Receiver>, BoxError>;
}

/// A sink's options, checked.
pub(crate) trait SinkOptions: fmt::Debug + Send + Sync {
    fn mode(&self) -> OutputMode;
    fn writes_to_stdout(&self) -> bool {
        false
    }
    fn owns_stdout(&self) -> bool {
        false
    }
    fn open(&self, open: OpenSink) -> Result<Box<dyn Sink>, BoxError>;
}

/// A type of connector; `O` is the trait of its options.
struct Type<O: ?Sized> {
    name: &'static str,
    keys: &'static [&'static str],
    parse: fn(Value) -> Result<Arc<O>, SpecError>,
}

fn unknown_type(what: &str, found: &str, known: &[&str]) -> SpecError {
    let message = format!("`{found}` is not a type of {what}: use {}", known.join(" or "));
    SpecError { key: Some("type".to_owned()), message }
}

/// Reads options from a table and names the key that is wrong.
#[cfg(feature = "options")]
pub(crate) fn from_table<T: serde::de::DeserializeOwned>(table: Value) -> Result<T, SpecError> {
    let error = match T::deserialize(&table) {
        Ok(options) => return Ok(options),
        Err(error) => error.to_string(),
    };
    let missing = error.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    if let Some(key) = missing {
        return Err(SpecError { key: Some(key.to_owned()), message: wording::missing(key) });
    }
    // serde_json tells what is wrong but not where. The key to blame is the one without which the message changes.
    let blamed = |key: &String| {
        let mut rest = table.clone();
        rest.as_object_mut().map(|map| map.remove(key));
        T::deserialize(&rest).map_or_else(|other| other.to_string() != error, |_| true)
    };
    let key = table.as_object().and_then(|map| map.keys().find(|key| blamed(key)).cloned());
    // Errors of our own types are in our words already.
    let foreign = ["invalid type", "invalid value", "unknown variant"].iter().any(|start| error.starts_with(start));
    let worded = key.as_deref().filter(|_| foreign).and_then(|key| wording::wrong(key, table.get(key)?));
    Err(SpecError { message: worded.unwrap_or(error), key })
}

/// The byte that a `delimiter` option means; a comma if there is none.
#[cfg(any(feature = "decode", feature = "encode"))]
pub(crate) fn delimiter(text: Option<&str>) -> Result<u8, SpecError> {
    match text.unwrap_or(",").as_bytes() {
        // Signs, points and digits belong to numbers.
        [byte @ (b'\t' | b' ')] => Ok(*byte),
        [byte] if byte.is_ascii_punctuation() && !matches!(byte, b'"' | b'-' | b'+' | b'.') => Ok(*byte),
        _ => Err(SpecError {
            key: Some("delimiter".to_owned()),
            message:
                "must be one character that is no letter, digit, quote, sign or point, such as \",\", \";\" or \"\\t\""
                    .to_owned(),
        }),
    }
}

fn source_types() -> Vec<Type<dyn SourceOptions>> {
    vec![
        #[cfg(feature = "files")]
        Type {
            name: "files",
            keys: crate::files_source::FilesSourceOptions::KEYS,
            parse: |table| Ok(Arc::new(crate::files_source::FilesSourceOptions::from_table(table)?)),
        },
        #[cfg(feature = "socket")]
        Type {
            name: "socket",
            keys: crate::socket_source::SocketSourceOptions::KEYS,
            parse: |table| Ok(Arc::new(crate::socket_source::SocketSourceOptions::from_table(table)?)),
        },
        #[cfg(feature = "stdin")]
        Type {
            name: "stdin",
            keys: crate::stdin_source::StdinSourceOptions::KEYS,
            parse: |table| Ok(Arc::new(crate::stdin_source::StdinSourceOptions::from_table(table)?)),
        },
        #[cfg(feature = "rate")]
        Type {
            name: "rate",
            keys: crate::rate_source::RateSourceOptions::KEYS,
            parse: |table| Ok(Arc::new(crate::rate_source::RateSourceOptions::from_table(table)?)),
        },
    ]
}

fn sink_types() -> Vec<Type<dyn SinkOptions>> {
    vec![
        #[cfg(feature = "console")]
        Type {
            name: "console",
            keys: crate::console_sink::ConsoleSinkOptions::KEYS,
            parse: |table| Ok(Arc::new(crate::console_sink::ConsoleSinkOptions::from_table(table)?)),
        },
        #[cfg(feature = "files")]
        Type {
            name: "files",
            keys: crate::files_sink::FilesSinkOptions::KEYS,
            parse: |table| Ok(Arc::new(crate::files_sink::FilesSinkOptions::from_table(table)?)),
        },
        #[cfg(feature = "files")]
        Type {
            name: "file",
            keys: crate::files_sink::FilesSinkOptions::KEYS,
            parse: |table| Ok(Arc::new(crate::files_sink::FilesSinkOptions::from_table(table)?)),
        },
        #[cfg(feature = "stdout")]
        Type {
            name: "stdout",
            keys: crate::stdout_sink::StdoutSinkOptions::KEYS,
            parse: |table| Ok(Arc::new(crate::stdout_sink::StdoutSinkOptions::from_table(table)?)),
        },
    ]
}

#[cfg(all(
    test,
    feature = "files",
    feature = "socket",
    feature = "stdin",
    feature = "rate",
    feature = "console",
    feature = "stdout"
))]
mod tests {
    use serde_json::json;

    use super::*;

    fn table(type_name: &str) -> Value {
        match type_name {
            "files" | "file" => json!({ "path": "x" }),
            "socket" => json!({ "host": "localhost", "port": 1 }),
            _ => json!({}),
        }
    }

    #[test]
    fn the_lists_of_keys_are_the_fields() {
        let unknown = |type_name: &str| {
            let mut table = table(type_name);
            table["no-such-key"] = json!(1);
            table
        };
        let listed = |message: &str| -> Vec<String> {
            let names = message.split("expected").nth(1).unwrap_or_else(|| panic!("{message}"));
            names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        for name in SourceSpec::TYPES {
            let error = SourceSpec::parse(name, unknown(name)).unwrap_err();
            assert_eq!(listed(&error.message), SourceSpec::keys(name).unwrap(), "source {name}");
            assert_eq!(error.key.as_deref(), Some("no-such-key"));
        }
        for name in SinkSpec::TYPES {
            let error = SinkSpec::parse(name, unknown(name)).unwrap_err();
            assert_eq!(listed(&error.message), SinkSpec::keys(name).unwrap(), "sink {name}");
        }
    }

    #[test]
    fn a_wrong_option_is_named() {
        for (type_name, key, value, says) in [
            ("files", "path", json!(5), "5 is not allowed: it must be text"),
            ("files", "format", json!("xml"), "\"text\", \"csv\""),
            ("files", "format", json!("jsn"), "did you mean \"json\""),
            ("files", "follow", json!("yes"), "\"yes\" is not allowed: it must be true or false"),
            ("files", "max-bytes-per-batch", json!("5 apples"), "64MiB"),
            ("files", "max-bytes-per-batch", json!(0), "at least 1"),
            ("files", "max-files-per-batch", json!(0), "at least 1"),
            ("files", "line-bytes-max", json!(0), "at least 1"),
            ("files", "header", json!(true), "csv"),
            ("files", "on-bad-record", json!("explode"), "skip"),
            ("files", "path", json!("data/["), "pattern"),
            ("files", "path", json!(""), "empty"),
            ("socket", "port", json!(70000), "from 1 to 65535"),
            ("socket", "port", json!(0), "from 1 to 65535"),
            ("socket", "port", json!("x"), "from 1 to 65535"),
            ("socket", "retry-min", json!("1 week"), "10s"),
            ("socket", "retry-max", json!("1ms"), "retry-min"),
            ("socket", "buffer-bytes", json!(1), "line-bytes-max"),
            ("stdin", "buffer-bytes", json!(1), "line-bytes-max"),
            ("stdin", "delimiter", json!(";"), "csv"),
            ("rate", "rows-per-second", json!(0), "at least 1"),
            ("rate", "rows-per-second", json!("fast"), "a whole number of at least 1"),
            ("rate", "max-rows", json!(-1), "a whole number of at least 0"),
            ("rate", "max-rows-per-batch", json!(0), "at least 1"),
            ("rate", "keys", json!(0), "at least 1"),
            ("rate", "words", json!(0), "from 1 to 1000"),
            ("rate", "seed", json!("x"), "a whole number of at least 0"),
        ] {
            let mut options = table(type_name);
            options[key] = value;
            let error = SourceSpec::parse(type_name, options).unwrap_err();
            assert_eq!(error.key.as_deref(), Some(key), "{error}");
            assert!(error.message.contains(says), "{error}");
        }
        for (type_name, options, key) in [
            ("files", json!({}), "path"),
            ("socket", json!({ "port": 1 }), "host"),
            ("socket", json!({ "host": "localhost" }), "port"),
        ] {
            let error = SourceSpec::parse(type_name, options).unwrap_err();
            assert_eq!(error.key.as_deref(), Some(key));
            assert!(error.message.contains(&format!("add it, such as {key} = ")), "{error}");
        }
    }

    #[test]
    fn a_wrong_sink_option_is_named() {
        for (type_name, key, value, says) in [
            ("console", "mode", json!("sometimes"), "append"),
            ("console", "rows", json!(-1), "a whole number of at least 0"),
            ("console", "truncate", json!("long"), "a whole number of at least 0"),
            ("files", "mode", json!("apend"), "did you mean \"append\""),
            ("files", "path", json!(true), "must be text"),
            ("file", "format", json!("parquet"), "jsonl"),
            ("stdout", "header", json!(true), "csv"),
            ("stdout", "batch-time", json!("yes"), "true or false"),
            ("files", "delimiter", json!(";"), "csv"),
        ] {
            let mut options = table(type_name);
            options[key] = value;
            let error = SinkSpec::parse(type_name, options).unwrap_err();
            assert_eq!(error.key.as_deref(), Some(key), "{error}");
            assert!(error.message.contains(says), "{error}");
        }
    }

    #[test]
    fn an_unknown_type_lists_those_that_are() {
        let error = SourceSpec::parse("kafka", json!({})).unwrap_err();
        assert_eq!(error.key.as_deref(), Some("type"));
        assert!(error.message.contains("files or socket or stdin or rate"), "{error}");
        assert!(SinkSpec::parse("redis", json!({})).is_err());
        assert_eq!(SourceSpec::keys("kafka"), None);
    }

    #[test]
    fn defaults_are_as_documented() {
        assert_eq!(SourceSpec::parse("files", table("files")).unwrap().on_bad_record(), OnBadRecordSpec::Skip);
        assert_eq!(SinkSpec::parse("console", json!({})).unwrap().mode(), OutputMode::Append);
        let complete = SinkSpec::parse("file", json!({ "path": "out", "mode": "complete" })).unwrap();
        assert_eq!(complete.mode(), OutputMode::Complete);
    }
}
