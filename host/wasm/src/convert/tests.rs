//! Property tests of both directions: what is well formed crosses unchanged, what is not is refused.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Field, SchemaRef};
use millpond_core::{BatchTime, NodeId, PartitionId, TaskInfo, UserFunction};
use millpond_testkit::guests;
use proptest::prelude::*;
use proptest::sample::Index;

use super::lower::Lowered;
use super::{lift, strategies};
use crate::bindings::job::millpond::plugin::types::{
    BatchResult, ColumnDataParam, ColumnDataResult, ColumnResult, VarDataParam, VarDataResult,
};
use crate::{EngineOptions, JobComponent, LoadOptions, Place, WasmEngine, componentize};

/// What a guest that returns its input would give back.
fn echo(batch: &RecordBatch) -> BatchResult {
    let lowered = Lowered::try_new(batch).unwrap();
    let columns = lowered.columns();
    let batch = lowered.batch(&columns);
    let variable =
        |data: &VarDataParam<'_>| VarDataResult { offsets: data.offsets.to_vec(), bytes: data.bytes.to_vec() };
    let column = |column: &crate::bindings::job::millpond::plugin::types::ColumnParam<'_>| ColumnResult {
        data: match &column.data {
            ColumnDataParam::Boolean(bytes) => ColumnDataResult::Boolean(bytes.to_vec()),
            ColumnDataParam::Int64(values) => ColumnDataResult::Int64(values.to_vec()),
            ColumnDataParam::Float64(values) => ColumnDataResult::Float64(values.to_vec()),
            ColumnDataParam::Utf8(data) => ColumnDataResult::Utf8(variable(data)),
            ColumnDataParam::Binary(data) => ColumnDataResult::Binary(variable(data)),
            ColumnDataParam::Timestamp(values) => ColumnDataResult::Timestamp(values.to_vec()),
            ColumnDataParam::Decimal(words) => ColumnDataResult::Decimal(words.to_vec()),
            ColumnDataParam::Int8(values) => ColumnDataResult::Int8(values.to_vec()),
            ColumnDataParam::Int16(values) => ColumnDataResult::Int16(values.to_vec()),
            ColumnDataParam::Int32(values) => ColumnDataResult::Int32(values.to_vec()),
            ColumnDataParam::Uint8(values) => ColumnDataResult::Uint8(values.to_vec()),
            ColumnDataParam::Uint16(values) => ColumnDataResult::Uint16(values.to_vec()),
            ColumnDataParam::Uint32(values) => ColumnDataResult::Uint32(values.to_vec()),
            ColumnDataParam::Uint64(values) => ColumnDataResult::Uint64(values.to_vec()),
            ColumnDataParam::Float32(values) => ColumnDataResult::Float32(values.to_vec()),
            ColumnDataParam::Date(values) => ColumnDataResult::Date(values.to_vec()),
            ColumnDataParam::Duration(values) => ColumnDataResult::Duration(values.to_vec()),
            ColumnDataParam::Struct => ColumnDataResult::Struct,
            ColumnDataParam::List(offsets) => ColumnDataResult::List(offsets.to_vec()),
            ColumnDataParam::Map(offsets) => ColumnDataResult::Map(offsets.to_vec()),
        },
        validity: column.validity.map(<[u8]>::to_vec),
    };
    BatchResult { rows: batch.rows, columns: batch.columns.iter().map(column).collect() }
}

fn place() -> Place {
    Place { job: "test".into(), export: "run-stage", node: None, task: None }
}

/// The test guest that passes rows with every type on.
fn pass_through() -> &'static JobComponent {
    static JOB: OnceLock<JobComponent> = OnceLock::new();
    JOB.get_or_init(|| load("types"))
}

/// The test guest that passes nested rows on.
fn pass_nested() -> &'static JobComponent {
    static JOB: OnceLock<JobComponent> = OnceLock::new();
    JOB.get_or_init(|| load("nested"))
}

fn load(graph: &str) -> JobComponent {
    let component = componentize(&guests::core_module("hostile")).unwrap();
    let params = vec![("graph".to_owned(), graph.to_owned())];
    let options = LoadOptions { job: "pass".into(), params, ..LoadOptions::default() };
    WasmEngine::try_new(EngineOptions::default()).unwrap().load_job(&options, &component).unwrap()
}

