//! What a plan of Terraform or OpenTofu does to one resource, as people may see it: nothing sensitive is in it.
use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What is done to a resource or an output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceAction {
    NoOp,
    Create,
    Read,
    Update,
    Delete,
    DeleteThenCreate,
    CreateThenDelete,
    /// It leaves the state and goes on running.
    Forget,
    CreateThenForget,
    ForgetThenCreate,
    /// What a newer tool may do, and nobody here knows what it means.
    Unknown(Vec<String>),
}

impl ResourceAction {
    pub fn of(actions: &[String]) -> Self {
        let words: Vec<&str> = actions.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["no-op"] => Self::NoOp,
            ["create"] => Self::Create,
            ["read"] => Self::Read,
            ["update"] => Self::Update,
            ["delete"] => Self::Delete,
            ["delete", "create"] => Self::DeleteThenCreate,
            ["create", "delete"] => Self::CreateThenDelete,
            ["forget"] => Self::Forget,
            ["create", "forget"] => Self::CreateThenForget,
            ["forget", "create"] => Self::ForgetThenCreate,
            _ => Self::Unknown(actions.to_vec()),
        }
    }

    pub fn deletes(&self) -> bool {
        matches!(self, Self::Delete | Self::DeleteThenCreate | Self::CreateThenDelete)
    }

    pub fn forgets(&self) -> bool {
        matches!(self, Self::Forget | Self::CreateThenForget | Self::ForgetThenCreate)
    }
}

impl fmt::Display for ResourceAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoOp => "leave",
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::Delete => "DELETE",
            Self::DeleteThenCreate => "REPLACE (delete, then create)",
            Self::CreateThenDelete => "REPLACE (create, then delete)",
            Self::Forget => "FORGET (it goes on running)",
            Self::CreateThenForget => "REPLACE (create, then forget the old one)",
            Self::ForgetThenCreate => "REPLACE (forget the old one, then create)",
            Self::Unknown(actions) => return write!(f, "UNKNOWN ({})", actions.join(", ")),
        })
    }
}

/// One resource that a plan changes, or that was found changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceChange {
    pub address: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub action: ResourceAction,
    /// Why the tool does it, in its own word, such as `delete_because_no_resource_config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where it was before it was moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_from: Option<String>,
    /// An object that a failed replacement left behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deposed: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
    /// Attributes that change, for what is there before and after.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<AttributeChange>,
    /// Further ones that are not listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// An attribute before and after, as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeChange {
    pub path: String,
    pub before: String,
    pub after: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replaces: bool,
}

/// The attributes of one resource that are listed at most.
const ATTRIBUTES_MAX: usize = 12;
/// A value is shown up to so many characters.
const SHOWN_MAX: usize = 80;
/// Deeper than any schema; what lies below is compared as a whole.
const DEPTH_MAX: usize = 16;
const SENSITIVE: &str = "(sensitive)";
const LATER: &str = "(known after apply)";

/// The two sides of a change with what is known about them.
#[derive(Clone, Copy)]
pub(super) struct Sides<'a> {
    pub(super) before: &'a Value,
    pub(super) after: &'a Value,
    pub(super) unknown: &'a Value,
    pub(super) before_sensitive: &'a Value,
    pub(super) after_sensitive: &'a Value,
    /// What is marked somewhere in the plan is shown nowhere: providers repeat it without a mark.
    pub(super) secrets: &'a [String],
}

/// Shorter texts are found everywhere, and would hide nothing.
const SECRET_MIN: usize = 4;

/// The texts of a value that are marked as sensitive.
pub(super) fn collect_secrets(value: &Value, marks: &Value, into: &mut BTreeSet<String>) {
    if is_hidden(marks) || has_true(marks) && !same_shape(value, marks) {
        return texts(value, into);
    }
    match (value, marks) {
        (Value::Object(map), Value::Object(marks)) => {
            map.iter().filter_map(|(key, value)| Some((value, marks.get(key)?))).for_each(|(v, m)| {
                collect_secrets(v, m, into);
            });
        }
        (Value::Array(items), Value::Array(marks)) => {
            items.iter().zip(marks).for_each(|(value, marks)| collect_secrets(value, marks, into));
        }
        _ => {}
    }
}

fn same_shape(value: &Value, marks: &Value) -> bool {
    value.is_object() && marks.is_object() || value.is_array() && marks.is_array()
}

