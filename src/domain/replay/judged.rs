//! What became of one release in a replay: one line of `rollguard backtest -o json`.
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::trace::Trace;
use crate::domain::evidence::{Cause, Evidence, Strength};
use crate::domain::names::{ServiceName, TargetName};
use crate::domain::policy::{Decided, Decision};
use crate::domain::verdict::Health;
use crate::domain::watch::{Assessment, WatchSpec};

/// The strongest decision about one release, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    pub service: ServiceName,
    /// `None` for a release of the whole service.
    pub target: Option<TargetName>,
    pub release: String,
    pub released_at: Timestamp,
    pub verdict: Health,
    /// `None` for `hold`.
    pub cause: Option<Cause>,
    pub decision: Decision,
    /// When the decision was first reached; for `hold`, when the watch was over.
    pub decided_at: Timestamp,
    pub delay_seconds: f64,
    pub rule: Option<String>,
    pub reason: String,
    /// The leading rule's finding, an empty object if there is none.
    pub evidence: Findings,
    /// What was measured, for a chart.
    #[serde(skip)]
    pub trace: Option<Box<Trace>>,
}

/// The finding that led, which may be none.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Findings {
    #[serde(flatten)]
    pub lead: Option<Evidence>,
}

/// A decision, with the assessment that it was made on.
#[derive(Clone, Debug)]
pub(super) struct Reached {
    pub(super) decided: Decided,
    pub(super) on: Assessment,
    /// By what happened to other services too.
    pub(super) cause: Cause,
}

/// How a watch came to its end.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    Complete,
    Superseded { by: String },
    CutShort,
}

/// Everything that a judgement is made of.
pub(super) struct Finished<'a> {
    pub(super) spec: &'a WatchSpec,
    pub(super) target: Option<TargetName>,
    pub(super) reached: Option<Reached>,
    pub(super) last: Option<Assessment>,
    pub(super) ending: Ending,
    pub(super) over_at: Timestamp,
    pub(super) trace: Option<Box<Trace>>,
}

impl Finished<'_> {
    pub(super) fn judged(self) -> Judged {
        match self.reached.clone() {
            Some(reached) => self.decided(reached),
            None => self.held(),
        }
    }

    fn decided(self, reached: Reached) -> Judged {
        let verdict = &reached.on.verdict;
        let mut reason = reached.decided.reason.clone();
        if !reached.decided.barred.is_empty() {
            reason += &format!("; not rolled back by itself: {}", reached.decided.barred.join("; "));
        }
        Judged {
            verdict: verdict.health,
            cause: Some(reached.cause),
            decision: reached.decided.reached(),
            rule: verdict.rule.clone(),
            evidence: lead(&reached.on),
            reason,
            ..self.blank(reached.on.at)
        }
    }

    fn held(self) -> Judged {
        let at = self.over_at;
        let Some(last) = self.last.clone() else {
            let reason = self.shortened("nothing was measured");
            return Judged { reason, ..self.blank(at) };
        };
        let verdict = match last.verdict.health {
            Health::Healthy | Health::Minor => last.verdict.health,
            Health::Pending | Health::Degraded | Health::Inconclusive => Health::Inconclusive,
        };
        Judged {
            verdict,
            rule: last.verdict.rule.clone(),
            reason: self.shortened(&last.verdict.reason),
            evidence: lead(&last),
            ..self.blank(at)
        }
    }

    /// The reason, preceded by why the watch was shorter than it should have been.
    fn shortened(&self, reason: &str) -> String {
        let whole = span(self.spec.ends_at.duration_since(self.spec.opened_at));
        let had = span(self.over_at.duration_since(self.spec.opened_at));
        match &self.ending {
            Ending::Complete => reason.to_string(),
            Ending::CutShort => format!("the recording ends {had} into a watch of {whole}: {reason}"),
            Ending::Superseded { by } => format!("{by} came after {had} of a watch of {whole}: {reason}"),
        }
    }

    fn blank(self, at: Timestamp) -> Judged {
        let release = &self.spec.release;
        Judged {
            service: release.target.service.clone(),
            target: self.target,
            release: release.to.label.clone(),
            released_at: release.at,
            verdict: Health::Inconclusive,
            cause: None,
            decision: Decision::Hold,
            decided_at: at,
            delay_seconds: at.duration_since(release.at).as_secs_f64(),
            rule: None,
            reason: String::new(),
            evidence: Findings::default(),
            trace: self.trace,
        }
    }
}

fn lead(assessment: &Assessment) -> Findings {
    let verdict = &assessment.verdict;
    let named = assessment.evidence.iter().find(|e| Some(&e.rule) == verdict.rule.as_ref());
    let strongest = || assessment.evidence.iter().max_by_key(|e| (e.strength, e.numbers.is_some()));
    let told = |e: &&Evidence| e.strength > Strength::Quiet || e.numbers.is_some();
    Findings { lead: named.or_else(strongest).filter(told).cloned() }
}

/// `45 s`, `12 min`, `2 h 5 min`.
pub(super) fn span(length: SignedDuration) -> String {
    let secs = length.as_secs().max(0);
    match (secs / 3600, secs / 60) {
        (0, 0 | 1) => format!("{secs} s"),
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) if minutes % 60 == 0 => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {} min", minutes % 60),
    }
}
