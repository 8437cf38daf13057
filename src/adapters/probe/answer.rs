//! What an answer is, and whether it is what it must be: status, headers, content, time, or a version.
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;

use crate::adapters::mask::Mask;
use crate::adapters::outbound::{describe, read_body};
use crate::domain::answer::{Expect, Pattern, Statuses, Wanted};
use crate::domain::template::text_of;
use crate::telemetry::Stopwatch;

/// Longest piece of a foreign body in a sentence of ours.
const SHOWN_CHARS: usize = 80;
const BODY_MAX_BYTES: usize = 1024 * 1024;

/// A whole answer, and how long it took.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    took: Duration,
}

pub(super) async fn send(request: RequestBuilder) -> Result<(Response, Stopwatch), String> {
    let watch = Stopwatch::start();
    let response = request.send().await.map_err(|error| describe(&error))?;
    Ok((response, watch))
}

pub(super) async fn body_of(response: Response) -> Result<Vec<u8>, String> {
    read_body(response, BODY_MAX_BYTES).await.map_err(|e| e.to_string())
}

impl Answer {
    pub(super) async fn read(response: Response, watch: Stopwatch) -> Result<Self, String> {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = body_of(response).await?;
        Ok(Self { status, headers, body, took: watch.elapsed() })
    }

    /// Whether it is all that is wanted, with a short sentence about either.
    pub(super) fn meets(&self, wanted: &Wanted, mask: &Mask) -> Result<String, String> {
        let Wanted { status, expect, within_secs } = wanted;
        if !status.accept(self.status.as_u16()) {
            return Err(wrong_status(self.status, status));
        }
        let met: Vec<String> = expect.iter().map(|e| self.met(e, mask)).collect::<Result<_, _>>()?;
        let took = self.took.as_secs_f64();
        if let Some(within) = within_secs.filter(|within| took > *within) {
            return Err(format!("answered after {took:.1} s instead of within {within} s"));
        }
        let found = self.status.as_u16();
        if met.is_empty() { Ok(format!("HTTP {found}")) } else { Ok(format!("{found}, {}", met.join(", "))) }
    }

    /// One expectation, met (with a short sentence) or not (likewise).
    fn met(&self, expect: &Expect, mask: &Mask) -> Result<String, String> {
        let told = |met: bool, yes: String, no: String| if met { Ok(yes) } else { Err(no) };
        match expect {
            Expect::Text(text) => {
                let found = String::from_utf8_lossy(&self.body).contains(text.as_str());
                let shown = shown(&Value::String(text.clone()), mask);
                told(found, format!("contains {shown}"), format!("does not contain {shown}"))
            }
            Expect::Matches(pattern) => {
                let found = pattern.regex().is_match(&String::from_utf8_lossy(&self.body));
                let pattern = pattern.as_str();
                told(found, format!("matches {pattern}"), format!("does not match {pattern}"))
            }
            Expect::Json { pointer, equals } => is(pointer, &at(&self.body, pointer)?, equals, mask),
            Expect::JsonMatches { pointer, pattern } => {
                matches(pointer, &text_of(&at(&self.body, pointer)?), pattern, mask)
            }
            Expect::Header { name, equals } => {
                let found = Value::String(self.header(name)?);
                is(name, &found, &Value::String(equals.clone()), mask)
            }
            Expect::HeaderMatches { name, pattern } => matches(name, &self.header(name)?, pattern, mask),
        }
    }

    /// The value at a JSON pointer.
    pub(super) fn json(&self, pointer: &str) -> Result<Value, String> {
        at(&self.body, pointer)
    }

    pub(super) fn header(&self, name: &str) -> Result<String, String> {
        let value = self.headers.get(name).ok_or_else(|| format!("the answer has no header {name}"))?;
        Ok(String::from_utf8_lossy(value.as_bytes()).into_owned())
    }
}

fn is(what: &str, found: &Value, wanted: &Value, mask: &Mask) -> Result<String, String> {
    let shown_wanted = shown(wanted, mask);
    if found == wanted {
        return Ok(format!("{what} is {shown_wanted}"));
    }
    Err(format!("{what} is {} instead of {shown_wanted}", shown(found, mask)))
}

fn matches(what: &str, found: &str, pattern: &Pattern, mask: &Mask) -> Result<String, String> {
    if pattern.regex().is_match(found) {
        return Ok(format!("{what} matches {}", pattern.as_str()));
    }
    let found = shown(&Value::String(found.to_string()), mask);
    Err(format!("{what} is {found}, which does not match {}", pattern.as_str()))
}

pub(super) fn wrong_status(found: StatusCode, wanted: &Statuses) -> String {
    let hint = if found.is_redirection() { " (redirects are not followed)" } else { "" };
    format!("HTTP {} instead of {wanted}{hint}", found.as_u16())
}

