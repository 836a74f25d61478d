//! Enums without fields: a text column of their names, kept as one byte a row.

use std::cmp::Ordering;

use super::{ColumnReader, Validity};
use crate::bindings::millpond::plugin::types::{Column, ColumnData, Failure, VarData};
use crate::bitmap::Bitmap;

/// An enum without fields, by its names. Implemented by `#[derive(Row)]`.
pub trait Names: Copy + 'static {
    /// What each variant is called in columns.
    const NAMES: &'static [&'static str];

    /// The variants, in the order of their names above.
    const ALL: &'static [Self];

    /// Which of them it is.
    fn number(self) -> u8;
}

/// A column of names: which one each row has.
#[doc(hidden)]
#[derive(Clone, Debug, Default)]
pub struct NameColumn {
    numbers: Vec<u8>,
}

impl NameColumn {
    /// Reads a text column, of which every row that is there must be one of the names.
    #[doc(hidden)]
    pub fn read<T: Names>(reader: &mut ColumnReader<'_>, nullable: bool) -> Result<(Self, Validity), Failure> {
        let (taken, validity) = reader.next(nullable)?;
        let column = taken.name().to_owned();
        let (offsets, text) = taken.utf8()?;
        let rows = offsets.len() - 1;
        let present = validity.clone().and_then(|bytes| Bitmap::try_from_bytes(bytes, rows));
        let mut numbers = Vec::with_capacity(rows);
        for (row, span) in offsets.windows(2).enumerate() {
            if !reader.is_meant(row) || present.as_ref().is_some_and(|present| !present.get(row)) {
                numbers.push(0);
                continue;
            }
            let name = &text[span[0] as usize..span[1] as usize];
            let number =
                T::NAMES.iter().position(|known| *known == name).ok_or_else(|| unknown::<T>(&column, row, name))?;
            numbers.push(number as u8);
        }
        Ok((Self { numbers }, validity))
    }

    #[doc(hidden)]
    pub fn write<T: Names>(self, validity: Validity, out: &mut Vec<Column>) {
        let mut data = VarData { offsets: Vec::with_capacity(self.numbers.len() + 1), bytes: Vec::new() };
        data.offsets.push(0);
        for number in self.numbers {
            data.bytes.extend_from_slice(T::NAMES[usize::from(number)].as_bytes());
            data.offsets.push(data.bytes.len() as u32);
        }
        out.push(Column { data: ColumnData::Utf8(data), validity });
    }

    #[doc(hidden)]
    #[inline]
    pub fn get<T: Names>(&self, row: usize) -> T {
        T::ALL[usize::from(self.numbers[row])]
    }

    #[doc(hidden)]
    #[inline]
    pub fn push<T: Names>(&mut self, value: T) {
        self.numbers.push(value.number());
    }

    #[doc(hidden)]
    pub fn push_empty(&mut self) {
        self.numbers.push(0);
    }

    #[doc(hidden)]
    pub fn clear(&mut self) {
        self.numbers.clear();
    }

    #[doc(hidden)]
    pub fn byte_len(&self) -> usize {
        self.numbers.len()
    }
}

fn unknown<T: Names>(column: &str, row: usize, name: &str) -> Failure {
    let name: String = name.chars().take(60).flat_map(char::escape_debug).collect();
    crate::failure::bad_input(format!("column `{column}`, row {row}: `{name}` is none of {}", T::NAMES.join(", ")))
}

/// By name, as the host orders the column.
#[doc(hidden)]
#[must_use]
pub fn order_names<T: Names>(left: T, right: T) -> Ordering {
    T::NAMES[usize::from(left.number())].cmp(T::NAMES[usize::from(right.number())])
}

/// Takes a name into a running hash.
#[doc(hidden)]
#[must_use]
#[inline]
pub fn hash_name<T: Names>(value: T, hash: u64) -> u64 {
    crate::hash::word(hash, value.number().into())
}

