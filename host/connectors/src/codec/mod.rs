//! Bytes to rows and rows to bytes: what the connectors share.
//!
//! ```text
//! chunks -> lines (lines.rs) -> text.rs: straight into an Arrow string column
//!                            -> csv.rs, json.rs: cell by cell into a row, whole rows into columns (rows.rs)
//! columns (values.rs) -> encode.rs: text, CSV, JSON lines
//! ```
//! A [`Decoder`] is fed one input (a file, a part of a file, a block from a socket) and gives one record batch. A record
//! that cannot be decoded becomes a [`BadRecord`] and the others go on.

#[cfg(any(feature = "files", feature = "socket"))]
mod csv;
#[cfg(any(feature = "files", feature = "socket"))]
mod decoder;
#[cfg(feature = "files")]
pub(crate) mod encode;
#[cfg(any(feature = "files", feature = "socket"))]
mod json;
#[cfg(any(feature = "files", feature = "socket"))]
mod lines;
#[cfg(any(feature = "files", feature = "socket"))]
mod nested;
#[cfg(any(feature = "files", feature = "socket"))]
mod rows;
#[cfg(any(feature = "files", feature = "socket"))]
mod text;
#[cfg(any(feature = "files", feature = "console"))]
pub(crate) mod values;

#[cfg(any(feature = "files", feature = "socket"))]
pub(crate) use decoder::{Codec, CsvOptions, DecodeError, Format, LastLine, Origin};
#[cfg(feature = "files")]
pub(crate) use decoder::{Decoder, INPUT_BYTES_MAX};

#[cfg(feature = "files")]
#[cfg(test)]
mod tests;
