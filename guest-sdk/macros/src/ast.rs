//! What `#[derive(Row)]` accepts, with an error that says what to write instead for everything else.

use proc_macro2::Ident;
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{
    Attribute, Data, DataEnum, DataStruct, DeriveInput, Error, Field, Fields, GenericParam, Generics, LitStr, Result,
    Type, Visibility,
};

/// The contract's limit on a column's name, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// How many names an enum may have: its columns keep one byte a row.
const VARIANTS_MAX: usize = 256;

/// What can be a row.
pub(crate) enum RowType {
    Struct(RowStruct),
    Enum(RowEnum),
}

/// A struct that can be a row.
pub(crate) struct RowStruct {
    pub(crate) name: Ident,
    pub(crate) visibility: Visibility,
    pub(crate) generics: Generics,
    pub(crate) fields: Vec<RowField>,
    /// Fields that are no columns.
    pub(crate) skipped: Vec<Ident>,
}

/// One of its fields.
pub(crate) struct RowField {
    pub(crate) name: Ident,
    pub(crate) column: String,
    pub(crate) visibility: Visibility,
    pub(crate) kind: Type,
}

/// An enum without fields.
pub(crate) struct RowEnum {
    pub(crate) name: Ident,
    /// Each with its name in columns.
    pub(crate) variants: Vec<(Ident, String)>,
}

/// What `#[row(...)]` says.
#[derive(Default)]
struct Settings {
    rename: Option<String>,
    skip: bool,
}

impl RowType {
    pub(crate) fn try_new(input: &DeriveInput) -> Result<Self> {
        match &input.data {
            Data::Struct(data) => RowStruct::try_new(input, data).map(Self::Struct),
            Data::Enum(data) => RowEnum::try_new(input, data).map(Self::Enum),
            Data::Union(_) => Err(Error::new_spanned(&input.ident, "a union cannot be a row: use a struct")),
        }
    }
}

impl RowStruct {
    fn try_new(input: &DeriveInput, data: &DataStruct) -> Result<Self> {
        if let Some(lifetime) = input.generics.params.iter().find(|param| matches!(param, GenericParam::Lifetime(_))) {
            return Err(Error::new_spanned(lifetime, "a row owns its values: use String instead of a reference"));
        }
        let Fields::Named(named) = &data.fields else {
            let message = "a row struct needs named fields, which become its columns: struct Visit { page: String, seconds: i64 }";
            return Err(Error::new_spanned(&input.ident, message));
        };
        let (mut fields, mut skipped) = (Vec::new(), Vec::new());
        let mut errors: Option<Error> = None;
        let mut note = |error: Error| match &mut errors {
            Some(errors) => errors.combine(error),
            None => errors = Some(error),
        };
        for field in &named.named {
            match row_field(field) {
                Ok(Some(column)) => fields.push(column),
                Ok(None) => skipped.extend(field.ident.clone()),
                Err(error) => note(error),
            }
        }
        for (index, field) in fields.iter().enumerate() {
            if fields[..index].iter().any(|other| other.column == field.column) {
                note(Error::new_spanned(&field.name, format!("two columns are called `{}`", field.column)));
            }
        }
        if let Some(errors) = errors {
            return Err(errors);
        }
        if fields.is_empty() {
            return Err(Error::new_spanned(&input.ident, "a row struct needs at least one field that is a column"));
        }
        let (name, visibility, generics) = (input.ident.clone(), input.vis.clone(), input.generics.clone());
        Ok(Self { name, visibility, generics, fields, skipped })
    }
}

impl RowEnum {
    fn try_new(input: &DeriveInput, data: &DataEnum) -> Result<Self> {
        if !input.generics.params.is_empty() {
            return Err(Error::new_spanned(&input.generics, "a row enum has no parameters: it is a list of names"));
        }
        let mut variants: Vec<(Ident, String)> = Vec::new();
        for variant in &data.variants {
            if !matches!(variant.fields, Fields::Unit) {
                let message =
                    "a row enum has no fields, as a column has one type: use a struct with an Option for each case";
                return Err(Error::new_spanned(variant, message));
            }
            let settings = Settings::of(&variant.attrs)?;
            if settings.skip {
                return Err(Error::new_spanned(variant, "a variant cannot be skipped: there is no other value for it"));
            }
            let name = settings.rename.unwrap_or_else(|| variant.ident.unraw().to_string());
            if variants.iter().any(|(_, other)| *other == name) {
                return Err(Error::new_spanned(variant, format!("two variants are called `{name}`")));
            }
            variants.push((variant.ident.clone(), name));
        }
        if !(1..=VARIANTS_MAX).contains(&variants.len()) {
            let message = format!("a row enum has 1 to {VARIANTS_MAX} variants, and this one has {}", variants.len());
            return Err(Error::new_spanned(&input.ident, message));
        }
        Ok(Self { name: input.ident.clone(), variants })
    }
}

