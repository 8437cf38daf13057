//! What is read from CloudWatch: the source, the metrics of a rule, and the alarms of a service.
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use url::Url;

use super::check::Around;
use super::problem::Notes;
use super::raw::Fields;
use super::shape::Leaf;
use super::value::{FromText, Number, Share};
use super::yaml::Mark;
use super::{RuleQuery, SourceName};
use crate::domain::runbook::RuleKind;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudWatchConfig {
    pub region: String,
    /// Of `~/.aws/config`; `None` for the credentials that the SDK finds by itself.
    pub profile: Option<String>,
    /// Instead of the region's own.
    pub endpoint: Option<Url>,
    pub interval: Duration,
    /// How long a minute must be over before its datapoint counts.
    pub settle: Duration,
    /// Of one request.
    pub timeout: Duration,
}

impl CloudWatchConfig {
    /// How late trouble may show: its minute must end, settle, and be asked for.
    pub fn lag(&self) -> Duration {
        Duration::from_secs(60) + self.settle + self.interval
    }
}

/// What measures a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum CloudWatchQuery {
    /// Their sums: all requests, and the failed ones among them.
    Errors { total: CloudWatchMetric, bad: CloudWatchMetric },
    /// One statistic of one minute, multiplied by `scale`.
    Value { metric: CloudWatchMetric, statistic: Statistic, scale: f64 },
}

/// A metric is the one with exactly these dimensions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CloudWatchMetric {
    pub namespace: String,
    pub name: String,
    pub dimensions: BTreeMap<String, String>,
}

/// `Average`, `Sum`, `p95` and the like, as CloudWatch writes them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Statistic(String);

impl Statistic {
    pub fn sum() -> Self {
        Self("Sum".into())
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Statistic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent = |digits: &str| digits.parse::<f64>().is_ok_and(|p| p > 0.0 && p <= 100.0);
        let named = ["Average", "Sum", "Minimum", "Maximum", "SampleCount"].contains(&text);
        if named || ["p", "tm"].iter().any(|kind| text.strip_prefix(kind).is_some_and(percent)) {
            return Ok(Self(text.to_string()));
        }
        Err("this is no statistic: write Average, Sum, Minimum, Maximum, SampleCount or a percentile such as p95"
            .into())
    }
}

/// Alarms of CloudWatch that are about a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlarmPattern {
    Name(String),
    /// Never empty: it would match the alarms of everybody.
    Prefix(String),
}

impl AlarmPattern {
    pub fn matches(&self, alarm: &str) -> bool {
        match self {
            AlarmPattern::Name(name) => alarm == name,
            AlarmPattern::Prefix(prefix) => alarm.starts_with(prefix.as_str()),
        }
    }
}

/// CloudWatch knows no more than this of a metric or of a list of names.
const DIMENSIONS_MAX: usize = 30;

pub(super) fn source(fields: &Fields<'_>) -> Option<CloudWatchConfig> {
    if !cfg!(feature = "aws") {
        fields.notes.error(
            fields.begin(),
            "cloudwatch: this rollguard was built without AWS: build it with its default features, or leave cloudwatch out",
        );
        return None;
    }
    let seconds = |key: &str, usual| fields.read(key).unwrap_or(Duration::from_secs(usual));
    let read = CloudWatchConfig {
        profile: fields.read("profile"),
        endpoint: fields.read("endpoint"),
        interval: seconds("interval", 60),
        settle: seconds("settle", 60),
        timeout: seconds("timeout", 3),
        region: fields.read::<Region>("region")?.0,
    };
    Some(read)
}

pub(super) struct Region(pub(super) String);

impl FromText for Region {
    fn from_text(text: &str, _: Leaf) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !text.is_empty() && text.chars().all(allowed) {
            return Ok(Self(text.to_string()));
        }
        Err("this is no region: write one such as eu-central-1".into())
    }
}

/// The rule `errors` over two metrics of the same dimensions.
pub(super) fn errors(fields: &Fields<'_>) -> Option<(RuleKind, RuleQuery)> {
    let above = fields.read::<Share>("above");
    let (total, bad) = (metric(fields, "total"), metric(fields, "bad"));
    if bad.is_some() && bad == total {
        fields
            .notes
            .error(fields.at("bad"), "bad: the same as total, so every request would count as failed");
        return None;
    }
    let query = CloudWatchQuery::Errors { total: total?, bad: bad? };
    Some((RuleKind::Errors { above: above?.0 }, RuleQuery::CloudWatch(query)))
}

