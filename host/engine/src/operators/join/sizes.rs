//! How many bytes rows take, one by one: a join repeats some of them, so that their sum says nothing about its output.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;

/// What every row takes besides its columns: the hash of its key goes along with it.
const ROW_BYTES: u64 = 8;

/// Of each row of a batch: about how many bytes it takes.
#[derive(Debug)]
pub(super) struct RowSizes {
    rows: usize,
    /// What all rows take.
    fixed: u64,
    /// What each takes besides, if any takes more.
    more: Vec<u64>,
}

impl RowSizes {
    /// Cost: nothing for columns of fixed width, a pass over the offsets of others.
    pub(super) fn of(rows: &RecordBatch) -> Self {
        let mut sizes = Self { rows: rows.num_rows(), fixed: ROW_BYTES, more: Vec::new() };
        rows.columns().iter().for_each(|column| sizes.add(column));
        sizes
    }

    fn add(&mut self, column: &ArrayRef) {
        match column.data_type() {
            DataType::Utf8 => self.add_spans(column.as_string::<i32>().value_offsets(), 1),
            DataType::Binary => self.add_spans(column.as_binary::<i32>().value_offsets(), 1),
            DataType::Struct(_) => column.as_struct().columns().iter().for_each(|field| self.add(field)),
            DataType::List(_) => {
                self.add_items(column.as_list::<i32>().value_offsets(), column.as_list::<i32>().values())
            }
            DataType::Map(..) => {
                let entries: ArrayRef = std::sync::Arc::new(column.as_map().entries().clone());
                self.add_items(column.as_map().value_offsets(), &entries);
            }
            other => self.fixed += other.primitive_width().unwrap_or(1) as u64,
        }
    }

    fn add_spans(&mut self, offsets: &[i32], width: u64) {
        self.fixed += 4;
        self.more.resize(offsets.len() - 1, 0);
        let spans = offsets.windows(2).map(|pair| (pair[1] - pair[0]).cast_unsigned());
        self.more.iter_mut().zip(spans).for_each(|(more, span)| *more += u64::from(span) * width);
    }

    fn add_items(&mut self, offsets: &[i32], items: &ArrayRef) {
        let mut each = Self { rows: items.len(), fixed: 0, more: Vec::new() };
        each.add(items);
        self.add_spans(offsets, each.fixed);
        if !each.more.is_empty() {
            let places = offsets.windows(2).map(|pair| pair[0] as usize..pair[1] as usize);
            self.more.iter_mut().zip(places).for_each(|(more, items)| *more += each.more[items].iter().sum::<u64>());
        }
    }

    pub(super) fn of_row(&self, row: usize) -> u64 {
        self.fixed + self.more.get(row).copied().unwrap_or(0)
    }

    /// What the largest row takes.
    pub(super) fn most(&self) -> u64 {
        self.fixed + self.more.iter().max().copied().unwrap_or(0)
    }

    /// What all rows take together.
    pub(super) fn sum(&self) -> u64 {
        self.fixed * self.rows as u64 + self.more.iter().sum::<u64>()
    }

    /// Sums over the first rows of an order: over none of them, one, two ...
    pub(super) fn running(&self, order: &[u32]) -> Vec<u64> {
        let sums = order.iter().scan(0, |sum, row| {
            *sum += self.of_row(*row as usize);
            Some(*sum)
        });
        std::iter::once(0).chain(sums).collect()
    }
}
