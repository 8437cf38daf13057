//! From the configuration to the adapters of AWS.
use std::sync::Arc;

use url::Url;

use super::rooms::Room;
use crate::adapters::aws::AwsAccess;
use crate::adapters::frontend::{FrontendChecks, FrontendOptions, FrontendPlace, Frontends};
use crate::adapters::outbound;
use crate::adapters::registry::{EcrAccess, EcrRegistry};
use crate::adapters::signals::cloudwatch::{CloudWatchOptions, CloudWatchRule, CloudWatchSource};
use crate::config::{CloudWatchConfig, Config, EcrConfig, FrontendConfig, RuleQuery};
use crate::domain::names::{TargetId, TargetKind};
use crate::engine::clock::SystemClock;
use crate::ports::{Checks, ImageRegistry, SignalSource};

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

/// `None` where no target is a frontend.
fn frontends(config: &Config) -> Option<Frontends> {
    let of_service = config.services.iter().flat_map(|s| s.targets.iter().map(move |target| (s, target)));
    let places = of_service.filter_map(|(service, target)| {
        let id = TargetId { service: service.name.clone(), target: target.name.clone() };
        target.kind.frontend().map(|frontend| place(id, frontend))
    });
    let places: Vec<FrontendPlace> = places.collect();
    let options = FrontendOptions::new(places, config.state_dir.clone());
    (!options.places.is_empty()).then(|| Frontends::new(options, Arc::new(SystemClock)))
}

fn place(target: TargetId, frontend: &FrontendConfig) -> FrontendPlace {
    let access = |endpoint: &Option<Url>| AwsAccess {
        region: frontend.region.clone(),
        profile: frontend.profile.clone(),
        endpoint: endpoint.as_ref().map(ToString::to_string),
        timeout: frontend.timeout,
    };
    FrontendPlace {
        target,
        site: frontend.site.clone(),
        url: frontend.url.clone(),
        s3: access(&frontend.endpoint),
        cloudfront: access(&frontend.cloudfront_endpoint),
        poll: frontend.poll,
    }
}

pub(super) fn frontend_room(config: &Config) -> Option<Room> {
    let frontends = frontends(config)?;
    let target = Arc::new(frontends.clone());
    Some(Room { kind: TargetKind::Frontend, target, feed: Arc::new(move || frontends.feed()) })
}

/// Adds what only frontends can check.
pub(super) fn with_frontends(
    config: &Config,
    checks: Arc<dyn Checks>,
) -> Result<Arc<dyn Checks>, outbound::ClientError> {
    let Some(frontends) = frontends(config) else { return Ok(checks) };
    let client = outbound::build(outbound::builder(std::time::Duration::from_secs(10)))?;
    Ok(Arc::new(FrontendChecks::new(frontends, client, checks)))
}
