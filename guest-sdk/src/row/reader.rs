//! Takes a batch apart column by column, checking everything once so that reading rows cannot fail. Reading is safe Rust all
//! the same: it looks at bounds, and for text at character boundaries, again for each row.

use super::Validity;
use crate::bindings::millpond::plugin::types::{Batch, Column, ColumnData, DataType, Failure, Field, VarData};
use crate::bitmap::Bitmap;
use crate::failure::bad_input;
use crate::text;

/// Gives the columns of a batch in order.
#[derive(Debug)]
pub struct ColumnReader<'a> {
    rows: usize,
    columns: std::vec::IntoIter<Column>,
    fields: std::slice::Iter<'a, Field>,
    /// The rows whose values mean something; `None` = all.
    meant: Option<Bitmap>,
}

impl<'a> ColumnReader<'a> {
    /// Reads `batch`, which must have as many columns as there are fields.
    pub(crate) fn try_new(batch: Batch, fields: &'a [Field]) -> Result<Self, Failure> {
        if batch.columns.len() != fields.len() {
            return Err(bad_input(format!(
                "the batch has {} columns, the plan says {}",
                batch.columns.len(),
                fields.len()
            )));
        }
        let (columns, fields) = (batch.columns.into_iter(), fields.iter());
        Ok(Self { rows: batch.rows as usize, columns, fields, meant: None })
    }

    /// The same for a batch of which some rows mean nothing: they may hold any values.
    pub(crate) fn only_meant(mut self, meant: Bitmap) -> Self {
        self.meant = Some(meant);
        self
    }

    /// Reads columns that lie in one which may be null: where it is they may hold anything.
    #[doc(hidden)]
    pub fn within<R>(
        &mut self,
        validity: &Validity,
        read: impl FnOnce(&mut Self) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let Some(valid) = validity.clone().and_then(|bytes| Bitmap::try_from_bytes(bytes, self.rows)) else {
            return read(self);
        };
        let meant = (0..self.rows).fold(Bitmap::default(), |mut meant, row| {
            meant.push(valid.get(row) && self.is_meant(row));
            meant
        });
        let outer = self.meant.replace(meant);
        let result = read(self);
        self.meant = outer;
        result
    }

    /// Whether the row's value means something.
    pub(crate) fn is_meant(&self, row: usize) -> bool {
        self.meant.as_ref().is_none_or(|meant| meant.get(row))
    }

    /// How many rows every column has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn finish(&self) -> Result<(), Failure> {
        if self.columns.len() == 0 {
            Ok(())
        } else {
            Err(bad_input(format!("the batch has {} columns more than the row type", self.columns.len())))
        }
    }

    /// Reads columns of so many rows: those inside of a list.
    pub(crate) fn of_rows<R>(
        &mut self,
        rows: usize,
        read: impl FnOnce(&mut Self) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let outer = (std::mem::replace(&mut self.rows, rows), self.meant.take());
        let result = read(self);
        (self.rows, self.meant) = outer;
        result
    }

    /// The next column's data, and its validity if it is nullable: as many bits as rows.
    pub(crate) fn next(&mut self, nullable: bool) -> Result<(Taken<'a>, Validity), Failure> {
        let (Some(column), Some(field)) = (self.columns.next(), self.fields.next()) else {
            return Err(bad_input("the batch has fewer columns than the row type"));
        };
        let taken = Taken { rows: self.rows, name: &field.name, data: column.data };
        let validity = match column.validity {
            Some(_) if !nullable => return Err(taken.bad("it has null rows, but is not nullable")),
            Some(bytes) if bytes.len() != self.rows.div_ceil(8) => {
                return Err(taken.bad(&format!("its validity has {} bytes for {} rows", bytes.len(), self.rows)));
            }
            validity => validity,
        };
        Ok((taken, validity))
    }
}

/// One column, taken out of a batch.
pub(crate) struct Taken<'a> {
    rows: usize,
    name: &'a str,
    data: ColumnData,
}

