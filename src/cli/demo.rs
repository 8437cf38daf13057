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

/// History before the release, so that there is something to compare with.
const QUIET: Duration = Duration::from_secs(5);
/// From the break of a dependency on, both versions fail.
const BREAK_AFTER: Duration = Duration::from_secs(4);
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A demo that takes longer has failed.
const DEMO_MAX: Duration = Duration::from_secs(110);

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
    tokio::time::sleep(QUIET).await;
    let mut narrator = Narrator::new(stage.now().await?);
    narrator.say(out, "deploying", scenario.release_text());
    stage.deploy(scenario)?;
    let breaking = scenario.breaks_dependency();
    let mut looks: u32 = 0;
    while !narrator.is_over() {
        tokio::time::sleep(LOOK_EVERY).await;
        looks += 1;
        if breaking && LOOK_EVERY * looks >= BREAK_AFTER && !narrator.broken {
            narrator.broken = true;
            stage.break_dependency();
            narrator.say(out, "incident", "a dependency of both versions breaks: 20 % of all requests fail");
        }
        narrator.look(stage, out).await?;
    }
    Ok(narrator)
}

fn summary(outcome: &Outcome) -> String {
    let decision = format!("{:?}", outcome.decision).to_lowercase();
    let verification = outcome.verification.map_or(String::new(), |v| format!(", verification {v}"));
    format!(
        "\ndecision: {decision}{verification}. {} before, {} now.\n{}",
        outcome.version_before, outcome.version_after, outcome.reason
    )
}
