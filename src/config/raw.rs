//! A mapping of the file read by its table: unknown, missing and wrong keys are noted, everything else is typed.
use std::collections::BTreeMap;

use super::problem::{Notes, quotable};
use super::shape::{Field, Leaf, Need, Shape};
use super::value::FromText;
use super::yaml::{Entry, Mark, Node, Scalar, Value};

/// A mapping whose keys have been checked against its table.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    at: Mark,
    own: &'a [Entry],
    /// Where keys are looked up that are not there: the defaults of a service.
    fallback: &'a [Entry],
    table: &'static [Field],
    pub(super) notes: &'a Notes,
}

impl<'a> Fields<'a> {
    /// `None`, and a note, if the node is no mapping. `what` is how messages call it.
    pub(super) fn open(
        node: &'a Node,
        what: &str,
        table: &'static [Field],
        notes: &'a Notes,
    ) -> Option<Self> {
        let fields = Self::with_fallback(node, what, table, notes, &[])?;
        fields.note_missing(&fields.note_unknown(), |need| need == Need::Here);
        Some(fields)
    }

    /// A service over its defaults.
    pub(super) fn open_over(
        node: &'a Node,
        what: &str,
        table: &'static [Field],
        notes: &'a Notes,
        fallback: &'a [Entry],
    ) -> Option<Self> {
        let fields = Self::with_fallback(node, what, table, notes, fallback)?;
        fields.note_missing(&fields.note_unknown(), |need| need != Need::Optional);
        Some(fields)
    }

    /// A mapping whose keys are its author's.
    pub(super) fn open_free(&self, key: &str) -> Option<Self> {
        Self::with_fallback(&self.entry(key)?.node, key, &[], self.notes, &[])
    }

