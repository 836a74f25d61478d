//! Numbers as people read them.

/// A count with separators: `1,234,567`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration, given in microseconds: `250 us`, `3.4 ms`, `1.20 s`, `2 min 05 s`.
#[must_use]
pub fn duration_us(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        1_000_000..120_000_000 => format!("{}.{:02} s", us / 1_000_000, us % 1_000_000 / 10_000),
        _ => format!("{} min {:02} s", us / 60_000_000, us / 1_000_000 % 60),
    }
}

/// A size, given in bytes: `512 B`, `29.3 KiB`, `1.5 MiB`.
#[must_use]
pub fn bytes(size: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| size >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", size / unit, size % unit * 10 / unit),
        None => format!("{size} B"),
    }
}

/// So many in so many microseconds, per second; 0 in no time.
#[must_use]
pub fn per_second(number: u64, elapsed_us: u64) -> u64 {
    let per_second = u128::from(number) * 1_000_000 / u128::from(elapsed_us.max(1));
    if elapsed_us == 0 { 0 } else { u64::try_from(per_second).unwrap_or(u64::MAX) }
}

/// `1 batch`, `2 batches`.
#[must_use]
pub fn plural(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(number as u64), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 999, 3_450, 999_999, 1_200_000, 125_000_000].map(duration_us),
            ["0 us", "999 us", "3.4 ms", "999.9 ms", "1.20 s", "2 min 05 s"]
        );
        assert_eq!(
            [512, 1024, 30_000, 1_572_864, 5 << 30].map(bytes),
            ["512 B", "1.0 KiB", "29.2 KiB", "1.5 MiB", "5.0 GiB"]
        );
        assert_eq!(bytes(u64::MAX), "17179869183.9 GiB");
    }

    #[test]
    fn rate_in_no_time_is_zero() {
        assert_eq!(per_second(10, 0), 0);
        assert_eq!(per_second(10, 500_000), 20);
    }
}
