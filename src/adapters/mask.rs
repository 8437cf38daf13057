//! Keeps secrets from what is told about answers of services and of programs.
use serde_json::{Map, Value};

/// What takes their place.
const HIDDEN: &str = "***";

/// Texts that must not be shown, longest first.
#[derive(Default)]
pub(crate) struct Mask(Vec<String>);

impl Mask {
    pub(crate) fn hide(&mut self, text: &str) {
        if !text.is_empty() && !self.0.iter().any(|hidden| hidden == text) {
            self.0.push(text.to_string());
            self.0.sort_by_key(|hidden| std::cmp::Reverse(hidden.len()));
        }
    }

    pub(crate) fn text(&self, text: &str) -> String {
        self.0.iter().fold(text.to_string(), |text, hidden| text.replace(hidden.as_str(), HIDDEN))
    }

    /// Before it is written out: a quote in a secret would be escaped then, and not be found.
    pub(crate) fn json(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.json(item)).collect(),
            Value::Object(map) => {
                let entries = map.iter().map(|(key, value)| (self.text(key), self.json(value)));
                Value::Object(entries.collect::<Map<_, _>>())
            }
            Value::Number(number) if self.text(&number.to_string()) != number.to_string() => {
                Value::String(HIDDEN.into())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_of_what_is_hidden_is_left() {
        let mut mask = Mask::default();
        ["pa\"ss", "pa\"ss-word", "", "4711"].iter().for_each(|text| mask.hide(text));
        assert_eq!(mask.text("no pa\"ss-word, pa\"ss or 47110 here"), "no ***, *** or ***0 here");
        let value = json!({"pa\"ss": ["a pa\"ss-word", 4711, 47, true, null]});
        assert_eq!(mask.json(&value), json!({"***": ["a ***", "***", 47, true, null]}));
    }
}
