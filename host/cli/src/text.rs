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

/// A duration, given in milliseconds, in its largest whole unit: `1 day`, `500 ms`.
#[must_use]
pub fn whole_duration_ms(ms: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second")];
    match UNITS.iter().find(|(unit, _)| ms >= *unit && ms.is_multiple_of(*unit)) {
        Some((unit, name)) if ms == *unit => format!("1 {name}"),
        Some((unit, name)) => format!("{} {name}s", count(ms / unit)),
        None => format!("{} ms", count(ms)),
    }
}

/// A size, given in bytes, in its largest whole unit: `64 KiB`, `1 byte`.
#[must_use]
pub fn whole_bytes(size: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| size >= *unit && size.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{} {name}", count(size / unit)),
        None if size == 1 => "1 byte".to_owned(),
        None => format!("{} bytes", count(size)),
    }
}

/// An instant, given in milliseconds since the Unix epoch, as RFC 3339 in UTC.
#[must_use]
pub fn instant_ms(ms: i64) -> String {
    let instant = arrow::array::temporal_conversions::timestamp_ms_to_datetime(ms);
    instant.map_or_else(|| format!("{ms} ms since the Unix epoch"), |instant| format!("{instant:?}Z"))
}

/// Text of others (names of files, above all) made fit for a terminal: control characters are written as escapes. Line ends
/// with an indented line behind them are part of our own messages and stay.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let is_own_line_end = c == '\n' && text[at + 1..].starts_with("  ");
        match c {
            '\n' if is_own_line_end => result.push(c),
            // Direction overrides make a terminal show something else than what is there.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => result.extend(c.escape_unicode()),
            c if c.is_control() => result.extend(c.escape_default()),
            c => result.push(c),
        }
    }
    result
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

    #[test]
    fn limits_are_told_in_whole_units() {
        assert_eq!(
            [1, 500, 10_000, 60_000, 86_400_000].map(whole_duration_ms),
            ["1 ms", "500 ms", "10 seconds", "1 minute", "1 day"]
        );
        assert_eq!(
            [0, 1, 1000, 64 << 10, 4 << 30].map(whole_bytes),
            ["0 bytes", "1 byte", "1,000 bytes", "64 KiB", "4 GiB"]
        );
    }

    #[test]
    fn instants_are_rfc_3339() {
        assert_eq!(instant_ms(1_700_000_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(instant_ms(1_700_000_000_250), "2023-11-14T22:13:20.250Z");
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(printable("a\nb\u{1b}[31m\u{202e}.txt"), "a\\nb\\u{1b}[31m\\u{202e}.txt");
        assert_eq!(printable("trapped\n  0: main"), "trapped\n  0: main");
    }
}
