//! A PromQL vector selector: read from the configuration, narrowed for a query, matched against scraped series.
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use regex::{Regex, RegexBuilder};

pub use self::cursor::is_name_char;
use self::cursor::{Cursor, is_label_char};

mod cursor;

/// Which series are meant, such as `http_requests_total{job="web",code=~"5.."}`. Always names its metric.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector {
    name: String,
    /// In order, so that selectors that differ only in the order of their matchers are equal.
    matchers: Vec<Matcher>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Matcher {
    label: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Test {
    Is(String),
    IsNot(String),
    Like(Pattern),
    Unlike(Pattern),
}

/// A regular expression that must match the whole value.
#[derive(Clone, Debug)]
struct Pattern {
    source: String,
    regex: Arc<Regex>,
}

/// Compiled patterns weigh some ten kilobytes, and a thousand services of one fleet have the same one.
static COMPILED: Mutex<BTreeMap<String, Weak<Regex>>> = Mutex::new(BTreeMap::new());

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at character {position} of the selector: write it like http_requests_total{{code=~\"5..\"}}")]
pub struct SelectorError {
    /// Counted from 1.
    pub position: usize,
    pub what: String,
}

/// A compiled pattern is no larger than this; Prometheus itself has no such limit.
const PATTERN_BYTES_MAX: usize = 1 << 20;
const NAME_LABEL: &str = "__name__";

impl Selector {
    /// Whether a series of this name, with these labels, is meant. `label` answers "" for a label that is not there.
    pub fn matches<'a>(&self, name: &str, label: impl Fn(&str) -> Cow<'a, str>) -> bool {
        self.name == name && self.matchers.iter().all(|m| m.test.passes(&label(&m.label)))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The selector of a histogram itself, as native ones are named, whether or not this one names its `_bucket` series.
    pub fn histogram(&self) -> Self {
        let name = self.name.strip_suffix("_bucket").unwrap_or(&self.name);
        Self { name: name.to_string(), matchers: self.matchers.clone() }
    }

    /// The selector of a histogram's `_bucket` series, whether or not this one already names them.
    pub fn buckets(&self) -> Self {
        let whole = self.histogram();
        Self { name: format!("{}_bucket", whole.name), ..whole }
    }

    /// The selector in PromQL, with a matcher `label=~"pattern"` added for each pair.
    pub fn narrowed(&self, extra: &[(&str, &str)]) -> String {
        let own = self.matchers.iter().map(Matcher::to_string);
        let added = extra.iter().map(|(label, pattern)| format!("{label}=~{}", quoted(pattern)));
        let matchers: Vec<String> = own.chain(added).collect();
        if matchers.is_empty() {
            return self.name.clone();
        }
        format!("{}{{{}}}", self.name, matchers.join(","))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.narrowed(&[]))
    }
}

impl FromStr for Selector {
    type Err = SelectorError;
    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut cursor = Cursor::new(text);
        cursor.skip_blank();
        let mut name = cursor.take_while(is_name_char).to_string();
        cursor.skip_blank();
        let mut matchers = if cursor.eat("{") { braced(&mut cursor)? } else { Vec::new() };
        cursor.skip_blank();
        if !cursor.at_end() {
            return Err(cursor.fail("unexpected text (a plain selector has no function, range or offset: rollguard works rates out itself)"));
        }
        if name.is_empty() {
            name = name_among(&mut matchers).ok_or_else(|| cursor.fail("no metric name until the end"))?;
        }
        if matchers.iter().any(|m| m.label == NAME_LABEL) {
            return Err(cursor.fail("the metric name is given twice, or as a pattern, until the end"));
        }
        matchers.sort();
        matchers.dedup();
        Ok(Self { name, matchers })
    }
}

