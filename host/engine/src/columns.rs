//! Columns whose rows can be replaced: the values of hot state.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::make_comparator;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float64Array, Int64Array, RecordBatch, RecordBatchOptions,
    StructArray, TimestampMicrosecondArray, make_array, new_null_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::SortOptions;
use arrow::compute::kernels::cmp::not_distinct;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, Float64Type, Int64Type, SchemaRef, TimestampMicrosecondType,
};
use millpond_core::schema::is_nested;
use millpond_core::text;

use crate::error::{Error, OFFSETS_MAX, Result};
use crate::key::{self, ColumnEncoder};
use crate::primitive::{Ordinal, with_primitive};
use crate::segmented::Segmented;

/// Rows by slot, replaceable one by one.
#[derive(Debug)]
pub(crate) struct ColumnStore {
    schema: SchemaRef,
    columns: Vec<Column>,
    slots: usize,
}

#[derive(Debug)]
struct Column {
    nullable: bool,
    values: Values,
    /// Of nullable columns only, and not of encoded ones.
    valid: Option<Vec<bool>>,
}

#[derive(Debug)]
enum Values {
    Boolean(Segmented<bool>),
    /// int64 and timestamp.
    Integer(Segmented<i64>),
    Float(Segmented<f64>),
    /// utf8 and binary, and all other types in the encoding of keys: a slot's bytes are `bytes[start..start + length]`.
    Bytes {
        spans: Vec<(u64, u32)>,
        bytes: Vec<u8>,
        garbage: usize,
        /// What a slot has that nothing was put into: no bytes, or the encoding of some value.
        blank: Vec<u8>,
    },
}

const GARBAGE_BYTES_MIN: usize = 64 * 1024;

impl ColumnStore {
    pub(crate) fn new(schema: SchemaRef) -> Self {
        let columns = schema.fields().iter().map(|field| Column::new(field)).collect();
        Self { schema, columns, slots: 0 }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.columns.iter().map(Column::memory_bytes).sum()
    }

    /// Makes room for slots `0..slots`.
    pub(crate) fn grow(&mut self, slots: usize) {
        self.slots = self.slots.max(slots);
        self.columns.iter_mut().for_each(|column| column.grow(slots));
    }

    /// Puts row `row` of `batch` into slot `slot` for each pair.
    pub(crate) fn scatter(&mut self, batch: &RecordBatch, rows_to_slots: &[(u32, u32)]) {
        for (column, array) in self.columns.iter_mut().zip(batch.columns()) {
            column.scatter(array, rows_to_slots);
        }
    }

    /// The rows of these slots, in this order.
    pub(crate) fn gather(&self, node: &str, slots: &[u32]) -> Result<RecordBatch> {
        let columns = self.gather_first(node, self.columns.len(), slots)?;
        batch(node, &self.schema, columns, slots.len())
    }

    /// The first so many columns of these slots.
    pub(crate) fn gather_first(&self, node: &str, count: usize, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let columns = self.columns.iter().zip(self.schema.fields()).take(count);
        columns.map(|(column, field)| column.gather(node, field, slots)).collect()
    }
}

impl ColumnStore {
    /// How many slots there is room for.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// One column of these slots; `None` if there is no such column or its bytes do not fit one array.
    pub(crate) fn gather_column(&self, node: &str, column: usize, slots: &[u32]) -> Option<ArrayRef> {
        self.columns.get(column)?.gather(node, self.schema.field(column), slots).ok()
    }

    /// The number in a slot of an int64 or timestamp column.
    pub(crate) fn integer(&self, column: usize, slot: u32) -> Option<i64> {
        match &self.columns.get(column)?.values {
            Values::Integer(values) => values.get(slot as usize).copied(),
            _ => None,
        }
    }

