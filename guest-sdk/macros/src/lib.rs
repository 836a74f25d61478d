//! The derive macro of the Millpond guest SDK: `#[derive(Row)]`, re-exported by `millpond`.
//!
//! What the macro accepts is read in `ast.rs`, what it writes is in `expand.rs`. Compile-fail tests: `guest-sdk/tests/ui`.

mod ast;
mod expand;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct with named fields, or an enum without fields, a row of a stream.
///
/// **Structs**: each field is a row itself, and its columns are called after it (`page`, or `user.name` for a nested struct). What
/// closures see is a generated struct `<Name>Ref<'a>` with the same fields as views: a `String` field as `&str`. If all fields
/// can be keys, the struct can. Parameters stand for rows: `struct Tagged<T: Row> { tag: T, at: Timestamp }`.
///
/// **Enums**: one text column with the variants' names, of which nothing but these may come in. Closures see the enum itself; it
/// must be `Copy`, `Debug` and `PartialEq`. Its column is ordered by the names, as all that reads it orders it; computed sort keys,
/// `min_by_key` and `max_by_key` have the order of the variants.
///
/// - `#[row(rename = "column")]` calls a field's column, or a variant, otherwise.
/// - `#[row(skip)]` makes a field no column; rows that are read have its `Default`.
#[proc_macro_derive(Row, attributes(row))]
pub fn derive_row(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    match ast::RowType::try_new(&input) {
        Ok(ast::RowType::Struct(row)) => expand::row(&row).into(),
        Ok(ast::RowType::Enum(row)) => expand::row_enum(&row).into(),
        Err(error) => error.into_compile_error().into(),
    }
}
