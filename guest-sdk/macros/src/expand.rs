//! What `#[derive(Row)]` writes: the view struct, the columns struct, and the `Row` and `Key` implementations.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

use crate::ast::{RowField, RowStruct};

/// One statement or expression per field, spanned at the field's type so that errors point there.
fn each(row: &RowStruct, write: impl Fn(&Ident, TokenStream) -> TokenStream) -> Vec<TokenStream> {
    row.fields.iter().map(|field| write(&field.name, as_row(field))).collect()
}

fn as_row(field: &RowField) -> TokenStream {
    let kind = &field.kind;
    quote_spanned! { kind.span() => <#kind as ::millpond::Row> }
}

/// The whole expansion.
pub(crate) fn row(row: &RowStruct) -> TokenStream {
    let view = view_struct(row);
    let row_impl = row_impl(row);
    let key_impl = key_impl(row);
    let name = &row.name;
    let columns = each(row, |field, as_row| quote! { #field: #as_row::Columns });
    let picks = row.fields.iter().map(|field| {
        let (name, visibility, as_row) = (&field.name, &field.visibility, as_row(field));
        quote! { #visibility #name: #as_row::Picks }
    });
    quote! {
        #view
        const _: () = {
            use ::millpond::__private::{
                Column, ColumnReader, Failure, Field, Ordering, Validity, Vec, part_name, read_struct, struct_field,
                write_struct,
            };

            #[doc = concat!("Columns of [`", stringify!(#name), "`] rows.")]
            #[derive(::core::default::Default)]
            pub struct Columns { #(#columns),* }

            #[doc = concat!("Columns of a [`", stringify!(#name), "`] to sort by.")]
            #[derive(::core::clone::Clone, ::core::marker::Copy)]
            pub struct Picks { #(#picks),* }

            #row_impl
            #key_impl
        };
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
    quote! {
        #[doc = concat!("View of a [`", stringify!(#name), "`], straight out of the columns.")]
        #[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug, ::core::cmp::PartialEq)]
        #visibility struct #view<'a> { #(#fields),* }
    }
}

fn row_impl(row: &RowStruct) -> TokenStream {
    let (name, view) = (&row.name, view_name(row));
    let as_column = as_column(row);
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
    let from_ref = each(row, |field, as_row| quote! { #field: #as_row::from_ref(row.#field) });
    let to_ref = each(row, |field, as_row| quote! { #field: #as_row::to_ref(&self.#field) });
    quote! {
        impl ::millpond::Row for #name {
            type Ref<'a> = #view<'a>;
            type Columns = Columns;
            type Picks = Picks;
            const WIDTH: usize = 0 #(+ #width)*;

            fn fields(name: &str, fields: &mut Vec<Field>) { #(#fields)* }
            fn read(reader: &mut ColumnReader<'_>) -> ::core::result::Result<Columns, Failure> {
                ::core::result::Result::Ok(Columns { #(#read),* })
            }
            fn write(columns: Columns, out: &mut Vec<Column>) { #(#write)* }
            #as_column
            #[inline]
            fn get(columns: &Columns, row: usize) -> #view<'_> { #view { #(#get),* } }
            #[inline]
            fn push(columns: &mut Columns, row: #view<'_>) { #(#push)* }
            fn push_empty(columns: &mut Columns) { #(#push_empty)* }
            fn clear(columns: &mut Columns) { #(#clear)* }
            fn byte_len(columns: &Columns) -> usize { 0 #(+ #byte_len)* }
            fn order_at(columns: &Columns, column: usize, left: usize, right: usize) -> Ordering {
                let mut first = 0;
                #(#order_at)*
                ::core::debug_assert!(column < first, "the plan orders by a column of the row");
                Ordering::Equal
            }
            fn picks(first: usize) -> Picks {
                let mut next = first;
                let picks = Picks { #(#picks),* };
                ::core::debug_assert!(next == first + Self::WIDTH, "the fields have all columns of the row");
                picks
            }
            fn from_ref(row: #view<'_>) -> Self { Self { #(#from_ref),* } }
            fn to_ref(&self) -> #view<'_> { #view { #(#to_ref),* } }
        }

        impl ::millpond::Value for #name {}
        impl ::millpond::Element for #name {}
    }
}

/// The methods for a row that is one column: a struct with the fields as children.
fn as_column(row: &RowStruct) -> TokenStream {
    let count = row.fields.len();
    let fields = row.fields.iter().map(|field| {
        let (column, as_row) = (&field.column, as_row(field));
        quote! { #as_row::column_fields(#column, false, fields); }
    });
    let read = each(row, |field, as_row| quote! { #field: #as_row::read_column(reader, false)?.0 });
    let write = each(row, |field, as_row| {
        quote! { #as_row::write_column(columns.#field, ::core::option::Option::None, out); }
    });
    quote! {
        fn column_fields(name: &str, nullable: bool, fields: &mut Vec<Field>) {
            struct_field(name, nullable, #count, fields);
            #(#fields)*
        }
        fn read_column(
            reader: &mut ColumnReader<'_>,
            nullable: bool,
        ) -> ::core::result::Result<(Columns, Validity), Failure> {
            let validity = read_struct(reader, nullable)?;
            ::core::result::Result::Ok((Columns { #(#read),* }, validity))
        }
        fn write_column(columns: Columns, validity: Validity, out: &mut Vec<Column>) {
            write_struct(validity, out);
            #(#write)*
        }
    }
}

fn key_impl(row: &RowStruct) -> TokenStream {
    let (name, view) = (&row.name, view_name(row));
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
        impl ::millpond::Key for #name
        where
            #(#bounds,)*
        {
            #[inline]
            fn hash(row: #view<'_>, hash: u64) -> u64 { #(#hash)* hash }
            #[inline]
            fn same_at(columns: &Columns, row: usize, key: #view<'_>) -> bool { #(#same)&&* }
        }
    }
}

fn as_key(field: &RowField) -> TokenStream {
    let kind = &field.kind;
    // One bad type is one error: the Row half points at it already.
    let span = kind.span().resolved_at(Span::mixed_site());
    quote_spanned! { span => <#kind as ::millpond::Key> }
}
