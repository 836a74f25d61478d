//! A receiver that gives what the test put in.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millpond_core::receiver::{ProgressEntry, Reliability};
use millpond_core::{BadRecord, BoxError, Decoded, Poll, PollRequest, Receiver, Split, SplitReader};

/// Batches to give, one after the other; each is a list of partitions.
///
/// Progress is how many were given, so a receiver over the same script goes on after a restart. Clones share the script.
#[derive(Clone, Debug)]
pub struct ScriptReceiver {
    script: Arc<Script>,
    given: usize,
    told: usize,
}

#[derive(Debug)]
struct Script {
    schema: SchemaRef,
    batches: Mutex<VecDeque<Vec<ScriptPartition>>>,
}

#[derive(Clone, Debug)]
struct ScriptPartition {
    rows: RecordBatch,
    bad_records: Vec<BadRecord>,
}

impl ScriptReceiver {
    /// A receiver for this schema with nothing to give yet.
    #[must_use]
    pub fn new(schema: SchemaRef) -> Self {
        Self { script: Arc::new(Script { schema, batches: Mutex::default() }), given: 0, told: 0 }
    }

    /// The columns of what it gives.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.script.schema
    }

    /// A receiver over the same script that starts from its beginning, as a restarted job's does.
    #[must_use]
    pub fn again(&self) -> Self {
        Self { script: Arc::clone(&self.script), given: 0, told: 0 }
    }

    /// Adds a batch of these partitions.
    pub fn push(&self, partitions: Vec<RecordBatch>) {
        let partitions = partitions.into_iter().map(|rows| ScriptPartition { rows, bad_records: Vec::new() }).collect();
        self.script.lock().push_back(partitions);
    }

    /// Adds a batch with a record that cannot be decoded.
    pub fn push_bad(&self, place: &str, reason: &str) {
        let bad_records = vec![BadRecord { place: place.to_owned(), reason: reason.to_owned() }];
        let rows = RecordBatch::new_empty(Arc::clone(&self.script.schema));
        self.script.lock().push_back(vec![ScriptPartition { rows, bad_records }]);
    }
}

impl Script {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Vec<ScriptPartition>>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one progress entry.
const GIVEN: &[u8] = b"given";

impl Receiver for ScriptReceiver {
    fn reliability(&self) -> Reliability {
        Reliability::Replayable
    }

    fn restore(&mut self, entries: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), BoxError> {
        let given = entries.into_iter().find(|(key, _)| key == GIVEN);
        let number = |bytes: Vec<u8>| bytes.try_into().map(u64::from_le_bytes).expect("eight bytes, as it gave them");
        self.given = given.map_or(0, |(_, bytes)| number(bytes)) as usize;
        self.told = self.given;
        Ok(())
    }

    fn poll(&mut self, _: &PollRequest) -> Result<Poll, BoxError> {
        let batches = self.script.lock();
        let Some(batch) = batches.get(self.given) else { return Ok(Poll::default()) };
        let split = |partition: usize| Split {
            locator: [(self.given as u32).to_le_bytes(), (partition as u32).to_le_bytes()].concat(),
            place: format!("script batch {} partition {partition}", self.given),
            bytes: Some(batch[partition].rows.get_array_memory_size() as u64),
        };
        let splits = (0..batch.len()).map(split).collect();
        self.given += 1;
        Ok(Poll { splits, more: self.given < batches.len(), ..Poll::default() })
    }

    fn reader(&self) -> Arc<dyn SplitReader> {
        Arc::clone(&self.script) as Arc<dyn SplitReader>
    }

    fn take_progress(&mut self) -> Vec<ProgressEntry> {
        if self.told == self.given {
            return Vec::new();
        }
        self.told = self.given;
        vec![(GIVEN.to_vec(), Some((self.given as u64).to_le_bytes().to_vec()))]
    }

    fn stop(&mut self) {}
}

impl SplitReader for Script {
    fn read(&self, split: &Split) -> Result<Decoded, BoxError> {
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes, as it gave them")) as usize;
        let (batch, partition) = (number(&split.locator[..4]), number(&split.locator[4..]));
        let part = self.lock()[batch][partition].clone();
        let bytes = part.rows.get_array_memory_size() as u64;
        Ok(Decoded { batch: part.rows, bad_records: part.bad_records, bytes })
    }
}