    /// The slots with the `limit` first values of a column, and all that tie with the last of those, and the rank of that one (see [`rank_of`]);
    /// `None` for a column that may be null, or whose values are no numbers or times. Cost: two passes over the values; `is_occupied` is asked about few slots.
    pub(crate) fn first(
        &self,
        column: usize,
        descending: bool,
        limit: usize,
        is_occupied: impl Fn(u32) -> bool,
    ) -> Option<(u64, Vec<u32>)> {
        let data_type = self.schema.fields().get(column)?.data_type();
        let column = self.columns.get(column).filter(|column| !column.nullable)?;
        let turned = |rank: u64| if descending { rank } else { !rank };
        match &column.values {
            Values::Boolean(values) => {
                Some(largest(values.iter().map(|value| turned(u64::from(*value))), limit, is_occupied))
            }
            Values::Integer(values) => {
                Some(largest(values.iter().map(|value| turned(value.rank())), limit, is_occupied))
            }
            Values::Float(values) => Some(largest(values.iter().map(|value| turned(value.rank())), limit, is_occupied)),
            Values::Bytes { spans, bytes, blank, .. } => with_primitive!(
                data_type,
                T => {
                    let value = |span: &(u64, u32)| match *span {
                        (_, 0) => blank.as_slice(),
                        (start, length) => &bytes[start as usize..start as usize + length as usize],
                    };
                    let rank = |bytes| <T as ArrowPrimitiveType>::Native::take(bytes).map_or(0, |(value, _)| value.rank());
                    Some(largest(spans.iter().map(|span| turned(rank(value(span)))), limit, is_occupied))
                },
                else None
            ),
        }
    }
}

/// Gives the index and the rank of each of these rows of a column: numbers that are the larger the earlier the value comes.
/// `false` for a column with a null in it, or whose values are no numbers or times.
pub(crate) fn rank_of(
    column: &ArrayRef,
    descending: bool,
    rows: impl Iterator<Item = u32>,
    mut each: impl FnMut(usize, u64),
) -> bool {
    let mut turned = |index: usize, rank: u64| each(index, if descending { rank } else { !rank });
    let rows = rows.map(|row| row as usize).enumerate();
    match column.data_type() {
        _ if column.null_count() > 0 => return false,
        DataType::Boolean => {
            let values = column.as_boolean();
            rows.for_each(|(index, row)| turned(index, u64::from(values.value(row))));
        }
        other => with_primitive!(
            other,
            T => {
                let values = column.as_primitive::<T>().values();
                rows.for_each(|(index, row)| turned(index, values[row].rank()));
            },
            else return false
        ),
    }
    true
}

/// The slots of the `limit` largest ranks, and all that tie with the last of those, ascending; before them the rank of that one.
fn largest(
    ranks: impl Iterator<Item = u64> + Clone,
    limit: usize,
    is_occupied: impl Fn(u32) -> bool,
) -> (u64, Vec<u32>) {
    let mut first: BinaryHeap<Reverse<u64>> = BinaryHeap::with_capacity(limit + 1);
    let mut least = 0;
    (0u32..).zip(ranks.clone()).for_each(|(slot, rank)| {
        let is_better = first.len() < limit || rank > least;
        if is_better && is_occupied(slot) {
            first.push(Reverse(rank));
            if first.len() > limit {
                first.pop();
            }
            if first.len() == limit {
                least = first.peek().map_or(0, |least| least.0);
            }
        }
    });
    let slots = (0u32..).zip(ranks).filter(|(slot, rank)| *rank >= least && is_occupied(*slot)).map(|(slot, _)| slot);
    (least, slots.collect())
}

/// A batch that may have no columns at all.
pub(crate) fn batch(node: &str, schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(Error::arrow(node))
}

