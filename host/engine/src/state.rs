//! Hot state of one node and partition: keys with values, in memory, and what changed since the last commit.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Fields, Schema, SchemaRef};
use millpond_core::plan::Sort;
use millpond_core::store::KeyedChunk;
use millpond_core::{PartitionId, StateChange, StateDelta};

use crate::columns::{self, ColumnStore, gather_bytes};
use crate::error::{Error, Result};
use crate::first::FirstSlots;
use crate::key::{self, Keys};
use crate::key_table::KeyTable;
use crate::marks::Marks;

/// Keyed state of one partition of a node.
#[derive(Debug)]
pub(crate) struct KeyedState {
    node: String,
    key_fields: Fields,
    keys: KeyTable,
    values: ColumnStore,
    value_schema: SchemaRef,
    /// What user code sees of the values.
    visible_schema: SchemaRef,
    /// Slots that changed since the last commit.
    dirty: Marks,
    /// Committed keys that were removed since the last commit.
    deleted: Vec<Vec<u8>>,
    /// The first keys of an order that someone asks for in every batch.
    first: Option<FirstSlots>,
}

impl KeyedState {
    /// Empty state; `schema` is key columns, then value columns.
    pub(crate) fn new(node: &str, schema: &Schema, key_columns: usize) -> Self {
        let key_fields: Fields = schema.fields()[..key_columns].into();
        let value_schema = Arc::new(Schema::new(Fields::from(&schema.fields()[key_columns..])));
        Self {
            node: node.to_owned(),
            key_fields,
            keys: KeyTable::default(),
            values: ColumnStore::new(Arc::clone(&value_schema)),
            visible_schema: Arc::clone(&value_schema),
            value_schema,
            dirty: Marks::default(),
            deleted: Vec::new(),
            first: None,
        }
    }

    /// From now on [`first`](Self::first) is asked for, in this order. Columns are numbered as in the schema that the state was made
    /// with.
    pub(crate) fn follow(&mut self, sort: &Sort) {
        self.first = FirstSlots::try_new(sort, self.key_fields.len());
    }

    /// User code does not see the last value column.
    pub(crate) fn hide_last(&mut self) {
        let visible = self.value_schema.fields().len() - 1;
        self.visible_schema = Arc::new(Schema::new(Fields::from(&self.value_schema.fields()[..visible])));
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.keys.memory_bytes() + self.values.memory_bytes() + self.dirty.memory_bytes()
    }

    pub(crate) fn table(&self) -> &KeyTable {
        &self.keys
    }

    /// The hash of a slot's key.
    pub(crate) fn hash(&self, slot: u32) -> u64 {
        self.keys.hash(slot)
    }

    /// The slot of each row's key, and whether it is new. A new key's values mean nothing until `put`.
    pub(crate) fn insert_all(&mut self, keys: &Keys, hashes: &[u64]) -> (Vec<u32>, Vec<bool>) {
        let (slots, new) = self.keys.insert_all(keys, hashes);
        self.make_room();
        (slots, new)
    }

    /// Inserts many keys; see [`KeyTable::insert_each`]. A new key's values mean nothing until `put`.
    pub(crate) fn insert_each(&mut self, keys: &Keys, hashes: &[u64], each: impl FnMut(u32, u32, bool, &mut u32)) {
        self.keys.insert_each(keys, hashes, each);
        self.make_room();
    }

    pub(crate) fn set_mark(&mut self, slot: u32, mark: u32) {
        self.keys.set_mark(slot, mark);
    }

    /// Values and marks for every slot that the keys have.
    fn make_room(&mut self) {
        self.values.grow(self.keys.slots());
        self.dirty.grow(self.keys.slots());
    }

    /// Replaces values: row `row` of `batch` goes into slot `slot` for each pair.
    pub(crate) fn put(&mut self, batch: &RecordBatch, rows_to_slots: &[(u32, u32)]) {
        self.put_unmarked(batch, rows_to_slots);
        rows_to_slots.iter().for_each(|(_, slot)| self.dirty.insert(*slot));
    }

    /// The same for changes that [`delta_of`](Self::delta_of) is told of.
    pub(crate) fn put_unmarked(&mut self, batch: &RecordBatch, rows_to_slots: &[(u32, u32)]) {
        self.values.scatter(batch, rows_to_slots);
        if let Some(first) = &mut self.first {
            first.changed(batch.columns(), rows_to_slots, self.keys.slots());
        }
    }

    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// Whether no values have changed since the last commit, but for those that [`delta_of`](Self::delta_of) was told of.
    pub(crate) fn is_clean(&self) -> bool {
        self.dirty.is_empty()
    }

