//! The snapshot before the first migration is taken back: what it is called, whose it is, and whether it is there.
use serde::{Deserialize, Serialize};

use super::{DatabaseRefusal, DatabaseSurvey, Instance};
use crate::domain::outcome::Finding;

/// Take a snapshot of an RDS instance. Its name follows from the run, so that it is taken once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeSnapshot {
    pub instance: String,
    pub snapshot: String,
    /// Its tag `rollguard:run` says so.
    pub run: String,
}

/// A snapshot as RDS describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFacts {
    pub status: String,
    /// Of its tag `rollguard:run`.
    pub run: Option<String>,
    pub instance: String,
    pub percent: Option<i32>,
}

/// The engine whose migrations are known here.
const POSTGRES: &str = "postgres";
/// In which RDS takes snapshots.
const SNAPSHOTTABLE: [&str; 2] = ["available", "storage-optimization"];
const ID_CHARS_MAX: usize = 255;

/// The step for this survey; `None` where there is no RDS instance.
pub(super) fn before(survey: &DatabaseSurvey, run: &str) -> Result<Option<TakeSnapshot>, DatabaseRefusal> {
    let Some(instance) = &survey.instance else { return Ok(None) };
    supported(instance)?;
    if !SNAPSHOTTABLE.contains(&instance.status.as_str()) {
        let (instance, status) = (instance.id.clone(), instance.status.clone());
        return Err(DatabaseRefusal::InstanceBusy { instance, status });
    }
    let (instance, run) = (instance.id.clone(), run.to_string());
    Ok(Some(TakeSnapshot { snapshot: snapshot_id(&run), instance, run }))
}

pub(super) fn supported(instance: &Instance) -> Result<(), DatabaseRefusal> {
    let id = instance.id.clone();
    if let Some(cluster) = &instance.cluster {
        return Err(DatabaseRefusal::Cluster { instance: id, cluster: cluster.clone() });
    }
    if instance.engine != POSTGRES {
        return Err(DatabaseRefusal::OtherEngine { instance: id, engine: instance.engine.clone() });
    }
    Ok(())
}

/// Letters, digits and single hyphens, beginning with a letter: what RDS takes, and stores in lower case.
pub fn snapshot_id(run: &str) -> String {
    let mut id = String::from("rollguard");
    for word in run.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        id.push('-');
        id.push_str(&word.to_ascii_lowercase());
    }
    id.chars().take(ID_CHARS_MAX).collect::<String>().trim_end_matches('-').to_string()
}

/// Whether it was begun; until it is available is another step.
pub fn assess_taken(step: &TakeSnapshot, facts: Option<&SnapshotFacts>) -> Finding {
    let Some(facts) = facts else {
        return Finding::not_yet(format!("there is no snapshot {}", step.snapshot));
    };
    if let Err(why) = ours(step, facts) {
        return Finding::Conflict { why };
    }
    Finding::Satisfied { detail: format!("the snapshot {} is {}", step.snapshot, facts.status) }
}

pub fn assess_available(step: &TakeSnapshot, facts: Option<&SnapshotFacts>) -> Finding {
    let Some(facts) = facts else {
        return Finding::Conflict { why: format!("there is no snapshot {} any more", step.snapshot) };
    };
    match (ours(step, facts), facts.status.as_str(), facts.percent) {
        (Err(why), ..) => Finding::Conflict { why },
        (Ok(()), "available", _) => {
            Finding::Satisfied { detail: format!("the snapshot {} is available", step.snapshot) }
        }
        (Ok(()), status, Some(percent)) => Finding::not_yet(format!("the snapshot is {status}, {percent}%")),
        (Ok(()), status, None) => Finding::not_yet(format!("the snapshot is {status}")),
    }
}

fn ours(step: &TakeSnapshot, facts: &SnapshotFacts) -> Result<(), String> {
    let id = &step.snapshot;
    if facts.run.as_deref() != Some(step.run.as_str()) || facts.instance != step.instance {
        return Err(format!(
            "there is a snapshot {id} that is not this run's: delete or rename it, then resume"
        ));
    }
    if facts.status == "failed" {
        return Err(format!("the snapshot {id} has failed: delete it, then resume, and it is taken again"));
    }
    Ok(())
}