impl Taken<'_> {
    pub(crate) fn name(&self) -> &str {
        self.name
    }

    fn bad(&self, what: &str) -> Failure {
        bad_input(format!("column `{}`: {what}", self.name))
    }

    fn wrong_type(&self, expected: DataType) -> Failure {
        self.bad(&format!("expected {}, found {}", type_name(expected), found_name(&self.data)))
    }

    fn check_length(&self, found: usize) -> Result<(), Failure> {
        if found == self.rows {
            Ok(())
        } else {
            Err(self.bad(&format!("it has {found} values for {} rows", self.rows)))
        }
    }

    /// Two words a row.
    pub(crate) fn decimal(mut self, expected: DataType) -> Result<Vec<u64>, Failure> {
        let ColumnData::Decimal(words) = &mut self.data else { return Err(self.wrong_type(expected)) };
        let words = std::mem::take(words);
        if words.len() != 2 * self.rows {
            return Err(self.bad(&format!("it has {} words for {} rows, expected two a row", words.len(), self.rows)));
        }
        Ok(words)
    }

    pub(crate) fn boolean(mut self) -> Result<Bitmap, Failure> {
        let ColumnData::Boolean(bytes) = &mut self.data else { return Err(self.wrong_type(DataType::Boolean)) };
        let bytes = std::mem::take(bytes);
        let found = bytes.len();
        Bitmap::try_from_bytes(bytes, self.rows)
            .ok_or_else(|| self.bad(&format!("it has {found} bytes of bits for {} rows", self.rows)))
    }

    pub(crate) fn binary(mut self) -> Result<VarData, Failure> {
        let ColumnData::Binary(data) = &mut self.data else { return Err(self.wrong_type(DataType::Binary)) };
        let data = VarData { offsets: std::mem::take(&mut data.offsets), bytes: std::mem::take(&mut data.bytes) };
        self.check_offsets(&data.offsets, data.bytes.len())?;
        Ok(data)
    }

    pub(crate) fn structure(self) -> Result<(), Failure> {
        match self.data {
            ColumnData::Struct => Ok(()),
            _ => Err(self.wrong_type(DataType::Struct)),
        }
    }

    /// Where each row begins among the rows of the next column, of which there are as many as the last says.
    pub(crate) fn list(mut self) -> Result<Vec<u32>, Failure> {
        let ColumnData::List(offsets) = &mut self.data else { return Err(self.wrong_type(DataType::List)) };
        let offsets = std::mem::take(offsets);
        self.check_offsets(&offsets, offsets.last().map_or(0, |last| *last as usize))?;
        Ok(offsets)
    }

    pub(crate) fn map(mut self) -> Result<Vec<u32>, Failure> {
        let ColumnData::Map(offsets) = &mut self.data else { return Err(self.wrong_type(DataType::Map)) };
        let offsets = std::mem::take(offsets);
        self.check_offsets(&offsets, offsets.last().map_or(0, |last| *last as usize))?;
        Ok(offsets)
    }

    /// Offsets and text; every offset lies on a character boundary.
    pub(crate) fn utf8(mut self) -> Result<(Vec<u32>, String), Failure> {
        let ColumnData::Utf8(data) = &mut self.data else { return Err(self.wrong_type(DataType::Utf8)) };
        let data = VarData { offsets: std::mem::take(&mut data.offsets), bytes: std::mem::take(&mut data.bytes) };
        self.check_offsets(&data.offsets, data.bytes.len())?;
        let text = text::checked(data.bytes).map_err(|error| self.bad(&format!("not UTF-8: {error}")))?;
        // Between rows, and not byte by byte: rows are fewer than bytes.
        if !data.offsets.iter().all(|offset| text.is_char_boundary(*offset as usize)) {
            return Err(self.bad("an offset lies inside a character"));
        }
        Ok((data.offsets, text))
    }

    fn check_offsets(&self, offsets: &[u32], end: usize) -> Result<(), Failure> {
        if offsets.len() != self.rows + 1 {
            return Err(self.bad(&format!(
                "it has {} offsets for {} rows, expected one more than rows",
                offsets.len(),
                self.rows
            )));
        }
        if offsets[0] != 0 || offsets[self.rows] as usize != end {
            return Err(self.bad(&format!(
                "its offsets run from {} to {}, expected 0 to {}",
                offsets[0], offsets[self.rows], end
            )));
        }
        if offsets.windows(2).any(|pair| pair[0] > pair[1]) {
            return Err(self.bad("its offsets decrease"));
        }
        Ok(())
    }
}

macro_rules! fixed {
    ($($take:ident $case:ident $type:ty;)*) => {
        impl Taken<'_> {$(
            pub(crate) fn $take(mut self) -> Result<Vec<$type>, Failure> {
                let ColumnData::$case(values) = &mut self.data else { return Err(self.wrong_type(DataType::$case)) };
                let values = std::mem::take(values);
                self.check_length(values.len())?;
                Ok(values)
            }
        )*}
    };
}

fixed!(
    int8 Int8 i8;
    int16 Int16 i16;
    int32 Int32 i32;
    int64 Int64 i64;
    uint8 Uint8 u8;
    uint16 Uint16 u16;
    uint32 Uint32 u32;
    uint64 Uint64 u64;
    float32 Float32 f32;
    float64 Float64 f64;
    date Date i32;
    duration Duration i64;
    timestamp Timestamp i64;
);

fn found_name(data: &ColumnData) -> &'static str {
    match data {
        ColumnData::Boolean(_) => "boolean",
        ColumnData::Int64(_) => "int64",
        ColumnData::Float64(_) => "float64",
        ColumnData::Utf8(_) => "utf8",
        ColumnData::Binary(_) => "binary",
        ColumnData::Timestamp(_) => "timestamp",
        ColumnData::Int8(_) => "int8",
        ColumnData::Int16(_) => "int16",
        ColumnData::Int32(_) => "int32",
        ColumnData::Uint8(_) => "uint8",
        ColumnData::Uint16(_) => "uint16",
        ColumnData::Uint32(_) => "uint32",
        ColumnData::Uint64(_) => "uint64",
        ColumnData::Float32(_) => "float32",
        ColumnData::Date(_) => "date",
        ColumnData::Duration(_) => "duration",
        ColumnData::Decimal(_) => "decimal",
        ColumnData::Struct => "struct",
        ColumnData::List(_) => "list",
        ColumnData::Map(_) => "map",
    }
}

/// The contract's name for a type.
pub(crate) fn type_name(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "boolean",
        DataType::Int64 => "int64",
        DataType::Float64 => "float64",
        DataType::Utf8 => "utf8",
        DataType::Binary => "binary",
        DataType::Timestamp => "timestamp",
        DataType::Int8 => "int8",
        DataType::Int16 => "int16",
        DataType::Int32 => "int32",
        DataType::Uint8 => "uint8",
        DataType::Uint16 => "uint16",
        DataType::Uint32 => "uint32",
        DataType::Uint64 => "uint64",
        DataType::Float32 => "float32",
        DataType::Date => "date",
        DataType::Duration => "duration",
        DataType::Decimal(_) => "decimal",
        DataType::Struct => "struct",
        DataType::List => "list",
        DataType::Map => "map",
    }
}