impl Column {
    fn new(field: &Field) -> Self {
        let values = match field.data_type() {
            DataType::Boolean => Values::Boolean(Segmented::default()),
            DataType::Int64 | DataType::Timestamp(..) => Values::Integer(Segmented::default()),
            DataType::Float64 => Values::Float(Segmented::default()),
            data_type => Values::Bytes {
                spans: Vec::new(),
                bytes: Vec::new(),
                garbage: 0,
                blank: if is_encoded(data_type) { blank(field) } else { Vec::new() },
            },
        };
        // Whether an encoded value is null is in its encoding.
        let marked = field.is_nullable() && !is_encoded(field.data_type());
        Self { nullable: field.is_nullable(), values, valid: marked.then(Vec::new) }
    }

    fn memory_bytes(&self) -> usize {
        let values = match &self.values {
            Values::Boolean(values) => values.memory_bytes(),
            Values::Integer(values) => values.memory_bytes(),
            Values::Float(values) => values.memory_bytes(),
            Values::Bytes { spans, bytes, .. } => spans.capacity() * size_of::<(u64, u32)>() + bytes.capacity(),
        };
        values + self.valid.as_ref().map_or(0, Vec::capacity)
    }

    fn grow(&mut self, slots: usize) {
        match &mut self.values {
            Values::Boolean(values) => values.grow(slots, false),
            Values::Integer(values) => values.grow(slots, 0),
            Values::Float(values) => values.grow(slots, 0.0),
            Values::Bytes { spans, .. } => spans.resize(slots.max(spans.len()), (0, 0)),
        }
        if let Some(valid) = &mut self.valid {
            valid.resize(slots.max(valid.len()), false);
        }
    }

    fn scatter(&mut self, array: &ArrayRef, pairs: &[(u32, u32)]) {
        match &mut self.values {
            Values::Boolean(values) => {
                let array = array.as_boolean();
                pairs.iter().for_each(|(row, slot)| values[*slot as usize] = array.value(*row as usize));
            }
            Values::Integer(values) => {
                let array = integers(array);
                pairs.iter().for_each(|(row, slot)| values[*slot as usize] = array[*row as usize]);
            }
            Values::Float(values) => {
                let array = array.as_primitive::<Float64Type>().values();
                pairs.iter().for_each(|(row, slot)| values[*slot as usize] = array[*row as usize]);
            }
            Values::Bytes { spans, bytes, garbage, .. } => {
                let put = |slot: u32, value: &[u8]| {
                    let span = &mut spans[slot as usize];
                    if value.len() == span.1 as usize {
                        bytes[span.0 as usize..span.0 as usize + value.len()].copy_from_slice(value);
                        return;
                    }
                    *garbage += span.1 as usize;
                    *span = (bytes.len() as u64, value.len() as u32);
                    bytes.extend_from_slice(value);
                };
                scatter_bytes(array, self.nullable, pairs, put);
                if *garbage > GARBAGE_BYTES_MIN && *garbage * 2 > bytes.len() {
                    compact(spans, bytes);
                    *garbage = 0;
                }
            }
        }
        if let Some(valid) = &mut self.valid {
            pairs.iter().for_each(|(row, slot)| valid[*slot as usize] = array.is_valid(*row as usize));
        }
    }

    fn gather(&self, node: &str, field: &Field, slots: &[u32]) -> Result<ArrayRef> {
        let nulls =
            self.valid.as_ref().map(|valid| slots.iter().map(|slot| valid[*slot as usize]).collect::<NullBuffer>());
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        Ok(match &self.values {
            Values::Boolean(values) => {
                let bits = slots.iter().map(|slot| values[*slot as usize]).collect();
                Arc::new(BooleanArray::new(bits, nulls))
            }
            Values::Integer(values) => {
                let gathered: ScalarBuffer<i64> = slots.iter().map(|slot| values[*slot as usize]).collect();
                if *field.data_type() == DataType::Int64 {
                    Arc::new(Int64Array::new(gathered, nulls))
                } else {
                    Arc::new(TimestampMicrosecondArray::new(gathered, nulls))
                }
            }
            Values::Float(values) => {
                Arc::new(Float64Array::new(slots.iter().map(|slot| values[*slot as usize]).collect(), nulls))
            }
            Values::Bytes { spans, bytes, blank, .. } => {
                let rows = slots.iter().map(|slot| match spans[*slot as usize] {
                    (_, 0) => blank.as_slice(),
                    (start, length) => &bytes[start as usize..start as usize + length as usize],
                });
                if is_encoded(field.data_type()) {
                    let field = [Arc::new(field.clone())];
                    return Ok(key::decode(node, &field, rows)?.remove(0));
                }
                let (offsets, data) =
                    gather_bytes(node, "a column of state", rows, |row, data| data.extend_from_slice(row))?;
                if *field.data_type() == DataType::Utf8 {
                    // Checked again all the same.
                    Arc::new(text::column(offsets, data, nulls).expect("every slot was put in from a text array"))
                } else {
                    Arc::new(BinaryArray::new(offsets, data, nulls))
                }
            }
        })
    }
}

