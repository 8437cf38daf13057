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
    /// It takes twice as long to answer
    Latency,
    /// Its pods crash
    Crashloop,
    /// Its pods never become ready
    Probes,
    /// It fails, and so does the version before it
    Shared,
    /// One unlucky error, at one request in 10 seconds
    Lowtraffic,
    /// Nothing is wrong with it
    Healthy,
}

/// What happens beside the release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Incident {
    DependencyBreaks,
    OneRequestFails,
}

/// The version that is released.
pub(super) const RELEASED: &str = "v2";
/// Response times of a new pod are not judged for so long.
pub(super) const WARM_UP: Duration = Duration::from_secs(10);
/// No release is called healthy before.
pub(super) const SETTLE: Duration = Duration::from_secs(20);

impl Incident {
    pub(super) fn text(self) -> &'static str {
        match self {
            Incident::DependencyBreaks => "a dependency of both versions breaks: 20 % of all requests fail",
            Incident::OneRequestFails => "bad luck: the next request fails, and no other",
        }
    }
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
            // Warm-up, four batches at least, and room for a busy machine.
            Scenario::Latency | Scenario::Lowtraffic => 60,
        })
    }

    pub(super) fn options(self) -> SandboxOptions {
        SandboxOptions {
            ready_after: Duration::from_secs(1),
            progress_deadline: Duration::from_secs(24),
            requests_per_second: if self == Scenario::Lowtraffic { 0.1 } else { 90.0 },
            ..SandboxOptions::default()
        }
    }

    /// Requests that are served before the release: more than judging needs, as the first and the last few are not measured.
    pub(super) fn past_requests(self) -> u64 {
        match self {
            Scenario::Lowtraffic => 0,
            // A quantile is compared, for which more of them are needed than for a ratio of errors.
            Scenario::Latency | Scenario::Healthy => 1_000,
            Scenario::Errors | Scenario::Crashloop | Scenario::Probes | Scenario::Shared => 600,
        }
    }

    pub(super) fn deploy(self) -> Deploy {
        let fault = match self {
            Scenario::Errors => Fault::Errors(0.15),
            Scenario::Latency => Fault::Latency(2.0),
            Scenario::Crashloop => Fault::CrashLoop,
            Scenario::Probes => Fault::ProbesFail,
            Scenario::Shared | Scenario::Lowtraffic | Scenario::Healthy => Fault::None,
        };
        let deploy = Deploy::new(RELEASED, fault).because("Deployed version v2");
        // Slow enough that both versions serve side by side while the dependency is down.
        if self == Scenario::Shared { deploy.paced(Duration::from_secs(18)) } else { deploy }
    }

    pub(super) fn incident(self) -> Option<Incident> {
        match self {
            Scenario::Shared => Some(Incident::DependencyBreaks),
            Scenario::Lowtraffic => Some(Incident::OneRequestFails),
            Scenario::Errors
            | Scenario::Latency
            | Scenario::Crashloop
            | Scenario::Probes
            | Scenario::Healthy => None,
        }
    }

    pub(super) fn release_text(self) -> &'static str {
        match self {
            Scenario::Errors => "v2, whose requests fail in 15 % of all cases",
            Scenario::Latency => "v2, which takes twice as long to answer",
            Scenario::Crashloop => "v2, whose pods crash one second after their start",
            Scenario::Probes => "v2, whose pods never become ready",
            Scenario::Shared | Scenario::Lowtraffic | Scenario::Healthy => "v2, with which nothing is wrong",
        }
    }

    pub(super) fn introduction(self) -> String {
        let (watch, warm_up, settle) = (self.watch().as_secs(), WARM_UP.as_secs(), SETTLE.as_secs());
        let deadline = self.options().progress_deadline.as_secs();
        let traffic =
            if self == Scenario::Lowtraffic { "one request in 10 seconds" } else { "90 requests per second" };
        format!(
            "rollguard demo: {}\n\
             An embedded Kubernetes API with 3 pods of v1 and {traffic}; the daemon is the real one.\n\
             Shortened here: the watch is {watch} s instead of 30 minutes, both after the release and after a rollback; what\n\
             must be well for 10 minutes to be called healthy, for {settle} s; the progress deadline from 10 minutes to {deadline} s; and\n\
             the warm-up in which a new pod may be slow from a minute to {warm_up} s. Batches of 5 s and all thresholds are the\n\
             real ones.\n",
            self.name()
        )
    }

    /// How the outcome differs from what it should be; `None` if it does not.
    pub(super) fn missed(self, outcome: &Outcome) -> Option<String> {
        let (decision, cause, rolled_back) = match self {
            Scenario::Errors | Scenario::Latency | Scenario::Crashloop | Scenario::Probes => {
                (Decision::Rollback, Some(Cause::Release), true)
            }
            Scenario::Shared => (Decision::Page, Some(Cause::Shared), false),
            Scenario::Lowtraffic | Scenario::Healthy => (Decision::Hold, None, false),
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
