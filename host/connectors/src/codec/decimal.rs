//! Decimal numbers as text: `-12.50`.

/// The number in units of its last digit; `None` unless it has at most `precision` digits, `scale` of them behind the point.
#[cfg(feature = "decode")]
pub(super) fn parse(text: &str, precision: u8, scale: u8) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.strip_prefix(['-', '+']).unwrap_or(whole);
    // Zeros at the end say nothing.
    let fraction = if fraction.len() > usize::from(scale) { fraction.trim_end_matches('0') } else { fraction };
    let zeros = "0".repeat(usize::from(scale).checked_sub(fraction.len())?);
    let digits = format!("{digits}{fraction}{zeros}");
    let has_digits = text.bytes().any(|byte| byte.is_ascii_digit());
    if !has_digits || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let units: i128 = digits.parse().ok()?;
    let fits = units < 10i128.pow(precision.into());
    fits.then_some(if whole.starts_with('-') { -units } else { units })
}

/// All digits behind the point are written.
#[cfg(any(feature = "encode", feature = "console"))]
pub(crate) fn format(units: i128, scale: u8) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let one = 10u128.pow(scale.into());
    let (whole, fraction) = (units.unsigned_abs() / one, units.unsigned_abs() % one);
    if scale == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction:0width$}", width = scale.into())
    }
}

#[cfg(all(test, feature = "files"))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_read_with_fewer_digits_and_with_zeros() {
        for (text, units) in [("1", 100), ("-1.5", -150), (".5", 50), ("+2.", 200), ("0.250", 25), ("-0", 0)] {
            assert_eq!(parse(text, 5, 2), Some(units), "{text}");
        }
        for text in ["", ".", "-", "1.234", "1000.00", "1e3", "--1", "1.-2", "NaN", " 1"] {
            assert_eq!(parse(text, 5, 2), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_decimal_survives_the_way_out_and_back(units in -10i128.pow(38) + 1..10i128.pow(38), scale in 0u8..=38) {
            prop_assert_eq!(parse(&format(units, scale), 38, scale), Some(units));
        }
    }
}
