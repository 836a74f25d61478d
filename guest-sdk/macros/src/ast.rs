//! What `#[derive(Row)]` accepts, with an error that says what to write instead for everything else.

use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Error, Fields, Result, Type, Visibility};

/// A struct that can be a row.
pub(crate) struct RowStruct {
    pub(crate) name: Ident,
    pub(crate) visibility: Visibility,
    pub(crate) fields: Vec<RowField>,
}

/// One of its fields.
pub(crate) struct RowField {
    pub(crate) name: Ident,
    pub(crate) column: String,
    pub(crate) visibility: Visibility,
    pub(crate) kind: Type,
}

impl RowStruct {
    pub(crate) fn try_new(input: &DeriveInput) -> Result<Self> {
        let Data::Struct(data) = &input.data else {
            let message = "only a struct can be a row: give it one field per column, for example an i64 or String that says which case it is";
            return Err(Error::new_spanned(&input.ident, message));
        };
        if !input.generics.params.is_empty() {
            let message = "a row struct cannot have generic parameters: its columns must be known; write the types out";
            return Err(Error::new_spanned(&input.generics, message));
        }
        let Fields::Named(named) = &data.fields else {
            let message = "a row struct needs named fields, which become its columns: struct Visit { page: String, seconds: i64 }";
            return Err(Error::new_spanned(&input.ident, message));
        };
        if named.named.is_empty() {
            return Err(Error::new_spanned(&input.ident, "a row struct needs at least one field"));
        }
        let fields = named.named.iter().filter_map(|field| {
            let name = field.ident.clone()?;
            let column = name.unraw().to_string();
            Some(RowField { name, column, visibility: field.vis.clone(), kind: field.ty.clone() })
        });
        Ok(Self { name: input.ident.clone(), visibility: input.vis.clone(), fields: fields.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(code: &str) -> Result<RowStruct> {
        RowStruct::try_new(&syn::parse_str(code).expect("the test's code parses"))
    }

    #[test]
    fn raw_field_names_lose_their_prefix() {
        let row = parse("struct Event { r#type: String, at: i64 }").expect("a row");
        assert_eq!(row.fields.iter().map(|field| field.column.as_str()).collect::<Vec<_>>(), ["type", "at"]);
    }

    #[test]
    fn what_cannot_be_a_row_says_what_to_do() {
        for (code, says) in [
            ("enum Action { View, Click }", "only a struct"),
            ("struct Pair<T> { a: T }", "generic"),
            ("struct Id(String);", "named fields"),
            ("struct Nothing {}", "at least one field"),
        ] {
            let error = parse(code).err().expect("refused").to_string();
            assert!(error.contains(says), "{code}: {error}");
        }
    }
}