/// `{__name__="up"}` is `up`.
fn name_among(matchers: &mut Vec<Matcher>) -> Option<String> {
    let place = matchers.iter().position(|m| m.label == NAME_LABEL)?;
    match &matchers[place].test {
        Test::Is(name) if is_metric_name(name) => {
            let name = name.clone();
            matchers.remove(place);
            Some(name)
        }
        Test::Is(_) | Test::IsNot(_) | Test::Like(_) | Test::Unlike(_) => None,
    }
}

fn is_metric_name(name: &str) -> bool {
    name.starts_with(|c: char| !c.is_ascii_digit()) && name.chars().all(is_name_char)
}

/// Whether a text can stand as a label's name in a query.
pub fn is_label_name(name: &str) -> bool {
    !name.is_empty() && name.starts_with(|c: char| !c.is_ascii_digit()) && name.chars().all(is_label_char)
}

fn braced(cursor: &mut Cursor<'_>) -> Result<Vec<Matcher>, SelectorError> {
    let mut matchers = Vec::new();
    loop {
        cursor.skip_blank();
        if cursor.eat("}") {
            return Ok(matchers);
        }
        matchers.push(matcher(cursor)?);
        cursor.skip_blank();
        if cursor.eat("}") {
            return Ok(matchers);
        }
        if !cursor.eat(",") {
            return Err(cursor.fail("expected ',' or '}'"));
        }
    }
}

fn matcher(cursor: &mut Cursor<'_>) -> Result<Matcher, SelectorError> {
    let label = cursor.take_while(is_label_char).to_string();
    if label.is_empty() {
        return Err(cursor.fail("expected a label name"));
    }
    cursor.skip_blank();
    let make: fn(Value) -> Result<Test, String> = if cursor.eat("=~") {
        |value| Pattern::new(value).map(Test::Like)
    } else if cursor.eat("!~") {
        |value| Pattern::new(value).map(Test::Unlike)
    } else if cursor.eat("!=") {
        |value| Ok(Test::IsNot(value))
    } else if cursor.eat("=") {
        |value| Ok(Test::Is(value))
    } else {
        return Err(cursor.fail("expected =, !=, =~ or !~"));
    };
    cursor.skip_blank();
    let before = *cursor;
    let value = cursor.string()?;
    let test = make(value).map_err(|what| before.fail(&what))?;
    Ok(Matcher { label, test })
}

type Value = String;

impl Pattern {
    fn new(source: String) -> Result<Self, String> {
        let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(regex) = compiled.get(&source).and_then(Weak::upgrade) {
            return Ok(Self { source, regex });
        }
        // The bare source first: wrapped, `a)(b` would be a different but valid pattern.
        let compile = |text: &str| RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build();
        let wrapped = compile(&source).and_then(|_| compile(&format!("^(?s:{source})$")));
        let regex = Arc::new(wrapped.map_err(|_| format!("{source:?} is not a valid pattern"))?);
        compiled.retain(|_, regex| regex.strong_count() > 0);
        compiled.insert(source.clone(), Arc::downgrade(&regex));
        Ok(Self { source, regex })
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}
impl Eq for Pattern {}
impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Pattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.source.cmp(&other.source)
    }
}

impl Test {
    fn passes(&self, value: &str) -> bool {
        match self {
            Test::Is(wanted) => value == wanted,
            Test::IsNot(unwanted) => value != unwanted,
            Test::Like(pattern) => pattern.regex.is_match(value),
            Test::Unlike(pattern) => !pattern.regex.is_match(value),
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operator, value) = match &self.test {
            Test::Is(value) => ("=", value),
            Test::IsNot(value) => ("!=", value),
            Test::Like(pattern) => ("=~", &pattern.source),
            Test::Unlike(pattern) => ("!~", &pattern.source),
        };
        write!(f, "{}{operator}{}", self.label, quoted(value))
    }
}

/// A PromQL string literal.
fn quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            c if c.is_control() => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

/// A text as a pattern that matches just it. Escapes no more than needed: names of workloads are full of '-'.
pub fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if r".+*?()|[]{}^$\".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

#[cfg(test)]
mod tests;
