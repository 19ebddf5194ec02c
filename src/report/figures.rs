//! Numbers and times as the reports print them.

use std::time::Duration;

use crate::finding::verdict::Judgement;
use crate::packet::packet::readable;
use crate::time::Timestamp;

/// The posterior probability cut to three decimals, at most .999: it never claims more than was found, and never
/// certainty.
#[must_use]
pub fn probability(judgement: Judgement) -> f64 {
    ((judgement.probability() * 1000.0).floor() / 1000.0).clamp(0.0, 0.999)
}

/// `value` rounded to two decimals, without a negative zero.
#[must_use]
pub fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0 + 0.0
}

/// `12,345,678`.
#[must_use]
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 flow`, `2,000 flows`: the plural by an s.
#[must_use]
pub fn counted(count: u64, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", grouped(count))
}

/// `512 bytes`, `1.2 kB`, `3.4 GB` (powers of ten).
#[must_use]
pub fn bytes(count: u64) -> String {
    let mut value = count as f64;
    if count < 1000 {
        return counted(count, "byte");
    }
    for unit in ["kB", "MB", "GB", "TB", "PB"] {
        value /= 1000.0;
        if value < 999.95 {
            return format!("{value:.1} {unit}");
        }
    }
    format!("{:.1} EB", value / 1000.0)
}

/// `2026-01-02 03:04:05.678901 UTC`.
#[must_use]
pub fn moment(at: Timestamp) -> String {
    let eve = at.to_string();
    format!("{} UTC", eve.trim_end_matches("+0000").replace('T', " "))
}

/// `41 ms`, `12.5 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
#[must_use]
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => readable(span),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_is_never_rounded_up() {
        let of = |log_odds| {
            probability(Judgement {
                log_odds,
                verdict: None,
            })
        };
        assert_eq!(of(40.0), 0.999);
        assert_eq!(of(2.19), 0.899);
        assert_eq!(of(0.0), 0.5);
        assert_eq!(of(-50.0), 0.0);
    }

    #[test]
    fn numbers_are_grouped_and_counted() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(123), "123");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(counted(1, "flow"), "1 flow");
        assert_eq!(counted(1000, "flow"), "1,000 flows");
        assert_eq!(bytes(999), "999 bytes");
        assert_eq!(bytes(1_250_000), "1.2 MB");
        assert_eq!(bytes(999_999_999), "1.0 GB");
        assert_eq!(hundredths(-0.001).to_string(), "0");
    }

    #[test]
    fn times_are_read_without_a_manual() {
        let at = Timestamp::from_nanos(1_767_323_045_678_901_234);
        assert_eq!(moment(at), "2026-01-02 03:04:05.678901 UTC");
        assert_eq!(span(Duration::from_secs(59)), "59.0 s");
        assert_eq!(span(Duration::from_secs(200)), "3 min 20 s");
        assert_eq!(span(Duration::from_secs(7500)), "2 h 5 min");
        assert_eq!(span(Duration::from_secs(86_400 * 3 + 5 * 3600)), "3 d 5 h");
    }
}
