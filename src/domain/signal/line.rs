//! One line of a recording (DESIGN §7): a flat JSON object, read without copies into a [`Sample`].
mod scan;
#[cfg(test)]
mod tests;

use std::borrow::{Borrow, Cow};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::Hash;

use jiff::Timestamp;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{AlertStatus, PodReading, Reading, Sample};
use crate::domain::histogram::{Buckets, Histogram, Native, parse_bound};
use crate::domain::names::{NameError, RuleName, ServiceName, TargetName};

/// The kinds of line that this version knows: every [`Reading`].
pub const KINDS: [&str; 10] =
    ["release", "counts", "histogram", "value", "pod", "check", "remark", "alert", "control", "nodata"];

/// Why a line is no sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Of a kind that this version does not know: to be passed over.
    UnknownKind,
    /// With what is wrong about it.
    Broken(String),
}

/// Reads lines one after the other. Names and times that were on earlier lines are not made again.
#[derive(Debug, Default)]
pub struct LineReader {
    names: Names,
}

impl LineReader {
    /// Reads one line.
    ///
    /// # Errors
    /// When it is no sample of a kind that is known.
    pub fn read(&mut self, text: &[u8]) -> Result<Sample, Refusal> {
        if let Some(sample) = scan::sample(text, &mut self.names) {
            return Ok(sample);
        }
        let line = serde_json::from_slice::<Line<'_>>(text)
            .map_err(|error| error.to_string().replace(" at line 1 column ", " at column "));
        line.and_then(|line| line.sample(&mut self.names)).map_err(|why| {
            match serde_json::from_slice::<KindOnly<'_>>(text) {
                Ok(line) if !KINDS.contains(&&*line.kind.0) => Refusal::UnknownKind,
                Ok(_) | Err(_) => Refusal::Broken(why),
            }
        })
    }
}

#[derive(Deserialize)]
struct KindOnly<'a> {
    #[serde(borrow)]
    kind: Text<'a>,
}

/// Every key that any kind of line has. What a kind does not need is ignored, as unknown keys are.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    at: Option<Text<'a>>,
    #[serde(borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    service: Option<Text<'a>>,
    #[serde(borrow)]
    target: Option<Text<'a>>,
    #[serde(borrow)]
    release: Option<Text<'a>>,
    #[serde(borrow)]
    pod: Option<Text<'a>>,
    #[serde(borrow)]
    rule: Option<Text<'a>>,
    bad: Option<f64>,
    total: Option<f64>,
    value: Option<f64>,
    buckets: Option<Bounds>,
    native: Option<Native>,
    #[serde(borrow)]
    previous: Option<Text<'a>>,
    rollout_ended: Option<Timestamp>,
    ready: Option<bool>,
    created_at: Option<Timestamp>,
    ready_since: Option<Timestamp>,
    restarts: Option<u32>,
    #[serde(borrow)]
    reason: Option<Text<'a>>,
    #[serde(borrow)]
    probe: Option<Text<'a>>,
    endpoint: Option<bool>,
    gone: Option<bool>,
    ok: Option<bool>,
    #[serde(borrow)]
    detail: Option<Text<'a>>,
    #[serde(borrow)]
    alert: Option<Text<'a>>,
    status: Option<AlertStatus>,
    labels: Option<BTreeMap<String, String>>,
    #[serde(borrow)]
    other: Option<Text<'a>>,
    worse_since: Option<Timestamp>,
    crashes: Option<bool>,
}

impl Line<'_> {
    /// # Errors
    /// With what is wrong.
    pub(super) fn sample(self, names: &mut Names) -> Result<Sample, String> {
        let at = names.time(&need(self.at.as_ref(), "at")?.0)?;
        let service = names.service(&need(self.service.as_ref(), "service")?.0)?;
        let target = match &self.target {
            Some(target) => Some(names.target(&target.0)?),
            None => None,
        };
        let (release, pod) = (self.release.as_ref().map(Text::owned), self.pod.as_ref().map(Text::owned));
        Ok(Sample { at, service, target, release, pod, reading: self.reading(names)? })
    }

    fn pod_reading(self) -> Result<PodReading, String> {
        Ok(PodReading {
            ready: need(self.ready, "ready")?,
            created_at: self.created_at,
            ready_since: self.ready_since,
            restarts: self.restarts.unwrap_or(0),
            reason: self.reason.map(Text::into_owned),
            probe: self.probe.map(Text::into_owned),
            endpoint: self.endpoint,
            gone: self.gone.unwrap_or(false),
        })
    }

    fn reading(mut self, names: &mut Names) -> Result<Reading, String> {
        let kind = need(self.kind.take(), "kind")?;
        let rule = |names: &mut Names| names.rule(&need(self.rule.as_ref(), "rule")?.0);
        Ok(match &*kind.0 {
            "counts" => Reading::Counts {
                rule: rule(names)?,
                bad: need(self.bad, "bad")?,
                total: need(self.total, "total")?,
            },
            "histogram" => {
                Reading::Histogram { rule: rule(names)?, times: histogram(self.buckets, self.native)? }
            }
            "value" => Reading::Value { rule: rule(names)?, value: need(self.value, "value")? },
            "pod" => Reading::Pod(self.pod_reading()?),
            "release" => Reading::Release {
                previous: self.previous.map(Text::into_owned),
                rollout_ended: self.rollout_ended,
            },
            "check" => Reading::Check {
                rule: rule(names)?,
                ok: need(self.ok, "ok")?,
                detail: self.detail.map_or_else(String::new, Text::into_owned),
            },
            "remark" => {
                Reading::Remark { rule: rule(names)?, detail: need(self.detail, "detail")?.into_owned() }
            }
            "alert" => Reading::Alert {
                alert: need(self.alert, "alert")?.into_owned(),
                status: need(self.status, "status")?,
                labels: self.labels.unwrap_or_default(),
            },
            "control" => Reading::Control {
                other: need(self.other, "other")?.into_owned(),
                worse_since: self.worse_since,
                crashes: self.crashes.unwrap_or(false),
                detail: self.detail.map_or_else(String::new, Text::into_owned),
            },
            "nodata" => {
                Reading::NoData { rule: rule(names)?, reason: need(self.reason, "reason")?.into_owned() }
            }
            other => return Err(format!("unknown kind `{other}`")),
        })
    }
}

