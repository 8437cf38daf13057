//! `rollguard demo`: the real daemon, unmodified, in an embedded world in which a release goes wrong.
mod narrator;
mod scenario;
mod stage;

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::{Exit, Failure, Output};
use crate::domain::evidence::Cause;
use crate::domain::policy::Decision;
use narrator::Narrator;
use scenario::Incident;
pub use scenario::Scenario;
use stage::Stage;

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// What happens to the release
    #[arg(long, value_enum, default_value_t = Scenario::Errors)]
    pub scenario: Scenario,
}

/// What `-o json` prints as its last line (DESIGN §7).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Outcome {
    pub(super) scenario: String,
    pub(super) decision: Decision,
    /// None for `hold`.
    pub(super) cause: Option<Cause>,
    pub(super) rolled_back: bool,
    pub(super) version_before: String,
    pub(super) version_after: String,
    /// `passed`, `failed` or null.
    pub(super) verification: Option<&'static str>,
    pub(super) noticed_at: Option<jiff::Timestamp>,
    pub(super) decided_at: Option<jiff::Timestamp>,
    pub(super) acted_at: Option<jiff::Timestamp>,
    pub(super) recovered_at: Option<jiff::Timestamp>,
    pub(super) reason: String,
}

/// What the time before the release is measured for at least, so that there is something to compare with.
const QUIET: Duration = Duration::from_secs(5);
/// A dependency breaks so long after the release.
const BREAK_AFTER: Duration = Duration::from_secs(4);
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A demo that takes longer has failed; they take one to two minutes.
const DEMO_MAX: Duration = Duration::from_secs(240);

pub(super) async fn run(args: &DemoArgs, out: &Output) -> Result<Exit, Failure> {
    let scenario = args.scenario;
    let stage = Stage::set(scenario).await?;
    out.text(&scenario.introduction());
    let version_before = stage.running_version()?;
    let playing = tokio::time::timeout(DEMO_MAX, play(scenario, &stage, out)).await;
    let narrator = playing.map_err(|_| {
        Failure::new(Exit::Failure, format!("the demo did not end within {} seconds", DEMO_MAX.as_secs()))
    })??;
    let outcome = narrator.outcome(scenario, version_before, stage.running_version()?);
    stage.strike().await?;
    out.result(&outcome, || summary(&outcome))?;
    match scenario.missed(&outcome) {
        None => Ok(Exit::Ok),
        Some(missed) => {
            Err(Failure::new(Exit::Failure, format!("the demo did not end as it should: {missed}")))
        }
    }
}

async fn play(scenario: Scenario, stage: &Stage, out: &Output) -> Result<Narrator, Failure> {
    stage.ready().await?;
    learn_the_past(scenario, stage).await;
    let mut narrator = Narrator::new(stage.now().await?);
    narrator.say(out, "deploying", scenario.release_text());
    stage.deploy(scenario)?;
    let mut incident = scenario.incident();
    let mut looks: u32 = 0;
    while !narrator.is_over() {
        tokio::time::sleep(LOOK_EVERY).await;
        looks += 1;
        if let Some(incident) = incident.take_if(|incident| incident.is_due(stage, LOOK_EVERY * looks)) {
            stage.happen(incident);
            narrator.say(out, "incident", incident.text());
        }
        narrator.look(stage, out).await?;
    }
    Ok(narrator)
}

/// A busy machine serves fewer requests in the same time: the release waits until there is a past to compare it with.
async fn learn_the_past(scenario: Scenario, stage: &Stage) {
    let before = stage.requests_served();
    loop {
        tokio::time::sleep(QUIET).await;
        if stage.requests_served() >= before + scenario.past_requests() {
            return;
        }
    }
}

impl Incident {
    fn is_due(self, stage: &Stage, since_release: Duration) -> bool {
        match self {
            Incident::DependencyBreaks => since_release >= BREAK_AFTER,
            Incident::OneRequestFails => stage.rolled_out(),
        }
    }
}

fn summary(outcome: &Outcome) -> String {
    let decision = format!("{:?}", outcome.decision).to_lowercase();
    let verification = outcome.verification.map_or(String::new(), |v| format!(", verification {v}"));
    format!(
        "\ndecision: {decision}{verification}. {} before, {} now.\n{}",
        outcome.version_before, outcome.version_after, outcome.reason
    )
}
