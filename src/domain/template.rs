//! Text with `${names}` in it, and how values are put there without changing what is around them.
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

/// What the names stand for: secrets, and what earlier answers held. Never shown.
pub type Values = BTreeMap<String, Value>;

const NAME_MAX: usize = 40;

/// Text and names, as it is written: `Bearer ${token}`. `$${` stands for `${` itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    source: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error(
        "what begins with ${{ must end with }}: write such as ${{token}}, or $${{ for the characters themselves"
    )]
    Open,
    #[error("what stands between ${{ and }} is no name: use a-z, 0-9 and _, beginning with a letter")]
    NoName,
}

/// Why a template cannot be filled. No message holds a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfilled {
    #[error("${{{0}}} is not known")]
    Unknown(String),
    #[error("the values put into this URL would lead to another place")]
    Elsewhere,
}

/// Whether something may be called so in a template.
pub fn is_name(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.len() <= NAME_MAX && text.chars().all(inside)
}

impl Template {
    /// # Errors
    /// When a `${` does not end, or holds no name.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let (mut pieces, mut text, mut rest) = (Vec::new(), String::new(), source);
        while let Some(at) = rest.find("${") {
            let (before, after) = (&rest[..at], &rest[at + 2..]);
            if let Some(escaped) = before.strip_suffix('$') {
                text = text + escaped + "${";
                rest = after;
                continue;
            }
            text += before;
            let (name, after) = after.split_once('}').ok_or(TemplateError::Open)?;
            if !is_name(name) {
                return Err(TemplateError::NoName);
            }
            pieces.push(Piece::Text(std::mem::take(&mut text)));
            pieces.push(Piece::Name(name.to_string()));
            rest = after;
        }
        pieces.push(Piece::Text(text + rest));
        pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
        Ok(Self { source: source.to_string(), pieces })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Name(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// # Errors
    /// When a name stands for nothing.
    pub fn fill(&self, values: &Values) -> Result<String, Unfilled> {
        self.fill_with(|name| known(values, name).map(text_of))
    }

    /// As [`Template::fill`], but what is nothing but one name keeps the kind of its value: a number stays one.
    ///
    /// # Errors
    /// When a name stands for nothing.
    pub fn fill_json(&self, values: &Values) -> Result<Value, Unfilled> {
        match self.pieces.as_slice() {
            [Piece::Name(name)] => known(values, name).cloned(),
            _ => self.fill(values).map(Value::String),
        }
    }

    fn fill_with(&self, value: impl Fn(&str) -> Result<String, Unfilled>) -> Result<String, Unfilled> {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => Ok(text.clone()),
            Piece::Name(name) => value(name),
        };
        self.pieces.iter().map(piece).collect()
    }
}

fn known<'a>(values: &'a Values, name: &str) -> Result<&'a Value, Unfilled> {
    values.get(name).ok_or_else(|| Unfilled::Unknown(name.to_string()))
}

/// A value as it stands in text.
pub fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

