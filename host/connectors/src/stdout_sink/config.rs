//! The options of `[sinks.NAME]` with `type = "stdout"`.

use millpond_core::{BoxError, OutputMode, Sink};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::StdoutSink;
use crate::codec::encode::Encoding;
use crate::spec::{OpenSink, SinkOptions, delimiter, from_table};
use crate::{RecordFormatSpec, SpecError};

/// Options of a sink of type `stdout`: rows as lines, for pipes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StdoutSinkOptions {
    /// `"text"` (columns joined by tabs, with `\t`, `\n`, `\r` and `\\` in them escaped), `"csv"` or `"json"` (JSON lines).
    /// Default: `"text"`.
    #[serde(default)]
    pub format: RecordFormatSpec,
    /// `"append"`, `"update"` or `"complete"`. Default: `"append"`.
    #[serde(default)]
    pub mode: OutputMode,
    /// Ends each row with the batch time in milliseconds, as the field `batch_time`. Default: `false`.
    #[serde(default)]
    pub batch_time: bool,
    /// CSV only: the first line of the run names the columns. Default: `true`.
    #[serde(default)]
    pub header: Option<bool>,
    /// CSV only: the character between fields. Default: `","`.
    #[serde(default)]
    pub delimiter: Option<String>,
}

impl StdoutSinkOptions {
    pub(crate) const KEYS: &'static [&'static str] = &["format", "mode", "batch-time", "header", "delimiter"];

    pub(crate) fn from_table(table: Value) -> Result<Self, SpecError> {
        let options: Self = from_table(table)?;
        let set = [("header", options.header.is_some()), ("delimiter", options.delimiter.is_some())];
        if let Some((key, _)) = set.iter().find(|(_, set)| *set && options.format != RecordFormatSpec::Csv) {
            let message = "is only for format = \"csv\"".to_owned();
            return Err(SpecError { key: Some((*key).to_owned()), message });
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
}

impl SinkOptions for StdoutSinkOptions {
    fn mode(&self) -> OutputMode {
        self.mode
    }

    fn owns_stdout(&self) -> bool {
        true
    }

    fn writes_to_stdout(&self) -> bool {
        true
    }

    fn open(&self, open: OpenSink) -> Result<Box<dyn Sink>, BoxError> {
        Ok(Box::new(StdoutSink::try_new(self, open)?))
    }
}
