//! Reads Prometheus' protobuf format message by message, within limits: the only one that shows native histograms.
mod messages;

use prost::Message;
use prost::bytes::Buf;

use self::messages::{Histogram, Metric};
use super::{BODY_BYTES_MAX, Broken, Form, LINES_MAX, Labels, Series, TooLong};
use crate::domain::histogram::Native;

pub use self::messages::LabelPair;

/// What is asked for, and what an answer in this format is called.
pub const CONTENT_TYPE: &str =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
/// One metric of a family is a few kilobytes; decoded it takes up to 24 times as much.
const METRIC_BYTES_MAX: usize = 256 * 1024;
/// No varint is longer.
const VARINT_BYTES_MAX: usize = 10;

/// Why reading was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    #[error(transparent)]
    TooLong(#[from] TooLong),
    #[error("the metrics are no delimited protobuf messages, or break off")]
    Malformed,
}

/// Whoever wants to know what a page says.
pub trait Listener {
    /// Whether any metric of this family matters; the others are not decoded.
    fn wants(&self, family: &str) -> bool;
    /// A number, as it would stand in the text format; or the name of a family that cannot be read.
    fn take(&mut self, series: Result<Series<'_>, Broken<'_>>);
    fn take_native(&mut self, family: &str, labels: Labels<'_>, times: Native);
}

/// Whether an answer of this content type is in this format.
pub fn is_protobuf(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    parts.next() == Some("application/vnd.google.protobuf")
        && parts.any(|p| p.trim_matches('"') == "encoding=delimited")
}

/// Cuts what arrives into messages, each a family of metrics. Holds no more than one body's limit.
#[derive(Debug, Default)]
pub struct Reader {
    /// The beginning of a message whose end has not come yet.
    carry: Vec<u8>,
    bytes: usize,
    metrics: usize,
}

impl Reader {
    /// Takes the next piece of the body.
    ///
    /// # Errors
    /// When the body or the number of its metrics passes the limit, or it is not made of messages.
    pub fn feed(&mut self, chunk: &[u8], listener: &mut impl Listener) -> Result<(), Unread> {
        self.bytes = self.bytes.saturating_add(chunk.len());
        if self.bytes > BODY_BYTES_MAX {
            return Err(TooLong::Body.into());
        }
        let mut carry = std::mem::take(&mut self.carry);
        carry.extend_from_slice(chunk);
        let mut rest = carry.as_slice();
        while let Some((message, after)) = delimited(rest)? {
            self.family(message, listener)?;
            rest = after;
        }
        let done = carry.len() - rest.len();
        carry.drain(..done);
        self.carry = carry;
        Ok(())
    }

    /// The body is over.
    ///
    /// # Errors
    /// When it broke off in the middle of a message.
    pub fn finish(&self) -> Result<(), Unread> {
        if self.carry.is_empty() { Ok(()) } else { Err(Unread::Malformed) }
    }

    /// `name = 1` and `repeated Metric metric = 4` of a `MetricFamily`. Its metrics are decoded one by one: an unbounded
    /// number of empty ones would take two bytes each to send, and hundreds to hold.
    fn family(&mut self, message: &[u8], listener: &mut impl Listener) -> Result<(), Unread> {
        let mut name = None;
        for field in (Fields { rest: message }) {
            if let Field { number: 1, bytes: Some(bytes) } = field? {
                name = Some(std::str::from_utf8(bytes).map_err(|_| Unread::Malformed)?);
            }
        }
        let Some(name) = name.filter(|name| listener.wants(name)) else { return Ok(()) };
        for field in (Fields { rest: message }) {
            let Field { number: 4, bytes: Some(bytes) } = field? else { continue };
            self.metrics += 1;
            if self.metrics > LINES_MAX {
                return Err(TooLong::Lines.into());
            }
            let decoded = (bytes.len() <= METRIC_BYTES_MAX).then(|| Metric::decode(bytes).ok()).flatten();
            match decoded.map(|metric| tell(name, &metric, listener)) {
                Some(Some(())) => {}
                Some(None) | None => listener.take(Err(Broken { name: Some(name) })),
            }
        }
        Ok(())
    }
}

/// A message and what comes after it.
type Cut<'a> = (&'a [u8], &'a [u8]);

/// The first message; `None` while its end has not come.
fn delimited(bytes: &[u8]) -> Result<Option<Cut<'_>>, Unread> {
    let mut rest = bytes;
    let length = match prost::decode_length_delimiter(&mut rest) {
        Ok(length) => length,
        Err(_) if bytes.len() < VARINT_BYTES_MAX => return Ok(None),
        Err(_) => return Err(Unread::Malformed),
    };
    if length > BODY_BYTES_MAX {
        return Err(TooLong::Body.into());
    }
    Ok(rest.split_at_checked(length))
}

