//! What an answer's body must say: a text, a value at a JSON pointer, or a version.
use serde_json::Value;

use crate::domain::verification::Expect;

/// Longest piece of a foreign body in a sentence of ours.
const SHOWN_CHARS: usize = 80;

/// One expectation, met (with a short sentence) or not (likewise).
pub(super) fn met(body: &[u8], expect: &Expect) -> Result<String, String> {
    match expect {
        Expect::Text(text) => {
            let found = String::from_utf8_lossy(body).contains(text.as_str());
            let shown = shown(&Value::String(text.clone()));
            if found { Ok(format!("contains {shown}")) } else { Err(format!("does not contain {shown}")) }
        }
        Expect::Json { pointer, equals } => {
            let found = at(body, pointer)?;
            let wanted = shown(equals);
            if found == *equals {
                Ok(format!("{pointer} is {wanted}"))
            } else {
                Err(format!("{pointer} is {} instead of {wanted}", shown(&found)))
            }
        }
    }
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
    let found = match at(body, pointer)? {
        Value::String(text) => text,
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            other.to_string()
        }
    };
    if found == label {
        return Ok(format!("{pointer} is {label}"));
    }
    Err(format!("{pointer} is {} instead of {label}", shown(&Value::String(found))))
}

fn at(body: &[u8], pointer: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_slice(body).map_err(|_| "the answer is not JSON".to_string())?;
    value.pointer(pointer).cloned().ok_or_else(|| format!("the answer has no {pointer}"))
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
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

    #[test]
    fn foreign_values_stay_short() {
        let long = serde_json::json!({"status": "x".repeat(5000)}).to_string();
        let expect = Expect::Json { pointer: "/status".into(), equals: "healthy".into() };
        let why = met(long.as_bytes(), &expect).unwrap_err();
        assert!(why.len() < 150 && why.ends_with("instead of \"healthy\""), "{why}");
    }
}
