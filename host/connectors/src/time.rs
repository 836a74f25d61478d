//! Instants as text: RFC 3339, microseconds, UTC.
//!
//! The calendar arithmetic is Howard Hinnant's `days_from_civil` and `civil_from_days` (proleptic Gregorian calendar).

const US_PER_S: i64 = 1_000_000;
const S_PER_DAY: i64 = 86_400;

/// Microseconds since the Unix epoch as `2023-11-14T22:13:20Z`, with 3 or 6 digits of the second where they are needed.
#[cfg(any(feature = "encode", feature = "console"))]
pub(crate) fn format_us(us: i64) -> String {
    let (seconds, micros) = (us.div_euclid(US_PER_S), us.rem_euclid(US_PER_S));
    let base = format_seconds(seconds);
    match (micros, micros % 1000) {
        (0, _) => format!("{base}Z"),
        (_, 0) => format!("{base}.{:03}Z", micros / 1000),
        _ => format!("{base}.{micros:06}Z"),
    }
}

/// Milliseconds since the Unix epoch as `2023-11-14T22:13:20.000Z`: always 3 digits, so that columns of times line up.
#[cfg(feature = "console")]
pub(crate) fn format_ms(ms: i64) -> String {
    format!("{}.{:03}Z", format_seconds(ms.div_euclid(1000)), ms.rem_euclid(1000))
}

#[cfg(any(feature = "encode", feature = "console"))]
fn format_seconds(seconds: i64) -> String {
    let date = format_date(seconds.div_euclid(S_PER_DAY));
    let second = seconds.rem_euclid(S_PER_DAY);
    format!("{date}T{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// Days since the Unix epoch as `2023-11-14`.
#[cfg(any(feature = "encode", feature = "console"))]
pub(crate) fn format_date(days: i64) -> String {
    let (year, month, day) = civil_from_days(days);
    // Years outside 0..=9999 are not RFC 3339; they are written with a sign, as ISO 8601 does, and read back so. Seven digits
    // where six are not enough.
    let year = if (0..=9999).contains(&year) { format!("{year:04}") } else { format!("{year:+07}") };
    format!("{year}-{month:02}-{day:02}")
}

/// A length of time as `1h2m3.5s`, without the parts that are zero.
#[cfg(any(feature = "encode", feature = "console"))]
pub(crate) fn format_duration_us(us: i64) -> String {
    let (seconds, micros) = (us.unsigned_abs() / 1_000_000, us.unsigned_abs() % 1_000_000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = if us < 0 { "-".to_owned() } else { String::new() };
    for (count, unit) in [(hours, 'h'), (minutes, 'm')] {
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    if micros > 0 {
        let micros = format!("{micros:06}");
        text.push_str(&format!("{seconds}.{}s", micros.trim_end_matches('0')));
    } else if seconds > 0 || us.unsigned_abs() < 60_000_000 {
        text.push_str(&format!("{seconds}s"));
    }
    text
}

/// Reads what [`format_duration_us`] writes, the units d, ms and us as well, or an integer number of microseconds.
#[cfg(feature = "decode")]
pub(crate) fn parse_duration_us(text: &str) -> Option<i64> {
    if let Ok(us) = text.parse::<i64>() {
        return Some(us);
    }
    let mut rest = text.strip_prefix('-').unwrap_or(text);
    let mut total = 0i128;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| c.is_ascii_alphabetic())?);
        let (unit, after) = after.split_at(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()));
        let unit: i128 = match unit {
            "d" => 86_400_000_000,
            "h" => 3_600_000_000,
            "m" => 60_000_000,
            "s" => 1_000_000,
            "ms" => 1000,
            "us" => 1,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || fraction.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit())
        {
            return None;
        }
        let part: i128 = fraction.parse::<u32>().ok()?.into();
        total = total.checked_add(unit.checked_mul(whole.parse::<u64>().ok()?.into())?)?;
        total = total.checked_add(unit * part / 10i128.pow(u32::try_from(fraction.len()).ok()?))?;
        rest = after;
    }
    let empty = matches!(text, "" | "-");
    i64::try_from(if text.starts_with('-') { -total } else { total }).ok().filter(|_| !empty)
}

