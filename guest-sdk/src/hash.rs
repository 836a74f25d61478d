//! The hash of keys inside a stage: fast, not cryptographic, the same on every machine.
//!
//! The *top* bits are the good ones (multiplicative hashing): take a table's slot from them. Only the map-side combine uses it; the host shuffles by a hash of its own. Hostile keys could make entries crowd
//! together, which the combine bounds by giving up a table whose probes grow long.

/// An odd constant with well-mixed bits: 2^64 divided by the golden ratio (Knuth's multiplicative hashing).
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// Another such constant (the fractional part of the square root of 3), for lengths.
const LENGTH_MIX: u64 = 0xbb67_ae85_84ca_a73b;

/// Takes a 64-bit word into a running hash.
#[inline]
pub(crate) fn word(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(MIX);
    mixed ^ (mixed >> 32)
}

/// A hash of two words; the top bits are the good ones.
#[inline(always)]
pub(crate) fn two_words(low: u64, high: u64) -> u64 {
    // Two multiplications side by side, and a third that spreads what only reached the top.
    let mixed = low.wrapping_mul(MIX).wrapping_add(high.wrapping_mul(LENGTH_MIX));
    (mixed ^ (mixed >> 32)).wrapping_mul(MIX)
}

/// Takes bytes into a running hash. Keys are short as a rule: up to 7 bytes cost one multiplication on the way from the bytes to
/// the hash, up to 16 two.
#[inline]
pub(crate) fn bytes(hash: u64, bytes: &[u8]) -> u64 {
    let hash = hash ^ (bytes.len() as u64).wrapping_mul(LENGTH_MIX);
    if bytes.len() < 8 {
        return word(hash, short_word(bytes));
    }
    match bytes.split_first_chunk::<8>() {
        Some((first, rest)) if rest.len() <= 8 => word(word(hash, u64::from_le_bytes(*first)), last_word(bytes)),
        _ => long(hash, bytes),
    }
}

/// More than 16 bytes, eight at a time; the last eight overlap those before.
fn long(hash: u64, bytes: &[u8]) -> u64 {
    let words = bytes.as_chunks::<8>().0.iter();
    let hash = words.fold(hash, |hash, chunk| word(hash, u64::from_le_bytes(*chunk)));
    word(hash, last_word(bytes))
}

/// The last eight of at least eight bytes.
#[inline]
fn last_word(bytes: &[u8]) -> u64 {
    bytes.last_chunk::<8>().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

/// Up to seven bytes as a word, without a loop: overlapping reads cover them all, and the length is hashed besides.
#[inline]
fn short_word(bytes: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
    } else if let (Some(first), Some(last)) = (bytes.first(), bytes.last()) {
        u64::from(*first) | u64::from(bytes[bytes.len() / 2]) << 8 | u64::from(*last) << 16
    } else {
        0
    }
}

/// A key in two words: what the combine hashes and compares in place of the key.
///
/// The top byte says what it is: below `INEXACT` the words are the whole key, so equal digests are equal keys. Otherwise they
/// are a hash, and the keys have to be compared as well.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    low: u64,
    high: u64,
}

/// The top byte of a digest that is a hash.
const INEXACT: u64 = 0xff << 56;

/// So many bytes and their length fit into a digest.
const DIGEST_BYTES: usize = 15;

impl Digest {
    /// Of a key that is one word.
    #[inline]
    pub(crate) fn of_word(word: u64) -> Self {
        Self { low: word, high: 0 }
    }

    /// Of a key with this hash.
    #[inline]
    pub(crate) fn of_hash(hash: u64) -> Self {
        Self { low: hash, high: INEXACT }
    }

