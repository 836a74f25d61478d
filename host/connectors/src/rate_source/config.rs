//! The options of `[sources.NAME]` with `type = "rate"`.

use millpond_core::{BoxError, Receiver};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::RateReceiver;
use crate::spec::{OpenSource, SourceOptions, from_table};
use crate::{OnBadRecordSpec, SpecError};

/// More words than this in a text are no line any more (a guess).
const WORDS_MAX: u64 = 1000;

/// Options of a source of type `rate`: made-up rows, the same ones for the same options.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RateSourceOptions {
    /// So many rows are due every second by the clock, from the moment the job starts. Without it, as many as a batch may
    /// have.
    #[serde(default)]
    pub rows_per_second: Option<u64>,
    /// The source has ended after so many rows. Without it, it never ends.
    #[serde(default)]
    pub max_rows: Option<u64>,
    /// At most so many rows in a batch. Default: 1000000.
    #[serde(default = "max_rows_per_batch")]
    pub max_rows_per_batch: u64,
    /// Another seed gives other rows. Default: 0.
    #[serde(default)]
    pub seed: u64,
    /// How many different values columns of text, bytes and whole numbers have. Default: 1000.
    #[serde(default = "keys")]
    pub keys: u64,
    /// How many words a text has, with a space between two. Default: 1.
    #[serde(default = "words")]
    pub words: u64,
    /// A column of whole numbers that is to have the rows' numbers: 0, 1, 2 ...
    #[serde(default)]
    pub sequence: Option<String>,
}

fn max_rows_per_batch() -> u64 {
    // A guess: a few tens of MB for a few columns.
    1_000_000
}

fn keys() -> u64 {
    1000
}

fn words() -> u64 {
    1
}

impl RateSourceOptions {
    pub(crate) const KEYS: &'static [&'static str] =
        &["rows-per-second", "max-rows", "max-rows-per-batch", "seed", "keys", "words", "sequence"];

    pub(crate) fn from_table(table: Value) -> Result<Self, SpecError> {
        let options: Self = from_table(table)?;
        let least = [
            ("rows-per-second", options.rows_per_second.unwrap_or(1)),
            ("max-rows-per-batch", options.max_rows_per_batch),
            ("keys", options.keys),
        ];
        let wrong = |key: &str, message: &str| {
            Err(SpecError { key: Some(key.to_owned()), message: format!("is not allowed: it must be {message}") })
        };
        if let Some((key, _)) = least.iter().find(|(_, value)| *value == 0) {
            return wrong(key, "a whole number of at least 1");
        }
        if options.words == 0 || options.words > WORDS_MAX {
            return wrong("words", "a whole number from 1 to 1000");
        }
        Ok(options)
    }
}

impl SourceOptions for RateSourceOptions {
    fn on_bad_record(&self) -> OnBadRecordSpec {
        // It makes none.
        OnBadRecordSpec::Skip
    }

    fn endless(&self) -> Option<&'static str> {
        self.max_rows.is_none().then_some("max-rows = 1000000, so that it ends")
    }

    fn open(&self, open: OpenSource) -> Result<Box<dyn Receiver>, BoxError> {
        Ok(Box::new(RateReceiver::try_new(self, open)?))
    }
}
