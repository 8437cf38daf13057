//! The alarms of CloudWatch that are about a service: firing, over, or, where CloudWatch is not sure, nothing.
use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{AlarmType, CompositeAlarm, MetricAlarm, StateValue};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;

use super::{CloudWatchSource, READ_MAX};
use crate::adapters::aws::describe;
use crate::adapters::signals::{no_data, sample};
use crate::config::AlarmPattern;
use crate::domain::names::RuleName;
use crate::domain::signal::{AlertStatus, Reading, Sample};
use crate::ports::{Ask, AskTarget};

/// By CloudWatch's limits.
const NAMES_MAX: usize = 100;
const PAGE: i32 = 100;
/// Requests in flight at a time.
const CONCURRENT: usize = 2;

/// An alarm as it stands.
struct Alarm {
    /// `None` where there is too little data, or its evaluation fails: no evidence.
    status: Option<AlertStatus>,
    /// When it came into this state.
    since: Option<Timestamp>,
}

/// By name.
type Alarms = BTreeMap<String, Alarm>;

impl CloudWatchSource {
    pub(super) async fn alarms(&self, ask: &Ask) -> Vec<Sample> {
        let about = |about: &'_ AskTarget| self.options.alarms.get(&about.target.service);
        let patterns: BTreeSet<&AlarmPattern> = ask.targets.iter().filter_map(about).flatten().collect();
        if patterns.is_empty() {
            return vec![];
        }
        let asked = tokio::time::timeout(READ_MAX, look_up(self.client().await, patterns)).await;
        let alarms = asked.unwrap_or_else(|_| Err(format!("no answer within {} s", READ_MAX.as_secs())));
        let targets = ask.targets.iter().filter_map(|target| Some((target, about(target)?)));
        match alarms {
            Ok(alarms) => {
                targets.flat_map(|(t, patterns)| self.samples(ask.at, t, patterns, &alarms)).collect()
            }
            Err(why) => {
                targets.filter_map(|(t, _)| unknown(ask.at, t, format!("CloudWatch: {why}"))).collect()
            }
        }
    }

    fn samples(
        &self,
        at: Timestamp,
        about: &AskTarget,
        patterns: &[AlarmPattern],
        alarms: &Alarms,
    ) -> Vec<Sample> {
        let released_at = self.running.released_at(&about.target, at);
        let ours = alarms.iter().filter(|(name, _)| patterns.iter().any(|pattern| pattern.matches(name)));
        let told = ours.filter_map(|(name, alarm)| {
            let status = alarm.status?;
            // What fires since before the release is not the release's doing.
            let news = status == AlertStatus::Resolved || alarm.since.is_none_or(|s| s >= released_at);
            let labels = BTreeMap::from([("source".to_string(), "cloudwatch".to_string())]);
            news.then(|| sample(at, about, None, Reading::Alert { alert: name.clone(), status, labels }))
        });
        let absent = patterns.iter().filter_map(|pattern| match pattern {
            AlarmPattern::Name(name) if !alarms.contains_key(name) => {
                unknown(at, about, format!("there is no alarm {name} in {}", self.options.access.region))
            }
            AlarmPattern::Name(_) | AlarmPattern::Prefix(_) => None,
        });
        told.chain(absent).collect()
    }
}

fn unknown(at: Timestamp, about: &AskTarget, why: String) -> Option<Sample> {
    let rule = RuleName::parse("alarms").ok()?;
    Some(no_data(at, about, None, &rule, why))
}

/// Which alarms a request is about: CloudWatch takes names or the beginning of a name, not both.
enum Lookup {
    Names(Vec<String>),
    Prefix(String),
}

async fn look_up(client: &Client, patterns: BTreeSet<&AlarmPattern>) -> Result<Alarms, String> {
    let (mut names, mut lookups) = (Vec::new(), Vec::new());
    for pattern in patterns {
        match pattern {
            AlarmPattern::Name(name) => names.push(name.clone()),
            AlarmPattern::Prefix(prefix) => lookups.push(Lookup::Prefix(prefix.clone())),
        }
    }
    lookups.extend(names.chunks(NAMES_MAX).map(|names| Lookup::Names(names.to_vec())));
    let asked = futures::stream::iter(lookups).map(|lookup| read_pages(client, lookup));
    let found: Vec<Alarms> = asked.buffered(CONCURRENT).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

async fn read_pages(client: &Client, lookup: Lookup) -> Result<Alarms, String> {
    let request = client
        .describe_alarms()
        // Without the types, composite alarms are left out.
        .alarm_types(AlarmType::MetricAlarm)
        .alarm_types(AlarmType::CompositeAlarm)
        .max_records(PAGE);
    let request = match lookup {
        Lookup::Names(names) => request.set_alarm_names(Some(names)),
        Lookup::Prefix(prefix) => request.alarm_name_prefix(prefix),
    };
    let mut pages = request.into_paginator().send();
    let mut alarms = Alarms::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| describe(&error))?;
        alarms.extend(page.metric_alarms().iter().filter_map(of_metric));
        alarms.extend(page.composite_alarms().iter().filter_map(of_others));
    }
    Ok(alarms)
}

fn of_metric(alarm: &MetricAlarm) -> Option<(String, Alarm)> {
    // Anything but a plain evaluation is one with partial data, or none.
    let sure = alarm.evaluation_state().is_none();
    let status = alarm.state_value().filter(|_| sure).and_then(status);
    let since = alarm.state_transitioned_timestamp().or(alarm.state_updated_timestamp());
    Some((alarm.alarm_name()?.to_string(), Alarm { status, since: since.and_then(time) }))
}

fn of_others(alarm: &CompositeAlarm) -> Option<(String, Alarm)> {
    let status = alarm.state_value().and_then(status);
    let since = alarm.state_transitioned_timestamp().or(alarm.state_updated_timestamp());
    Some((alarm.alarm_name()?.to_string(), Alarm { status, since: since.and_then(time) }))
}

fn status(state: &StateValue) -> Option<AlertStatus> {
    match state {
        StateValue::Alarm => Some(AlertStatus::Firing),
        StateValue::Ok => Some(AlertStatus::Resolved),
        // Too little data, or a state that AWS has invented since.
        _ => None,
    }
}

fn time(at: &DateTime) -> Option<Timestamp> {
    Timestamp::from_second(at.secs()).ok()
}
