//! Settings from the job file's `[params]`, read as typed values.

use std::time::Duration;

/// A type that a setting can be read as, with [`StreamingContext::param_or`](crate::StreamingContext::param_or).
#[diagnostic::on_unimplemented(
    message = "a setting cannot be read as `{Self}`",
    label = "not a setting type",
    note = "settings are String, bool, i64, u64, u32, usize, f64 and std::time::Duration; read others as String and parse them yourself"
)]
pub trait Param: Sized {
    /// What a value must look like: ends the sentence "expected ...".
    const EXPECTED: &'static str;

    /// Reads the setting's text; `None` if it is not one.
    fn from_text(text: &str) -> Option<Self>;
}

macro_rules! params {
    ($($type:ty: $expected:literal),* $(,)?) => {$(
        impl Param for $type {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &str) -> Option<Self> {
                text.trim().parse().ok()
            }
        }
    )*};
}

params!(
    bool: "true or false",
    i64: "a whole number",
    u64: "a whole number, not negative",
    u32: "a whole number from 0 to 4294967295",
    usize: "a whole number, not negative",
    f64: "a number",
);

impl Param for String {
    const EXPECTED: &'static str = "text";

    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Param for Duration {
    const EXPECTED: &'static str = "a duration such as 500ms, 5s, 2m or 1h";

    fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = text[..digits].parse().ok()?;
        let unit_ms = match text[digits..].trim_start() {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        number.checked_mul(unit_ms).map(Self::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_take_a_whole_number_and_a_unit() {
        for (text, ms) in [("500ms", 500), ("5s", 5000), (" 2 m ", 120_000), ("1h", 3_600_000), ("3min", 180_000)] {
            assert_eq!(Duration::from_text(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["5", "s", "", "1.5s", "-1s", "5 parsecs", "99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(Duration::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        assert_eq!(u32::from_text("4294967296"), None);
        assert_eq!(usize::from_text("-1"), None);
        assert_eq!(i64::from_text(" 7 "), Some(7));
    }
}
