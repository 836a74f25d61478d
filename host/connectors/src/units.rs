//! Sizes and durations as people write them: `64MiB`, `500ms`.
//!
//! Used for every option that is a size or a duration, here and in the job file's other tables. Plain numbers are bytes; a
//! duration always needs its unit, because `10` could be anything.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

/// Units of sizes, in lower case, and how many bytes each is. `KB` is 1000 and `KiB` is 1024 (IEC 80000-13).
const SIZES: &[(&str, u64)] = &[
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// Units of durations and how many milliseconds each is.
const DURATIONS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// A number of bytes, written `64MiB`, `64 MB` or `67108864`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

/// A number of milliseconds, written `500ms`, `10s`, `5m`, `2h` or `1d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

/// The bytes that `text` means.
///
/// **Units**: B, KB, MB, GB, TB (thousands), KiB, MiB, GiB, TiB (1024), upper or lower case, with or without a space; no
/// unit = bytes. A fraction (`1.5GiB`) is rounded down to whole bytes. **Errors**: what is wrong and how it is written.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    parse(text, SIZES).ok_or_else(|| {
        format!("`{text}` is not a size: write a number and a unit, such as \"64MiB\" (B, KB, MB, GB, TB, KiB, MiB, GiB, TiB)")
    })
}

/// The milliseconds that `text` means.
///
/// **Units**: ms, s, m (or min), h, d. A fraction (`1.5s`) is rounded down to whole milliseconds. **Errors**: what is wrong
/// and how it is written.
pub fn parse_duration_ms(text: &str) -> Result<u64, String> {
    parse(text, DURATIONS).ok_or_else(|| {
        format!("`{text}` is not a duration: write a number and a unit, such as \"500ms\" or \"10s\" (ms, s, m, h, d)")
    })
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let unit = unit.trim_start().to_ascii_lowercase();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    // At most nine digits after the point, so that the arithmetic below stays exact.
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let digits = u32::try_from(fraction.len()).ok()?;
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(*factor) / 10_u128.pow(digits);
    whole.checked_mul(*factor)?.checked_add(u64::try_from(part).ok()?)
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, factor): &&(&str, u64)| self.0 >= *factor && self.0.is_multiple_of(*factor);
        let exact = [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        match exact.iter().find(fits) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Size;
        impl Visitor<'_> for Size {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"64MiB\" or a number of bytes")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(value))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<ByteSize, E> {
                u64::try_from(value).map(ByteSize).map_err(|_| E::custom("a size cannot be negative"))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<ByteSize, E> {
                parse_bytes(value).map(ByteSize).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Size)
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Duration;
        impl Visitor<'_> for Duration {
            type Value = Millis;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration with its unit, such as \"500ms\" or \"10s\"")
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Millis, E> {
                parse_duration_ms(value).map(Millis).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("64 MB", 64_000_000),
            ("1.5KiB", 1536),
            ("12", 12),
            ("0", 0),
            ("7b", 7),
            ("1gib", 1 << 30),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn wrong_sizes_say_how_sizes_are_written() {
        for text in ["", "MiB", "64M", "-1", "1..2KB", "1.", "99999999TiB", "5 apples"] {
            assert!(parse_bytes(text).unwrap_err().contains("64MiB"), "{text}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration_ms("500ms"), Ok(500));
        assert_eq!(parse_duration_ms("1.5s"), Ok(1500));
        assert_eq!(parse_duration_ms("5 m"), Ok(300_000));
        assert_eq!(parse_duration_ms("1d"), Ok(86_400_000));
        assert!(parse_duration_ms("10").unwrap_err().contains("unit"));
        assert!(parse_duration_ms("10 weeks").is_err());
    }

    #[test]
    fn sizes_are_shown_in_the_largest_whole_unit() {
        assert_eq!(ByteSize(1 << 20).to_string(), "1MiB");
        assert_eq!(ByteSize(1000).to_string(), "1000 bytes");
        assert_eq!(ByteSize(0).to_string(), "0 bytes");
    }

    #[test]
    fn options_take_numbers_or_text_for_sizes() {
        let sizes: Vec<ByteSize> = serde_json::from_str(r#"[5, "1KiB"]"#).unwrap();
        assert_eq!(sizes, [ByteSize(5), ByteSize(1024)]);
        assert!(serde_json::from_str::<ByteSize>("-5").unwrap_err().to_string().contains("negative"));
        assert!(serde_json::from_str::<Millis>("5").unwrap_err().to_string().contains("with its unit"));
    }
}
