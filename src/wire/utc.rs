//! Reads a time as this server writes it: RFC 3339 in UTC.
//!
//! chrono's own parser knows every format there is, and costs the page 7 KiB for it.

use chrono::{DateTime, NaiveDate, Utc};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// For serde's `deserialize_with`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| D::Error::custom("expected a time in UTC such as 2026-11-21T10:30:00.123Z"))
}

/// Parses `2026-11-21T10:30:00Z`, with up to nine digits after a point. Other offsets are not read.
fn parse(text: &str) -> Option<DateTime<Utc>> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (whole, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(whole, ':')?;
    let digits = u32::try_from(fraction.len()).ok().filter(|digits| (1..=9).contains(digits))?;
    let nanos = number(fraction)? * 10_u32.pow(9 - digits);
    let date = NaiveDate::from_ymd_opt(year.try_into().ok()?, month, day)?;
    Some(date.and_hms_nano_opt(hour, minute, second, nanos)?.and_utc())
}

fn numbers(text: &str, between: char) -> Option<[u32; 3]> {
    let mut parts = text.split(between).map(number);
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(three)
}

/// Digits only: `parse` alone would let a sign through.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_chrono_writes_is_read_back() {
        for nanos in [0, 123_000_000, 120_000_000, 1_000, 1] {
            let time = DateTime::from_timestamp(1_795_254_600, nanos).unwrap_or_default();
            let written = serde_json::to_string(&time).unwrap_or_default();
            assert_eq!(parse(written.trim_matches('"')), Some(time), "{written}");
        }
    }

    #[test]
    fn anything_else_is_not_a_time() {
        for text in [
            "",
            "Z",
            "2026-11-21",
            "2026-11-21T10:30:00",
            "2026-11-21T10:30:00+00:00",
            "2026-11-21T10:30Z",
            "2026-11-21T10:30:00.Z",
            "2026-11-21T10:30:00.1234567890Z",
            "2026-13-21T10:30:00Z",
            "2026-11-21T25:30:00Z",
            "+2026-11-21T10:30:00Z",
            "2026-11-21T10:30:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
