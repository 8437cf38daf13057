//! The configuration text as a tree in which every key and value knows its line and column.
use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Marker, Options, Parser, ScalarStyle, Span, StrInput};

use super::problem::{Notes, quotable};

/// Deeper than any sensible configuration, and shallow enough for recursion.
const MAX_DEPTH: usize = 32;
/// After aliases are resolved: a file that multiplies itself stops here.
const MAX_WEIGHT: usize = 8 << 20;
/// Of a node besides its text, so that many small ones count for the memory they take.
const NODE_WEIGHT: usize = 16;

/// A place in the file; both count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Mark {
    pub(super) const START: Mark = Mark { line: 1, column: 1 };
}

// No Debug on the tree: it holds secrets until they are read.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) at: Mark,
    pub(super) value: Value,
}

#[derive(Clone)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_at: Mark,
    pub(super) node: Node,
}

/// A scalar as YAML 1.2 resolves it. Numbers keep their text, so that nothing is rounded on the way.
#[derive(Clone)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
}

impl Node {
    /// What it is, for messages; never its content, which may be a secret in the wrong place.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar(Scalar::Null) => "nothing",
            Value::Scalar(Scalar::Bool(_)) => "true or false",
            Value::Scalar(Scalar::Number(_)) => "a number",
            Value::Scalar(Scalar::Text(_)) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.value, Value::Scalar(Scalar::Null))
    }

    fn extent(&self) -> Extent {
        let children: Vec<Extent> = match &self.value {
            Value::Scalar(Scalar::Number(text) | Scalar::Text(text)) => {
                return Extent { weight: NODE_WEIGHT + text.len(), height: 1 };
            }
            Value::Scalar(Scalar::Null | Scalar::Bool(_)) => {
                return Extent { weight: NODE_WEIGHT, height: 1 };
            }
            Value::List(items) => items.iter().map(Node::extent).collect(),
            Value::Map(entries) => entries.iter().map(Entry::extent).collect(),
        };
        Extent {
            weight: NODE_WEIGHT + children.iter().map(|c| c.weight).sum::<usize>(),
            height: 1 + children.iter().map(|c| c.height).max().unwrap_or(0),
        }
    }
}

impl Entry {
    fn extent(&self) -> Extent {
        let node = self.node.extent();
        Extent { weight: self.key.len() + node.weight, height: node.height }
    }
}

struct Extent {
    weight: usize,
    height: usize,
}

/// Why a text is no tree.
pub(super) struct Fault {
    pub(super) at: Mark,
    pub(super) message: String,
}

/// Parses one document. `None` for a text without any content.
pub(super) fn parse<'a>(text: &'a str, notes: &'a Notes) -> Result<Option<Node>, Fault> {
    let mut options = Options::default();
    options.emit_comments = false;
    let parser = Parser::new_from_str_with_options(text, options);
    Builder { parser, anchors: HashMap::new(), weight: 0, notes }.document()
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    weight: usize,
    notes: &'a Notes,
}

