//! From the configuration to the databases, their rules, and what is declared to run on them.
use std::collections::BTreeMap;
use std::sync::Arc;

use super::AppError;
use super::build::{setup, targets};
use super::rooms::Room;
use crate::adapters::database::{DatabaseOptions, Databases, RdsOptions, Versions};
use crate::adapters::postgres::Access;
use crate::adapters::tls::TlsMode;
use crate::config::{
    Config, DatabaseConfig, PostgresTls, RdsConfig, RuleConfig, RuleQuery, ServiceConfig, VersionsConfig,
};
use crate::domain::names::{TargetId, TargetKind, TargetName};
use crate::domain::plan::compatibility::Compatibility;
use crate::domain::plan::database::Terms;
use crate::domain::runbook::Rule;
use crate::engine::clock::SystemClock;

/// `None` where no target is a database.
pub(super) fn room(config: &Config) -> Result<Option<Room>, AppError> {
    let found = targets(config).filter_map(|(target, kind)| Some((target, kind.database()?)));
    let all = found.map(|(target, database)| options(target, database)).collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() {
        return Ok(None);
    }
    let databases = Databases::new(all, Arc::new(SystemClock));
    let target = Arc::new(databases.clone());
    Ok(Some(Room { kind: TargetKind::Database, target, feed: Arc::new(move || databases.feed()) }))
}

/// For checks that ask them.
pub(super) fn accesses(config: &Config) -> Result<BTreeMap<TargetId, Access>, AppError> {
    let found = targets(config).filter_map(|(target, kind)| Some((target, kind.database()?)));
    found.map(|(target, database)| Ok((target, access(database)?))).collect()
}

fn access(database: &DatabaseConfig) -> Result<Access, AppError> {
    Access::new(&database.url.0, &tls(&database.tls)).map_err(setup("a database"))
}

pub(super) fn tls(tls: &PostgresTls) -> TlsMode {
    match tls {
        PostgresTls::Disable => TlsMode::Disable,
        PostgresTls::Require => TlsMode::Require,
        PostgresTls::VerifyFull { ca_file } => TlsMode::VerifyFull { ca_file: ca_file.clone() },
    }
}

fn options(target: TargetId, database: &DatabaseConfig) -> Result<DatabaseOptions, AppError> {
    let versions = match &database.versions {
        VersionsConfig::Query(sql) => Versions::Query(sql.clone()),
        VersionsConfig::Migrate { table, directory } => Versions::Migrate {
            table: table.clone(),
            directory: directory.clone(),
            program: database.program.clone(),
        },
    };
    let snapshot = database.rds.as_ref().map(|rds| rds.snapshot_timeout);
    Ok(DatabaseOptions {
        target,
        access: access(database)?,
        versions,
        interval: database.interval,
        terms: Terms {
            runner: database.runner,
            multi_statement: database.multi_statement,
            script_secs: database.script_timeout.as_secs(),
            lock_secs: database.lock_timeout.as_secs(),
            snapshot_secs: snapshot.unwrap_or_default().as_secs(),
        },
        queries: database.queries.clone(),
        rds: database.rds.as_ref().and_then(rds),
    })
}

#[cfg(feature = "aws")]
fn rds(rds: &RdsConfig) -> Option<RdsOptions> {
    let access = crate::adapters::aws::AwsAccess {
        region: rds.region.clone(),
        profile: rds.profile.clone(),
        endpoint: rds.endpoint.as_ref().map(ToString::to_string),
        timeout: rds.timeout,
    };
    Some(RdsOptions { access, instance: rds.instance.clone() })
}

/// The configuration has refused it.
#[cfg(not(feature = "aws"))]
fn rds(_: &RdsConfig) -> Option<RdsOptions> {
    None
}

/// The rules of targets without pods: those that are about no pod.
pub(super) fn rules_apart(service: &ServiceConfig, rules: &[Rule]) -> BTreeMap<TargetName, Vec<Rule>> {
    let beside =
        |rule: &&Rule| service.rules.iter().any(|known| known.rule.name == rule.name && is_beside(known));
    let apart: Vec<Rule> = rules.iter().filter(beside).cloned().collect();
    let without = service.targets.iter().filter(|target| target.kind.workload().is_none());
    without.map(|target| (target.name.clone(), apart.clone())).collect()
}

fn is_beside(rule: &RuleConfig) -> bool {
    match &rule.query {
        RuleQuery::Value { pods, .. } => !pods,
        RuleQuery::CloudWatch(_) | RuleQuery::Http(_) => true,
        RuleQuery::Errors { .. } | RuleQuery::Latency { .. } | RuleQuery::Logs(_) => false,
    }
}

pub(super) fn compatible(service: &ServiceConfig) -> BTreeMap<TargetName, Vec<Compatibility>> {
    let declared = service.targets.iter().filter_map(|target| {
        let rules = &target.kind.database()?.compatible_with;
        (!rules.is_empty()).then(|| (target.name.clone(), rules.clone()))
    });
    declared.collect()
}
