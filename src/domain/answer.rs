//! What an answer over HTTP must be: its status, its headers, its content, and how soon.
use std::fmt;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// Everything that one answer must be. All expectations must be met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wanted {
    pub status: Statuses,
    #[serde(default)]
    pub expect: Vec<Expect>,
    /// From sending the request to the last byte of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_secs: Option<f64>,
}

impl Wanted {
    pub fn status(status: impl Into<Statuses>) -> Self {
        Self { status: status.into(), expect: Vec::new(), within_secs: None }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// The body contains it.
    Text(String),
    /// The body, or a part of it, matches.
    Matches(Pattern),
    Json {
        pointer: String,
        equals: serde_json::Value,
    },
    /// The value at the pointer as text.
    JsonMatches {
        pointer: String,
        pattern: Pattern,
    },
    Header {
        name: String,
        equals: String,
    },
    HeaderMatches {
        name: String,
        pattern: Pattern,
    },
}

/// One status, or several of which one must be answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Statuses {
    One(StatusIs),
    Any(Vec<StatusIs>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StatusIs {
    Exactly(u16),
    Class(StatusClass),
}

/// `2xx`: all statuses that begin so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StatusClass(u16);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no HTTP status: write one such as 200, or 2xx for all that begin so")]
pub struct NoStatus;

impl Statuses {
    /// Whatever means that it worked.
    pub const SUCCESS: Self = Self::One(StatusIs::Class(StatusClass(2)));

    pub fn accept(&self, status: u16) -> bool {
        let is = |one: &StatusIs| match one {
            StatusIs::Exactly(wanted) => *wanted == status,
            StatusIs::Class(StatusClass(first)) => status / 100 == *first,
        };
        match self {
            Statuses::One(one) => is(one),
            Statuses::Any(several) => several.iter().any(is),
        }
    }
}

impl From<u16> for Statuses {
    fn from(status: u16) -> Self {
        Statuses::One(StatusIs::Exactly(status))
    }
}

impl std::str::FromStr for StatusIs {
    type Err = NoStatus;
    fn from_str(text: &str) -> Result<Self, NoStatus> {
        match text.parse() {
            Ok(status @ 100..=599) => Ok(StatusIs::Exactly(status)),
            Ok(_) | Err(_) => StatusClass::try_from(text.to_string()).map(StatusIs::Class),
        }
    }
}

impl TryFrom<String> for StatusClass {
    type Error = NoStatus;
    fn try_from(text: String) -> Result<Self, NoStatus> {
        let class = (1..=5).find(|first| text == format!("{first}xx"));
        class.map(Self).ok_or(NoStatus)
    }
}

impl From<StatusClass> for String {
    fn from(class: StatusClass) -> Self {
        class.to_string()
    }
}

impl fmt::Display for StatusClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}xx", self.0)
    }
}

impl fmt::Display for StatusIs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StatusIs::Exactly(status) => write!(f, "{status}"),
            StatusIs::Class(class) => class.fmt(f),
        }
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Statuses::One(one) => one.fmt(f),
            Statuses::Any(several) => {
                f.write_str(&several.iter().map(StatusIs::to_string).collect::<Vec<_>>().join(" or "))
            }
        }
    }
}

/// A regular expression, equal to another by its text.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Regex);

/// Compiled, a pattern takes no more memory than this.
const PATTERN_MAX_BYTES: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no regular expression ({why})")]
pub struct NoPattern {
    why: String,
}

impl Pattern {
    pub fn regex(&self) -> &Regex {
        &self.0
    }
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl TryFrom<String> for Pattern {
    type Error = NoPattern;
    fn try_from(text: String) -> Result<Self, NoPattern> {
        // The error's last line says what is wrong; those before it draw where.
        let why = |e: regex::Error| {
            let text = e.to_string();
            text.lines().next_back().unwrap_or_default().trim_start_matches("error: ").to_string()
        };
        let built = RegexBuilder::new(&text).size_limit(PATTERN_MAX_BYTES).build();
        built.map(Self).map_err(|e| NoPattern { why: why(e) })
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.as_str().to_string()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_exact_classes_or_lists() {
        let read = |json: &str| serde_json::from_str::<Statuses>(json).unwrap();
        for (json, shown, good, bad) in [
            ("200", "200", 200, 201),
            (r#""2xx""#, "2xx", 204, 302),
            (r#"[200,"3xx"]"#, "200 or 3xx", 307, 201),
        ] {
            let statuses = read(json);
            assert_eq!(statuses.to_string(), shown);
            assert!(statuses.accept(good) && !statuses.accept(bad), "{json}");
            assert_eq!(serde_json::to_string(&statuses).unwrap(), json);
        }
        for text in ["", "ok", "99", "600", "6xx", "0xx", "xx", "2x", "+2xx"] {
            assert!(text.parse::<StatusIs>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_pattern_that_is_none_says_why() {
        let why = |text: &str| Pattern::try_from(text.to_string()).unwrap_err().to_string();
        assert_eq!(why("a("), "this is no regular expression (unclosed group)");
        assert!(why("(a{1000}){1000}").contains("size limit"), "{}", why("(a{1000}){1000}"));
    }
}
