//! The options of `[sources.NAME]` with `type = "files"`.

use std::num::NonZeroU64;

use millpond_core::{BoxError, Receiver};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::FilesReceiver;
use crate::codec::{CsvOptions, Format};
use crate::spec::{OpenSource, SourceOptions, delimiter, from_table};
use crate::units::ByteSize;
use crate::{OnBadRecordSpec, RecordFormatSpec, SpecError};

/// Options of a source of type `files`: the files of a folder, those that are there and those that appear.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FilesSourceOptions {
    /// A file, a folder (its files, not those of folders in it) or a glob pattern such as `data/**/*.txt`; relative to the
    /// job file. Files whose names start with `.` or `_` or end in `.tmp` are passed over, so that a file can be written
    /// under such a name and renamed when it is complete. Files ending in `.gz` are unpacked.
    pub path: String,
    /// `"text"` (a line is a row of one column), `"csv"` or `"json"` (JSON lines). Default: `"text"`.
    #[serde(default)]
    pub format: RecordFormatSpec,
    /// At most so many files in one batch. Default: no limit.
    #[serde(default)]
    pub max_files_per_batch: Option<NonZeroU64>,
    /// At most about so many bytes in one batch: larger files go over several batches, cut at line ends. A gzip file and a
    /// multi-line CSV file cannot be cut; a gzip file counts for eight times its size. Default: `"256MiB"`.
    #[serde(default = "max_bytes_per_batch")]
    pub max_bytes_per_batch: ByteSize,
    /// Passes over the files that are there when the job starts for the first time. Default: `false`.
    #[serde(default)]
    pub new_files_only: bool,
    /// Reads on when a file grows. A last line without a line end then waits for its end; a file that shrinks or is
    /// replaced is read from its start. Default: `false` (growth, like any other change of a file
    /// that was read, is reported once and counted as a bad record).
    #[serde(default)]
    pub follow: bool,
    /// A longer line (for multi-line CSV: a longer record) is a bad record. Default: `"1MiB"`.
    #[serde(default = "line_bytes_max")]
    pub line_bytes_max: ByteSize,
    /// CSV only: the first line names the columns. Default: `true`.
    #[serde(default)]
    pub header: Option<bool>,
    /// CSV only: the character between fields. Default: `","`.
    #[serde(default)]
    pub delimiter: Option<String>,
    /// CSV only: fields in quotes may hold line ends. Such a file is read as one piece, by one task. Default: `false`.
    #[serde(default)]
    pub multiline: Option<bool>,
    /// `"skip"`: a record that cannot be decoded, a file that changed (also after it was read) and a folder that is away are
    /// counted and reported; `"fail"`: they fail the job. Default: `"skip"`.
    #[serde(default)]
    pub on_bad_record: OnBadRecordSpec,
}

fn max_bytes_per_batch() -> ByteSize {
    // A guess: a second or less of work per core, and small beside the memory of any machine.
    ByteSize(256 << 20)
}

fn line_bytes_max() -> ByteSize {
    ByteSize(1 << 20)
}

impl FilesSourceOptions {
    pub(crate) const KEYS: &'static [&'static str] = &[
        "path",
        "format",
        "max-files-per-batch",
        "max-bytes-per-batch",
        "new-files-only",
        "follow",
        "line-bytes-max",
        "header",
        "delimiter",
        "multiline",
        "on-bad-record",
    ];

    pub(crate) fn from_table(table: Value) -> Result<Self, SpecError> {
        let options: Self = from_table(table)?;
        options.check()?;
        Ok(options)
    }

    fn check(&self) -> Result<(), SpecError> {
        let wrong = |key: &str, message: String| Err(SpecError { key: Some(key.to_owned()), message });
        if self.path.is_empty() {
            return wrong("path", "the path is empty: name a file, a folder or a pattern".to_owned());
        }
        if let Err(error) = glob::Pattern::new(&self.path) {
            return wrong("path", format!("`{}` is not a valid pattern: {error}", self.path));
        }
        for (key, value) in [("max-bytes-per-batch", self.max_bytes_per_batch), ("line-bytes-max", self.line_bytes_max)]
        {
            if value.0 == 0 {
                return wrong(key, "must be at least 1 byte".to_owned());
            }
        }
        let csv = self.format == RecordFormatSpec::Csv;
        let set = [
            ("header", self.header.is_some()),
            ("delimiter", self.delimiter.is_some()),
            ("multiline", self.multiline.is_some()),
        ];
        if let Some((key, _)) = set.iter().find(|(_, set)| *set && !csv) {
            return wrong(key, "is only for format = \"csv\"".to_owned());
        }
        if self.follow && self.multiline == Some(true) {
            return wrong("multiline", "does not go together with follow = true".to_owned());
        }
        delimiter(self.delimiter.as_deref()).map(drop)
    }

    /// # Panics
    /// If the delimiter was not checked: [`Self::from_table`] did.
    pub(super) fn codec_format(&self) -> Format {
        match self.format {
            RecordFormatSpec::Text => Format::Text,
            RecordFormatSpec::Json => Format::Json,
            RecordFormatSpec::Csv => Format::Csv(CsvOptions {
                header: self.header.unwrap_or(true),
                delimiter: delimiter(self.delimiter.as_deref()).expect("it was checked when the options were read"),
                multiline: self.multiline.unwrap_or(false),
            }),
        }
    }
}

impl SourceOptions for FilesSourceOptions {
    fn on_bad_record(&self) -> OnBadRecordSpec {
        self.on_bad_record
    }

    fn open(&self, open: OpenSource) -> Result<Box<dyn Receiver>, BoxError> {
        Ok(Box::new(FilesReceiver::try_new(self.clone(), open)?))
    }
}
