//! Reads the Prometheus text format 0.0.4 and OpenMetrics text line by line as it arrives, within limits.
pub mod protobuf;

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::config::selector::is_name_char;

/// A body longer than this is given up.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
const LINES_MAX: usize = 200_000;
const LINE_BYTES_MAX: usize = 64 * 1024;
const LABEL_BYTES_MAX: usize = 4 * 1024;

/// One sample line. Labels are decoded when they are asked for: most series are of no interest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Series<'a> {
    pub name: &'a str,
    pub labels: Labels<'a>,
    pub value: f64,
}

/// The labels of a series, in the form in which they came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Labels<'a>(Form<'a>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form<'a> {
    /// What stands between the braces; checked.
    Text(&'a str),
    /// Of a protobuf message, with the label that the text format adds to a bucket or a quantile.
    Pairs(&'a [protobuf::LabelPair], Option<(&'static str, f64)>),
}

/// A line that cannot be read. The name is known when the rest of the line is what is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken<'a> {
    pub name: Option<&'a str>,
}

/// Why reading was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLong {
    #[error("the metrics are longer than {BODY_BYTES_MAX} bytes")]
    Body,
    #[error("the metrics have more than {LINES_MAX} lines")]
    Lines,
}

/// Cuts what arrives into lines and hands each series to a callback. Holds no more than one line.
#[derive(Debug, Default)]
pub struct Reader {
    /// The beginning of a line whose end has not come yet.
    carry: Vec<u8>,
    /// The line at hand was too long and is being thrown away.
    skipping: bool,
    bytes: usize,
    lines: usize,
    broken: usize,
}

impl Reader {
    /// Lines that could not be read so far; they are skipped.
    pub fn broken(&self) -> usize {
        self.broken
    }

    /// Takes the next piece of the body.
    ///
    /// # Errors
    /// When the body or the number of its lines passes the limit.
    pub fn feed<F>(&mut self, chunk: &[u8], each: &mut F) -> Result<(), TooLong>
    where
        F: FnMut(Result<Series<'_>, Broken<'_>>),
    {
        self.bytes = self.bytes.saturating_add(chunk.len());
        if self.bytes > BODY_BYTES_MAX {
            return Err(TooLong::Body);
        }
        let mut pieces = chunk.split(|b| *b == b'\n');
        let tail = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            self.end_line(piece, each)?;
        }
        self.keep(tail);
        Ok(())
    }

    /// The body is over: its last line may lack the line feed.
    ///
    /// # Errors
    /// When the number of lines passes the limit.
    pub fn finish<F>(&mut self, each: &mut F) -> Result<(), TooLong>
    where
        F: FnMut(Result<Series<'_>, Broken<'_>>),
    {
        self.end_line(&[], each)
    }

    fn end_line<F>(&mut self, piece: &[u8], each: &mut F) -> Result<(), TooLong>
    where
        F: FnMut(Result<Series<'_>, Broken<'_>>),
    {
        self.lines += 1;
        if self.lines > LINES_MAX {
            return Err(TooLong::Lines);
        }
        if self.carry.is_empty() && !self.skipping {
            self.line(piece, each);
            return Ok(());
        }
        self.keep(piece);
        let carry = std::mem::take(&mut self.carry);
        if std::mem::take(&mut self.skipping) {
            self.broken += 1;
            each(Err(Broken { name: None }));
        } else {
            self.line(&carry, each);
        }
        // Its memory is used again for the next chunk's end.
        self.carry = carry;
        self.carry.clear();
        Ok(())
    }

    fn keep(&mut self, piece: &[u8]) {
        self.skipping |= self.carry.len() + piece.len() > LINE_BYTES_MAX;
        if self.skipping {
            self.carry.clear();
        } else {
            self.carry.extend_from_slice(piece);
        }
    }

    fn line<F>(&mut self, bytes: &[u8], each: &mut F)
    where
        F: FnMut(Result<Series<'_>, Broken<'_>>),
    {
        let read = match std::str::from_utf8(bytes) {
            Ok(text) if bytes.len() <= LINE_BYTES_MAX => parse(text),
            Ok(_) | Err(_) => Err(Broken { name: None }),
        };
        match read {
            Ok(None) => {}
            Ok(Some(series)) => each(Ok(series)),
            Err(broken) => {
                self.broken += 1;
                each(Err(broken));
            }
        }
    }
}