/// Whether values are kept in the encoding of keys: those of types that are rare in state, or nested.
fn is_encoded(data_type: &DataType) -> bool {
    use DataType::{Binary, Boolean, Float64, Int64, Timestamp, Utf8};
    !matches!(data_type, Boolean | Int64 | Timestamp(..) | Float64 | Utf8 | Binary)
}

/// The encoding of null, or of some value where there is no null.
fn blank(field: &Field) -> Vec<u8> {
    let mut bytes = Vec::new();
    ColumnEncoder::exact(&blank_row(field), field.is_nullable()).append(0, &mut bytes);
    bytes
}

fn blank_row(field: &Field) -> ArrayRef {
    match field.data_type() {
        data_type if field.is_nullable() => new_null_array(data_type, 1),
        DataType::Struct(fields) => {
            Arc::new(StructArray::new(fields.clone(), fields.iter().map(|field| blank_row(field)).collect(), None))
        }
        // Arrow's null rows lie over zeros and over empty lists.
        data_type => {
            let zeros = new_null_array(data_type, 1).to_data().into_builder().nulls(None).build();
            make_array(zeros.expect("a column without its nulls is a column"))
        }
    }
}

/// Gives the bytes of rows for their slots.
fn scatter_bytes(array: &ArrayRef, nullable: bool, pairs: &[(u32, u32)], mut put: impl FnMut(u32, &[u8])) {
    if is_encoded(array.data_type()) {
        let encoder = ColumnEncoder::exact(array, nullable);
        let mut value = Vec::new();
        for (row, slot) in pairs {
            value.clear();
            encoder.append(*row as usize, &mut value);
            put(*slot, &value);
        }
        return;
    }
    let array = ByteRows::of(array);
    pairs.iter().for_each(|(row, slot)| put(*slot, array.row(*row as usize)));
}

/// Lays byte strings end to end; `append` appends one.
pub(crate) fn gather_bytes<T>(
    node: &str,
    what: &'static str,
    rows: impl ExactSizeIterator<Item = T>,
    append: impl Fn(T, &mut Vec<u8>),
) -> Result<(OffsetBuffer<i32>, Buffer)> {
    let mut offsets = Vec::with_capacity(rows.len() + 1);
    let mut data = Vec::with_capacity(rows.len() * 8);
    offsets.push(0);
    for row in rows {
        append(row, &mut data);
        let end = i32::try_from(data.len()).map_err(|_| Error::TooLarge {
            node: node.to_owned(),
            what: what.to_owned(),
            size: data.len() as u64,
            unit: "bytes",
            limit: OFFSETS_MAX,
        })?;
        offsets.push(end);
    }
    Ok((OffsetBuffer::new(offsets.into()), Buffer::from_vec(data)))
}

fn compact(spans: &mut [(u64, u32)], bytes: &mut Vec<u8>) {
    let mut kept = Vec::with_capacity(bytes.len() / 2);
    for (start, length) in spans {
        let from = *start as usize;
        *start = kept.len() as u64;
        kept.extend_from_slice(&bytes[from..from + *length as usize]);
    }
    *bytes = kept;
}

