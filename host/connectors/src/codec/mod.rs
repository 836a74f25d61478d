//! Bytes to rows and rows to bytes: what the connectors share.
//!
//! ```text
//! chunks -> lines (lines.rs) -> text.rs: straight into an Arrow string column
//!                            -> csv.rs, json.rs: cell by cell into a row, whole rows into columns (rows.rs)
//! columns (values.rs) -> encode.rs: text, CSV, JSON lines
//! ```
//! A [`Decoder`] is fed one input (a file, a part of a file, a block from a socket) and gives one record batch. A record
//! that cannot be decoded becomes a [`BadRecord`] and the others go on.

#[cfg(feature = "decode")]
mod csv;
mod decimal;
#[cfg(feature = "decode")]
mod decoder;
#[cfg(feature = "encode")]
pub(crate) mod encode;
#[cfg(feature = "decode")]
mod json;
#[cfg(feature = "decode")]
mod lines;
#[cfg(feature = "decode")]
mod nested;
#[cfg(feature = "decode")]
mod rows;
#[cfg(feature = "decode")]
mod text;
#[cfg(any(feature = "encode", feature = "console"))]
pub(crate) mod values;

#[cfg(feature = "decode")]
pub(crate) use decoder::{Codec, CsvOptions, DecodeError, Format, LastLine, Origin};
#[cfg(feature = "files")]
pub(crate) use decoder::{Decoder, INPUT_BYTES_MAX};

#[cfg(feature = "files")]
#[cfg(test)]
mod tests;