/// One line; `None` for comments and empty lines.
fn parse(line: &str) -> Result<Option<Series<'_>>, Broken<'_>> {
    let line = line.trim_matches([' ', '\t', '\r']);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let end = line.find(|c| !is_name_char(c)).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Broken { name: None });
    }
    series(name, rest).map(Some).ok_or(Broken { name: Some(name) })
}

fn series<'a>(name: &'a str, rest: &'a str) -> Option<Series<'a>> {
    let rest = rest.trim_start_matches(BLANK);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => {
            let mut pairs = Pairs { rest: inside };
            while let Some((_, value)) = pairs.next()? {
                (value.len() <= LABEL_BYTES_MAX).then_some(())?;
            }
            inside.split_at(inside.len() - pairs.rest.len())
        }
        None => ("", rest),
    };
    // An exemplar of OpenMetrics may follow the value and the time.
    let plain = rest.split_once(" #").map_or(rest, |(before, _)| before);
    let mut words = plain.split(BLANK).filter(|word| !word.is_empty());
    let value = number(words.next()?)?;
    if let Some(time) = words.next() {
        number(time)?;
    }
    words.next().is_none().then_some(Series { name, labels: Labels(Form::Text(labels)), value })
}

const BLANK: [char; 2] = [' ', '\t'];

/// `1e+03`, `NaN`, `+Inf`. Rust also reads "infinity" and the like, as Go does.
fn number(word: &str) -> Option<f64> {
    word.parse().ok()
}

impl<'a> Labels<'a> {
    /// The same for the same labels on another page of the same pod, as long as it answers in the same format.
    pub fn identity(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        match self.0 {
            Form::Text(text) => text.hash(&mut hasher),
            Form::Pairs(pairs, added) => {
                pairs.iter().for_each(|pair| (pair.name(), pair.value()).hash(&mut hasher));
                added.map(|(name, number)| (name, number.to_bits())).hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    /// The value of a label, "" when it is not there.
    pub fn get(&self, name: &str) -> Cow<'a, str> {
        match self.0 {
            Form::Text(text) => written(text, name),
            Form::Pairs(_, Some((added, f64::INFINITY))) if name == added => Cow::Borrowed("+Inf"),
            Form::Pairs(_, Some((added, number))) if name == added => Cow::Owned(number.to_string()),
            Form::Pairs(pairs, _) => {
                let named = pairs.iter().find(|pair| pair.name() == name);
                Cow::Borrowed(named.map_or("", |pair| pair.value()))
            }
        }
    }
}

fn written<'a>(text: &'a str, name: &str) -> Cow<'a, str> {
    let mut pairs = Pairs { rest: text };
    while let Some(Some((label, value))) = pairs.next() {
        if label == name {
            return unescaped(value);
        }
    }
    Cow::Borrowed("")
}

/// Goes through `a="b",c="d"}`, and stands behind the brace at the end.
struct Pairs<'a> {
    rest: &'a str,
}

impl<'a> Pairs<'a> {
    /// The next name and raw value; `Some(None)` at the end, `None` when it is broken.
    fn next(&mut self) -> Option<Option<(&'a str, &'a str)>> {
        let rest = self.rest.trim_start_matches(BLANK);
        if let Some(rest) = rest.strip_prefix('}') {
            self.rest = rest;
            return Some(None);
        }
        let (label, rest) = rest.split_once('=')?;
        let label = label.trim_end_matches(BLANK);
        let well_named = !label.is_empty() && label.chars().all(|c| c != ':' && is_name_char(c));
        (well_named && !label.starts_with(|c: char| c.is_ascii_digit())).then_some(())?;
        let rest = rest.trim_start_matches(BLANK).strip_prefix('"')?;
        let end = closing_quote(rest)?;
        let (value, rest) = (&rest[..end], rest[end + 1..].trim_start_matches(BLANK));
        self.rest = match rest.strip_prefix(',') {
            Some(more) => more,
            None => rest.starts_with('}').then_some(rest)?,
        };
        Some(Some((label, value)))
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|b| {
        let closes = b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        closes
    })
}

/// `\\`, `\"` and `\n`; any other backslash stands for itself.
fn unescaped(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some(next @ ('\\' | '"' | 'n'))) => {
                text.push(if next == 'n' { '\n' } else { next });
                chars.next();
            }
            (c, _) => text.push(c),
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests;