/// A field of a message; `bytes` only where it has a length.
struct Field<'a> {
    number: usize,
    bytes: Option<&'a [u8]>,
}

/// Goes through the fields of a message without decoding them.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn read(&mut self) -> Option<Field<'a>> {
        let key = self.varint()?;
        let (number, wire_type) = (key >> 3, key & 7);
        let bytes = match wire_type {
            0 => {
                self.varint()?;
                None
            }
            1 => self.skip(8)?,
            2 => {
                let length = self.varint()?;
                let (bytes, rest) = self.rest.split_at_checked(length)?;
                self.rest = rest;
                Some(bytes)
            }
            5 => self.skip(4)?,
            // Groups are of a time before this format.
            _ => return None,
        };
        Some(Field { number, bytes })
    }

    fn varint(&mut self) -> Option<usize> {
        prost::decode_length_delimiter(&mut self.rest).ok()
    }

    fn skip(&mut self, bytes: usize) -> Option<Option<&'a [u8]>> {
        (self.rest.len() >= bytes).then(|| self.rest.advance(bytes))?;
        Some(None)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Unread>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or(Unread::Malformed))
    }
}

/// Tells a metric in the series that the text format would have for it. `None`: it is no metric.
fn tell(family: &str, metric: &Metric, listener: &mut impl Listener) -> Option<()> {
    if let Some(histogram) = &metric.histogram {
        return tell_histogram(family, &metric.label, histogram, listener);
    }
    let labels = Labels(Form::Pairs(&metric.label, None));
    let mut number =
        |name: &str, labels: Labels<'_>, value: f64| listener.take(Ok(Series { name, labels, value }));
    match &metric.summary {
        Some(summary) => {
            for one in &summary.quantile {
                let labels = Labels(Form::Pairs(&metric.label, Some(("quantile", one.quantile()))));
                number(family, labels, one.value());
            }
            number(&format!("{family}_count"), labels, summary.sample_count() as f64);
            number(&format!("{family}_sum"), labels, summary.sample_sum());
        }
        None => number(family, labels, metric.number()?),
    }
    Some(())
}

fn tell_histogram(
    family: &str,
    pairs: &[LabelPair],
    histogram: &Histogram,
    listener: &mut impl Listener,
) -> Option<()> {
    let mut number = |suffix: &str, le: Option<f64>, value: f64| {
        let labels = Labels(Form::Pairs(pairs, le.map(|bound| ("le", bound))));
        listener.take(Ok(Series { name: &format!("{family}{suffix}"), labels, value }));
    };
    number("_count", None, histogram.count());
    number("_sum", None, histogram.sample_sum.unwrap_or(0.0));
    for bucket in &histogram.bucket {
        number("_bucket", Some(bucket.upper_bound?), bucket.count());
    }
    let whole = histogram.bucket.iter().any(|bucket| bucket.upper_bound == Some(f64::INFINITY));
    if !whole && (!histogram.bucket.is_empty() || !histogram.is_native()) {
        number("_bucket", Some(f64::INFINITY), histogram.count());
    }
    if histogram.is_native() {
        listener.take_native(family, Labels(Form::Pairs(pairs, None)), histogram.native()?);
    }
    Some(())
}

#[cfg(test)]
mod tests;
