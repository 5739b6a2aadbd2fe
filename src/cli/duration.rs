//! Durations as people write them: `90s`, `30m`, `12h`, `7d`, `2w`.

use std::time::Duration;

/// Units by their letters, in seconds.
const UNITS: [(&str, u64); 5] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400), ("w", 604_800)];

/// Reads a whole number with a unit. A bare number is refused, for nobody knows its unit.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let wrong = || format!("'{text}' is no duration: write a number with s, m, h, d or w, for example 30d");
    let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(*seconds).map(Duration::from_secs).ok_or_else(wrong)
}

/// A short text for a time span: `340 ms`, `12.3 s`, `4 min 10 s`, `2 h 5 min`, `24 h`.
pub(super) fn short(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{} ms", span.as_millis()),
        1..60 => format!("{:.1} s", span.as_secs_f64()),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        _ => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
    }
}

fn two(large: u64, unit: &str, small: u64, smaller: &str) -> String {
    if small == 0 { format!("{large} {unit}") } else { format!("{large} {unit} {small} {smaller}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_are_read() {
        let seconds = |text: &str| parse(text).map(|span| span.as_secs());
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds(" 30d "), Ok(30 * 86_400));
        assert_eq!(seconds("2w"), Ok(14 * 86_400));
        assert_eq!(seconds("0h"), Ok(0));
    }

    #[test]
    fn anything_else_is_refused_with_an_example() {
        for text in ["", "30", "d", "-1d", "1.5h", "3 days", "99999999999999999999d", "18446744073709551615w"]
        {
            assert!(parse(text).is_err_and(|error| error.contains("30d")), "{text}");
        }
    }

    #[test]
    fn spans_are_shown_in_the_unit_that_fits() {
        assert_eq!(short(Duration::from_millis(340)), "340 ms");
        assert_eq!(short(Duration::from_millis(12_340)), "12.3 s");
        assert_eq!(short(Duration::from_secs(250)), "4 min 10 s");
        assert_eq!(short(Duration::from_secs(7_500)), "2 h 5 min");
        assert_eq!(short(Duration::from_secs(86_400)), "24 h");
        assert_eq!(short(Duration::from_secs(120)), "2 min");
    }
}