/// Of each row: whether it is the same in two batches of the same columns and length. Null is the same as null, NaN as NaN.
pub(crate) fn same_rows(node: &str, left: &RecordBatch, right: &RecordBatch) -> Result<Vec<bool>> {
    let mut same = vec![true; left.num_rows()];
    for (left, right) in left.columns().iter().zip(right.columns()) {
        if is_nested(left.data_type()) {
            let order = make_comparator(left, right, SortOptions::default()).map_err(Error::arrow(node))?;
            same.iter_mut().enumerate().for_each(|(row, same)| *same &= order(row, row).is_eq());
            continue;
        }
        let column = not_distinct(left, right).map_err(Error::arrow(node))?;
        same.iter_mut().zip(column.values()).for_each(|(same, column)| *same &= column);
    }
    Ok(same)
}

/// The values of an int64 or timestamp column.
pub(crate) fn integers(array: &ArrayRef) -> &[i64] {
    match array.data_type() {
        DataType::Int64 => array.as_primitive::<Int64Type>().values(),
        _ => array.as_primitive::<TimestampMicrosecondType>().values(),
    }
}

/// Rows of a utf8 or binary column as bytes.
pub(crate) struct ByteRows<'a> {
    offsets: &'a [i32],
    data: &'a [u8],
}

impl<'a> ByteRows<'a> {
    pub(crate) fn of(array: &'a ArrayRef) -> Self {
        match array.data_type() {
            DataType::Utf8 => {
                let array = array.as_string::<i32>();
                Self { offsets: array.value_offsets(), data: array.value_data() }
            }
            _ => {
                let array = array.as_binary::<i32>();
                Self { offsets: array.value_offsets(), data: array.value_data() }
            }
        }
    }

    pub(crate) fn row(&self, row: usize) -> &'a [u8] {
        &self.data[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }
}

