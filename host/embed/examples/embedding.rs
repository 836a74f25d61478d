//! A program that embeds Millpond: a receiver and a sink of its own, and a component between them.
//!
//! ```sh
//! millpond build plugins/wordcount        # says where the component is
//! cargo run -p millpond-embed --example embedding -- COMPONENT STATE-FOLDER
//! ```
//! The receiver says sentences, two a batch, and can say them again; the sink tells the program what was committed. So the
//! counts are exact however often the program is killed and started again.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use millpond_embed::arrow::array::{AsArray, RecordBatch, StringArray};
use millpond_embed::arrow::datatypes::{Int64Type, SchemaRef};
use millpond_embed::core::receiver::{ProgressEntry, Reliability, StoredEntry};
use millpond_embed::core::{
    BatchTime, BoxError, Classify, Code, Decoded, Domain, Poll, PollRequest, Receiver, Sink, SinkBatch, SinkToken,
    Split, SplitReader,
};
use millpond_embed::{Host, OutputMode, Trigger};

const SENTENCES: [&str; 5] = ["the mill turns", "the pond is still", "the wheel turns", "still the mill", "turns"];

/// Sentences of one batch.
const A_BATCH: usize = 2;

/// An input: hands over ranges of sentences, and remembers how far it is.
struct Sentences {
    schema: SchemaRef,
    next: usize,
    told: usize,
}

impl Receiver for Sentences {
    fn reliability(&self) -> Reliability {
        Reliability::Replayable
    }

    /// What `take_progress` gave, as of the newest commit.
    fn restore(&mut self, entries: Vec<StoredEntry>) -> Result<(), BoxError> {
        if let Some((_, value)) = entries.first() {
            self.next = number(value)?;
            self.told = self.next;
        }
        Ok(())
    }

    fn poll(&mut self, _request: &PollRequest) -> Result<Poll, BoxError> {
        let start = self.next;
        self.next = SENTENCES.len().min(start + A_BATCH);
        let split = |at: usize| Split {
            locator: at.to_le_bytes().to_vec(),
            place: format!("sentence {at}"),
            bytes: Some(SENTENCES[at].len() as u64),
        };
        let ended = self.next == SENTENCES.len();
        Ok(Poll { splits: (start..self.next).map(split).collect(), more: !ended, ended, ..Poll::default() })
    }

    fn reader(&self) -> Arc<dyn SplitReader> {
        Arc::new(Speaker { schema: Arc::clone(&self.schema) })
    }

    /// Committed together with the batch, or not at all.
    fn take_progress(&mut self) -> Vec<ProgressEntry> {
        if std::mem::replace(&mut self.told, self.next) == self.next {
            return Vec::new();
        }
        vec![(b"next".to_vec(), Some(self.next.to_le_bytes().to_vec()))]
    }

    fn stop(&mut self) {}
}

/// Makes rows of splits, on whichever thread asks.
struct Speaker {
    schema: SchemaRef,
}

impl SplitReader for Speaker {
    fn read(&self, split: &Split) -> Result<Decoded, BoxError> {
        let sentence = SENTENCES.get(number(&split.locator)?).ok_or(Damaged)?;
        let column = Arc::new(StringArray::from(vec![*sentence]));
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), vec![column]).map_err(|_| Damaged)?;
        Ok(Decoded { batch, bad_records: Vec::new(), bytes: sentence.len() as u64 })
    }
}

/// An output: what is committed goes to the program.
struct Announce {
    counts: Sender<Counts>,
    prepared: BTreeMap<BatchTime, Counts>,
}

/// Words and how often they came, the most frequent first.
pub type Counts = Vec<(String, i64)>;

impl Sink for Announce {
    fn recover(&mut self, _last: Option<&SinkToken>) -> Result<(), BoxError> {
        Ok(())
    }

    /// Makes the output ready where nobody sees it.
    fn prepare(&mut self, batch: &SinkBatch) -> Result<SinkToken, BoxError> {
        let mut counts = Counts::new();
        for part in &batch.partitions {
            let words = part.rows.column(0).as_string::<i32>().iter().flatten().map(str::to_owned);
            counts.extend(words.zip(part.rows.column(1).as_primitive::<Int64Type>().values().iter().copied()));
        }
        self.prepared.insert(batch.batch_time, counts);
        Ok(SinkToken { batch_time: batch.batch_time, data: Vec::new() })
    }

    /// The batch is committed: shows it.
    fn commit(&mut self, token: &SinkToken) -> Result<(), BoxError> {
        if let Some(counts) = self.prepared.remove(&token.batch_time) {
            // Nobody listens any more: that is the program's affair.
            self.counts.send(counts).ok();
        }
        Ok(())
    }

    fn abort(&mut self, token: &SinkToken) -> Result<(), BoxError> {
        self.prepared.remove(&token.batch_time);
        Ok(())
    }
}

/// Progress or a split that is not ours. Errors of ports say whose fault they are, and have a code.
#[derive(Debug)]
struct Damaged;

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the state folder is of another program: use one of its own")
    }
}

impl std::error::Error for Damaged {}

impl Classify for Damaged {
    fn code(&self) -> Code {
        Code("SAY01")
    }

    fn domain(&self) -> Domain {
        Domain::User
    }
}

fn number(bytes: &[u8]) -> Result<usize, BoxError> {
    Ok(bytes.try_into().map(usize::from_le_bytes).map_err(|_| Damaged)?)
}

/// Counts the words of all sentences that were not counted before; gives the counts after each batch.
pub fn count_words(component: Vec<u8>, state: &Path) -> Result<Vec<Counts>, BoxError> {
    let (counts, announced) = channel();
    let host = Host::new()?;
    let mut job = host
        .job("sentences", component)
        .param("top", 3)
        .batch_interval(Duration::from_millis(100))
        .trigger(Trigger::AvailableNow)
        .source("lines", |open| Ok(Sentences { schema: open.schema, next: 0, told: 0 }))
        .sink("counts", OutputMode::Complete, |_| Ok(Announce { counts, prepared: BTreeMap::new() }))
        .open_in(state)?;
    job.run()?;
    // The sink goes with the job, and with it the sending end.
    drop(job);
    Ok(announced.iter().collect())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1).map(PathBuf::from);
    let (Some(component), Some(state)) = (args.next(), args.next()) else {
        return Err("usage: embedding COMPONENT STATE-FOLDER".into());
    };
    let batches = count_words(std::fs::read(component)?, &state).map_err(|error| error.full_message())?;
    for (batch, counts) in batches.iter().enumerate() {
        println!("batch {batch}: {counts:?}");
    }
    Ok(())
}
