//! The options of `[sources.NAME]` with `type = "stdin"`.

use millpond_core::{BoxError, Receiver};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::StdinReceiver;
use crate::codec::Format;
use crate::received::line_format;
use crate::spec::{OpenSource, SourceOptions, delimiter, from_table};
use crate::units::ByteSize;
use crate::{OnBadRecordSpec, RecordFormatSpec, SpecError};

/// Options of a source of type `stdin`: lines from standard input. Best effort: what was read and not committed is lost in a
/// crash.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StdinSourceOptions {
    /// `"text"` (a line is a row of one column), `"csv"` (columns by position, no header) or `"json"` (JSON lines).
    /// Default: `"text"`.
    #[serde(default)]
    pub format: RecordFormatSpec,
    /// When so many bytes wait for the next batch, no more are read, and the program at the other end of the pipe has to
    /// wait. Default: `"16MiB"`.
    #[serde(default = "buffer_bytes")]
    pub buffer_bytes: ByteSize,
    /// A longer line is a bad record. Default: `"1MiB"`.
    #[serde(default = "line_bytes_max")]
    pub line_bytes_max: ByteSize,
    /// CSV only: the character between fields. Default: `","`.
    #[serde(default)]
    pub delimiter: Option<String>,
    /// `"skip"`: a record that cannot be decoded is counted and reported; `"fail"`: it fails the job. Default: `"skip"`.
    #[serde(default)]
    pub on_bad_record: OnBadRecordSpec,
}

// As the socket source has it.
fn buffer_bytes() -> ByteSize {
    ByteSize(16 << 20)
}

fn line_bytes_max() -> ByteSize {
    ByteSize(1 << 20)
}

impl StdinSourceOptions {
    pub(crate) const KEYS: &'static [&'static str] =
        &["format", "buffer-bytes", "line-bytes-max", "delimiter", "on-bad-record"];

    pub(crate) fn from_table(table: Value) -> Result<Self, SpecError> {
        let options: Self = from_table(table)?;
        let wrong = |key: &str, message: String| Err(SpecError { key: Some(key.to_owned()), message });
        if options.line_bytes_max.0 == 0 {
            return wrong("line-bytes-max", "must be at least 1 byte".to_owned());
        }
        if options.buffer_bytes < options.line_bytes_max {
            return wrong("buffer-bytes", format!("must not be below line-bytes-max ({})", options.line_bytes_max));
        }
        if options.delimiter.is_some() && options.format != RecordFormatSpec::Csv {
            return wrong("delimiter", "is only for format = \"csv\"".to_owned());
        }
        delimiter(options.delimiter.as_deref())?;
        Ok(options)
    }

    /// # Panics
    /// If the delimiter was not checked: [`Self::from_table`] did.
    pub(super) fn codec_format(&self) -> Format {
        let delimiter = delimiter(self.delimiter.as_deref()).expect("it was checked when the options were read");
        line_format(self.format, delimiter)
    }
}

impl SourceOptions for StdinSourceOptions {
    fn on_bad_record(&self) -> OnBadRecordSpec {
        self.on_bad_record
    }

    fn reads_stdin(&self) -> bool {
        true
    }

    fn open(&self, open: OpenSource) -> Result<Box<dyn Receiver>, BoxError> {
        Ok(Box::new(StdinReceiver::try_new(self.clone(), open)?))
    }
}
