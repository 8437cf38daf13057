//! Opens a run: everything it will ever need to know, gathered at the moment of the decision.
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::approval::Asking;
use super::event::{RunEvent, RunOpened};
use super::evidence::{Cause, Strength};
use super::keepsake::Keepsake;
use super::names::ServiceName;
use super::plan::Plan;
use super::policy::table::ROLLBACK_FROM;
use super::policy::{Decided, Decision};
use super::release::hex;
use super::run::{Next, Run, evolve, next};
use super::runbook::{ChecklistItem, Item};
use super::verdict::Verdict;
use super::verification::CheckSpec;

/// What a run is opened for.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub service: &'a ServiceName,
    pub incident: String,
    pub decided: Decided,
    /// None when a person ordered it without evidence.
    pub verdict: Option<&'a Verdict>,
    pub requested_by: Option<String>,
    pub released_at: Option<Timestamp>,
    pub plan: Plan,
    pub checks: Vec<CheckSpec>,
    pub severity: u8,
    pub asking: Asking,
    pub verify_secs: u64,
    pub watch_secs: u64,
    pub status_page: Option<String>,
    /// What is remembered of the versions that the plan goes to.
    pub kept: Vec<Keepsake>,
    /// What the release changed.
    pub changed: Vec<String>,
    /// The hash of the configuration.
    pub configuration: Option<String>,
}

/// A stable, short and typable id: the same decision about the same incident is the same run.
pub fn run_id(service: &ServiceName, incident: &str, decided_at: Timestamp) -> String {
    let digest = hex(&Sha256::digest(format!("{incident}|{decided_at}")));
    format!("{service}-{}", digest.get(..6).unwrap_or(&digest))
}

/// The first events of a run: opened, adopted by this epoch and, unless it waits for a person, its first step started.
pub fn open(request: Request<'_>, run_id: String, now: Timestamp, epoch: u64) -> (Run, Vec<RunEvent>) {
    let opened = RunEvent::Opened(Box::new(opened(request, run_id, now)));
    let mut run = evolve(Run::default(), &opened, now);
    let mut events = vec![opened];
    while let Next::Record(event) = next(&run, now, epoch) {
        run = evolve(run, &event, now);
        events.push(event);
    }
    (run, events)
}

fn opened(request: Request<'_>, run: String, now: Timestamp) -> RunOpened {
    let asks = request.decided.decision == Decision::Ask;
    RunOpened {
        run,
        checklist: checklist(&request),
        severity: request.severity,
        cause: request.verdict.map_or(Cause::Unknown, |v| v.cause),
        incident: request.incident,
        service: request.service.clone(),
        decided: request.decided,
        requested_by: request.requested_by,
        released_at: request.released_at,
        digest: request.plan.digest(),
        plan: request.plan,
        approval: asks.then(|| request.asking.ask(now)),
        checks: request.checks,
        verify_secs: request.verify_secs,
        watch_secs: request.watch_secs,
        status_page: request.status_page,
        kept: request.kept,
        changed: request.changed,
        configuration: request.configuration,
    }
}

/// The runbook's checklist, item by item. A person who orders a rollback answers for severity and cause.
fn checklist(request: &Request<'_>) -> Vec<ChecklistItem> {
    let item = |item, met, detail: String| ChecklistItem { item, met, detail };
    let by = request.requested_by.as_deref();
    let sev = request.severity;
    // What the policy says of another severity in writing stands.
    let policy = request.decided.policy.as_ref().filter(|_| sev > ROLLBACK_FROM);
    let severe = match policy {
        Some(policy) => format!("SEV {sev}, {policy}"),
        None => format!("SEV {sev}"),
    };
    let caused =
        request.verdict.is_some_and(|v| v.cause == Cause::Release && v.strength == Strength::Rollback);
    let ordered = |what: &str| by.map(|by| format!("{what}: {by} ordered the rollback"));
    vec![
        item(
            Item::Severity,
            sev <= ROLLBACK_FROM || by.is_some() || policy.is_some(),
            ordered("not judged").unwrap_or(severe),
        ),
        item(
            Item::Cause,
            caused || by.is_some(),
            ordered("not judged").unwrap_or_else(|| request.decided.reason.clone()),
        ),
        item(
            Item::Target,
            true,
            format!("{}, pinned by fingerprint and still in the history", request.plan.summary()),
        ),
        item(Item::PeopleTold, true, "the announcement is enqueued with this decision".into()),
        backup(&request.plan),
        item(
            Item::PlanReviewed,
            true,
            format!("plan {}, {} steps", request.plan.digest(), request.plan.steps.len()),
        ),
        item(
            Item::StatusPage,
            request.status_page.is_some(),
            request.status_page.clone().unwrap_or_else(|| "no status page is configured".into()),
        ),
    ]
}

/// Whether what is changed could be had back.
fn backup(plan: &Plan) -> ChecklistItem {
    let taken = plan.snapshot();
    let touched = plan.changes_database();
    let detail = match (taken, touched) {
        (Some(snapshot), _) => format!("the snapshot {snapshot} is taken before the database is changed"),
        (None, true) => {
            "no RDS instance is configured, so no snapshot is taken: see that there is a backup".into()
        }
        (None, false) => "no database is touched".into(),
    };
    ChecklistItem { item: Item::Backup, met: taken.is_some() || !touched, detail }
}

/// The items that forbid acting, if any.
pub fn blocking(opened: &RunOpened) -> Vec<&ChecklistItem> {
    opened.checklist.iter().filter(|c| c.item.blocks() && !c.met).collect()
}