fn histogram(buckets: Option<Bounds>, native: Option<Native>) -> Result<Histogram, String> {
    match (buckets, native) {
        (Some(Bounds(buckets)), None) => Ok(Histogram::Classic(buckets)),
        (None, Some(native)) => Ok(Histogram::Native(native)),
        (None, None) => Err("a histogram needs `buckets` or `native`".into()),
        (Some(_), Some(_)) => Err("a histogram has `buckets` or `native`, not both".into()),
    }
}

fn need<T>(value: Option<T>, key: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("missing field `{key}`"))
}

/// Names and the newest time, as they were on earlier lines. Bounded: too many different ones are forgotten together.
#[derive(Debug, Default)]
pub(super) struct Names {
    time: Option<(String, Timestamp)>,
    services: Known<ServiceName>,
    targets: Known<TargetName>,
    rules: Known<RuleName>,
}

/// Different names of a sort that are remembered.
const NAMES_MAX: usize = 20_000;

#[derive(Debug)]
struct Known<T> {
    last: Option<T>,
    all: HashSet<T>,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self { last: None, all: HashSet::new() }
    }
}

impl<T: Clone + Eq + Hash + Borrow<str> + TryFrom<String, Error = NameError>> Known<T> {
    fn get(&mut self, text: &str) -> Result<T, String> {
        if let Some(name) = self.last.as_ref().filter(|last| (*last).borrow() == text) {
            return Ok(name.clone());
        }
        let name = match self.all.get(text) {
            Some(name) => name.clone(),
            None => {
                let name = T::try_from(text.to_string()).map_err(|error| error.to_string())?;
                if self.all.len() >= NAMES_MAX {
                    self.all.clear();
                }
                self.all.insert(name.clone());
                name
            }
        };
        self.last = Some(name.clone());
        Ok(name)
    }
}

impl Names {
    fn service(&mut self, text: &str) -> Result<ServiceName, String> {
        self.services.get(text)
    }
    fn target(&mut self, text: &str) -> Result<TargetName, String> {
        self.targets.get(text)
    }
    fn rule(&mut self, text: &str) -> Result<RuleName, String> {
        self.rules.get(text)
    }

    fn time(&mut self, text: &str) -> Result<Timestamp, String> {
        if let Some((_, at)) = self.time.as_ref().filter(|(last, _)| last == text) {
            return Ok(*at);
        }
        let at: Timestamp = text.parse().map_err(|error: jiff::Error| format!("`at`: {error}"))?;
        self.time = Some((text.to_string(), at));
        Ok(at)
    }
}

/// A string that is borrowed from the line unless it has escapes. (Inside an `Option`, serde would copy a plain `Cow`.)
#[derive(Debug)]
struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    fn owned(&self) -> String {
        self.0.as_ref().to_string()
    }
    fn into_owned(self) -> String {
        self.0.into_owned()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_string())))
    }
}

/// Buckets as they come, without a map between.
#[derive(Debug)]
struct Bounds(Buckets);

impl<'de> Deserialize<'de> for Bounds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(BoundsVisitor)
    }
}

struct BoundsVisitor;

impl<'de> Visitor<'de> for BoundsVisitor {
    type Value = Bounds;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from bounds in seconds to cumulative counts")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bounds, A::Error> {
        let mut bounds: Vec<(f64, f64)> = Vec::with_capacity(16);
        while let Some((Text(le), count)) = map.next_entry::<Text<'de>, f64>()? {
            bounds.push((parse_bound(&le).map_err(A::Error::custom)?, count));
        }
        Buckets::read(bounds).map(Bounds).map_err(A::Error::custom)
    }
}
