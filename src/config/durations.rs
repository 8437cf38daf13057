//! Durations, shares and numbers as people write them: `30m`, `5%`, `0.05`, `900Mi`.
use std::time::Duration;

/// Reads `30m` or `1h 30m`.
///
/// # Errors
/// Says what is wrong and how it is written.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if text.trim().parse::<f64>().is_ok() {
        return Err(format!("{} has no unit: write {0}s or {0}m", text.trim()));
    }
    humantime::parse_duration(text)
        .map_err(|_| "this is no duration: write one such as 500ms, 30s, 10m or 1h".into())
}

/// Reads `5%` or `0.05` as 0.05. `most` is the highest that makes sense, as a ratio; zero never does.
///
/// # Errors
/// Says what is wrong and how it is written.
pub(super) fn ratio(text: &str, most: f64) -> Result<f64, String> {
    let wrong = || {
        format!(
            "this is no share: write one such as {}",
            if most > 1.0 { "50% or 0.5" } else { "5% or 0.05" }
        )
    };
    let text = text.trim();
    let value = match text.strip_suffix('%') {
        Some(percent) => percent.trim_end().parse::<f64>().map_err(|_| wrong())? / 100.0,
        None => text.parse::<f64>().map_err(|_| wrong())?,
    };
    if !value.is_finite() {
        return Err(wrong());
    }
    if value > 0.0 && value < most {
        return Ok(value);
    }
    let hint = if !text.ends_with('%') && (1.0..100.0).contains(&value) {
        format!("; did you mean {value}%?")
    } else {
        String::new()
    };
    Err(format!("{} is out of range: write more than 0% and less than {}%{hint}", shown(value), most * 100.0))
}

const UNITS: [(&str, f64); 8] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
];

/// Reads `0.5`, `2k` or, as Kubernetes writes memory, `900Mi`.
///
/// # Errors
/// Says how it is written.
pub(super) fn number(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let unit = UNITS.iter().find_map(|(unit, size)| Some((text.strip_suffix(unit)?, *size)));
    let (digits, size) = unit.unwrap_or((text, 1.0));
    let value = digits.trim_end().parse::<f64>().ok().map(|number| number * size);
    value
        .filter(|number| number.is_finite())
        .ok_or_else(|| "this is no number: write one such as 0.5, 2k or 900Mi".into())
}

fn shown(ratio: f64) -> String {
    format!("{}%", (ratio * 1e4).round() / 100.0)
}

/// `90s` as `1m 30s`, for messages.
pub(super) fn text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("30m"), Ok(Duration::from_secs(1800)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert!(duration("30").unwrap_err().contains("write 30s"));
        assert!(duration("soon").unwrap_err().contains("such as"));
        assert!(duration("99999999999999999999y").is_err());
    }

    #[test]
    fn shares_are_percentages_or_ratios() {
        assert_eq!(ratio("5%", 1.0), Ok(0.05));
        assert_eq!(ratio("0.05", 1.0), Ok(0.05));
        assert_eq!(ratio("150%", 10.0), Ok(1.5));
        assert!(ratio("5", 1.0).unwrap_err().contains("did you mean 5%?"));
        for bad in ["0", "-1%", "100%", "NaN", "inf", "%", "", "5 percent"] {
            assert!(ratio(bad, 1.0).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_may_have_a_unit() {
        assert_eq!(number("0.5"), Ok(0.5));
        assert_eq!(number("-3"), Ok(-3.0));
        assert_eq!(number("2k"), Ok(2000.0));
        assert_eq!(number("900 Mi"), Ok(943_718_400.0));
        for bad in ["", "Mi", "5%", "1m", "NaN", "inf", "1e999"] {
            assert!(number(bad).unwrap_err().contains("such as"), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_value_or_an_error(text in ".*") {
            if let Ok(value) = ratio(&text, 1.0) {
                prop_assert!(value > 0.0 && value < 1.0);
            }
            prop_assert!(duration(&text).map_or(true, |d| d >= Duration::ZERO));
        }
    }
}
