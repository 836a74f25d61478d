//! The columns that come out of a join, gathered from the rows that belong together.

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{interleave, take};
use arrow::datatypes::{FieldRef, SchemaRef};
use millpond_core::Node;
use millpond_core::plan::Join;

use super::super::nest::Nest;
use super::{Matches, NO_ROW};
use crate::columns;
use crate::error::{Error, Result};

/// How a side's columns come out.
#[derive(Debug)]
pub(crate) enum SideShape {
    /// Not at all.
    Nothing,
    /// As they are.
    Plain,
    /// As one nullable column, the output's column of this number.
    Optional(usize, Nest),
}

/// How the columns of both sides come out; `None` if those of the node do not follow from them.
pub(crate) fn shapes(node: &Node, inputs: &[&Node], join: &Join) -> Option<[SideShape; 2]> {
    let values = |input: &'_ Node| input.schema.fields().get(join.on..).unwrap_or_default().to_vec();
    let mut next = join.on;
    let mut shape = |input: &Node, is_optional: bool| {
        let (values, fields) = (values(input), node.schema.fields());
        let (count, shape) = if is_optional {
            (1, SideShape::Optional(next, Nest::optional(fields.get(next)?, &values)?))
        } else {
            (values.len(), SideShape::Plain)
        };
        let columns = fields.get(next..next + count)?;
        next += count;
        (is_optional || same_columns(columns, &values)).then_some(shape)
    };
    let left = shape(inputs[0], join.kind.left_is_optional())?;
    let right =
        if join.kind.is_left_only() { SideShape::Nothing } else { shape(inputs[1], join.kind.right_is_optional())? };
    (next == node.schema.fields().len()).then_some([left, right])
}

fn same_columns(left: &[FieldRef], right: &[FieldRef]) -> bool {
    let same = |(left, right): (&FieldRef, &FieldRef)| {
        left.data_type() == right.data_type() && left.is_nullable() == right.is_nullable()
    };
    left.len() == right.len() && left.iter().zip(right).all(same)
}

/// Makes the rows that come out of a node.
pub(super) struct Output<'a> {
    node: &'a str,
    schema: &'a SchemaRef,
    on: usize,
    shapes: [SideShape; 2],
}

impl<'a> Output<'a> {
    pub(super) fn new(node: &'a Node, inputs: &[&Node], join: &Join) -> Self {
        let shapes = shapes(node, inputs, join);
        let shapes = shapes.unwrap_or_else(|| unreachable!("the plan was checked: a join's columns are its inputs'"));
        Self { node: &node.name, schema: &node.schema, on: join.on, shapes }
    }

    /// These pairs of rows, and the hashes of their keys.
    pub(super) fn piece(&self, matches: &Matches, left: Vec<u32>, right: Vec<u32>) -> Result<(RecordBatch, Vec<u64>)> {
        let rows = left.len();
        let both = || left.iter().zip(&right);
        let hash = |(left, right): (&u32, &u32)| match *left {
            NO_ROW => matches.right.hashes[*right as usize],
            left => matches.left.hashes[left as usize],
        };
        let hashes = both().map(hash).collect();
        let mut output = Vec::with_capacity(self.schema.fields().len());
        if left.contains(&NO_ROW) {
            let place = |(left, right): (&u32, &u32)| match *left {
                NO_ROW => (1, *right as usize),
                left => (0, left as usize),
            };
            let places: Vec<(usize, usize)> = both().map(place).collect();
            for column in 0..self.on {
                let columns = [&matches.left.rows, &matches.right.rows].map(|rows| rows.column(column).as_ref());
                output.push(interleave(&columns, &places).map_err(Error::arrow(self.node))?);
            }
        }
        let key_is_missing = output.is_empty();
        let sides = [(&matches.left.rows, left), (&matches.right.rows, right)];
        for ((shape, (from, numbers)), key) in self.shapes.iter().zip(sides).zip([key_is_missing, false]) {
            self.side(shape, from, numbers, key, &mut output)?;
        }
        Ok((columns::batch(self.node, self.schema, output, rows)?, hashes))
    }

    fn side(
        &self,
        shape: &SideShape,
        from: &RecordBatch,
        numbers: Vec<u32>,
        with_key: bool,
        output: &mut Vec<ArrayRef>,
    ) -> Result<()> {
        if matches!(shape, SideShape::Nothing) {
            return Ok(());
        }
        let present = BooleanBuffer::collect_bool(numbers.len(), |row| numbers[row] != NO_ROW);
        let present = Some(NullBuffer::new(present)).filter(|present| present.null_count() > 0);
        let numbers = UInt32Array::new(numbers.into(), present.clone());
        let take = |column: &ArrayRef| take(column, &numbers, None).map_err(Error::arrow(self.node));
        if with_key {
            output.extend(from.columns()[..self.on].iter().map(take).collect::<Result<Vec<_>>>()?);
        }
        let values = from.columns()[self.on..].iter().map(take).collect::<Result<Vec<_>>>()?;
        match shape {
            SideShape::Optional(number, nest) => {
                output.push(nest.build(self.node, self.schema.field(*number), &values, present.as_ref())?);
            }
            SideShape::Plain | SideShape::Nothing => output.extend(values),
        }
        Ok(())
    }
}