/// What measures a rule over one metric.
pub(super) fn value(fields: &Fields<'_>) -> Option<RuleQuery> {
    for key in ["combine", "rate", "pods"].into_iter().filter(|key| fields.has(key)) {
        let message = format!("{key}: not for source: cloudwatch, where a metric is one number a minute");
        fields.notes.error(fields.key_at(key), message);
    }
    if !fields.has("statistic") {
        let message = "statistic is missing: CloudWatch needs one such as p95, Average, Sum or Maximum";
        fields.notes.error(fields.begin(), message);
    }
    let scale = scale(fields);
    let statistic = fields.read::<Statistic>("statistic");
    let query = CloudWatchQuery::Value { metric: metric(fields, "series")?, statistic: statistic?, scale };
    Some(RuleQuery::CloudWatch(query))
}

fn scale(fields: &Fields<'_>) -> f64 {
    let scale = fields.read::<Number>("scale").map_or(1.0, |scale| scale.0);
    if scale == 0.0 {
        fields.notes.error(fields.at("scale"), "scale: whatever is multiplied by 0 is 0: leave it out");
    }
    scale
}

/// Notes the keys of CloudWatch in a rule that another source measures.
pub(super) fn only_here(fields: &Fields<'_>) {
    for key in ["namespace", "dimensions", "statistic", "scale"].into_iter().filter(|key| fields.has(key)) {
        fields.notes.error(fields.key_at(key), format!("{key}: only for source: cloudwatch"));
    }
}

/// `name` is the key of the metric's name.
fn metric(fields: &Fields<'_>, name: &str) -> Option<CloudWatchMetric> {
    if !fields.has("namespace") {
        let message = "namespace is missing: CloudWatch needs one such as AWS/ApplicationELB";
        fields.notes.error(fields.begin(), message);
    }
    let dimensions = fields.pairs("dimensions");
    if dimensions.len() > DIMENSIONS_MAX {
        let message = format!("dimensions: CloudWatch takes at most {DIMENSIONS_MAX}");
        fields.notes.error(fields.at("dimensions"), message);
    }
    Some(CloudWatchMetric {
        namespace: fields.read("namespace")?,
        name: fields.read(name)?,
        dimensions: dimensions.into_iter().map(|(key, (_, value))| (key, value)).collect(),
    })
}

impl FromText for Statistic {
    fn from_text(text: &str, _: Leaf) -> Result<Self, String> {
        text.parse()
    }
}

/// The alarms that are about a service; a name that ends in `*` is a prefix.
pub(super) fn alarms(fields: &Fields<'_>, around: &Around) -> Vec<AlarmPattern> {
    if fields.has("alarms") && !around.offers(SourceName::CloudWatch) {
        let message = "alarms: these are CloudWatch's, which is not configured: add sources.cloudwatch";
        fields.notes.error(fields.key_at("alarms"), message);
    }
    let texts = fields.texts("alarms").into_iter();
    texts.filter_map(|text| pattern(&text, fields.at("alarms"), fields.notes)).collect()
}

fn pattern(text: &str, at: Mark, notes: &Notes) -> Option<AlarmPattern> {
    let pattern = match text.strip_suffix('*') {
        Some(prefix) => AlarmPattern::Prefix(prefix.to_string()),
        None => AlarmPattern::Name(text.to_string()),
    };
    let (AlarmPattern::Name(fixed) | AlarmPattern::Prefix(fixed)) = &pattern;
    if fixed.trim().is_empty() || fixed.contains('*') {
        notes.error(at, "alarms: write names such as shop-5xx, or beginnings of names such as shop-*");
        return None;
    }
    Some(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_those_that_cloudwatch_knows() {
        for good in ["Average", "Sum", "p95", "p99.9", "tm90"] {
            assert!(good.parse::<Statistic>().is_ok(), "{good}");
        }
        for bad in ["average", "95", "p0", "p101", "p", "pNaN", "p inf", ""] {
            assert!(bad.parse::<Statistic>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_star_at_the_end_makes_a_prefix() {
        let notes = Notes::default();
        let read = |text| pattern(text, Mark { line: 1, column: 1 }, &notes);
        assert_eq!(read("shop-5xx"), Some(AlarmPattern::Name("shop-5xx".into())));
        assert!(read("shop-*").is_some_and(|p| p.matches("shop-5xx") && !p.matches("pay-5xx")));
        assert_eq!([read("*"), read("a*b"), read("")], [None, None, None]);
    }
}
