//! What `#[derive(Row)]` writes: the view struct, the columns struct, and the `Row` and `Key` implementations.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{GenericParam, Generics, parse_quote};

use crate::ast::{RowEnum, RowField, RowStruct};

/// One statement or expression per field, spanned at the field's type so that errors point there.
fn each(row: &RowStruct, write: impl Fn(&Ident, TokenStream) -> TokenStream) -> Vec<TokenStream> {
    row.fields.iter().map(|field| write(&field.name, as_row(field))).collect()
}

fn as_row(field: &RowField) -> TokenStream {
    let kind = &field.kind;
    quote_spanned! { kind.span() => <#kind as ::millpond::Row> }
}

/// The struct's parameters; every type among them is a row.
fn bounded(row: &RowStruct) -> Generics {
    let mut generics = row.generics.clone();
    for param in generics.type_params_mut() {
        param.default = None;
        param.bounds.push(parse_quote! { ::millpond::Row });
    }
    generics
}

/// The parameters of the view: a lifetime before those of the struct.
fn view_generics(row: &RowStruct) -> Generics {
    let mut generics = bounded(row);
    generics.params.insert(0, parse_quote! { 'a });
    generics
}

/// The type of a view that lives so long.
fn view_type(row: &RowStruct, lifetime: &TokenStream) -> TokenStream {
    let view = view_name(row);
    let arguments = row.generics.params.iter().map(|param| match param {
        GenericParam::Type(param) => param.ident.clone(),
        GenericParam::Const(param) => param.ident.clone(),
        GenericParam::Lifetime(param) => param.lifetime.ident.clone(),
    });
    quote! { #view<#lifetime #(, #arguments)*> }
}

/// The whole expansion of a struct.
pub(crate) fn row(row: &RowStruct) -> TokenStream {
    let view = view_struct(row);
    let row_impl = row_impl(row);
    let key_impl = key_impl(row);
    let name = &row.name;
    let names: Vec<_> = row.fields.iter().map(|field| &field.name).collect();
    let columns = each(row, |field, as_row| quote! { #field: #as_row::Columns });
    let picks = row.fields.iter().map(|field| {
        let (name, visibility, as_row) = (&field.name, &field.visibility, as_row(field));
        quote! { #visibility #name: #as_row::Picks }
    });
    let generics = bounded(row);
    let (params, arguments, bounds) = generics.split_for_impl();
    quote! {
        #view
        const _: () = {
            use ::millpond::__private::{
                Column, ColumnReader, Failure, Field, Ordering, Validity, Vec, part_name, read_struct, struct_field,
                write_struct,
            };

            #[doc = concat!("Columns of [`", stringify!(#name), "`] rows.")]
            pub struct Columns #generics #bounds { #(#columns),* }

            impl #params ::core::default::Default for Columns #arguments #bounds {
                fn default() -> Self {
                    Self { #(#names: ::core::default::Default::default()),* }
                }
            }

            #[doc = concat!("Columns of a [`", stringify!(#name), "`] to sort by.")]
            pub struct Picks #generics #bounds { #(#picks),* }

            impl #params ::core::clone::Clone for Picks #arguments #bounds {
                fn clone(&self) -> Self { *self }
            }

            impl #params ::core::marker::Copy for Picks #arguments #bounds {}

            #row_impl
            #key_impl
        };
    }
}

/// The whole expansion of an enum.
pub(crate) fn row_enum(row: &RowEnum) -> TokenStream {
    let name = &row.name;
    let names = row.variants.iter().map(|variant| &variant.1);
    let numbers = row.variants.iter().enumerate().map(|(number, (variant, _))| {
        let number = number as u8;
        quote! { Self::#variant => #number }
    });
    let variants = row.variants.iter().map(|(variant, _)| quote! { Self::#variant });
    quote! {
        impl ::millpond::Names for #name {
            const NAMES: &'static [&'static str] = &[#(#names),*];
            const ALL: &'static [Self] = &[#(#variants),*];
            #[inline]
            fn number(self) -> u8 { match self { #(#numbers),* } }
        }
        ::millpond::__enum_row!(#name);
    }
}

fn view_name(row: &RowStruct) -> Ident {
    format_ident!("{}Ref", row.name)
}

fn view_struct(row: &RowStruct) -> TokenStream {
    let (name, visibility, view) = (&row.name, &row.visibility, view_name(row));
    let fields = row.fields.iter().map(|field| {
        let (name, visibility, as_row) = (&field.name, &field.visibility, as_row(field));
        quote! {
            #[doc = concat!("View of `", stringify!(#name), "`.")]
            #visibility #name: #as_row::Ref<'a>
        }
    });
    let generics = view_generics(row);
    let (params, arguments, bounds) = generics.split_for_impl();
    let names: Vec<_> = row.fields.iter().map(|field| &field.name).collect();
    // Derived implementations would ask for `T: Clone` and the like, where the views of `T` are meant.
    quote! {
        #[doc = concat!("View of a [`", stringify!(#name), "`], straight out of the columns.")]
        #visibility struct #view #generics #bounds { #(#fields),* }

        impl #params ::core::clone::Clone for #view #arguments #bounds {
            #[inline]
            fn clone(&self) -> Self { *self }
        }

        impl #params ::core::marker::Copy for #view #arguments #bounds {}

        impl #params ::core::fmt::Debug for #view #arguments #bounds {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(stringify!(#view))#(.field(stringify!(#names), &self.#names))*.finish()
            }
        }

        impl #params ::core::cmp::PartialEq for #view #arguments #bounds {
            #[inline]
            fn eq(&self, other: &Self) -> bool { true #(&& self.#names == other.#names)* }
        }
    }
}

fn row_impl(row: &RowStruct) -> TokenStream {
    let (name, view) = (&row.name, view_name(row));
    let (view_of_a, view_here) = (view_type(row, &quote! { 'a }), view_type(row, &quote! { '_ }));
    let generics = bounded(row);
    let (params, arguments, bounds) = generics.split_for_impl();
    let skipped = row.skipped.iter().map(|name| quote! { #name: ::core::default::Default::default() });
    let (as_column, order_and_picks) = (as_column(row), order_and_picks(row));
    let width = each(row, |_, as_row| quote! { #as_row::WIDTH });
    let fields = row.fields.iter().map(|field| {
        let (column, as_row) = (&field.column, as_row(field));
        quote! { #as_row::fields(&part_name(name, #column), fields); }
    });
    let read = each(row, |field, as_row| quote! { #field: #as_row::read(reader)? });
    let write = each(row, |field, as_row| quote! { #as_row::write(columns.#field, out); });
    let get = each(row, |field, as_row| quote! { #field: #as_row::get(&columns.#field, row) });
    let push = each(row, |field, as_row| quote! { #as_row::push(&mut columns.#field, row.#field); });
    let push_empty = each(row, |field, as_row| quote! { #as_row::push_empty(&mut columns.#field); });
    let clear = each(row, |field, as_row| quote! { #as_row::clear(&mut columns.#field); });
    let byte_len = each(row, |field, as_row| quote! { #as_row::byte_len(&columns.#field) });
    let from_ref = each(row, |field, as_row| quote! { #field: #as_row::from_ref(row.#field) });
    let to_ref = each(row, |field, as_row| quote! { #field: #as_row::to_ref(&self.#field) });
    quote! {
        impl #params ::millpond::Row for #name #arguments #bounds {
            type Ref<'a> = #view_of_a;
            type Columns = Columns #arguments;
            type Picks = Picks #arguments;
            const WIDTH: usize = 0 #(+ #width)*;

            fn fields(name: &str, fields: &mut Vec<Field>) { #(#fields)* }
            fn read(reader: &mut ColumnReader<'_>) -> ::core::result::Result<Self::Columns, Failure> {
                ::core::result::Result::Ok(Columns { #(#read),* })
            }
            fn write(columns: Self::Columns, out: &mut Vec<Column>) { #(#write)* }
            #as_column
            #[inline]
            fn get(columns: &Self::Columns, row: usize) -> #view_here { #view { #(#get),* } }
            #[inline]
            fn push(columns: &mut Self::Columns, row: #view_here) { #(#push)* }
            fn push_empty(columns: &mut Self::Columns) { #(#push_empty)* }
            fn clear(columns: &mut Self::Columns) { #(#clear)* }
            fn byte_len(columns: &Self::Columns) -> usize { 0 #(+ #byte_len)* }
            #order_and_picks
            fn from_ref(row: #view_here) -> Self { Self { #(#from_ref,)* #(#skipped,)* } }
            fn to_ref(&self) -> #view_here { #view { #(#to_ref),* } }
        }

        impl #params ::millpond::Value for #name #arguments #bounds {}
        impl #params ::millpond::Element for #name #arguments #bounds {}
    }
}

/// The methods for sorting by some of the columns.
fn order_and_picks(row: &RowStruct) -> TokenStream {
    let order_at = each(row, |field, as_row| {
        quote! {
            if column < first + #as_row::WIDTH {
                return #as_row::order_at(&columns.#field, column - first, left, right);
            }
            first += #as_row::WIDTH;
        }
    });
    let picks = each(row, |field, as_row| {
        quote! {
            #field: {
                let pick = #as_row::picks(next);
                next += #as_row::WIDTH;
                pick
            }
        }
    });
    quote! {
            fn order_at(columns: &Self::Columns, column: usize, left: usize, right: usize) -> Ordering {
                let mut first = 0;
                #(#order_at)*
                ::core::debug_assert!(column < first, "the plan orders by a column of the row");
                Ordering::Equal
            }
            fn picks(first: usize) -> Self::Picks {
                let mut next = first;
                let picks = Picks { #(#picks),* };
                ::core::debug_assert!(next == first + Self::WIDTH, "the fields have all columns of the row");
                picks
            }
    }
}

/// The methods for a row that is one column: a struct with the fields as children.
fn as_column(row: &RowStruct) -> TokenStream {
    let count = row.fields.len();
    let fields = row.fields.iter().map(|field| {
        let (column, as_row) = (&field.column, as_row(field));
        quote! { #as_row::column_fields(#column, false, fields); }
    });
    let leaf_names = each(row, |_, as_row| quote! { #as_row::leaf_names(leaves); });
    let read = each(row, |field, as_row| quote! { #field: #as_row::read_column(reader, false)?.0 });
    let write = each(row, |field, as_row| {
        quote! { #as_row::write_column(columns.#field, ::core::option::Option::None, out); }
    });
    quote! {
        fn column_fields(name: &str, nullable: bool, fields: &mut Vec<Field>) {
            struct_field(name, nullable, #count, fields);
            #(#fields)*
        }
        fn leaf_names(leaves: &mut Vec<&'static [&'static str]>) { #(#leaf_names)* }
        fn read_column(
            reader: &mut ColumnReader<'_>,
            nullable: bool,
        ) -> ::core::result::Result<(Self::Columns, Validity), Failure> {
            let validity = read_struct(reader, nullable)?;
            let columns =
                reader.within(&validity, |reader| ::core::result::Result::Ok(Columns { #(#read),* }))?;
            ::core::result::Result::Ok((columns, validity))
        }
        fn write_column(columns: Self::Columns, validity: Validity, out: &mut Vec<Column>) {
            write_struct(validity, out);
            #(#write)*
        }
    }
}

fn key_impl(row: &RowStruct) -> TokenStream {
    let (name, view_here) = (&row.name, view_type(row, &quote! { '_ }));
    let generics = bounded(row);
    let (params, arguments, outer_bounds) = generics.split_for_impl();
    let outer_bounds = outer_bounds.map(|bounds| &bounds.predicates).into_iter().flatten();
    let hash = row.fields.iter().map(|field| {
        let (name, as_key) = (&field.name, as_key(field));
        quote! { let hash = #as_key::hash(row.#name, hash); }
    });
    let same = row.fields.iter().map(|field| {
        let (name, as_key) = (&field.name, as_key(field));
        quote! { #as_key::same_at(&columns.#name, row, key.#name) }
    });
    // A struct with a list is a row and no key. The lifetime has the compiler look at the bound when the key is used.
    let bounds = row.fields.iter().map(|field| {
        let kind = &field.kind;
        let span = kind.span().resolved_at(Span::mixed_site());
        quote_spanned! { span => for<'__key> #kind: ::millpond::Key }
    });
    quote! {
        impl #params ::millpond::Key for #name #arguments
        where
            #(#outer_bounds,)*
            #(#bounds,)*
        {
            #[inline]
            fn hash(row: #view_here, hash: u64) -> u64 { #(#hash)* hash }
            #[inline]
            fn same_at(columns: &<Self as ::millpond::Row>::Columns, row: usize, key: #view_here) -> bool { #(#same)&&* }
        }
    }
}

fn as_key(field: &RowField) -> TokenStream {
    let kind = &field.kind;
    // One bad type is one error: the Row half points at it already.
    let span = kind.span().resolved_at(Span::mixed_site());
    quote_spanned! { span => <#kind as ::millpond::Key> }
}
