//! The derive macro of the Millpond guest SDK: `#[derive(Row)]`, re-exported by `millpond`.
//!
//! What the macro accepts is read in `ast.rs`, what it writes is in `expand.rs`. Compile-fail tests: `guest-sdk/tests/ui`.

mod ast;
mod expand;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct with named fields a row of a stream.
///
/// Each field is a row itself, and its columns are called after it (`page`, or `user.name` for a nested struct). What
/// closures see is a generated struct `<Name>Ref<'a>` with the same fields as views: a `String` field as `&str`.
/// The struct can be a key, too.
#[proc_macro_derive(Row)]
pub fn derive_row(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    match ast::RowStruct::try_new(&input) {
        Ok(row) => expand::row(&row).into(),
        Err(error) => error.into_compile_error().into(),
    }
}
