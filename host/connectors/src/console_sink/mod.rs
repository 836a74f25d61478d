//! Sink `console`: each batch as a table.
//!
//! ```text
//! Batch 2023-11-14T22:13:20.000Z
//! ┌───────┬───────┐
//! │ word  │ count │
//! ├───────┼───────┤
//! │ hello │     2 │
//! └───────┴───────┘
//! ```
//! The table is made in `prepare` and printed, in one write, in `commit`. A terminal cannot be read back, so after a crash
//! between the batch's commit and the print the table is not printed again. Source: `print` of Spark Streaming and the
//! console sink of its structured streaming.

mod config;
mod table;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use millpond_core::{BatchTime, BoxError, OutputMode, Sink, SinkBatch, SinkToken};

pub use self::config::ConsoleSinkOptions;
use crate::spec::OpenSink;
use crate::{Error, Result};

/// Prints each batch.
struct ConsoleSink {
    options: ConsoleSinkOptions,
    name: String,
    color: bool,
    out: Box<dyn Write + Send>,
    /// What prepared batches will print.
    prepared: BTreeMap<BatchTime, String>,
    /// The table without rows, which an idle job prints again and again, once it is drawn.
    empty: Option<String>,
}

impl ConsoleSink {
    fn new(options: ConsoleSinkOptions, open: OpenSink) -> Self {
        Self { options, name: open.name, color: open.color, out: open.out, prepared: BTreeMap::new(), empty: None }
    }

    fn draw(&self, batch: &SinkBatch) -> Result<String> {
        table::draw(batch, &self.options).ok_or_else(|| Error::SinkMismatch {
            sink_name: self.name.clone(),
            reason: "a column has a type that cannot be printed: leave it out".to_owned(),
        })
    }

    /// What is printed belongs to a committed batch, and a table cannot be taken back: it is printed at most once.
    fn print(&mut self, batch_time: BatchTime, text: &str) -> Result<()> {
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        let place =
            || format!("the output of sink `{}` (batch {batch_time} is committed and not printed again)", self.name);
        written.map_err(|source| Error::write(Path::new(&place()), source))
    }
}

impl Sink for ConsoleSink {
    fn recover(&mut self, _last: Option<&SinkToken>) -> Result<(), BoxError> {
        Ok(())
    }

    fn prepare(&mut self, batch: &SinkBatch) -> Result<SinkToken, BoxError> {
        let empty = millpond_core::batch::row_count(&batch.partitions) == 0;
        if !empty || self.options.mode == OutputMode::Complete {
            let table = match &self.empty {
                Some(table) if empty => Cow::Borrowed(table),
                _ => Cow::Owned(self.draw(batch)?),
            };
            let title = table::title(batch.batch_time, self.color);
            self.prepared.insert(batch.batch_time, format!("{title}\n{table}\n"));
            if empty {
                self.empty = Some(table.into_owned());
            }
        }
        Ok(SinkToken { batch_time: batch.batch_time, data: Vec::new() })
    }

    fn commit(&mut self, token: &SinkToken) -> Result<(), BoxError> {
        match self.prepared.remove(&token.batch_time) {
            Some(text) => Ok(self.print(token.batch_time, &text)?),
            None => Ok(()),
        }
    }

    fn abort(&mut self, token: &SinkToken) -> Result<(), BoxError> {
        self.prepared.remove(&token.batch_time);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