fn texts(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if text.chars().count() >= SECRET_MIN => drop(into.insert(text.clone())),
        Value::Array(items) => items.iter().for_each(|item| texts(item, into)),
        Value::Object(map) => map.values().for_each(|value| texts(value, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What differs, and how many further ones there are.
pub(super) fn differences(sides: Sides<'_>, replacing: &[Vec<Value>]) -> (Vec<AttributeChange>, usize) {
    let mut found = Vec::new();
    compare(sides, String::new(), 0, &mut found);
    let replacing: BTreeSet<String> = replacing.iter().map(|path| written(path)).collect();
    for change in &mut found {
        change.replaces = replacing.iter().any(|path| lies_in(&change.path, path));
    }
    let more = found.len().saturating_sub(ATTRIBUTES_MAX);
    found.sort_by_key(|change| !change.replaces);
    found.truncate(ATTRIBUTES_MAX);
    (found, more)
}

fn compare(sides: Sides<'_>, path: String, depth: usize, found: &mut Vec<AttributeChange>) {
    let unknown = sides.unknown == &Value::Bool(true);
    if sides.before == sides.after && !has_true(sides.unknown) {
        return;
    }
    let hidden = is_hidden(sides.before_sensitive) || is_hidden(sides.after_sensitive);
    if let (Value::Object(before), Value::Object(after), false) =
        (sides.before, sides.after, hidden || unknown || depth >= DEPTH_MAX)
    {
        let later = sides.unknown.as_object();
        let keys: BTreeSet<&String> =
            before.keys().chain(after.keys()).chain(later.into_iter().flat_map(Map::keys)).collect();
        for key in keys {
            let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            compare(sides.at(key), below, depth + 1, found);
        }
        return;
    }
    let show = |value: &Value, marks: &Value| {
        if hidden { SENSITIVE.to_string() } else { shown(&masked(value, marks, sides.secrets)) }
    };
    let after = if unknown { LATER.to_string() } else { show(sides.after, sides.after_sensitive) };
    let before = show(sides.before, sides.before_sensitive);
    found.push(AttributeChange { path, before, after, replaces: false });
}

impl<'a> Sides<'a> {
    fn at(self, key: &str) -> Self {
        fn below<'b>(value: &'b Value, key: &str) -> &'b Value {
            value.get(key).unwrap_or(&Value::Null)
        }
        Self {
            before: below(self.before, key),
            after: below(self.after, key),
            unknown: below(self.unknown, key),
            before_sensitive: below(self.before_sensitive, key),
            after_sensitive: below(self.after_sensitive, key),
            secrets: self.secrets,
        }
    }
}

/// All of it is sensitive. A mark that is no mark counts as one: what is not understood is not shown.
fn is_hidden(marks: &Value) -> bool {
    match marks {
        Value::Bool(sensitive) => *sensitive,
        Value::Null | Value::Object(_) | Value::Array(_) => false,
        Value::Number(_) | Value::String(_) => true,
    }
}

fn has_true(marks: &Value) -> bool {
    match marks {
        Value::Bool(marked) => *marked,
        Value::Array(items) => items.iter().any(has_true),
        Value::Object(map) => map.values().any(has_true),
        Value::Null | Value::Number(_) | Value::String(_) => false,
    }
}

/// The value with everything taken out that is marked here or elsewhere.
fn masked(value: &Value, marks: &Value, secrets: &[String]) -> Value {
    if is_hidden(marks) || has_true(marks) && !same_shape(value, marks) && !value.is_null() {
        return Value::String(SENSITIVE.into());
    }
    match value {
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| {
                (key.clone(), masked(value, marks.get(key).unwrap_or(&Value::Null), secrets))
            };
            Value::Object(map.iter().map(entry).collect())
        }
        Value::Array(items) => {
            let item = |(i, value)| masked(value, marks.get(i).unwrap_or(&Value::Null), secrets);
            items.iter().enumerate().map(item).collect()
        }
        Value::String(text) => {
            let hide = |text: String, secret: &String| text.replace(secret.as_str(), SENSITIVE);
            Value::String(secrets.iter().fold(text.clone(), hide))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) if text == SENSITIVE => return text.clone(),
        Value::Null => "nothing".to_string(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    };
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn written(path: &[Value]) -> String {
    let part = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
    path.iter().map(part).collect::<Vec<_>>().join(".")
}

/// Lists are compared as a whole, so a path may point below what is shown.
fn lies_in(path: &str, other: &str) -> bool {
    let within =
        |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'));
    path == other || within(path, other) || within(other, path)
}