/// A JSON value whose texts are templates; its keys are not.
///
/// # Errors
/// When a name stands for nothing. A text that is no template is taken as it is.
pub fn fill_all(json: &Value, values: &Values) -> Result<Value, Unfilled> {
    match json {
        Value::String(text) => match Template::parse(text) {
            Ok(template) => template.fill_json(values),
            Err(TemplateError::Open | TemplateError::NoName) => Ok(json.clone()),
        },
        Value::Array(items) => items.iter().map(|item| fill_all(item, values)).collect(),
        Value::Object(map) => {
            map.iter().map(|(key, value)| Ok((key.clone(), fill_all(value, values)?))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(json.clone()),
    }
}

/// A URL with names in its path and query. Whatever they stand for, it leads to the same host, and to as deep a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UrlTemplate {
    template: Template,
    /// With a harmless value for each name.
    sample: Url,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlTemplateError {
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error(
        "a variable may stand in the path and in the query of a URL, never before: where it leads is fixed here"
    )]
    InHost,
    #[error("this is no URL ({0}): write one such as https://shop.example.com/api/orders/${{order}}")]
    NoUrl(#[from] url::ParseError),
    #[error("this URL does not begin with http:// or https://")]
    Scheme,
    #[error("this URL holds credentials: leave them out, and send them as a header or in the body")]
    Credentials,
}

impl UrlTemplate {
    /// # Errors
    /// When it is no http(s) URL, or has a name before its path.
    pub fn parse(text: &str) -> Result<Self, UrlTemplateError> {
        let text = text.trim();
        let template = Template::parse(text)?;
        let host = text.find("://").map_or(0, |at| at + 3);
        let path = text[host..].find(['/', '?', '#', '\\']).map_or(text.len(), |at| host + at);
        if template.names().next().is_some() && text[..path].contains("${") {
            return Err(UrlTemplateError::InHost);
        }
        let sample = Url::parse(&template.fill_with(|_| Ok("x".into())).unwrap_or_default())?;
        if !matches!(sample.scheme(), "http" | "https") || sample.host_str().is_none_or(str::is_empty) {
            return Err(UrlTemplateError::Scheme);
        }
        if !sample.username().is_empty() || sample.password().is_some() {
            return Err(UrlTemplateError::Credentials);
        }
        Ok(Self { template, sample })
    }

    pub fn template(&self) -> &Template {
        &self.template
    }

    /// # Errors
    /// When a name stands for nothing, or for something such as `..`.
    pub fn fill(&self, values: &Values) -> Result<Url, Unfilled> {
        let filled =
            self.template.fill_with(|name| known(values, name).map(|value| encoded(&text_of(value))))?;
        let url = Url::parse(&filled).map_err(|_| Unfilled::Elsewhere)?;
        let depth = |url: &Url| url.path_segments().map_or(0, Iterator::count);
        let same = url.origin() == self.sample.origin() && depth(&url) == depth(&self.sample);
        if same { Ok(url) } else { Err(Unfilled::Elsewhere) }
    }
}

/// For a message: without what may be secret in the query.
impl fmt::Display for UrlTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.template.as_str();
        f.write_str(text.find(['?', '#']).map_or(text, |end| &text[..end]))
    }
}

/// All but the characters that mean nothing anywhere in a URL.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

macro_rules! as_text {
    ($type:ty, $error:ty, $source:expr) => {
        impl TryFrom<String> for $type {
            type Error = $error;
            fn try_from(text: String) -> Result<Self, $error> {
                Self::parse(&text)
            }
        }
        impl From<$type> for String {
            fn from(template: $type) -> Self {
                let source: fn($type) -> String = $source;
                source(template)
            }
        }
    };
}

