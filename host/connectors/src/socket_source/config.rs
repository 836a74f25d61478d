//! The options of `[sources.NAME]` with `type = "socket"`.

use millpond_core::{BoxError, Receiver};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::SocketReceiver;
use crate::codec::Format;
use crate::received::line_format;
use crate::spec::{OpenSource, SourceOptions, delimiter, from_table};
use crate::units::{ByteSize, Millis};
use crate::{OnBadRecordSpec, RecordFormatSpec, SpecError};

/// Options of a source of type `socket`: lines from a TCP server. Best effort: what was received and not committed is lost
/// in a crash.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SocketSourceOptions {
    /// Name or address of the server.
    pub host: String,
    /// Its port, 1 to 65535.
    pub port: u16,
    /// `"text"` (a line is a row of one column), `"csv"` (columns by position, no header) or `"json"` (JSON lines).
    /// Default: `"text"`.
    #[serde(default)]
    pub format: RecordFormatSpec,
    /// Connects again, for ever, when the connection cannot be made or is lost. Otherwise the source has ended when the
    /// server closes, and a first connection that fails fails the job. Default: `true`.
    #[serde(default = "reconnect")]
    pub reconnect: bool,
    /// The wait before the second try; doubled with each further one. Default: `"100ms"`.
    #[serde(default = "retry_min")]
    pub retry_min: Millis,
    /// The longest wait between two tries. Default: `"10s"`.
    #[serde(default = "retry_max")]
    pub retry_max: Millis,
    /// When so many bytes wait for the next batch, no more are read from the connection, and the server has to wait.
    /// Default: `"16MiB"`.
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

fn reconnect() -> bool {
    true
}

// A guess: long enough not to burden a server that is starting, short enough not to be noticed.
fn retry_min() -> Millis {
    Millis(100)
}

// A guess: what a person waits without wondering.
fn retry_max() -> Millis {
    Millis(10_000)
}

// A guess: a tenth of a second of a fast network.
fn buffer_bytes() -> ByteSize {
    ByteSize(16 << 20)
}

fn line_bytes_max() -> ByteSize {
    ByteSize(1 << 20)
}

impl SocketSourceOptions {
    pub(crate) const KEYS: &'static [&'static str] = &[
        "host",
        "port",
        "format",
        "reconnect",
        "retry-min",
        "retry-max",
        "buffer-bytes",
        "line-bytes-max",
        "delimiter",
        "on-bad-record",
    ];

    pub(crate) fn from_table(table: Value) -> Result<Self, SpecError> {
        let options: Self = from_table(table)?;
        let wrong = |key: &str, message: String| Err(SpecError { key: Some(key.to_owned()), message });
        if options.host.is_empty() {
            return wrong("host", "the host is empty: name a server".to_owned());
        }
        if options.port == 0 {
            return wrong("port", "0 is not allowed: it must be a whole number from 1 to 65535".to_owned());
        }
        if options.retry_min.0 == 0 {
            return wrong("retry-min", "must be at least 1ms".to_owned());
        }
        if options.retry_max < options.retry_min {
            return wrong("retry-max", format!("must not be below retry-min ({}ms)", options.retry_min.0));
        }
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

impl SourceOptions for SocketSourceOptions {
    fn on_bad_record(&self) -> OnBadRecordSpec {
        self.on_bad_record
    }

    fn endless(&self) -> Option<&'static str> {
        self.reconnect.then_some("reconnect = false, so that the end of the connection is the end")
    }

    fn open(&self, open: OpenSource) -> Result<Box<dyn Receiver>, BoxError> {
        Ok(Box::new(SocketReceiver::try_new(self.clone(), open)?))
    }
}