fn task() -> TaskInfo {
    TaskInfo { batch_time: BatchTime(1), partition: PartitionId(0), partitions: 1, attempt: 0 }
}

fn assert_valid(batch: &RecordBatch) {
    for column in batch.columns() {
        column.to_data().validate_full().unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_batch_crosses_into_a_guest_and_back_unchanged(batch in strategies::batch()) {
        let output = pass_through().run_stage(NodeId(1), &task(), &batch).unwrap();
        assert_valid(&output.batch);
        prop_assert_eq!(output.batch, batch);
    }

    #[test]
    fn nested_columns_cross_into_a_guest_and_back_unchanged(seed: u64) {
        let batch = strategies::batch_of(&strategies::nested(), seed);
        let output = pass_nested().run_stage(NodeId(1), &task(), &batch).unwrap();
        assert_valid(&output.batch);
        prop_assert_eq!(output.batch, batch);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn lifting_what_was_lowered_gives_the_same(batch in prop_oneof![strategies::batch(), strategies::any_batch()]) {
        let raw = echo(&batch);
        prop_assert!(is_well_formed(&batch.schema(), &raw));
        let lifted = lift::batch(&place(), &batch.schema(), Some(batch.num_rows()), raw).unwrap();
        assert_valid(&lifted);
        prop_assert_eq!(lifted, batch);
    }

    #[test]
    fn mutated_answers_are_accepted_exactly_when_they_are_well_formed(
        batch in prop_oneof![strategies::batch(), strategies::any_batch()],
        mutations in prop::collection::vec(mutation(), 0..4),
    ) {
        let mut raw = echo(&batch);
        for mutation in &mutations {
            mutation.apply(&mut raw);
        }
        let well_formed = is_well_formed(&batch.schema(), &raw);
        match lift::batch(&place(), &batch.schema(), None, raw) {
            Ok(lifted) => {
                prop_assert!(well_formed, "accepted: {:?}", mutations);
                assert_valid(&lifted);
            }
            Err(error) => prop_assert!(!well_formed, "refused: {} {:?}", error, mutations),
        }
    }
}

/// The contract's rules once more, row by row, as plainly as can be.
fn is_well_formed(schema: &SchemaRef, raw: &BatchResult) -> bool {
    let mut columns = raw.columns.iter();
    let rows = raw.rows as usize;
    schema.fields().iter().all(|field| is_well_formed_column(field, rows, &mut columns)) && columns.next().is_none()
}

fn is_well_formed_column(field: &Field, rows: usize, columns: &mut std::slice::Iter<'_, ColumnResult>) -> bool {
    let Some(column) = columns.next() else { return false };
    let is_bitmap = |bytes: &[u8]| bytes.len() == rows.div_ceil(8);
    let validity = match &column.validity {
        Some(bytes) => field.is_nullable() && is_bitmap(bytes),
        None => true,
    };
    let data = match (&column.data, field.data_type()) {
        (ColumnDataResult::Boolean(bytes), DataType::Boolean) => is_bitmap(bytes),
        (ColumnDataResult::Int64(values), DataType::Int64) => values.len() == rows,
        (ColumnDataResult::Float64(values), DataType::Float64) => values.len() == rows,
        (ColumnDataResult::Timestamp(values), DataType::Timestamp(..)) => values.len() == rows,
        (ColumnDataResult::Utf8(data), DataType::Utf8) => {
            are_well_formed_rows(rows, data, |bytes| std::str::from_utf8(bytes).is_ok())
        }
        (ColumnDataResult::Binary(data), DataType::Binary) => are_well_formed_rows(rows, data, |_| true),
        (ColumnDataResult::Decimal(words), DataType::Decimal128(precision, _)) => {
            let limit = 10i128.pow(u32::from(*precision));
            let value = |pair: &[u64]| (u128::from(pair[1]) << 64 | u128::from(pair[0])).cast_signed();
            let is_null = |row: usize| column.validity.as_ref().is_some_and(|bits| bits[row / 8] >> (row % 8) & 1 == 0);
            let fits = |(row, pair): (usize, &[u64])| is_null(row) || (-limit < value(pair) && value(pair) < limit);
            validity && words.len() == 2 * rows && words.chunks(2).enumerate().all(fits)
        }
        (ColumnDataResult::Int8(values), DataType::Int8) => values.len() == rows,
        (ColumnDataResult::Int16(values), DataType::Int16) => values.len() == rows,
        (ColumnDataResult::Int32(values), DataType::Int32) => values.len() == rows,
        (ColumnDataResult::Uint8(values), DataType::UInt8) => values.len() == rows,
        (ColumnDataResult::Uint16(values), DataType::UInt16) => values.len() == rows,
        (ColumnDataResult::Uint32(values), DataType::UInt32) => values.len() == rows,
        (ColumnDataResult::Uint64(values), DataType::UInt64) => values.len() == rows,
        (ColumnDataResult::Float32(values), DataType::Float32) => values.len() == rows,
        (ColumnDataResult::Date(values), DataType::Date32) => values.len() == rows,
        (ColumnDataResult::Duration(values), DataType::Duration(_)) => values.len() == rows,
        (ColumnDataResult::Struct, DataType::Struct(fields)) => {
            fields.iter().all(|field| is_well_formed_column(field, rows, columns))
        }
        (ColumnDataResult::List(ends), DataType::List(child)) => are_well_formed_values(rows, ends, child, columns),
        (ColumnDataResult::Map(ends), DataType::Map(child, _)) => {
            // Behind the map comes the column of its entries, and then that of its keys.
            let keys = columns.clone().nth(1);
            let is_null = |row: usize| column.validity.as_ref().is_some_and(|bits| bits[row / 8] >> (row % 8) & 1 == 0);
            are_well_formed_values(rows, ends, child, columns)
                && validity
                && (0..rows).all(|row| is_null(row) || are_distinct(keys, ends[row] as usize..ends[row + 1] as usize))
        }
        _ => false,
    };
    validity && data
}

fn are_well_formed_values(
    rows: usize,
    ends: &[u32],
    child: &Field,
    columns: &mut std::slice::Iter<'_, ColumnResult>,
) -> bool {
    let count = ends.last().copied().unwrap_or(0);
    ends.len() == rows + 1
        && ends[0] == 0
        && ends.is_sorted()
        && count < 1 << 31
        && is_well_formed_column(child, count as usize, columns)
}

/// Whether no two of these entries have the same key.
fn are_distinct(keys: Option<&ColumnResult>, entries: std::ops::Range<usize>) -> bool {
    let key = |entry: usize| match keys.map(|keys| &keys.data) {
        Some(ColumnDataResult::Utf8(keys)) => {
            keys.bytes[keys.offsets[entry] as usize..keys.offsets[entry + 1] as usize].to_vec()
        }
        Some(ColumnDataResult::Int64(keys)) => keys[entry].to_le_bytes().to_vec(),
        Some(ColumnDataResult::Boolean(keys)) => vec![keys[entry / 8] >> (entry % 8) & 1],
        other => unreachable!("the test's keys are of other types: {other:?}"),
    };
    let count = entries.len();
    entries.map(key).collect::<BTreeSet<_>>().len() == count
}

fn are_well_formed_rows(rows: usize, data: &VarDataResult, is_value: impl Fn(&[u8]) -> bool) -> bool {
    let (offsets, bytes) = (&data.offsets, &data.bytes);
    if offsets.len() != rows + 1 || offsets[0] != 0 || offsets[rows] as usize != bytes.len() {
        return false;
    }
    offsets.windows(2).all(|pair| bytes.get(pair[0] as usize..pair[1] as usize).is_some_and(&is_value))
}

/// A change of one place of an answer.
#[derive(Clone, Debug)]
enum Mutation {
    Rows(u32),
    DropColumn(Index),
    CopyColumn(Index, Index),
    Validity(Index, Option<Vec<u8>>),
    Shorten(Index),
    Lengthen(Index),
    Offset(Index, Index, u32),
    SwapOffsets(Index, Index, Index),
    Byte(Index, Index, u8),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<Index>;
    let number = prop_oneof![0..70u32, any::<u32>(), Just(u32::MAX), Just(1 << 31)];
    prop_oneof![
        number.clone().prop_map(Mutation::Rows),
        at().prop_map(Mutation::DropColumn),
        (at(), at()).prop_map(|(from, to)| Mutation::CopyColumn(from, to)),
        (at(), prop::option::of(prop::collection::vec(any::<u8>(), 0..10)))
            .prop_map(|(column, bits)| Mutation::Validity(column, bits)),
        at().prop_map(Mutation::Shorten),
        at().prop_map(Mutation::Lengthen),
        (at(), at(), number).prop_map(|(column, row, offset)| Mutation::Offset(column, row, offset)),
        (at(), at(), at()).prop_map(|(column, one, other)| Mutation::SwapOffsets(column, one, other)),
        (at(), at(), any::<u8>()).prop_map(|(column, row, byte)| Mutation::Byte(column, row, byte)),
    ]
}

impl Mutation {
    fn apply(&self, raw: &mut BatchResult) {
        if raw.columns.is_empty() {
            return;
        }
        let count = raw.columns.len();
        match self {
            Self::Rows(rows) => raw.rows = *rows,
            Self::DropColumn(at) => drop(raw.columns.remove(at.index(count))),
            Self::CopyColumn(from, to) => raw.columns[to.index(count)] = raw.columns[from.index(count)].clone(),
            Self::Validity(at, bits) => raw.columns[at.index(count)].validity.clone_from(bits),
            Self::Shorten(at) => resize(&mut raw.columns[at.index(count)].data, false),
            Self::Lengthen(at) => resize(&mut raw.columns[at.index(count)].data, true),
            Self::Offset(at, row, offset) => {
                if let Some(offsets) = offsets(&mut raw.columns[at.index(count)].data) {
                    let row = row.index(offsets.len());
                    offsets[row] = *offset;
                }
            }
            Self::SwapOffsets(at, one, other) => {
                if let Some(offsets) = offsets(&mut raw.columns[at.index(count)].data) {
                    let len = offsets.len();
                    offsets.swap(one.index(len), other.index(len));
                }
            }
            Self::Byte(at, row, byte) => {
                if let ColumnDataResult::Decimal(words) = &mut raw.columns[at.index(count)].data
                    && !words.is_empty()
                {
                    let row = row.index(words.len());
                    words[row] ^= u64::from(*byte) << 56;
                }
                if let Some(data) =
                    variable(&mut raw.columns[at.index(count)].data).filter(|data| !data.bytes.is_empty())
                {
                    let row = row.index(data.bytes.len());
                    data.bytes[row] = *byte;
                }
            }
        }
    }
}

fn offsets(data: &mut ColumnDataResult) -> Option<&mut Vec<u32>> {
    let offsets = match data {
        ColumnDataResult::Utf8(data) | ColumnDataResult::Binary(data) => &mut data.offsets,
        ColumnDataResult::List(offsets) | ColumnDataResult::Map(offsets) => offsets,
        _ => return None,
    };
    Some(offsets).filter(|offsets| !offsets.is_empty())
}

fn variable(data: &mut ColumnDataResult) -> Option<&mut VarDataResult> {
    match data {
        ColumnDataResult::Utf8(data) | ColumnDataResult::Binary(data) => Some(data),
        _ => None,
    }
}

fn resize(data: &mut ColumnDataResult, longer: bool) {
    fn one<T: Default>(values: &mut Vec<T>, longer: bool) {
        if longer {
            values.push(T::default());
        } else {
            values.pop();
        }
    }
    match data {
        ColumnDataResult::Boolean(values) => one(values, longer),
        ColumnDataResult::Int64(values) | ColumnDataResult::Timestamp(values) => one(values, longer),
        ColumnDataResult::Float64(values) => one(values, longer),
        ColumnDataResult::Utf8(data) | ColumnDataResult::Binary(data) => one(&mut data.bytes, longer),
        ColumnDataResult::List(offsets) | ColumnDataResult::Map(offsets) => one(offsets, longer),
        ColumnDataResult::Decimal(words) => one(words, longer),
        ColumnDataResult::Int8(values) => one(values, longer),
        ColumnDataResult::Int16(values) => one(values, longer),
        ColumnDataResult::Int32(values) => one(values, longer),
        ColumnDataResult::Uint8(values) => one(values, longer),
        ColumnDataResult::Uint16(values) => one(values, longer),
        ColumnDataResult::Uint32(values) => one(values, longer),
        ColumnDataResult::Uint64(values) => one(values, longer),
        ColumnDataResult::Float32(values) => one(values, longer),
        ColumnDataResult::Date(values) => one(values, longer),
        ColumnDataResult::Duration(values) => one(values, longer),
        ColumnDataResult::Struct => {}
    }
}
