//! The baselines: what somebody writes who has only this one job to do, wants it fast, and needs no engine.
//!
//! Each runs as a process of its own, `bench native w1 --data DIR --threads 2 --out FILE`, and writes for each batch its rows
//! as `key<TAB>value` lines and then an empty line. They read the same files as Millpond does and give the same answers, byte
//! for byte. What makes them fast: large reads into a buffer that stays in the cache, separators found 64 bytes at a time, keys
//! compared as two machine words, a hash table of indices over dense entries, a table per thread, no allocation per row.
//!
//! Ids are bytes to them, as they are to Millpond: nothing here parses `v000123` to a number. Lines end in a line feed. No state
//! outlives the process, except for W1 and W3 with `--state`: see `state.rs`.

mod averages;
mod block;
pub(crate) mod join;
mod keys;
mod marks;
mod number;
mod state;
mod team;
mod top;
mod w1;
mod w2;
mod w3;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use self::state::StateFile;

/// Which job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NativeJob {
    /// Running word count
    W1,
    /// Plays per video over a sliding window
    W2,
    /// Moving average per sensor
    W3,
}

/// What a baseline is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct NativeOptions {
    /// Folder of the input
    #[arg(long)]
    pub data: PathBuf,
    /// Threads that do the work
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
    /// Where the answers go
    #[arg(long)]
    pub out: PathBuf,
    /// Rows of an answer; 0 = all
    #[arg(long, default_value_t = 10)]
    pub top: usize,
    /// Files that make a batch
    #[arg(long, default_value_t = 1)]
    pub files_per_batch: usize,
    /// W1 and W3: append what changed in each batch to this file, synced before the answer is written
    #[arg(long)]
    pub state: Option<PathBuf>,
}

impl NativeOptions {
    /// The files of each batch.
    fn batches(&self) -> Result<Vec<Vec<PathBuf>>> {
        let files = crate::data::files(&self.data)?;
        Ok(files.chunks(self.files_per_batch.max(1)).map(<[_]>::to_vec).collect())
    }

    fn create_out(&self) -> Result<BufWriter<File>> {
        let file = File::create(&self.out).with_context(|| format!("cannot make {}", self.out.display()))?;
        Ok(BufWriter::with_capacity(1 << 16, file))
    }

    fn create_state(&self) -> Result<Option<StateFile>> {
        self.state.as_deref().map(StateFile::try_new).transpose()
    }
}

/// Does a job.
///
/// # Errors
///
/// A file cannot be read or written, or the job writes no state.
pub(crate) fn run(job: NativeJob, options: &NativeOptions) -> Result<()> {
    // The same settings of the allocator as the other side has.
    millpond_cli::allocator::keep_freed_memory();
    ensure!(job != NativeJob::W2 || options.state.is_none(), "W2 writes no state: leave out --state");
    match job {
        NativeJob::W1 => w1::run(options),
        NativeJob::W2 => w2::run(options),
        NativeJob::W3 => w3::run(options),
    }
}

/// Writes the rows of a batch.
fn write_batch<V>(
    out: &mut impl Write,
    rows: &[(Vec<u8>, V)],
    mut value: impl FnMut(&mut Vec<u8>, &V) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut text = Vec::with_capacity(rows.len() * 24 + 1);
    for (key, number) in rows {
        text.extend_from_slice(key);
        text.push(b'\t');
        value(&mut text, number)?;
        text.push(b'\n');
    }
    text.push(b'\n');
    out.write_all(&text)?;
    out.flush()
}
