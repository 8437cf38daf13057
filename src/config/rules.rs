//! Rules on plain values, and on what is asked from outside: HTTP checks, journeys, certificates.
use std::time::Duration;

use super::raw::Fields;
use super::secrets::Outside;
use super::value::{Number, Share};
use super::{
    Combine, LogsConfig, OutsideCheck, RuleQuery, Selector, SourceName, cloudwatch, durations, journeys,
    probes,
};
use crate::domain::runbook::{Bound, Checked, RuleKind};

const FOR: Duration = Duration::from_secs(60);
const HTTP_EVERY: Duration = Duration::from_secs(10);
const HTTP_AT_REST: Duration = Duration::from_secs(60);
/// A journey may leave something behind each time.
const JOURNEY_AT_REST: Duration = Duration::from_secs(300);
/// A certificate does not change between two looks.
const CERTIFICATE_EVERY: Duration = Duration::from_secs(60);
const CERTIFICATE_FAILING_FOR: Duration = Duration::from_secs(150);

pub(super) fn value(fields: &Fields<'_>, source: Option<SourceName>) -> Option<(RuleKind, RuleQuery)> {
    let bound = bound(fields);
    let for_secs = fields.read("for").unwrap_or(FOR).as_secs_f64();
    let query = if source == Some(SourceName::CloudWatch) {
        cloudwatch::value(fields)
    } else {
        cloudwatch::only_here(fields);
        series(fields, bound)
    };
    Some((RuleKind::Value { bound: bound?, for_secs }, query?))
}

/// Levels as loggers write them, also as fields of JSON and logfmt, and what a crash leaves behind.
const ERROR_LINES: &str = concat!(
    r#"(?:^|[\s\[(|=:"])(?:ERROR|FATAL|CRITICAL|SEVERE|PANIC)(?:$|[\s\]):|",])"#,
    r#"|(?i:["']?(?:level|lvl|severity|log\.level)["']?\s*[:=]\s*["']?(?:err|error|fatal|critical|panic|alert|emergency)\b)"#,
    r"|^panic: |^Traceback |^Exception in thread |^E\d{4} ",
);

/// Error lines per minute and pod are a plain value.
pub(super) fn logs(fields: &Fields<'_>) -> Option<(RuleKind, RuleQuery)> {
    let bound = match fields.one_of(&["above", "increase"])? {
        "above" => fields.read::<Number>("above").map(|number| Bound::Above(number.0)),
        _ => fields.read::<Share>("increase").map(|share| Bound::Increase(share.0)),
    };
    let error = if fields.has("error") { fields.read::<String>("error")? } else { ERROR_LINES.to_string() };
    if regex::Regex::new(&error).is_err() {
        let message = "error: this is no regular expression: see the syntax of https://docs.rs/regex";
        fields.notes.error(fields.at("error"), message);
        return None;
    }
    let query = LogsConfig {
        error,
        container: fields.read("container"),
        show_lines: fields.read("show_lines").unwrap_or(false),
    };
    let for_secs = fields.read("for").unwrap_or(FOR).as_secs_f64();
    Some((RuleKind::Value { bound: bound?, for_secs }, RuleQuery::Logs(query)))
}

fn series(fields: &Fields<'_>, bound: Option<Bound>) -> Option<RuleQuery> {
    let rate = fields.read("rate").unwrap_or(false);
    let series = fields.read::<Selector>("series")?;
    if !rate && series.name().ends_with("_total") {
        let message = "series: a counter only ever grows: with rate: true its growth per second is judged";
        fields.notes.warning(fields.at("series"), message);
    }
    // Of several series of one pod the worst counts.
    let usual = if matches!(bound, Some(Bound::Below(_))) { Combine::Min } else { Combine::Max };
    let combine = if fields.has("combine") { fields.read("combine")? } else { usual };
    let pods = fields.read("pods").unwrap_or(true);
    Some(RuleQuery::Value { series, combine, rate, pods })
}

fn bound(fields: &Fields<'_>) -> Option<Bound> {
    match fields.one_of(&["above", "below", "increase"])? {
        "above" => fields.read::<Number>("above").map(|number| Bound::Above(number.0)),
        "below" => fields.read::<Number>("below").map(|number| Bound::Below(number.0)),
        _ => fields.read::<Share>("increase").map(|share| Bound::Increase(share.0)),
    }
}

/// A rule on a probe; `key` is the key that it stands under.
pub(super) fn outside(
    key: &str,
    fields: &Fields<'_>,
    outside: &Outside<'_>,
) -> Option<(RuleKind, RuleQuery)> {
    let read = probes::read(key, fields, outside);
    let every = |usual| fields.read("every").unwrap_or(usual);
    let (every, at_rest) = match key {
        "journey" => (every(journeys::EVERY), fields.read("at_rest").unwrap_or(JOURNEY_AT_REST)),
        "tls" => (CERTIFICATE_EVERY, HTTP_AT_REST),
        _ => (every(HTTP_EVERY), HTTP_AT_REST),
    };
    let (about, failing_for) = match key {
        "tls" => (Checked::Certificate, CERTIFICATE_FAILING_FOR),
        _ => (Checked::Service, fields.read("failing_for").unwrap_or(FOR)),
    };
    if failing_for < every * 2 {
        let message = format!(
            "failing_for: too short for three checks, of which there is one every {}: write {} or more",
            durations::text(every),
            durations::text(every * 2)
        );
        fields.notes.error(fields.at("failing_for"), message);
    }
    let (probe, secrets) = read?;
    let query = RuleQuery::Http(OutsideCheck { probe, secrets, every, at_rest });
    Some((RuleKind::Check { failing_for_secs: failing_for.as_secs_f64(), about }, query))
}