/// A field as a column; none if it is skipped.
fn row_field(field: &Field) -> Result<Option<RowField>> {
    let settings = Settings::of(&field.attrs)?;
    let Some(name) = field.ident.clone().filter(|_| !settings.skip) else { return Ok(None) };
    check_type(&field.ty)?;
    let column = settings.rename.unwrap_or_else(|| name.unraw().to_string());
    Ok(Some(RowField { name, column, visibility: field.vis.clone(), kind: field.ty.clone() }))
}

impl Settings {
    fn of(attributes: &[Attribute]) -> Result<Self> {
        let mut settings = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("row")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("skip") {
                    settings.skip = true;
                    return Ok(());
                }
                if !meta.path.is_ident("rename") {
                    return Err(meta.error("#[row(...)] knows `rename = \"column\"` and `skip`"));
                }
                let name: LitStr = meta.value()?.parse()?;
                if !(1..=NAME_BYTES_MAX).contains(&name.value().len()) {
                    return Err(Error::new_spanned(&name, format!("a column's name has 1 to {NAME_BYTES_MAX} bytes")));
                }
                settings.rename = Some(name.value());
                Ok(())
            })?;
        }
        Ok(settings)
    }
}

/// Refuses types that are well known not to be rows: one error here saves the reader dozens from the code that would be
/// written. The compiler finds the others.
fn check_type(kind: &Type) -> Result<()> {
    let Some(remedy) = remedy(kind) else { return Ok(()) };
    let shown = kind.to_token_stream().to_string().replace(' ', "");
    Err(Error::new_spanned(kind, format!("`{shown}` cannot be a column: {remedy}")))
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
    match path.path.segments.last()?.ident.to_string().as_str() {
        "usize" | "u128" => Some("use u64"),
        "isize" | "i128" => Some("use i64, or Decimal<38, 0>"),
        "char" | "str" => Some("use String"),
        "Duration" => Some("use TimeDelta"),
        "HashMap" => Some("use BTreeMap, whose order is the same on every machine"),
        "HashSet" | "BTreeSet" | "VecDeque" => Some("use Vec"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(code: &str) -> Result<RowType> {
        RowType::try_new(&syn::parse_str(code).expect("the test's code parses"))
    }

    fn columns(code: &str) -> Vec<String> {
        match parse(code).expect("a row") {
            RowType::Struct(row) => row.fields.into_iter().map(|field| field.column).collect(),
            RowType::Enum(row) => row.variants.into_iter().map(|variant| variant.1).collect(),
        }
    }

    #[test]
    fn columns_are_called_as_fields_are_unless_they_are_renamed() {
        assert_eq!(columns("struct Event { r#type: String, at: i64 }"), ["type", "at"]);
        assert_eq!(
            columns("struct Event { #[row(rename = \"@type\")] r#type: String, #[row(skip)] at: usize }"),
            ["@type"]
        );
        assert_eq!(columns("enum Level { Low, #[row(rename = \"HIGH\")] High = 7 }"), ["Low", "HIGH"]);
    }

    #[test]
    fn lists_maps_bytes_and_parameters_are_columns() {
        assert!(
            parse("struct Blob { bytes: Vec<u8>, names: Vec<Option<String>>, by: BTreeMap<i64, Vec<f64>> }").is_ok()
        );
        assert!(parse("struct Tagged<T: Row> { tag: T, sizes: [f64; 3] }").is_err());
        assert!(parse("struct Tagged<T: Row> { tag: T, size: f32 }").is_ok());
    }

    #[test]
    fn what_cannot_be_a_row_says_what_to_do() {
        for (code, says) in [
            ("enum Action { View(String), Click }", "a row enum has no fields"),
            ("enum Action<T> { View, Click }", "a row enum has no parameters"),
            ("enum Action {}", "1 to 256 variants"),
            ("enum Action { A, #[row(rename = \"A\")] B }", "two variants are called `A`"),
            ("enum Action { A, #[row(skip)] B }", "cannot be skipped"),
            ("struct Line<'a> { text: &'a str }", "a row owns its values"),
            ("struct Id(String);", "named fields"),
            ("struct Nothing {}", "at least one field"),
            ("struct Nothing { #[row(skip)] a: i64 }", "at least one field"),
            ("struct Twice { a: i64, #[row(rename = \"a\")] b: i64 }", "two columns are called `a`"),
            ("struct Named { #[row(rename = \"\")] b: i64 }", "1 to 256 bytes"),
            ("struct Named { #[row(name = \"x\")] b: i64 }", "#[row(...)] knows"),
            ("struct Reading { count: std::primitive::usize }", "use u64"),
            ("struct Reading { name: &'static str }", "use String"),
            ("struct Reading { values: HashMap<String, f64> }", "use BTreeMap"),
            ("struct Reading { values: [f64; 3] }", "use Vec"),
        ] {
            let error = parse(code).err().expect("refused").to_string();
            assert!(error.contains(says), "{code}: {error}");
        }
    }
}
