//! A journey: several requests in a row as a user makes them, where later ones use what earlier ones were answered.
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::{Expect, Pattern, Wanted};
use super::template::{Template, Unfilled, UrlTemplate, Values, fill_all};

/// Secrets stand in it by name only, so it may be journaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Journey {
    pub steps: Vec<Step>,
    /// For all steps together.
    pub timeout_secs: f64,
    /// How often it is sent at most: each time may leave something behind.
    pub every_secs: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub method: Method,
    pub url: UrlTemplate,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Template>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Body>,
    #[serde(flatten)]
    pub wanted: Wanted,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub capture: BTreeMap<String, Capture>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// Its texts are templates.
    Json(Value),
    Form(BTreeMap<String, Template>),
    Text(Template),
}

/// Where in an answer a value is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capture {
    /// At a JSON pointer.
    Json(String),
    Header(String),
    /// The first group of the pattern, or all of it, in the body.
    Regex(Pattern),
}

impl Method {
    pub const ALL: [Method; 6] =
        [Method::Get, Method::Head, Method::Post, Method::Put, Method::Patch, Method::Delete];

    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Wanted {
    /// With the values in its texts.
    ///
    /// # Errors
    /// When a name stands for nothing.
    pub fn fill(&self, values: &Values) -> Result<Wanted, Unfilled> {
        let expect = self.expect.iter().map(|expect| fill(expect, values)).collect::<Result<_, _>>()?;
        Ok(Wanted { expect, ..self.clone() })
    }
}

fn fill(expect: &Expect, values: &Values) -> Result<Expect, Unfilled> {
    let text = |text: &String| match Template::parse(text) {
        Ok(template) => template.fill(values),
        Err(_) => Ok(text.clone()),
    };
    Ok(match expect {
        Expect::Text(contained) => Expect::Text(text(contained)?),
        Expect::Json { pointer, equals } => {
            Expect::Json { pointer: pointer.clone(), equals: fill_all(equals, values)? }
        }
        Expect::Header { name, equals } => Expect::Header { name: name.clone(), equals: text(equals)? },
        Expect::Matches(_) | Expect::JsonMatches { .. } | Expect::HeaderMatches { .. } => expect.clone(),
    })
}