#[cfg(test)]
mod tests {
    use arrow::compute::cast;
    use arrow::datatypes::Schema;
    use millpond_core::schema::{DURATION, TIMESTAMP, list_of, map_of};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn first_slots_are_those_of_a_sort(
            values in proptest::collection::vec((prop_oneof![Just(f64::NAN), Just(-0.0), Just(0.0), -3.0f64..3.0], any::<bool>()), 0..60),
            descending: bool,
            limit in 1usize..20,
        ) {
            let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Float64, false)]));
            let mut store = ColumnStore::new(Arc::clone(&schema));
            store.grow(values.len());
            let column: ArrayRef = Arc::new(Float64Array::from_iter_values(values.iter().map(|value| value.0)));
            let rows = RecordBatch::try_new(schema, vec![column]).unwrap();
            store.scatter(&rows, &(0..values.len() as u32).map(|slot| (slot, slot)).collect::<Vec<_>>());
            let (_, found) = store.first(0, descending, limit, |slot| values[slot as usize].1).unwrap();

            let mut expected: Vec<u32> = (0..values.len() as u32).filter(|slot| values[*slot as usize].1).collect();
            let rank = |slot: u32| key::float(values[slot as usize].0);
            expected.sort_by_key(|slot| rank(*slot));
            if descending {
                expected.reverse();
            }
            if let Some(last) = expected.get(limit - 1).map(|slot| rank(*slot)) {
                expected.retain(|slot| if descending { rank(*slot) >= last } else { rank(*slot) <= last });
            }
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }

    proptest! {
        #[test]
        fn first_slots_are_those_of_a_sort_whatever_the_numbers_are(
            values in proptest::collection::vec((0i64..50, any::<bool>()), 0..60),
            data_type in proptest::sample::select(vec![
                DataType::Int8, DataType::Int16, DataType::Int32, DataType::Int64, DataType::UInt8, DataType::UInt16,
                DataType::UInt32, DataType::UInt64, DataType::Float32, DataType::Float64, DataType::Date32, TIMESTAMP, DURATION,
                DataType::Decimal128(12, 3), DataType::Decimal128(38, 0),
            ]),
            shift in prop_oneof![Just(0i64), Just(25)],
            descending: bool,
            limit in 1usize..20,
        ) {
            // Negative ones too, where there are any.
            let shift = if data_type.is_unsigned_integer() { 0 } else { shift };
            let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(values.iter().map(|value| value.0 - shift)));
            let numbers = match &data_type {
                DataType::Date32 => cast(&cast(&numbers, &DataType::Int32).unwrap(), &data_type).unwrap(),
                _ => cast(&numbers, &data_type).unwrap(),
            };
            let schema = Arc::new(Schema::new(vec![Field::new("v", data_type, false)]));
            let mut store = ColumnStore::new(Arc::clone(&schema));
            store.grow(values.len());
            let rows = RecordBatch::try_new(schema, vec![Arc::clone(&numbers)]).unwrap();
            store.scatter(&rows, &(0..values.len() as u32).map(|slot| (slot, slot)).collect::<Vec<_>>());
            let (least, found) = store.first(0, descending, limit, |slot| values[slot as usize].1).unwrap();

            let mut expected: Vec<i64> = values.iter().filter(|value| value.1).map(|value| value.0).collect();
            expected.sort_unstable();
            if descending {
                expected.reverse();
            }
            let last = expected.get(limit - 1).copied();
            let is_first = |value: i64| last.is_none_or(|last| if descending { value >= last } else { value <= last });
            let expected: Vec<u32> =
                (0u32..).zip(&values).filter(|(_, value)| value.1 && is_first(value.0)).map(|(slot, _)| slot).collect();
            prop_assert_eq!(&found, &expected);
            // What is known of a changed value is the same as what a pass over all finds.
            let mut known = Vec::new();
            let ranked = rank_of(&numbers, descending, 0..values.len() as u32, |index, rank| {
                if rank >= least && values[index].1 {
                    known.push(index as u32);
                }
            });
            prop_assert!(ranked);
            prop_assert_eq!(known, expected);
        }
    }

    #[test]
    fn nested_rows_come_back_from_their_slots() {
        let user = DataType::Struct(
            vec![Field::new("name", DataType::Utf8, true), Field::new("n", DataType::Float64, false)].into(),
        );
        let schema = Arc::new(Schema::new(vec![
            Field::new("user", user, true),
            Field::new("tags", list_of(DataType::Utf8, true), false),
            Field::new("by", map_of(DataType::Int64, DataType::Boolean, false), true),
        ]));
        let rows = |json: &[u8]| {
            let reader = arrow::json::ReaderBuilder::new(Arc::clone(&schema)).build(json).unwrap();
            reader.collect::<Result<Vec<_>, _>>().unwrap().remove(0)
        };
        let first = rows(
            br#"
            {"user": {"name": "ann", "n": -0.0}, "tags": ["a", null, ""], "by": {"1": true, "-5": false}}
            {"user": null, "tags": [], "by": null}
            {"user": {"name": null, "n": 1.5}, "tags": ["x"], "by": {}}
        "#,
        );
        let mut store = ColumnStore::new(Arc::clone(&schema));
        store.grow(3);
        store.scatter(&first, &[(0, 0), (1, 1), (2, 2)]);
        let changed =
            rows(br#"{"user": {"name": "bob", "n": 2.5}, "tags": ["longer than before"], "by": {"7": true}}"#);
        store.scatter(&changed, &[(0, 1)]);
        let found = store.gather("test", &[0, 1, 2]).unwrap();
        let expected =
            arrow::compute::concat_batches(&schema, [&first.slice(0, 1), &changed, &first.slice(2, 1)]).unwrap();
        assert_eq!(found, expected);
        assert!(found.column(0).as_struct().column(1).as_primitive::<Float64Type>().value(0).is_sign_negative());

        let same = same_rows("test", &found, &first).unwrap();
        assert_eq!(same, [true, false, true]);
    }
}
