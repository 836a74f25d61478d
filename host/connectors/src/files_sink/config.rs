//! The options of `[sinks.NAME]` with `type = "files"`.

use millpond_core::{BoxError, OutputMode, Sink};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::FilesSink;
use crate::codec::encode::Encoding;
use crate::spec::{OpenSink, SinkOptions, delimiter, from_table};
use crate::{RecordFormatSpec, SpecError};

/// Options of a sink of type `files` (or `file`): part files for every batch.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FilesSinkOptions {
    /// The folder; made if it is not there; relative to the job file. Give every sink a folder of its own.
    pub path: String,
    /// `"text"` (columns joined by tabs, with `\t`, `\n`, `\r` and `\\` in them escaped), `"csv"` or `"json"` (JSON lines, also called `"jsonl"`). Default: `"json"`.
    #[serde(default = "format")]
    pub format: RecordFormatSpec,
    /// `"append"`, `"update"` or `"complete"`. With `"complete"` a batch without rows makes a file without rows, so that a
    /// reader sees the empty result; otherwise it makes none. Default: `"append"`.
    #[serde(default)]
    pub mode: OutputMode,
    /// Ends each row with the batch time in milliseconds, as the field `batch_time`. Default: `true` for CSV and JSON,
    /// `false` for text.
    #[serde(default)]
    pub batch_time: Option<bool>,
    /// CSV only: a first line in every file names the columns. Default: `true`.
    #[serde(default)]
    pub header: Option<bool>,
    /// CSV only: the character between fields. Default: `","`.
    #[serde(default)]
    pub delimiter: Option<String>,
}

fn format() -> RecordFormatSpec {
    RecordFormatSpec::Json
}

impl FilesSinkOptions {
    pub(crate) const KEYS: &'static [&'static str] = &["path", "format", "mode", "batch-time", "header", "delimiter"];

    pub(crate) fn from_table(table: Value) -> Result<Self, SpecError> {
        let options: Self = from_table(table)?;
        let wrong =
            |key: &str, message: &str| Err(SpecError { key: Some(key.to_owned()), message: message.to_owned() });
        if options.path.is_empty() {
            return wrong("path", "the path is empty: name a folder");
        }
        let set = [("header", options.header.is_some()), ("delimiter", options.delimiter.is_some())];
        if let Some((key, _)) = set.iter().find(|(_, set)| *set && options.format != RecordFormatSpec::Csv) {
            return wrong(key, "is only for format = \"csv\"");
        }
        delimiter(options.delimiter.as_deref())?;
        Ok(options)
    }

    /// # Panics
    /// If the delimiter was not checked: [`Self::from_table`] did.
    pub(super) fn encoding(&self) -> Encoding {
        match self.format {
            RecordFormatSpec::Text => Encoding::Text,
            RecordFormatSpec::Json => Encoding::Json,
            RecordFormatSpec::Csv => Encoding::Csv {
                delimiter: delimiter(self.delimiter.as_deref()).expect("it was checked when the options were read"),
                header: self.header.unwrap_or(true),
            },
        }
    }

    pub(super) fn extension(&self) -> &'static str {
        match self.format {
            RecordFormatSpec::Text => "txt",
            RecordFormatSpec::Csv => "csv",
            RecordFormatSpec::Json => "jsonl",
        }
    }

    pub(super) fn with_batch_time(&self) -> bool {
        self.batch_time.unwrap_or(self.format != RecordFormatSpec::Text)
    }
}

impl SinkOptions for FilesSinkOptions {
    fn mode(&self) -> OutputMode {
        self.mode
    }

    fn open(&self, open: OpenSink) -> Result<Box<dyn Sink>, BoxError> {
        Ok(Box::new(FilesSink::try_new(self.clone(), open)?))
    }
}