#[cfg(any(feature = "encode", feature = "console"))]
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Reads what [`format_us`] writes, any RFC 3339 instant (with `Z` or an offset), or an integer number of microseconds.
#[cfg(feature = "decode")]
pub(crate) fn parse_us(text: &str) -> Option<i64> {
    if let Ok(us) = text.parse::<i64>() {
        return Some(us);
    }
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let days = parse_date(date)?;
    let zone_at = rest.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = rest.split_at(zone_at);
    let us_of_day = parse_time(time)?;
    let offset_us = parse_zone(zone)?;
    let us = i128::from(days) * i128::from(S_PER_DAY * US_PER_S) + i128::from(us_of_day) - i128::from(offset_us);
    i64::try_from(us).ok()
}

/// Days since the Unix epoch of what [`format_date`] writes.
#[cfg(feature = "decode")]
pub(crate) fn parse_date(date: &str) -> Option<i64> {
    let signed = date.starts_with(['+', '-']);
    // Six digits behind a sign; seven for years that dates of 32 bits have.
    let long = date.as_bytes().get(7) != Some(&b'-');
    let width = if signed { 6 + usize::from(long) } else { 4 };
    let (year, rest) = date.split_at_checked(width + usize::from(signed))?;
    let (month, day) = rest.strip_prefix('-')?.split_once('-')?;
    let sign = if date.starts_with('-') { -1 } else { 1 };
    let year = sign * digits(if signed { &year[1..] } else { year }, width)?;
    let (month, day) = (digits(month, 2)?, digits(day, 2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    ((1..=12).contains(&month) && (1..=last).contains(&day)).then(|| days_from_civil(year, month, day))
}

#[cfg(feature = "decode")]
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(feature = "decode")]
fn parse_time(time: &str) -> Option<i64> {
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut parts = clock.split(':');
    let (hour, minute, second) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    // Second 60 is a leap second; it is taken as the first instant of the next minute, as most systems do.
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 || fraction.is_empty() {
        return None;
    }
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let micros: i64 = format!("{fraction:0<6}")[..6].parse().ok()?;
    Some((hour * 3600 + minute * 60 + second) * US_PER_S + micros)
}

#[cfg(feature = "decode")]
fn parse_zone(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone[1..].split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60 * US_PER_S)
}

#[cfg(feature = "decode")]
fn digits(text: &str, count: usize) -> Option<i64> {
    if text.len() != count || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(all(test, feature = "files"))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn instants_are_written_as_rfc_3339() {
        assert_eq!(format_us(1_700_000_000_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(format_us(1_700_000_000_500_000), "2023-11-14T22:13:20.500Z");
        assert_eq!(format_us(-1), "1969-12-31T23:59:59.999999Z");
    }

    #[test]
    fn instants_with_an_offset_are_read() {
        assert_eq!(parse_us("2023-11-14T23:13:20+01:00"), Some(1_700_000_000_000_000));
        assert_eq!(parse_us("2023-11-14 22:13:20.1234567Z"), Some(1_700_000_000_123_456));
        assert_eq!(parse_us("1700000000000000"), Some(1_700_000_000_000_000));
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in [
            "",
            "2023-11-14",
            "2023-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-11-14T24:00:00Z",
            "2023-11-14T22:13:20",
            "2023-11-14T22:13Z",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20+1:00",
            "é023-11-14T22:13:20Z",
        ] {
            assert_eq!(parse_us(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_written_without_parts_that_are_zero() {
        for (us, text) in
            [(0, "0s"), (3_723_500_000, "1h2m3.5s"), (60_000_000, "1m"), (-1, "-0.000001s"), (3_600_000_000, "1h")]
        {
            assert_eq!(format_duration_us(us), text);
        }
        for (text, us) in [("250ms", 250_000), ("1d", 86_400_000_000), ("-1.5m", -90_000_000), ("7", 7), ("7us", 7)] {
            assert_eq!(parse_duration_us(text), Some(us), "{text}");
        }
        for text in ["", "-", "s", "1", "1 s", "1.s", ".5s", "1y", "1h-2m", "99999999999999999999h"] {
            assert_eq!(parse_duration_us(text).is_some(), text == "1", "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_date_and_duration_survives_the_way_out_and_back(days: i32, us: i64) {
            prop_assert_eq!(parse_date(&format_date(days.into())), Some(days.into()));
            prop_assert_eq!(parse_duration_us(&format_duration_us(us)), Some(us));
        }

        #[test]
        fn every_instant_survives_the_way_out_and_back(us: i64) {
            prop_assert_eq!(parse_us(&format_us(us)), Some(us));
        }
    }
}