/// What `#[derive(Row)]` writes for an enum.
#[doc(hidden)]
#[macro_export]
macro_rules! __enum_row {
    ($name:ident) => {
        const _: () = {
            use $crate::__private::{
                Column, ColumnReader, DataType, Failure, Field, NameColumn, Ordering, Plain, Validity, Vec, hash_name,
                leaf_field, order_names,
            };

            impl $crate::Row for $name {
                type Ref<'a> = $name;
                type Columns = NameColumn;
                type Picks = $crate::ColumnOf<$name>;
                const WIDTH: usize = 1;

                fn column_fields(name: &str, nullable: bool, fields: &mut Vec<Field>) {
                    leaf_field(name, DataType::Utf8, nullable, fields);
                }
                fn leaf_names(leaves: &mut Vec<&'static [&'static str]>) {
                    leaves.push(<$name as $crate::Names>::NAMES);
                }
                fn read_column(
                    reader: &mut ColumnReader<'_>,
                    nullable: bool,
                ) -> ::core::result::Result<(NameColumn, Validity), Failure> {
                    NameColumn::read::<$name>(reader, nullable)
                }
                fn write_column(columns: NameColumn, validity: Validity, out: &mut Vec<Column>) {
                    columns.write::<$name>(validity, out);
                }
                #[inline]
                fn get(columns: &NameColumn, row: usize) -> $name {
                    columns.get(row)
                }
                #[inline]
                fn push(columns: &mut NameColumn, row: $name) {
                    columns.push(row);
                }
                fn push_empty(columns: &mut NameColumn) {
                    columns.push_empty();
                }
                fn clear(columns: &mut NameColumn) {
                    columns.clear();
                }
                fn byte_len(columns: &NameColumn) -> usize {
                    columns.byte_len()
                }
                fn order_at(columns: &NameColumn, _column: usize, left: usize, right: usize) -> Ordering {
                    order_names::<$name>(columns.get(left), columns.get(right))
                }
                fn picks(first: usize) -> Self::Picks {
                    $crate::__private::pick(first)
                }
                #[inline]
                fn from_ref(row: $name) -> $name {
                    row
                }
                #[inline]
                fn to_ref(&self) -> $name {
                    *self
                }
            }

            impl $crate::Value for $name {}
            impl $crate::Element for $name {}

            impl $crate::Single for $name {
                const DATA_TYPE: DataType = DataType::Utf8;
                type SortAs = u8;

                #[inline]
                fn sort_as<'a>(row: <$name as $crate::Row>::Ref<'a>) -> <u8 as $crate::Row>::Ref<'a> {
                    $crate::Names::number(row)
                }
            }

            // The column is text, and the host would compare that.
            impl $crate::Comparable for $name {
                const IN_HOST: bool = false;

                #[inline]
                fn extreme_order(left: $name, right: $name) -> Ordering {
                    $crate::Names::number(left).cmp(&$crate::Names::number(right))
                }
            }

            impl $crate::SortKey for $name {
                type Of<'a> = $name;
                type Columns = Plain<u8>;

                #[inline]
                fn push(key: &$name, columns: &mut Plain<u8>) {
                    columns.push($crate::Names::number(*key));
                }

                #[inline]
                fn compare(key: &$name, columns: &Plain<u8>, row: usize) -> Ordering {
                    columns.compare_with($crate::Names::number(*key), row)
                }
            }

            impl $crate::Ordered for $name {
                fn order(left: $name, right: $name) -> Ordering {
                    order_names(left, right)
                }
            }

            impl $crate::Key for $name {
                #[inline]
                fn hash(row: $name, hash: u64) -> u64 {
                    hash_name(row, hash)
                }
                #[inline]
                fn same_at(columns: &NameColumn, row: usize, key: $name) -> bool {
                    $crate::Names::number(columns.get::<$name>(row)) == $crate::Names::number(key)
                }
            }
        };
    };
}
