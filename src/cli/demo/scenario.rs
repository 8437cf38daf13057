//! The scenarios: what goes wrong with the release, and how the demo must end.
use std::time::Duration;

use clap::ValueEnum;

use super::Outcome;
use crate::domain::evidence::Cause;
use crate::domain::policy::Decision;
use crate::sandbox::{Deploy, Fault, SandboxOptions};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// 15 % of its requests fail
    Errors,
    /// Its pods crash
    Crashloop,
    /// Its pods never become ready
    Probes,
    /// It fails, and so does the version before it
    Shared,
    /// Nothing is wrong with it
    Healthy,
}

impl Scenario {
    pub(super) fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// What a watch lasts here instead of 30 minutes.
    pub(super) fn watch(self) -> Duration {
        Duration::from_secs(match self {
            Scenario::Errors => 35,
            Scenario::Crashloop | Scenario::Probes => 25,
            Scenario::Shared | Scenario::Healthy => 50,
        })
    }

    pub(super) fn options(self) -> SandboxOptions {
        SandboxOptions {
            ready_after: Duration::from_secs(1),
            progress_deadline: Duration::from_secs(24),
            requests_per_second: 90.0,
            ..SandboxOptions::default()
        }
    }

    pub(super) fn deploy(self) -> Deploy {
        let fault = match self {
            Scenario::Errors => Fault::Errors(0.15),
            Scenario::Crashloop => Fault::CrashLoop,
            Scenario::Probes => Fault::ProbesFail,
            Scenario::Shared | Scenario::Healthy => Fault::None,
        };
        let deploy = Deploy::new("v2", fault).because("Deployed version v2");
        match self {
            // Slow enough that both versions serve side by side while the dependency is down.
            Scenario::Shared => deploy.paced(Duration::from_secs(18)),
            Scenario::Errors | Scenario::Crashloop | Scenario::Probes | Scenario::Healthy => deploy,
        }
    }

    pub(super) fn breaks_dependency(self) -> bool {
        self == Scenario::Shared
    }

    pub(super) fn release_text(self) -> &'static str {
        match self {
            Scenario::Errors => "v2, whose requests fail in 15 % of all cases",
            Scenario::Crashloop => "v2, whose pods crash one second after their start",
            Scenario::Probes => "v2, whose pods never become ready",
            Scenario::Shared => "v2, with which nothing is wrong",
            Scenario::Healthy => "v2, with which nothing is wrong",
        }
    }

    pub(super) fn introduction(self) -> String {
        let (watch, deadline) = (self.watch().as_secs(), self.options().progress_deadline.as_secs());
        format!(
            "rollguard demo: {}\n\
             An embedded Kubernetes API with 3 pods of v1 and 90 requests per second; the daemon is the real one.\n\
             Shortened here: the watch is {watch} s instead of 30 minutes, both after the release and after a rollback,\n\
             the progress deadline {deadline} s instead of 10 minutes. Batches of 5 s and all thresholds are the real ones.\n",
            self.name()
        )
    }

    /// How the outcome differs from what it should be; `None` if it does not.
    pub(super) fn missed(self, outcome: &Outcome) -> Option<String> {
        let (decision, cause, rolled_back) = match self {
            Scenario::Errors | Scenario::Crashloop | Scenario::Probes => {
                (Decision::Rollback, Some(Cause::Release), true)
            }
            Scenario::Shared => (Decision::Page, Some(Cause::Shared), false),
            Scenario::Healthy => (Decision::Hold, None, false),
        };
        let verification = rolled_back.then_some("passed");
        let back = (outcome.version_after == outcome.version_before) == rolled_back;
        let right = outcome.decision == decision
            && outcome.cause == cause
            && outcome.rolled_back == rolled_back
            && outcome.verification == verification
            && back;
        (!right).then(|| {
            format!("expected {decision:?}, cause {cause:?}, rolled back {rolled_back}, verification {verification:?}")
        })
    }
}
