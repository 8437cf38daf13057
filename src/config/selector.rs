//! A PromQL vector selector such as `http_requests_total{code=~"5.."}`: its shape is checked here, its meaning by the sources.
use std::fmt;

/// `name`, `name{matchers}` or `{matchers}`; no functions, ranges or offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(String);

impl Selector {
    /// # Errors
    /// Says what does not belong into a selector.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (name, rest) = split_name(text);
        let rest = rest.trim_start();
        if name.is_empty() && rest.is_empty() {
            return Err("a selector is missing: write one such as http_requests_total".into());
        }
        if !rest.is_empty() {
            let matchers = matchers(rest)?;
            if name.is_empty() && matchers == 0 {
                return Err("{} selects everything: name a metric".into());
            }
        }
        Ok(Self(text.to_string()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The metric's name where it stands before the braces.
    pub fn metric(&self) -> Option<&str> {
        Some(split_name(&self.0).0).filter(|name| !name.is_empty())
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn split_name(text: &str) -> (&str, &str) {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let end = text.find(|c| !allowed(c)).unwrap_or(text.len());
    if text.starts_with(|c: char| c.is_ascii_digit()) { ("", text) } else { text.split_at(end) }
}

/// Counts the matchers of `{…}`.
fn matchers(text: &str) -> Result<usize, String> {
    let Some(mut rest) = text.strip_prefix('{') else { return Err(not_plain(text)) };
    let mut count = 0;
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            return if after.trim().is_empty() { Ok(count) } else { Err(not_plain(after.trim())) };
        }
        rest = matcher(rest)?.trim_start();
        count += 1;
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return Err("a comma or } is missing after a matcher".into()),
        }
    }
}

/// Reads `label="value"` and answers what follows.
fn matcher(text: &str) -> Result<&str, String> {
    let (label, rest) = split_name(text);
    if label.is_empty() {
        return Err("a label name is missing: write matchers such as code=~\"5..\"".into());
    }
    let rest = rest.trim_start();
    let value = ["=~", "!~", "!=", "="].iter().find_map(|op| rest.strip_prefix(op));
    let Some(value) = value else {
        return Err(format!("after the label {label} one of = != =~ !~ is missing"));
    };
    quoted(value.trim_start()).ok_or_else(|| format!("the value of the label {label} must be in quotes"))
}

fn quoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| "\"'`".contains(*c))?;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            _ if c == quote => return text.get(at + c.len_utf8()..),
            _ => {}
        }
    }
    None
}

fn not_plain(rest: &str) -> String {
    let what = match rest.chars().next() {
        Some('(') => "functions are not",
        Some('[') => "ranges are not",
        Some(_) | None => "anything else is not",
    };
    format!(
        "a plain selector such as http_requests_total{{code=~\"5..\"}} is expected: rollguard works out rates itself, and {what} allowed"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_selectors_are_taken() {
        for good in [
            "up",
            "job:errors:rate5m",
            "http_requests_total{code=~\"5..\"}",
            "x{a=\"b\", c!='d',}",
            "{__name__=\"up\"}",
            "x{path=\"/a\\\"b\"}",
            "x{}",
            " up ",
        ] {
            assert!(Selector::parse(good).is_ok(), "{good}: {:?}", Selector::parse(good));
        }
        assert_eq!(Selector::parse("up{a='b'}").unwrap().metric(), Some("up"));
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "{}",
            "rate(x[5m])",
            "x[5m]",
            "x{a}",
            "x{a=b}",
            "x{a=\"b\"",
            "x{a=\"b\" c=\"d\"}",
            "a + b",
            "9x",
            "x{a=\"b\"} offset 5m",
        ] {
            assert!(Selector::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_selector_or_an_error(text in "[a-z{}=\"'`~!,\\\\ é]{0,20}") {
            if let Ok(selector) = Selector::parse(&text) {
                prop_assert_eq!(selector.as_str(), text.trim());
            }
        }
    }
}