/// Whether the body names this version: at the pointer, or anywhere as a whole word.
pub(super) fn has_version(body: &[u8], pointer: Option<&str>, label: &str) -> Result<String, String> {
    let Some(pointer) = pointer else {
        let found = contains_word(&String::from_utf8_lossy(body), label);
        return if found {
            Ok(format!("answers {label}"))
        } else {
            Err(format!("the answer does not name {label}"))
        };
    };
    let found = text_of(&at(body, pointer)?);
    if found == label {
        return Ok(format!("{pointer} is {label}"));
    }
    Err(format!("{pointer} is {} instead of {label}", shown(&Value::String(found), &Mask::default())))
}

fn at(body: &[u8], pointer: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_slice(body).map_err(|_| "the answer is not JSON".to_string())?;
    value.pointer(pointer).cloned().ok_or_else(|| format!("the answer has no {pointer}"))
}

fn shown(value: &Value, mask: &Mask) -> String {
    let text = mask.json(value).to_string();
    if text.chars().count() <= SHOWN_CHARS {
        return text;
    }
    text.chars().take(SHOWN_CHARS).chain("…".chars()).collect()
}

/// `v1.2` is no whole word of `v1.2.3`, but it is one of `It is v1.2.`.
fn contains_word(text: &str, word: &str) -> bool {
    !word.is_empty()
        && text.match_indices(word).any(|(start, _)| {
            let (before, after) = (&text[..start], &text[start + word.len()..]);
            !joins(before.chars().rev()) && !joins(after.chars())
        })
}

/// Whether the characters next to a word, nearest first, belong to it.
fn joins(mut next: impl Iterator<Item = char>) -> bool {
    match next.next() {
        Some('.') => next.next().is_some_and(char::is_alphanumeric),
        Some(c) => c.is_alphanumeric() || "-_+~".contains(c),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_whole_word() {
        for text in ["v1.2", "{\"v\":\"v1.2\"}", "shop:v1.2 built today", "It is v1.2.", "v1.2.3 and v1.2"] {
            assert!(contains_word(text, "v1.2"), "{text}");
        }
        for text in ["", "v1.2.3", "v1.20", "dev1.2", "v1.2-rc1", "2.v1.2", "v1_2"] {
            assert!(!contains_word(text, "v1.2"), "{text}");
        }
        assert!(!contains_word("anything", ""));
    }

    fn answer(headers: &[(&'static str, &'static str)], body: &str) -> Answer {
        let pairs = headers.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()));
        let took = Duration::from_millis(2400);
        Answer { status: StatusCode::OK, headers: pairs.collect(), body: body.into(), took }
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::try_from(text.to_string()).unwrap()
    }

    #[test]
    fn foreign_values_stay_short() {
        let long = serde_json::json!({"status": "x".repeat(5000)}).to_string();
        let expect = Expect::Json { pointer: "/status".into(), equals: "healthy".into() };
        let why = answer(&[], &long).met(&expect, &Mask::default()).unwrap_err();
        assert!(why.len() < 150 && why.ends_with("instead of \"healthy\""), "{why}");
    }

    #[test]
    fn patterns_headers_and_time_are_told() {
        let answer = answer(&[("content-type", "text/html")], r#"{"n": 17, "state": "up"}"#);
        let json =
            |pointer: &str, text| Expect::JsonMatches { pointer: pointer.into(), pattern: pattern(text) };
        let name = || "Content-Type".to_string();
        let is = |equals: &str| Expect::Header { name: name(), equals: equals.into() };
        for (expect, told) in [
            (Expect::Matches(pattern("\"up\"")), Ok("matches \"up\"")),
            (Expect::Matches(pattern("^up")), Err("does not match ^up")),
            (json("/n", "^1.$"), Ok("/n matches ^1.$")),
            (json("/state", "^ok$"), Err("/state is \"up\", which does not match ^ok$")),
            (is("text/html"), Ok("Content-Type is \"text/html\"")),
            (is("x"), Err("Content-Type is \"text/html\" instead of \"x\"")),
            (
                Expect::HeaderMatches { name: "x-id".into(), pattern: pattern(".") },
                Err("the answer has no header x-id"),
            ),
        ] {
            let found = answer.met(&expect, &Mask::default());
            assert_eq!(found.as_deref().map_err(String::as_str), told, "{expect:?}");
        }
        let within = |secs| Wanted { within_secs: Some(secs), ..Wanted::status(200) };
        assert_eq!(answer.meets(&within(2.5), &Mask::default()).unwrap(), "HTTP 200");
        let late = answer.meets(&within(2.0), &Mask::default()).unwrap_err();
        assert_eq!(late, "answered after 2.4 s instead of within 2 s");
    }
}
