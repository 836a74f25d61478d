//! The hash of keys inside a stage: fast, not cryptographic, the same on every machine.
//!
//! The *top* bits are the good ones (multiplicative hashing): take a table's slot from them. Only the map-side combine uses it; the host shuffles by a hash of its own. Hostile keys could make entries crowd
//! together, which the combine bounds by giving up a table whose probes grow long.

/// An odd constant with well-mixed bits: 2^64 divided by the golden ratio (Knuth's multiplicative hashing).
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// Takes a 64-bit word into a running hash.
#[inline]
pub(crate) fn word(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(MIX);
    mixed ^ (mixed >> 32)
}

/// Takes bytes into a running hash, eight at a time.
#[inline]
pub(crate) fn bytes(hash: u64, bytes: &[u8]) -> u64 {
    let mut hash = word(hash, bytes.len() as u64);
    let mut rest = bytes;
    while let Some((chunk, tail)) = rest.split_first_chunk::<8>() {
        hash = word(hash, u64::from_le_bytes(*chunk));
        rest = tail;
    }
    if rest.is_empty() { hash } else { word(hash, tail_word(rest)) }
}

/// One to seven bytes as a word, without a loop: overlapping reads cover them all, and the length is hashed already.
#[inline]
fn tail_word(tail: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (tail.first_chunk::<4>(), tail.last_chunk::<4>()) {
        u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
    } else {
        let (first, middle, last) = (tail[0], tail[tail.len() / 2], tail[tail.len() - 1]);
        u64::from(first) | u64::from(middle) << 8 | u64::from(last) << 16
    }
}

/// Whether two byte strings are equal; quicker than a library call for the short strings that keys are.
#[inline]
pub(crate) fn same_bytes(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let (mut left, mut right) = (left, right);
    while let (Some((a, left_tail)), Some((b, right_tail))) =
        (left.split_first_chunk::<8>(), right.split_first_chunk::<8>())
    {
        if a != b {
            return false;
        }
        (left, right) = (left_tail, right_tail);
    }
    left.is_empty() || tail_word(left) == tail_word(right)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn same_bytes_is_equality(left in proptest::collection::vec(0u8..3, 0..20), right in proptest::collection::vec(0u8..3, 0..20)) {
            prop_assert_eq!(same_bytes(&left, &right), left == right);
            prop_assert!(same_bytes(&left, &left.clone()));
        }
    }

    #[test]
    fn similar_keys_spread_over_a_small_table() {
        let slots: HashSet<u64> = (0..4096u64).map(|n| bytes(0, format!("video{n}").as_bytes()) >> 52).collect();
        // Random hashing fills 63 % of the slots.
        assert!(slots.len() > 2300, "only {} of 4096 slots are used", slots.len());
    }

    #[test]
    fn length_decides_too() {
        assert_ne!(bytes(0, b"a"), bytes(0, b"aa"));
        assert_ne!(bytes(0, b""), bytes(0, b"\0"));
    }
}