type Step<'a> = (Event<'a>, Mark);

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Option<Node>, Fault> {
        let mut root = None;
        while let Some((event, at)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentEnd | Event::StreamEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    return Err(fault(at, "a second document begins here: one file holds one configuration"));
                }
                Event::DocumentStart(..) => {}
                node => root = Some(self.node((node, at), 1)?),
            }
        }
        Ok(root.filter(|node: &Node| !node.is_null()))
    }

    fn next(&mut self) -> Result<Option<Step<'a>>, Fault> {
        let Some(next) = self.parser.next_event() else { return Ok(None) };
        let (event, span) =
            next.map_err(|e| fault(mark(e.marker()), format!("not valid YAML: {}", e.kind())))?;
        Ok(Some((event, start(&span))))
    }

    fn must(&mut self, since: Mark) -> Result<Step<'a>, Fault> {
        self.next()?.ok_or_else(|| fault(since, "what begins here does not end"))
    }

    fn node(&mut self, (event, at): Step<'a>, depth: usize) -> Result<Node, Fault> {
        if depth > MAX_DEPTH {
            return Err(fault(at, format!("nested more than {MAX_DEPTH} deep")));
        }
        let (value, anchor, tagged) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (Value::Scalar(resolve(&text, style)), anchor, tag.is_some())
            }
            Event::SequenceStart(_, anchor, tag) => (self.list(at, depth)?, anchor, tag.is_some()),
            Event::MappingStart(_, anchor, tag) => (self.map(at, depth)?, anchor, tag.is_some()),
            Event::Alias(anchor) => return self.alias(anchor, at, depth),
            _ => return Err(fault(at, "not valid YAML here")),
        };
        if tagged {
            return Err(fault(
                at,
                "YAML tags (!…) mean nothing here: leave it out, and quote text that needs it",
            ));
        }
        let node = Node { at, value };
        self.weigh(own_weight(&node), at)?;
        if anchor > 0 {
            self.weigh(node.extent().weight, at)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, at: Mark, depth: usize) -> Result<Node, Fault> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(fault(at, "this alias stands inside of what it names"));
        };
        let extent = node.extent();
        if depth + extent.height > MAX_DEPTH {
            return Err(fault(at, format!("nested more than {MAX_DEPTH} deep by this alias")));
        }
        let node = node.clone();
        self.weigh(extent.weight, at)?;
        Ok(node)
    }

    fn list(&mut self, at: Mark, depth: usize) -> Result<Value, Fault> {
        let mut items = Vec::new();
        loop {
            match self.must(at)? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                step => items.push(self.node(step, depth + 1)?),
            }
        }
    }

    fn map(&mut self, at: Mark, depth: usize) -> Result<Value, Fault> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        loop {
            let (key, key_at) = match self.must(at)? {
                (Event::MappingEnd, _) => return Ok(Value::Map(entries)),
                (Event::Scalar(text, ..), at) => (text.into_owned(), at),
                (_, at) => return Err(fault(at, "a key must be plain text")),
            };
            self.weigh(key.len(), key_at)?;
            let first = lines.get(&key).copied();
            let step = self.must(at)?;
            let mut node = self.node(step, depth + 1)?;
            if node.is_null() {
                // The parser places an empty value at whatever comes next.
                node.at = key_at;
            }
            if let Some(line) = first {
                let shown = quotable(&key).unwrap_or("this key");
                self.notes
                    .error(key_at, format!("{shown} stands here a second time: the first is in line {line}"));
                continue;
            }
            lines.insert(key.clone(), key_at.line);
            entries.push(Entry { key, key_at, node });
        }
    }

    fn weigh(&mut self, weight: usize, at: Mark) -> Result<(), Fault> {
        self.weight = self.weight.saturating_add(weight);
        if self.weight > MAX_WEIGHT {
            return Err(fault(at, "the file grows too large here: use fewer anchors and aliases"));
        }
        Ok(())
    }
}

fn own_weight(node: &Node) -> usize {
    match &node.value {
        Value::Scalar(_) => node.extent().weight,
        Value::List(_) | Value::Map(_) => NODE_WEIGHT,
    }
}

fn resolve(text: &str, style: ScalarStyle) -> Scalar {
    if style != ScalarStyle::Plain {
        return Scalar::Text(text.to_string());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "true" | "True" | "TRUE" => Scalar::Bool(true),
        "false" | "False" | "FALSE" => Scalar::Bool(false),
        _ if is_number(text) => Scalar::Number(text.to_string()),
        _ => Scalar::Text(text.to_string()),
    }
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let begins = |c: char| c.is_ascii_digit() || c == '.';
    unsigned.starts_with(begins)
        && unsigned.contains(|c: char| c.is_ascii_digit())
        && text.parse::<f64>().is_ok_and(f64::is_finite)
}

fn fault(at: Mark, message: impl Into<String>) -> Fault {
    Fault { at, message: message.into() }
}

fn start(span: &Span) -> Mark {
    mark(&span.start)
}

fn mark(marker: &Marker) -> Mark {
    Mark { line: marker.line().max(1), column: marker.col() + 1 }
}
