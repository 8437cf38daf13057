//! The CloudWatch source against the moto server, through a proxy that speaks the SDK's protocol.
mod alarms;
mod counted;
mod failing;
mod images;
mod past;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use rollguard::adapters::aws::AwsAccess;
use rollguard::adapters::signals::cloudwatch::{CloudWatchOptions, CloudWatchRule, CloudWatchSource};
use rollguard::config::{AlarmPattern, CloudWatchMetric, CloudWatchQuery, parse};
use rollguard::domain::names::{RuleName, ServiceName, TargetId, TargetName};
use rollguard::domain::signal::{Reading, Sample};
use rollguard::ports::{Ask, AskTarget, SignalSource};

use crate::support::cloudwatch::CloudWatch;
use crate::support::moto::Moto;

const TOTAL: &str = "RequestCount";
const BAD: &str = "HTTPCode_Target_5XX_Count";
const MINUTE: i64 = 60;

/// A moto with the CloudWatch in front of it.
struct World {
    moto: Moto,
    cloudwatch: CloudWatch,
    /// A whole minute; what a test calls minute 0.
    began: i64,
    /// How long the source waits for an answer.
    patience: Duration,
}

impl World {
    async fn start() -> Self {
        let moto = Moto::start().await;
        let cloudwatch = CloudWatch::start(&moto).await;
        let began = (Timestamp::now().as_second() / MINUTE - 60) * MINUTE;
        Self { moto, cloudwatch, began, patience: Duration::from_secs(10) }
    }

    /// So many seconds after minute 0.
    fn at(&self, second: i64) -> Timestamp {
        Timestamp::from_second(self.began + second).unwrap()
    }

    /// Datapoints of this minute, published now.
    async fn publish(&self, minute: i64, total: f64, bad: Option<f64>) {
        let second = self.began + minute * MINUTE;
        self.moto.put(TOTAL, second, total).await;
        if let Some(bad) = bad {
            self.moto.put(BAD, second, bad).await;
        }
    }

    fn source(&self, rules: Vec<CloudWatchRule>, alarms: &[AlarmPattern]) -> CloudWatchSource {
        let alarms = if alarms.is_empty() { BTreeMap::new() } else { [(service(), alarms.to_vec())].into() };
        CloudWatchSource::new(CloudWatchOptions {
            name: "cloudwatch".into(),
            access: AwsAccess {
                region: "eu-central-1".into(),
                profile: None,
                endpoint: Some(self.cloudwatch.url()),
                timeout: self.patience,
            },
            interval: Duration::from_secs(60),
            settle: Duration::from_secs(60),
            rules,
            alarms,
        })
    }

    /// What the source says so many seconds after minute 0.
    async fn read(&self, source: &CloudWatchSource, second: i64) -> Vec<String> {
        let ask = Ask { at: self.at(second), targets: vec![about()] };
        source.read(&ask).await.iter().map(line).collect()
    }

    /// A release so many seconds after minute 0, as the watcher tells of it.
    async fn release(&self, source: &CloudWatchSource, second: i64) {
        let to = self.at(second);
        source.history(&about(), to - Duration::from_secs(3600), to).await;
    }
}

fn service() -> ServiceName {
    ServiceName::parse("shop").unwrap()
}

fn about() -> AskTarget {
    let target = TargetId { service: service(), target: TargetName::parse("web").unwrap() };
    AskTarget { target, pods: vec![] }
}

fn metric(name: &str) -> CloudWatchMetric {
    let dimensions = [("LoadBalancer".to_owned(), "app/shop/1".to_owned())].into();
    CloudWatchMetric { namespace: "AWS/ApplicationELB".into(), name: name.into(), dimensions }
}

fn errors() -> CloudWatchRule {
    rule("error-rate", CloudWatchQuery::Errors { total: metric(TOTAL), bad: metric(BAD) })
}

fn rule(name: &str, query: CloudWatchQuery) -> CloudWatchRule {
    CloudWatchRule { service: service(), rule: RuleName::parse(name).unwrap(), query }
}

fn line(sample: &Sample) -> String {
    assert_eq!((&sample.release, &sample.pod), (&None, &None), "a load balancer knows neither");
    match &sample.reading {
        Reading::Counts { rule, bad, total } => format!("{rule} {bad} of {total}"),
        Reading::Value { rule, value } => format!("{rule} {value}"),
        Reading::Alert { alert, status, .. } => format!("{alert} {status:?}"),
        Reading::NoData { rule, reason } => format!("{rule}: {reason}"),
        other => panic!("{other:?}"),
    }
}

/// What a configuration makes of the source, its rules and its alarms is what is tested here.
#[test]
fn the_rules_under_test_are_those_of_a_configuration() {
    let text = "sources: {cloudwatch: {region: eu-central-1}}\n\
        services:\n  - name: shop\n    policy: observe\n    alarms: [shop-5xx, team-*]\n\
        \x20   targets: [{name: web, kubernetes: {deployment: web}}]\n\
        \x20   rules: [{name: error-rate, errors: {above: 5%, namespace: AWS/ApplicationELB, \
        dimensions: {LoadBalancer: app/shop/1}, total: RequestCount, bad: HTTPCode_Target_5XX_Count}}]\n";
    let loaded = parse(text, "config.yaml", std::path::Path::new(""), &|_| None);
    let config = loaded.unwrap_or_else(|error| panic!("{error}")).config;
    let service = &config.services[0];
    assert!(
        matches!(&service.rules[0].query, rollguard::config::RuleQuery::CloudWatch(q) if *q == errors().query)
    );
    let alarms = [AlarmPattern::Name("shop-5xx".into()), AlarmPattern::Prefix("team-".into())];
    assert_eq!(service.alarms, alarms);
    let cloudwatch = config.sources.cloudwatch.unwrap();
    assert_eq!((cloudwatch.interval, cloudwatch.settle), (Duration::from_secs(60), Duration::from_secs(60)));
}
