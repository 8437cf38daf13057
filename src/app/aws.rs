//! From the configuration to the adapters of AWS.
use std::sync::Arc;

use crate::adapters::aws::AwsAccess;
use crate::adapters::registry::{EcrAccess, EcrRegistry};
use crate::adapters::signals::cloudwatch::{CloudWatchOptions, CloudWatchRule, CloudWatchSource};
use crate::config::{CloudWatchConfig, Config, EcrConfig, RuleQuery};
use crate::ports::{ImageRegistry, SignalSource};

pub(super) fn cloudwatch_source(config: &Config, cloudwatch: &CloudWatchConfig) -> Arc<dyn SignalSource> {
    let access = AwsAccess {
        region: cloudwatch.region.clone(),
        profile: cloudwatch.profile.clone(),
        endpoint: cloudwatch.endpoint.as_ref().map(ToString::to_string),
        timeout: cloudwatch.timeout,
    };
    let with_alarms = config.services.iter().filter(|service| !service.alarms.is_empty());
    Arc::new(CloudWatchSource::new(CloudWatchOptions {
        name: "cloudwatch".into(),
        access,
        interval: cloudwatch.interval,
        settle: cloudwatch.settle,
        rules: rules(config),
        alarms: with_alarms.map(|service| (service.name.clone(), service.alarms.clone())).collect(),
    }))
}

pub(super) fn ecr_registry(ecr: &EcrConfig) -> Arc<dyn ImageRegistry> {
    Arc::new(EcrRegistry::new(EcrAccess {
        profile: ecr.profile.clone(),
        endpoint: ecr.endpoint.as_ref().map(ToString::to_string),
        timeout: ecr.timeout,
    }))
}

fn rules(config: &Config) -> Vec<CloudWatchRule> {
    let of_service = config.services.iter().flat_map(|s| s.rules.iter().map(move |rule| (s, rule)));
    let measured = of_service.filter_map(|(service, rule)| match &rule.query {
        RuleQuery::CloudWatch(query) => Some(CloudWatchRule {
            service: service.name.clone(),
            rule: rule.rule.name.clone(),
            query: query.clone(),
        }),
        RuleQuery::Errors { .. }
        | RuleQuery::Latency { .. }
        | RuleQuery::Value { .. }
        | RuleQuery::Http(_)
        | RuleQuery::Logs(_) => None,
    });
    measured.collect()
}
