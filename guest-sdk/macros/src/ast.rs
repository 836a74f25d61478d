//! What `#[derive(Row)]` accepts, with an error that says what to write instead for everything else.

use proc_macro2::Ident;
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Error, Fields, FieldsNamed, Result, Type, Visibility};

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
        check_types(named)?;
        let fields = named.named.iter().filter_map(|field| {
            let name = field.ident.clone()?;
            let column = name.unraw().to_string();
            Some(RowField { name, column, visibility: field.vis.clone(), kind: field.ty.clone() })
        });
        Ok(Self { name: input.ident.clone(), visibility: input.vis.clone(), fields: fields.collect() })
    }
}

/// Refuses types that are well known not to be rows: one error here saves the reader dozens from the code that would be
/// written. The compiler finds the others.
fn check_types(fields: &FieldsNamed) -> Result<()> {
    let errors = fields.named.iter().filter_map(|field| {
        let remedy = remedy(&field.ty)?;
        let kind = field.ty.to_token_stream().to_string().replace(' ', "");
        Some(Error::new_spanned(&field.ty, format!("`{kind}` cannot be a column: {remedy}")))
    });
    let all = errors.reduce(|mut all, error| {
        all.combine(error);
        all
    });
    all.map_or(Ok(()), Err)
}

/// What to write instead of a type; `None` if it may be a row.
fn remedy(kind: &Type) -> Option<&'static str> {
    let Type::Path(path) = kind else {
        return match kind {
            Type::Reference(_) => Some("a row owns its values; use String for text, closures see it as `&str` anyway"),
            Type::Array(_) | Type::Slice(_) => Some("use Vec"),
            _ => None,
        };
    };
    let last = path.path.segments.last()?;
    match last.ident.to_string().as_str() {
        "i8" | "i16" | "i32" | "i128" | "isize" | "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => Some("use i64"),
        "f32" => Some("use f64"),
        "char" | "str" => Some("use String"),
        "HashMap" => Some("use BTreeMap, whose order is the same on every machine"),
        "HashSet" | "BTreeSet" | "VecDeque" => Some("use Vec"),
        _ => None,
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
    fn lists_maps_and_bytes_are_columns() {
        assert!(
            parse("struct Blob { bytes: Vec<u8>, names: Vec<Option<String>>, by: BTreeMap<i64, Vec<f64>> }").is_ok()
        );
    }

    #[test]
    fn what_cannot_be_a_row_says_what_to_do() {
        for (code, says) in [
            ("enum Action { View, Click }", "only a struct"),
            ("struct Pair<T> { a: T }", "generic"),
            ("struct Id(String);", "named fields"),
            ("struct Nothing {}", "at least one field"),
            ("struct Reading { value: f32 }", "`f32` cannot be a column: use f64"),
            ("struct Reading { count: std::primitive::u32 }", "use i64"),
            ("struct Reading { name: &'static str }", "use String"),
            ("struct Reading { values: HashMap<String, f64> }", "use BTreeMap"),
            ("struct Reading { values: [f64; 3] }", "use Vec"),
        ] {
            let error = parse(code).err().expect("refused").to_string();
            assert!(error.contains(says), "{code}: {error}");
        }
    }
}