    /// Of bytes.
    #[inline]
    pub(crate) fn of_bytes(key: &[u8]) -> Self {
        let length = key.len();
        let word = |at: usize| {
            key.get(at..).and_then(|rest| rest.first_chunk::<4>()).map_or(0, |chunk| u32::from_le_bytes(*chunk))
        };
        // Overlapping reads cover every byte once the length is known. From 4 to 11 bytes they are the same three reads: lengths
        // of words are hard to foresee, so a branch on them costs more than a read.
        let (low, high) = if (4..=11).contains(&length) {
            let second = length >> 3 << 2;
            (u64::from(word(0)) | u64::from(word(second)) << 32, u64::from(word(length - 4)))
        } else if let (Some(first), Some(last)) = (key.first(), key.last())
            && length < 4
        {
            (u64::from(*first) | u64::from(key[length / 2]) << 8 | u64::from(*last) << 16, 0)
        } else {
            return Self::of_others(key);
        };
        Self { low, high: high | (length as u64) << 56 }
    }

    /// Of no bytes, or of more than most keys have: apart, so that the usual way stays small.
    #[inline(never)]
    fn of_others(key: &[u8]) -> Self {
        match (key.first_chunk::<8>(), key.last_chunk::<8>()) {
            _ if key.is_empty() => Self { low: 0, high: 0 },
            (Some(first), Some(last)) if key.len() <= DIGEST_BYTES => {
                let high = u64::from_le_bytes(*last) >> 8 | (key.len() as u64) << 56;
                Self { low: u64::from_le_bytes(*first), high }
            }
            _ => Self::of_hash(bytes(0, key)),
        }
    }

    #[inline]
    pub(crate) fn is_exact(self) -> bool {
        self.high < INEXACT
    }

    /// A hash of it; the top bits are the good ones.
    #[inline]
    pub(crate) fn hash(self) -> u64 {
        two_words(self.low, self.high)
    }
}

/// Whether two byte strings are equal; quicker than a library call for the short strings that keys are.
#[inline]
pub(crate) fn same_bytes(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    if left.len() < 8 {
        return short_word(left) == short_word(right);
    }
    match left.len() {
        8..=16 => left.first_chunk::<8>() == right.first_chunk::<8>() && last_word(left) == last_word(right),
        17..=32 => {
            left.first_chunk::<16>() == right.first_chunk::<16>() && left.last_chunk::<16>() == right.last_chunk::<16>()
        }
        _ => left == right,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn same_bytes_is_equality(left in proptest::collection::vec(0u8..2, 0..40), right in proptest::collection::vec(0u8..2, 0..20)) {
            prop_assert_eq!(same_bytes(&left, &right), left == right);
            prop_assert!(same_bytes(&left, &left.clone()));
        }

        #[test]
        fn digests_of_short_keys_are_the_keys(left in proptest::collection::vec(0u8..2, 0..20), right in proptest::collection::vec(0u8..2, 0..20)) {
            let [a, b] = [&left, &right].map(|key| Digest::of_bytes(key));
            prop_assert_eq!(a.is_exact(), left.len() <= DIGEST_BYTES);
            prop_assert!(left != right || a == b);
            if a.is_exact() || b.is_exact() {
                prop_assert_eq!(a == b, left == right);
            }
        }

        #[test]
        fn every_byte_counts(text in proptest::collection::vec(any::<u8>(), 1..40), at in any::<proptest::sample::Index>()) {
            let mut other = text.clone();
            other[at.index(text.len())] ^= 1;
            prop_assert!(!same_bytes(&text, &other));
            prop_assert_ne!(bytes(0, &text), bytes(0, &other));
        }
    }

    #[test]
    fn similar_keys_spread_over_a_small_table() {
        let families: [fn(u64) -> Vec<u8>; 4] = [
            |n| format!("video{n}").into_bytes(),
            |n| format!("{n:08}").into_bytes(),
            |n| format!("a-rather-long-key-{n}").into_bytes(),
            |n| [b'a' + (n % 26) as u8, b'a' + (n / 26 % 26) as u8, b'a' + (n / 676) as u8].to_vec(),
        ];
        for family in families {
            let slots: HashSet<u64> = (0..4096).map(|n| Digest::of_bytes(&family(n)).hash() >> 52).collect();
            // Random hashing fills 63 % of the slots.
            assert!(slots.len() > 2300, "only {} of 4096 slots are used", slots.len());
        }
    }

    #[test]
    fn length_decides_too() {
        assert_ne!(bytes(0, b"a"), bytes(0, b"aa"));
        assert_ne!(bytes(0, b""), bytes(0, b"\0"));
    }
}
