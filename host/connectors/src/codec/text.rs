//! Text lines to a string column: the hot path.
//!
//! Each line is copied once, into the column's own buffer, and UTF-8 is checked once over the whole of it when the column
//! is made. Only when that check fails is the input decoded again with `strict`, which checks line by line and knows the
//! place of each bad line.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use millpond_core::text;

use super::lines::Line;

/// A string column in the making.
pub(super) struct TextRows {
    values: Vec<u8>,
    offsets: Vec<i32>,
    strict: bool,
}

impl TextRows {
    /// `bytes` is how many will come, as far as is known.
    pub(super) fn new(bytes: usize, strict: bool) -> Self {
        // 32 bytes a line is a guess; a wrong one costs a few reallocations of the small buffer.
        let mut offsets = Vec::with_capacity(bytes / 32 + 1);
        offsets.push(0);
        Self { values: Vec::with_capacity(bytes), offsets, strict }
    }

    #[inline]
    pub(super) fn line(&mut self, line: &Line<'_>) -> Result<(), String> {
        if self.strict {
            super::decoder::utf8(line.bytes)?;
        }
        self.values.extend_from_slice(line.bytes);
        self.offsets.push(i32::try_from(self.values.len()).expect("the decoder takes no more than i32::MAX bytes"));
        Ok(())
    }

    /// The column; `None` if it is not UTF-8, which cannot be after strict decoding.
    pub(super) fn finish(self) -> Option<ArrayRef> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        // This is the check.
        Some(Arc::new(text::column(offsets, Buffer::from_vec(self.values), None)?))
    }
}