as_text!(Template, TemplateError, |template| template.source);
as_text!(UrlTemplate, UrlTemplateError, |url| url.template.source);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn values(pairs: &[(&str, Value)]) -> Values {
        pairs.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
    }

    #[test]
    fn names_are_replaced_and_nothing_else() {
        let values = values(&[("token", json!("a b")), ("n", json!(7))]);
        for (source, filled) in [
            ("", ""),
            ("$ {x} $", "$ {x} $"),
            ("Bearer ${token}", "Bearer a b"),
            ("${n}${n}-${token}", "77-a b"),
            ("$${token} ${n}", "${token} 7"),
            ("$$$${n", "$$${n"),
        ] {
            assert_eq!(Template::parse(source).unwrap().fill(&values).unwrap(), filled, "{source}");
        }
        let unknown = Template::parse("${other}").unwrap().fill(&values).unwrap_err();
        assert_eq!(unknown.to_string(), "${other} is not known");
        for (source, error) in [
            ("a ${b", TemplateError::Open),
            ("${}", TemplateError::NoName),
            ("${B}", TemplateError::NoName),
            ("${1}", TemplateError::NoName),
            ("${a${b}}", TemplateError::NoName),
        ] {
            assert_eq!(Template::parse(source).unwrap_err(), error, "{source}");
        }
    }

    #[test]
    fn what_is_one_name_keeps_its_kind_in_json() {
        let values = values(&[("id", json!(7)), ("name", json!("a\"b"))]);
        let body = json!({"id": "${id}", "text": "no. ${id}", "list": ["${name}", 1, null], "${id}": true});
        let filled = json!({"id": 7, "text": "no. 7", "list": ["a\"b", 1, null], "${id}": true});
        assert_eq!(fill_all(&body, &values).unwrap(), filled);
    }

    #[test]
    fn a_url_leads_where_it_is_written_to() {
        let fill = |template: &str, value: &str| {
            UrlTemplate::parse(template).unwrap().fill(&values(&[("v", json!(value))])).map(String::from)
        };
        let order = "https://shop.example/orders/${v}/pay?by=${v}";
        assert_eq!(
            fill(order, "a/b&c=d").unwrap(),
            "https://shop.example/orders/a%2Fb%26c%3Dd/pay?by=a%2Fb%26c%3Dd"
        );
        for climbing in ["..", "."] {
            assert_eq!(fill(order, climbing).unwrap_err(), Unfilled::Elsewhere);
        }
        assert_eq!(fill("https://shop.example/.${v}/x", ".").unwrap_err(), Unfilled::Elsewhere);
        for (text, error) in [
            ("https://${v}/", UrlTemplateError::InHost),
            ("https://shop.example${v}", UrlTemplateError::InHost),
            ("https://shop.example:${v}/", UrlTemplateError::InHost),
            ("${v}", UrlTemplateError::InHost),
            ("https://${v}@shop.example/", UrlTemplateError::InHost),
            ("ftp://shop.example/${v}", UrlTemplateError::Scheme),
            ("https://me:pw@shop.example/${v}", UrlTemplateError::Credentials),
        ] {
            assert_eq!(UrlTemplate::parse(text).unwrap_err(), error, "{text}");
        }
        let shown = UrlTemplate::parse("https://shop.example/a/${v}?key=abc#x").unwrap().to_string();
        assert_eq!(shown, "https://shop.example/a/${v}");
    }

    proptest! {
        #[test]
        fn any_text_is_a_template_or_an_error(text in "[$a{}x_ ]{0,20}") {
            if let Ok(template) = Template::parse(&text) {
                let all: Values = template.names().map(|name| (name.to_string(), json!("v"))).collect();
                prop_assert!(template.fill(&all).is_ok());
                prop_assert_eq!(String::from(template), text);
            }
        }

        #[test]
        fn no_value_changes_the_host_the_path_or_the_other_parameters(value in "(?s).{0,12}|[./\\\\?#@:%]{0,6}") {
            let template = UrlTemplate::parse("http://127.0.0.1:80/a/${v}/b?x=1&y=${v}&z=2").unwrap();
            let Ok(url) = template.fill(&values(&[("v", json!(value))])) else {
                prop_assert!(value == "." || value == "..");
                return Ok(());
            };
            prop_assert_eq!(url.host_str(), Some("127.0.0.1"));
            let segments: Vec<&str> = url.path_segments().unwrap().collect();
            prop_assert_eq!((segments.len(), segments[0], segments[2]), (3, "a", "b"));
            let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
            let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
            prop_assert_eq!(pairs, [pair("x", "1"), pair("y", &value), pair("z", "2")]);
        }

        #[test]
        fn any_text_is_a_url_template_or_an_error(text in "(https?:/{0,3})?[a-z$@{}:/?#.\\\\]{0,24}") {
            if let Ok(template) = UrlTemplate::parse(&text) {
                let all: Values =
                    template.template().names().map(|name| (name.to_string(), json!("@evil.example/"))).collect();
                if let Ok(url) = template.fill(&all) {
                    prop_assert_eq!(url.origin(), template.sample.origin());
                    prop_assert!(url.username().is_empty());
                }
            }
        }
    }
}