    /// Removes a key. `stored`: it had values before this batch, so the store may know it.
    pub(crate) fn remove(&mut self, slot: u32, stored: bool) {
        if stored {
            self.deleted.push(self.keys.key(slot).to_vec());
        }
        // The slot may be given to another key, whose change must not be taken for this one's.
        self.dirty.remove(slot);
        self.keys.remove(slot, self.hash(slot));
    }

    /// The batch under the names of the state's values.
    pub(crate) fn as_values(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        columns::batch(&self.node, &self.value_schema, batch.columns().to_vec(), rows)
    }

    /// Values of these slots.
    pub(crate) fn values(&self, slots: &[u32]) -> Result<RecordBatch> {
        self.values.gather(&self.node, slots)
    }

    /// What user code sees of the values of these slots.
    pub(crate) fn visible_values(&self, slots: &[u32]) -> Result<RecordBatch> {
        let columns = self.values.gather_first(&self.node, self.visible_schema.fields().len(), slots)?;
        columns::batch(&self.node, &self.visible_schema, columns, slots.len())
    }

    /// Key columns of these slots.
    pub(crate) fn key_columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        key::decode(&self.node, &self.key_fields, slots.iter().map(|slot| self.keys.key(*slot)))
    }

    /// Keys and values of these slots, in the schema that the state was made with.
    pub(crate) fn rows(&self, schema: &SchemaRef, slots: &[u32]) -> Result<RecordBatch> {
        if slots.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(schema)));
        }
        let mut all = self.key_columns(slots)?;
        all.extend_from_slice(self.values(slots)?.columns());
        columns::batch(&self.node, schema, all, slots.len())
    }

    /// Keys of a commit; `append` appends one.
    pub(crate) fn binary<T>(
        &self,
        keys: impl ExactSizeIterator<Item = T>,
        append: impl Fn(T, &mut Vec<u8>),
    ) -> Result<BinaryArray> {
        let (offsets, data) = gather_bytes(&self.node, "the keys of a commit", keys, append)?;
        Ok(BinaryArray::new(offsets, data, None))
    }

    /// What changed since the last call; `None` if nothing did.
    pub(crate) fn take_delta(&mut self) -> Result<Option<StateDelta>> {
        if self.dirty.is_empty() && self.deleted.is_empty() {
            return Ok(None);
        }
        // In the order of their slots, so that memory is read from front to back.
        let changed = self.dirty.take();
        let keys = self.binary(changed.iter(), |slot, keys| self.keys.append_key(*slot, keys))?;
        let values = self.values(&changed)?;
        self.delta_of(keys, values)
    }

    /// The delta of a batch before which the state was [clean](Self::is_clean), by the keys that changed and their values; what was removed is added.
    /// Whoever has both at hand spares gathering them from all over the state.
    pub(crate) fn delta_of(&mut self, keys: BinaryArray, values: RecordBatch) -> Result<Option<StateDelta>> {
        let mut deletes = std::mem::take(&mut self.deleted);
        // In order, so that a commit's bytes are the same on replay. A key can be removed twice between two commits.
        deletes.sort_unstable();
        deletes.dedup();
        if keys.is_empty() && deletes.is_empty() {
            return Ok(None);
        }
        let deletes = self.binary(deletes.iter(), |key, keys| keys.extend_from_slice(key))?;
        let change = StateChange::Keyed { deletes, keys, values };
        Ok(Some(StateDelta { node: self.node.clone(), change }))
    }

    /// Drops the list of changes, for state that is not stored.
    pub(crate) fn forget_changes(&mut self) {
        self.dirty.clear();
        self.deleted.clear();
    }

    /// The slots whose rows may be among the first ones of the order that is followed, ties included; `None` = it takes a sort of
    /// all to tell, or no order is followed.
    pub(crate) fn first(&mut self) -> Option<Vec<u32>> {
        let keys = &self.keys;
        self.first.as_mut()?.slots(&self.node, &self.values, keys.len(), |slot| keys.is_occupied(slot))
    }

    /// The number in a slot of an int64 or timestamp value column.
    pub(crate) fn integer(&self, column: usize, slot: u32) -> Option<i64> {
        self.values.integer(column, slot)
    }

    /// Takes in the rows of an initial state that belong to this partition: key columns, then values. Gives their slots.
    pub(crate) fn seed(
        &mut self,
        initial: &RecordBatch,
        partition: PartitionId,
        partitions: usize,
    ) -> Result<Vec<u32>> {
        let key_columns = self.key_fields.len();
        let hashes = Keys::of(&self.node, initial.schema_ref(), key_columns, initial)?.hashes();
        let mine = |hash: &u64| key::partition_of(*hash, partitions) == partition.0 as usize;
        let rows: UInt32Array = (0u32..).zip(&hashes).filter(|(_, hash)| mine(hash)).map(|(row, _)| row).collect();
        let hashes: Vec<u64> = hashes.into_iter().filter(mine).collect();
        let initial = take_record_batch(initial, &rows).map_err(Error::arrow(&self.node))?;
        let keys = Keys::of(&self.node, initial.schema_ref(), key_columns, &initial)?;
        let (slots, _) = self.insert_all(&keys, &hashes);
        let values = initial.columns()[key_columns..].to_vec();
        let values = columns::batch(&self.node, &self.value_schema, values, slots.len())?;
        self.put(&values, &(0u32..).zip(slots.iter().copied()).collect::<Vec<_>>());
        Ok(slots)
    }

    /// Takes back the keys of a chunk that belong to this partition.
    pub(crate) fn restore(&mut self, chunk: &KeyedChunk, partition: usize, partitions: usize) {
        let mut pairs = Vec::new();
        for row in 0..chunk.keys.len() {
            let key = chunk.keys.value(row);
            let hash = key::hash(key);
            if key::partition_of(hash, partitions) == partition {
                pairs.push((row as u32, self.keys.insert(hash, key).0));
            }
        }
        self.make_room();
        self.values.scatter(&chunk.values, &pairs);
        self.first.iter_mut().for_each(FirstSlots::forget);
    }

    pub(crate) fn value_schema(&self) -> &SchemaRef {
        &self.value_schema
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, StringArray};
    use arrow::datatypes::{DataType, Field};
    use proptest::prelude::*;

    use super::*;

    fn schema() -> Schema {
        Schema::new(vec![Field::new("k", DataType::Utf8, false), Field::new("v", DataType::Utf8, true)])
    }

    /// Puts a value; `committed`: gives the delta.
    fn put(state: &mut KeyedState, key: &str, value: Option<&str>, committed: bool) -> Option<StateDelta> {
        let values =
            RecordBatch::try_new(Arc::clone(state.value_schema()), vec![Arc::new(StringArray::from(vec![value]))])
                .unwrap();
        let column: ArrayRef = Arc::new(StringArray::from(vec![key]));
        let rows = RecordBatch::try_new(Arc::new(schema().project(&[0]).unwrap()), vec![column]).unwrap();
        let keys = Keys::of("n", &schema(), 1, &rows).unwrap();
        let (slots, _) = state.insert_all(&keys, &keys.hashes());
        if !committed {
            state.put(&values, &[(0, slots[0])]);
            return None;
        }
        state.put_unmarked(&values, &[(0, slots[0])]);
        let keys = state.binary(std::iter::once(key), |key, out| out.extend_from_slice(key.as_bytes())).unwrap();
        state.delta_of(keys, values).unwrap()
    }

    proptest! {
        #[test]
        fn deltas_replayed_give_the_same_state(
            steps in proptest::collection::vec((0u8..12, proptest::option::of("[a-z]{0,6}"), 0u8..8), 0..200),
        ) {
            let mut state = KeyedState::new("n", &schema(), 1);
            let mut model = std::collections::BTreeMap::new();
            let mut committed = std::collections::BTreeMap::new();
            for (number, value, action) in steps {
                let key = format!("key{number}");
                match action {
                    0 => {
                        if let Some(slot) = state.table().find(key::hash(key.as_bytes()), key.as_bytes()) {
                            state.remove(slot, true);
                        }
                        model.remove(&key);
                    }
                    1 => if let Some(delta) = state.take_delta().unwrap() {
                        apply(&mut committed, delta);
                    },
                    _ => {
                        let committed_now = action == 2 && state.is_clean();
                        if let Some(delta) = put(&mut state, &key, value.as_deref(), committed_now) {
                            apply(&mut committed, delta);
                        }
                        model.insert(key, value);
                    }
                }
            }
            if let Some(delta) = state.take_delta().unwrap() {
                apply(&mut committed, delta);
            }
            prop_assert_eq!(&committed, &model);
            let slots: Vec<u32> = state.table().occupied().collect();
            let rows = state.rows(&Arc::new(schema()), &slots).unwrap();
            let rows: std::collections::BTreeMap<String, Option<String>> = (0..rows.num_rows()).map(|row| {
                let value = rows.column(1).as_string::<i32>().iter().nth(row).flatten().map(str::to_owned);
                (rows.column(0).as_string::<i32>().value(row).to_owned(), value)
            }).collect();
            prop_assert_eq!(&rows, &model);
        }
    }

    fn apply(committed: &mut std::collections::BTreeMap<String, Option<String>>, delta: StateDelta) {
        let StateChange::Keyed { deletes, keys, values } = delta.change else { panic!("keyed state") };
        for key in deletes.iter().flatten() {
            committed.remove(std::str::from_utf8(key).unwrap());
        }
        for (key, value) in keys.iter().flatten().zip(values.column(0).as_string::<i32>()) {
            let value = value.map(str::to_owned);
            committed.insert(String::from_utf8(key.to_vec()).unwrap(), value);
        }
    }
}
