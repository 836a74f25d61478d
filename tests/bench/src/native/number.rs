//! Decimal numbers of up to eight characters without a loop; others by the standard library. Both give the same float: the digits make a
//! whole number below 2^53 and the divisor is a power of ten below 10^22, so one division rounds once.

/// The number that is written at `bytes[start..end]`; `bytes` goes on for at least eight bytes. None if it is no number.
#[inline(always)]
pub(super) fn parse(bytes: &[u8], start: usize, end: usize) -> Option<f64> {
    let is_negative = bytes[start] == b'-';
    let first = start + usize::from(is_negative);
    let value = short(bytes, first, end)?;
    Some(if is_negative { -value } else { value })
}

/// As [`parse`], for what is longer or unusual.
#[cold]
#[inline(never)]
pub(super) fn parse_slowly(bytes: &[u8], start: usize, end: usize) -> Option<f64> {
    std::str::from_utf8(&bytes[start..end]).ok()?.parse().ok()
}

#[inline(always)]
fn short(bytes: &[u8], start: usize, end: usize) -> Option<f64> {
    const POWERS: [f64; 8] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7];
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    let len = end.wrapping_sub(start);
    if len.wrapping_sub(1) >= 8 {
        return None;
    }
    // The last character in the highest byte; nothing in the bytes before the first one.
    let word = u64::from_le_bytes(*bytes.get(start..start + 8)?.first_chunk::<8>()?) << (64 - 8 * len);
    let differs = word ^ 0x2E2E_2E2E_2E2E_2E2E;
    let dots = differs.wrapping_sub(0x0101_0101_0101_0101) & !differs & 0x8080_8080_8080_8080;
    let (digits, digit_count, decimals) = if dots == 0 {
        (word, len, 0)
    } else {
        let place = dots.trailing_zeros() / 8;
        let (before, after) = (word & ((1 << (8 * place)) - 1), word & (u64::MAX << (8 * place) << 8));
        ((before << 8) | after, len - 1, 7 - place as usize)
    };
    if digit_count == 0 {
        return None;
    }
    let lead = ZEROS & !(u64::MAX << (64 - 8 * digit_count));
    let digits = (digits | lead) ^ ZEROS;
    if (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    // Pairs, then fours, then all eight digits.
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let upper = (pairs & 0x0000_00FF_0000_00FF).wrapping_mul(0x000F_4240_0000_0064);
    let lower = ((pairs >> 16) & 0x0000_00FF_0000_00FF).wrapping_mul(0x0000_2710_0000_0001);
    let whole = upper.wrapping_add(lower) >> 32;
    Some(whole as f64 / POWERS[decimals])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(text: &str) -> (Option<f64>, Option<f64>) {
        let mut bytes = text.as_bytes().to_vec();
        bytes.extend_from_slice(b"\n12345678.9");
        (parse(&bytes, 0, text.len()), parse_slowly(&bytes, 0, text.len()))
    }

    #[test]
    fn short_numbers_are_the_standard_library_s_to_the_bit() {
        for hundredths in -200_000..200_000_i32 {
            let text = format!("{:.2}", f64::from(hundredths) / 100.0);
            let (fast, slow) = both(&text);
            assert_eq!(fast.map(f64::to_bits), slow.map(f64::to_bits), "{text}");
        }
        for text in ["0", "7", "12345678", "1234567.", ".5", "0.000001", "-0.00", "00000000", "9999999.", "-.1234567"] {
            let (fast, slow) = both(text);
            assert_eq!(fast.map(f64::to_bits), slow.map(f64::to_bits), "{text}");
        }
    }

    #[test]
    fn what_is_unusual_is_left_to_the_standard_library() {
        for text in ["", "-", ".", "1.2.3", "1e5", "abc", "1/2", "12 4", "123456789", "+5", "inf", "--5"] {
            assert_eq!(both(text).0, None, "{text}");
        }
    }
}
