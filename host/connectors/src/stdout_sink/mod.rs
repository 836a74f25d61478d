//! Sink `stdout`: rows as lines on standard output, for the next program of a pipe.
//!
//! The lines are made in `prepare` and written, in one write, in `commit`. A pipe cannot be read back, so after a crash between
//! the batch's commit and the write the batch is not written again. When the program at the other end has gone (`| head`),
//! nobody wants more: the job is told to finish, and what it still has in hand is committed and dropped.

mod config;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use arrow::datatypes::SchemaRef;
use millpond_core::schema::type_name;
use millpond_core::{BatchTime, BoxError, Sink, SinkBatch, SinkToken, StopSignal};

pub use self::config::StdoutSinkOptions;
use crate::codec::encode::{BATCH_TIME, Encoding};
use crate::spec::OpenSink;
use crate::{Error, Result};

/// Writes rows as lines.
struct StdoutSink {
    encoding: Encoding,
    with_time: bool,
    name: String,
    out: Box<dyn Write + Send>,
    stop: StopSignal,
    /// Nobody reads any more.
    closed: bool,
    /// The header of the run, until the first lines are written.
    header: Vec<u8>,
    /// What prepared batches will write.
    prepared: BTreeMap<BatchTime, Vec<u8>>,
}

impl StdoutSink {
    fn try_new(options: &StdoutSinkOptions, open: OpenSink) -> Result<Self> {
        let encoding = options.encoding();
        let unfit = check(&encoding, options.batch_time, &open.schema);
        unfit.map_err(|reason| Error::SinkMismatch { sink_name: open.name.clone(), reason })?;
        let mut header = Vec::new();
        let place = place(&open.name);
        encoding
            .start(&mut header, &open.schema, options.batch_time)
            .map_err(|error| Error::write(Path::new(&place), error))?;
        Ok(Self {
            encoding,
            with_time: options.batch_time,
            name: open.name,
            out: open.out,
            stop: open.stop,
            closed: false,
            header,
            prepared: BTreeMap::new(),
        })
    }

    fn write(&mut self, batch_time: BatchTime, lines: &[u8]) -> Result<()> {
        let header = std::mem::take(&mut self.header);
        let bytes = if header.is_empty() { lines } else { &[&header, lines].concat() };
        match self.out.write_all(bytes).and_then(|()| self.out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                self.stop.finish();
                Ok(())
            }
            Err(error) => {
                let place = format!("{} (batch {batch_time} is committed and not written again)", place(&self.name));
                Err(Error::write(Path::new(&place), error))
            }
            Ok(()) => Ok(()),
        }
    }
}

fn place(sink: &str) -> String {
    format!("the output of sink `{sink}`")
}

fn check(encoding: &Encoding, with_time: bool, schema: &SchemaRef) -> Result<(), String> {
    if with_time && !matches!(encoding, Encoding::Text) && schema.column_with_name(BATCH_TIME).is_some() {
        return Err(format!(
            "the plan has a column `{BATCH_TIME}`, and the sink adds one of that name: set batch-time = false"
        ));
    }
    match schema.fields().iter().find(|field| type_name(field.data_type()).is_none()) {
        Some(field) => Err(format!("column `{}` has a type that cannot be written: leave it out", field.name())),
        None => Ok(()),
    }
}

impl Sink for StdoutSink {
    fn recover(&mut self, _last: Option<&SinkToken>) -> Result<(), BoxError> {
        Ok(())
    }

    fn prepare(&mut self, batch: &SinkBatch) -> Result<SinkToken, BoxError> {
        let mut lines = Vec::new();
        for part in batch.partitions.iter().filter(|_| !self.closed) {
            let written = self.encoding.rows(&mut lines, &part.rows, self.with_time.then_some(batch.batch_time));
            written.map_err(|error| Error::write(Path::new(&place(&self.name)), error))?;
        }
        if !lines.is_empty() {
            self.prepared.insert(batch.batch_time, lines);
        }
        Ok(SinkToken { batch_time: batch.batch_time, data: Vec::new() })
    }

    fn commit(&mut self, token: &SinkToken) -> Result<(), BoxError> {
        match self.prepared.remove(&token.batch_time) {
            Some(lines) if !self.closed => Ok(self.write(token.batch_time, &lines)?),
            _ => Ok(()),
        }
    }

    fn abort(&mut self, token: &SinkToken) -> Result<(), BoxError> {
        self.prepared.remove(&token.batch_time);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
