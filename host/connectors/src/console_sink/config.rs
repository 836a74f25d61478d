//! The options of `[sinks.NAME]` with `type = "console"`.

use millpond_core::{BoxError, OutputMode, Sink};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ConsoleSink;
use crate::SpecError;
use crate::spec::{OpenSink, SinkOptions, from_table};

/// Options of a sink of type `console`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ConsoleSinkOptions {
    /// `"append"`, `"update"` or `"complete"`; only `"complete"` prints batches without rows. Default: `"append"`.
    #[serde(default)]
    pub mode: OutputMode,
    /// Print at most so many rows of a batch, and how many more there are; 0 = all. Default: `20`.
    #[serde(default = "rows")]
    pub rows: u64,
    /// Print at most so many characters of a cell; 0 = all. Default: `60`.
    #[serde(default = "truncate")]
    pub truncate: u64,
}

fn rows() -> u64 {
    // As Spark's console sink has it.
    20
}

fn truncate() -> u64 {
    // A guess: two such columns fit most terminals.
    60
}

impl ConsoleSinkOptions {
    pub(crate) const KEYS: &'static [&'static str] = &["mode", "rows", "truncate"];

    pub(crate) fn from_table(table: Value) -> Result<Self, SpecError> {
        from_table(table)
    }
}

impl SinkOptions for ConsoleSinkOptions {
    fn mode(&self) -> OutputMode {
        self.mode
    }

    fn writes_to_stdout(&self) -> bool {
        true
    }

    fn open(&self, open: OpenSink) -> Result<Box<dyn Sink>, BoxError> {
        Ok(Box::new(ConsoleSink::new(self.clone(), open)))
    }
}