    fn with_fallback(
        node: &'a Node,
        what: &str,
        table: &'static [Field],
        notes: &'a Notes,
        fallback: &'a [Entry],
    ) -> Option<Self> {
        let own = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Scalar(Scalar::Null) => &[],
            Value::Scalar(_) | Value::List(_) => {
                let wrong = wrong_kind(node, &Shape::Map(table).expected());
                notes.error(node.at, format!("{what}: {wrong}"));
                return None;
            }
        };
        Some(Self { at: node.at, own, fallback, table, notes })
    }

    /// Answers the keys that were probably meant.
    fn note_unknown(&self) -> Vec<&'static str> {
        let known: Vec<String> = self.table.iter().flat_map(Field::keys).collect();
        let mut meant = Vec::new();
        for entry in self.own.iter().filter(|entry| !known.contains(&entry.key)) {
            let nearest = nearest(&entry.key, &known);
            self.notes.error(entry.key_at, unknown_key(&entry.key, nearest, &known));
            meant.extend(
                self.table.iter().filter(|f| nearest.is_some_and(|n| f.keys().contains(n))).map(|f| f.name),
            );
        }
        meant
    }

    fn note_missing(&self, meant: &[&str], needed: fn(Need) -> bool) {
        for field in self.table.iter().filter(|field| needed(field.need) && !meant.contains(&field.name)) {
            let keys = field.keys();
            if !keys.iter().any(|key| self.has(key)) {
                let expected = field.shape.expected();
                let names = keys.join(" or ");
                self.notes.error(self.at, format!("{names} is missing: {expected} is expected"));
            }
        }
    }

    /// Where the mapping begins.
    pub(super) fn begin(&self) -> Mark {
        self.at
    }

    pub(super) fn entries(&self) -> &'a [Entry] {
        self.own
    }

    pub(super) fn entry(&self, key: &str) -> Option<&'a Entry> {
        let find = |entries: &'a [Entry]| entries.iter().find(|entry| entry.key == key);
        find(self.own).or_else(|| find(self.fallback))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Where a key's value is, or else the mapping.
    pub(super) fn at(&self, key: &str) -> Mark {
        self.entry(key).map_or(self.at, |entry| entry.node.at)
    }

    pub(super) fn key_at(&self, key: &str) -> Mark {
        self.entry(key).map_or(self.at, |entry| entry.key_at)
    }

    fn field(&self, key: &str) -> Option<(&'a Entry, &'static Field)> {
        Some((self.entry(key)?, self.table.iter().find(|field| field.name == key)?))
    }

    /// A scalar; `None` if it is not there, and `None` with a note if it is wrong.
    pub(super) fn read<T: FromText>(&self, key: &str) -> Option<T> {
        let (entry, field) = self.field(key)?;
        let (Shape::Leaf(leaf) | Shape::WordOrMap(leaf, _)) = field.shape else { return None };
        let value = text_of(&entry.node, leaf).and_then(|text| T::from_text(text, leaf));
        value.map_err(|why| self.notes.error(entry.node.at, format!("{key}: {why}"))).ok()
    }

    /// The text of a scalar as it stands in the file, without a note.
    pub(super) fn peek(&self, key: &str) -> Option<&'a str> {
        self.entry(key).and_then(|entry| text_of(&entry.node, Leaf::Text).ok())
    }

    /// Text of any content; for secrets, of which no message says more than what kind it is.
    pub(super) fn plain(&self, key: &str) -> Option<String> {
        self.text(&self.entry(key)?.node, key)
    }

    pub(super) fn map(&self, key: &str) -> Option<Fields<'a>> {
        let (entry, field) = self.field(key)?;
        let (Shape::Map(table) | Shape::WordOrMap(_, table)) = field.shape else { return None };
        Fields::open(&entry.node, key, table, self.notes)
    }

    /// Whether there is a mapping, and not a word.
    pub(super) fn holds_map(&self, key: &str) -> bool {
        self.entry(key).is_some_and(|entry| matches!(entry.node.value, Value::Map(_)))
    }

    /// The items of a list; empty if it is not there or wrong.
    pub(super) fn items(&self, key: &str) -> &'a [Node] {
        let Some((entry, field)) = self.field(key) else { return &[] };
        match &entry.node.value {
            Value::List(items) => items,
            Value::Scalar(_) | Value::Map(_) => {
                let expected = field.shape.expected();
                self.notes.error(entry.node.at, format!("{key}: {}", wrong_kind(&entry.node, &expected)));
                &[]
            }
        }
    }

    /// Whether there is a list with nothing in it; another kind of value is noted when it is read.
    pub(super) fn is_empty_list(&self, key: &str) -> bool {
        self.entry(key)
            .is_some_and(|entry| matches!(&entry.node.value, Value::List(items) if items.is_empty()))
    }

    /// The mappings of a list, or the one that stands there without a list.
    pub(super) fn some_maps(&self, key: &str) -> Vec<Fields<'a>> {
        let Some((entry, Field { shape: Shape::SomeMaps(table), .. })) = self.field(key) else {
            return Vec::new();
        };
        let nodes = match &entry.node.value {
            Value::List(items) => items.as_slice(),
            Value::Map(_) | Value::Scalar(_) => std::slice::from_ref(&entry.node),
        };
        nodes.iter().filter_map(|node| Fields::open(node, key, table, self.notes)).collect()
    }

    /// The mappings of a mapping, each with its name.
    pub(super) fn named(&self, key: &str) -> Vec<(&'a Entry, Fields<'a>)> {
        let Some((entry, Field { shape: shape @ Shape::Named(table), .. })) = self.field(key) else {
            return Vec::new();
        };
        let Value::Map(entries) = &entry.node.value else {
            let wrong = wrong_kind(&entry.node, &shape.expected());
            self.notes.error(entry.node.at, format!("{key}: {wrong}"));
            return Vec::new();
        };
        entries.iter().filter_map(|e| Some((e, Fields::open(&e.node, key, table, self.notes)?))).collect()
    }

    /// The scalars of a list, or the one that stands there without a list, with where each is.
    pub(super) fn some<T: FromText>(&self, key: &str) -> Vec<(Mark, T)> {
        let Some((entry, Field { shape: Shape::Some(leaf), .. })) = self.field(key) else {
            return Vec::new();
        };
        let nodes = match &entry.node.value {
            Value::List(items) => items.as_slice(),
            Value::Map(_) | Value::Scalar(_) => std::slice::from_ref(&entry.node),
        };
        let read = |node: &Node| {
            let value = text_of(node, *leaf).and_then(|text| T::from_text(text, *leaf));
            let value = value.map_err(|why| self.notes.error(node.at, format!("{key}: {why}"))).ok()?;
            Some((node.at, value))
        };
        nodes.iter().filter_map(read).collect()
    }

    pub(super) fn maps(&self, key: &str) -> Vec<Fields<'a>> {
        let Some((_, Field { shape: Shape::Maps(table), .. })) = self.field(key) else { return Vec::new() };
        self.items(key).iter().filter_map(|item| Fields::open(item, key, table, self.notes)).collect()
    }

    pub(super) fn texts(&self, key: &str) -> Vec<String> {
        self.items(key).iter().filter_map(|item| self.text(item, key)).collect()
    }

    /// A mapping of text to text, with where each value is.
    pub(super) fn pairs(&self, key: &str) -> BTreeMap<String, (Mark, String)> {
        let Some((entry, field)) = self.field(key) else { return BTreeMap::new() };
        match &entry.node.value {
            Value::Map(entries) => entries
                .iter()
                .filter_map(|e| Some((e.key.clone(), (e.key_at, self.text(&e.node, key)?))))
                .collect(),
            Value::Scalar(_) | Value::List(_) => {
                let expected = field.shape.expected();
                self.notes.error(entry.node.at, format!("{key}: {}", wrong_kind(&entry.node, &expected)));
                BTreeMap::new()
            }
        }
    }

    fn text(&self, node: &Node, key: &str) -> Option<String> {
        let text = text_of(node, Leaf::Text).map(str::to_string);
        text.map_err(|why| self.notes.error(node.at, format!("{key}: {why}"))).ok()
    }

    /// Which one of these keys is there; notes it if none or several are.
    pub(super) fn one_of(&self, keys: &[&'static str]) -> Option<&'static str> {
        let given: Vec<&'static str> = keys.iter().copied().filter(|key| self.has(key)).collect();
        match given.as_slice() {
            [one] => Some(one),
            [] => {
                self.notes.error(self.at, format!("one of {} is missing", keys.join(", ")));
                None
            }
            [first, second, ..] => {
                self.notes
                    .error(self.key_at(second), format!("{first} and {second} exclude each other: keep one"));
                None
            }
        }
    }
}

/// The scalar's text if a leaf of this kind may be written so.
pub(super) fn text_of(node: &Node, leaf: Leaf) -> Result<&str, String> {
    match &node.value {
        Value::Scalar(Scalar::Text(text)) if !matches!(leaf, Leaf::Bool) => Ok(text),
        Value::Scalar(Scalar::Number(text)) if leaf.takes_numbers() => Ok(text),
        Value::Scalar(Scalar::Bool(value)) if matches!(leaf, Leaf::Bool) => {
            Ok(if *value { "true" } else { "false" })
        }
        Value::Scalar(_) | Value::List(_) | Value::Map(_) => Err(wrong_kind(node, &leaf.expected())),
    }
}

fn wrong_kind(node: &Node, expected: &str) -> String {
    format!("found {}, expected {expected}", node.kind())
}

pub(super) fn nearest<'a>(key: &str, known: &'a [String]) -> Option<&'a String> {
    let key = quotable(key)?;
    let distance = |name: &&String| strsim::damerau_levenshtein(key, name);
    known.iter().min_by_key(distance).filter(|name| distance(name) <= (name.len() / 3).max(1))
}

fn unknown_key(key: &str, nearest: Option<&String>, known: &[String]) -> String {
    if key == "<<" {
        return "merge keys are not supported: use the section `defaults`".into();
    }
    let Some(key) = quotable(key) else {
        return "this is no key: write key: value, with a space after the colon".into();
    };
    match (nearest, known) {
        (Some(name), _) => format!("unknown key {key:?}: did you mean {name:?}?"),
        (None, []) => format!("unknown key {key:?}: no keys belong here"),
        (None, known) => format!("unknown key {key:?}: known here are {}", known.join(", ")),
    }
}
