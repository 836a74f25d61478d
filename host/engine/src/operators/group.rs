//! The values of each key as lists, one list for each input: group and cogroup.
//!
//! The rows of all inputs are shuffled by key. In a partition keys are numbered in the order of their first rows, the values
//! of each input are put in the order of those numbers, and offsets make lists of them; no row is looked at one by one by a plugin.
//! Source: `PairRDDFunctions.groupByKey` and `cogroup`.

use arrow::array::{ArrayRef, ListArray, RecordBatch, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{interleave, take};
use arrow::datatypes::{DataType, FieldRef};
use millpond_core::{Node, PartitionBatch};

use super::nest::Nest;
use super::{BatchContext, NodeRef, Rows};
use crate::columns;
use crate::error::{Error, Result};
use crate::group::order_by_group;
use crate::key::{Keys, null_keys};
use crate::key_table::KeyTable;
use crate::shuffle::Keyed;

pub(crate) fn run(context: &BatchContext<'_>, node: NodeRef<'_>, inputs: Vec<(&Node, Rows)>) -> Result<Rows> {
    let key_columns = node.node.key_columns;
    let nodes: Vec<&Node> = inputs.iter().map(|(input, _)| *input).collect();
    let inputs = inputs.into_iter().map(|(input, rows)| {
        let keyed = Keyed { node: node.name(), schema: &input.schema, key_columns };
        (keyed, rows.with_key(input.key_columns == key_columns))
    });
    let partitions = context.run_together(inputs.collect(), 1, |partition, inputs| {
        let numbered = Numbered::new(node.node, &nodes, &inputs)?;
        let hashes = numbered.firsts.iter().map(|(input, row)| inputs[*input].1[*row]).collect();
        Ok((PartitionBatch { partition, rows: lists(node.node, &nodes, &inputs, &numbered)? }, hashes))
    })?;
    Ok(Rows::hashed(partitions))
}

/// Of one partition: which key each row has, by the keys' numbers.
struct Numbered {
    /// By input and row.
    groups: Vec<Vec<u32>>,
    /// Of each key: its first row, by input and row.
    firsts: Vec<(usize, usize)>,
}

impl Numbered {
    fn new(node: &Node, nodes: &[&Node], inputs: &[(RecordBatch, Vec<u64>)]) -> Result<Self> {
        let mut numbered = Self { groups: Vec::with_capacity(inputs.len()), firsts: Vec::new() };
        let (mut table, mut group_of_slot) = (KeyTable::default(), Vec::new());
        for (input, ((rows, hashes), from)) in inputs.iter().zip(nodes).enumerate() {
            let keys = Keys::of(&node.name, &from.schema, node.key_columns, rows)?;
            // Of the first input they are keys like any other, as no other input's get into the table.
            let nulls = if input == 0 { None } else { null_keys(rows, node.key_columns) };
            let groups = match nulls {
                None => {
                    let (slots, new) = table.insert_all(&keys, hashes);
                    let slots = slots.into_iter().zip(new).enumerate();
                    slots.map(|(row, slot)| numbered.number(&mut group_of_slot, slot, (input, row))).collect()
                }
                Some(nulls) => numbered.apart((&mut table, &mut group_of_slot), &keys, hashes, (input, &nulls)),
            };
            numbered.groups.push(groups);
        }
        Ok(numbered)
    }

    /// The groups of an input's rows, where keys with a null in them must not meet those of other inputs.
    fn apart(
        &mut self,
        (table, group_of_slot): (&mut KeyTable, &mut Vec<u32>),
        keys: &Keys,
        hashes: &[u64],
        (input, nulls): (usize, &NullBuffer),
    ) -> Vec<u32> {
        let (mut own_table, mut own_groups) = (KeyTable::default(), Vec::new());
        let group = |(row, hash): (usize, &u64)| {
            if nulls.is_null(row) {
                self.number(&mut own_groups, own_table.insert(*hash, keys.get(row)), (input, row))
            } else {
                self.number(group_of_slot, table.insert(*hash, keys.get(row)), (input, row))
            }
        };
        hashes.iter().enumerate().map(group).collect()
    }

    fn number(&mut self, group_of_slot: &mut Vec<u32>, (slot, is_new): (u32, bool), place: (usize, usize)) -> u32 {
        if is_new {
            group_of_slot.push(self.firsts.len() as u32);
            self.firsts.push(place);
        }
        group_of_slot[slot as usize]
    }
}

/// One row a key: the key, and a list for each input.
fn lists(node: &Node, nodes: &[&Node], inputs: &[(RecordBatch, Vec<u64>)], numbered: &Numbered) -> Result<RecordBatch> {
    let fields = node.schema.fields();
    let mut output = Vec::with_capacity(fields.len());
    for column in 0..node.key_columns {
        let columns: Vec<_> = inputs.iter().map(|(rows, _)| rows.column(column).as_ref()).collect();
        output.push(interleave(&columns, &numbered.firsts).map_err(Error::arrow(&node.name))?);
    }
    for (index, (rows, _)) in inputs.iter().enumerate() {
        let values = &nodes[index].schema.fields()[node.key_columns..];
        let (item, nest) = item_of(&fields[node.key_columns + index], values)
            .unwrap_or_else(|| unreachable!("the plan was checked: lists hold the inputs' columns"));
        let (offsets, order) = order_by_group(&numbered.groups[index], numbered.firsts.len());
        let order = UInt32Array::from(order);
        let columns = rows.columns()[node.key_columns..].iter().map(|column| take(column, &order, None));
        let columns = columns.collect::<std::result::Result<Vec<ArrayRef>, _>>().map_err(Error::arrow(&node.name))?;
        let items = nest.build(&node.name, &item, &columns, None)?;
        // Rows of a batch are fewer than an i32 can count, or its columns could not be.
        let offsets = OffsetBuffer::new(offsets.into_iter().map(u32::cast_signed).collect());
        let list = ListArray::try_new(item, offsets, items, None).map_err(Error::arrow(&node.name))?;
        output.push(std::sync::Arc::new(list));
    }
    columns::batch(&node.name, &node.schema, output, numbered.firsts.len())
}

/// The items of a list column, and how these columns become them; `None` if they cannot.
pub(crate) fn item_of(list: &FieldRef, columns: &[FieldRef]) -> Option<(FieldRef, Nest)> {
    match list.data_type() {
        DataType::List(item) if !list.is_nullable() => {
            Nest::item(item, columns).map(|nest| (std::sync::Arc::clone(item), nest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use arrow::array::{Array, AsArray, Int64Array, StringArray};
    use arrow::datatypes::{Field, Fields, Int64Type, Schema};
    use millpond_core::batch::partitions;
    use millpond_core::{BatchTime, NodeId, Operator, SystemClock};
    use millpond_testkit::FakeFunction;
    use proptest::prelude::*;

    use super::*;
    use crate::ComputePool;
    use crate::key::partition_of;
    use crate::operators::TimedPool;
    use crate::operators::timed::TimedFunction;

    /// Key and value; a second value is the first one, doubled.
    type Row = (Option<String>, i64);
    type Batch = Vec<Vec<Row>>;

    fn batch() -> impl Strategy<Value = Batch> {
        let row = (proptest::option::of("[a-c]{0,2}"), any::<i8>().prop_map(i64::from));
        proptest::collection::vec(proptest::collection::vec(row, 0..12), 0..4)
    }

    fn input(values: usize) -> Node {
        let fields = [("k", DataType::Utf8, true), ("v", DataType::Int64, false), ("w", DataType::Int64, false)];
        let fields = fields.map(|(name, data_type, nullable)| Field::new(name, data_type, nullable));
        let schema = Arc::new(Schema::new(fields[..1 + values].to_vec()));
        Node { name: "in".to_owned(), operator: Operator::Union, inputs: Vec::new(), schema, key_columns: 1 }
    }

    fn rows(node: &Node, batch: &Batch) -> Rows {
        let batch = batch.iter().map(|rows| {
            let values =
                |times: i64| Arc::new(rows.iter().map(|row| row.1 * times).collect::<Int64Array>()) as ArrayRef;
            let keys: ArrayRef = Arc::new(rows.iter().map(|row| row.0.clone()).collect::<StringArray>());
            let columns = [keys, values(1), values(2)][..node.schema.fields().len()].to_vec();
            RecordBatch::try_new(Arc::clone(&node.schema), columns).unwrap()
        });
        Rows::new(partitions(batch.collect()))
    }

    /// The first input's lists are of numbers, the second's of structs.
    fn node(inputs: usize) -> Node {
        let pair = Fields::from(vec![Field::new("v", DataType::Int64, false), Field::new("w", DataType::Int64, false)]);
        let list = |name: &str, item| Field::new_list(name, Field::new("item", item, false), false);
        let fields =
            [Field::new("k", DataType::Utf8, true), list("a", DataType::Int64), list("b", DataType::Struct(pair))];
        let schema = Arc::new(Schema::new(fields[..=inputs].to_vec()));
        Node { name: "it".to_owned(), operator: Operator::Group, inputs: Vec::new(), schema, key_columns: 1 }
    }

    fn grouped(parallelism: usize, batches: &[Batch]) -> Rows {
        let (pool, clock, function) = (ComputePool::try_new(2).unwrap(), SystemClock::new(), FakeFunction::new());
        let context = BatchContext {
            batch_time: BatchTime(1000),
            start: BatchTime(0),
            is_commit: true,
            clock: &clock,
            pool: TimedPool::new(&pool, &clock),
            function: &TimedFunction::new(&function, &clock),
            parallelism,
            counts: Mutex::default(),
        };
        let nodes: Vec<Node> = (1..=batches.len()).map(input).collect();
        let inputs = nodes.iter().zip(batches).map(|(node, batch)| (node, rows(node, batch))).collect();
        let node = node(batches.len());
        run(&context, NodeRef { id: NodeId(2), node: &node }, inputs).unwrap()
    }

    /// Of each row: the key, then each input's values.
    fn print(output: &Rows) -> Vec<(Option<String>, Vec<Vec<i64>>)> {
        let mut printed = Vec::new();
        for batch in &output.partitions {
            batch.rows.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
            let keys = batch.rows.column(0).as_string::<i32>();
            for row in 0..batch.rows.num_rows() {
                let list = |column: &ArrayRef| {
                    let items = column.as_list::<i32>().value(row);
                    let numbers = items.as_struct_opt().map_or(&items, |items| items.column(0));
                    let twice = items.as_struct_opt().map(|items| items.column(1).as_primitive::<Int64Type>().clone());
                    let numbers = numbers.as_primitive::<Int64Type>().values().to_vec();
                    assert!(twice.is_none_or(|twice| {
                        twice.values().iter().eq(numbers.iter().map(|n| n * 2).collect::<Vec<_>>().iter())
                    }));
                    numbers
                };
                let lists = batch.rows.columns()[1..].iter().map(list).collect();
                printed.push((keys.is_valid(row).then(|| keys.value(row).to_owned()), lists));
            }
        }
        printed.sort();
        printed
    }

    fn model(batches: &[Batch]) -> Vec<(Option<String>, Vec<Vec<i64>>)> {
        // Keys with a null in them do not meet those of another input.
        let mut groups: BTreeMap<(Option<String>, usize), Vec<Vec<i64>>> = BTreeMap::new();
        for (input, batch) in batches.iter().enumerate() {
            for (key, value) in batch.iter().flatten() {
                let place = (key.clone(), if key.is_none() { input } else { 0 });
                groups.entry(place).or_insert_with(|| vec![Vec::new(); batches.len()])[input].push(*value);
            }
        }
        let mut rows: Vec<_> = groups.into_iter().map(|((key, _), lists)| (key, lists)).collect();
        rows.sort();
        rows
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn lists_hold_the_values_of_each_key_in_order(
            batches in proptest::collection::vec(batch(), 1..3), parallelism in 1usize..6,
        ) {
            let output = grouped(parallelism, &batches);
            prop_assert_eq!(print(&output), model(&batches));
            let hashes = output.hashes.unwrap();
            prop_assert_eq!(output.partitions.len(), parallelism);
            for (batch, hashes) in output.partitions.iter().zip(hashes.iter()) {
                let keys = Keys::of("it", &batch.rows.schema(), 1, &batch.rows).unwrap();
                prop_assert_eq!(&keys.hashes(), hashes);
                prop_assert!(hashes.iter().all(|hash| partition_of(*hash, parallelism) == batch.partition.0 as usize));
            }
        }
    }
}
