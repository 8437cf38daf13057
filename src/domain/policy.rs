//! From a verdict to a decision: what the service's policy allows, and what the guard rails forbid.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::code::Code;
use super::evidence::{Cause, Strength};
use super::guardrails::Bar;
use super::guardrails::freeze::Frozen;
use super::release::ReleaseKind;
use super::verdict::{Health, Verdict};

/// What the owner of a service lets rollguard do by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Auto,
    Approval,
    Page,
    /// Records what it would have done, and tells nobody.
    Observe,
}

/// Strongest last, as backtests and reports compare them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    Hold,
    Page,
    Ask,
    Rollback,
}

/// A decision with everything that led to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    pub decision: Decision,
    /// Under `observe`: what would have been done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would: Option<Decision>,
    /// One sentence with the numbers.
    pub reason: String,
    /// Why less was decided than the evidence asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub barred: Vec<String>,
}

impl Decided {
    /// What was decided, or under `observe` would have been.
    pub fn reached(&self) -> Decision {
        self.would.unwrap_or(self.decision)
    }
}

impl Decided {
    /// What would be done by itself is asked for, if there is something that a person must look at.
    pub fn asking_for(mut self, person: Vec<String>) -> Self {
        if person.is_empty() {
            return self;
        }
        match (self.decision, self.would) {
            (Decision::Rollback, _) => self.decision = Decision::Ask,
            (_, Some(Decision::Rollback)) => self.would = Some(Decision::Ask),
            (Decision::Hold | Decision::Page | Decision::Ask, _) => return self,
        }
        self.barred.extend(person);
        self
    }
}

/// What else a decision depends on.
#[derive(Clone, Debug)]
pub struct Circumstances<'a> {
    pub mode: Mode,
    pub now: Timestamp,
    pub kind: &'a ReleaseKind,
    /// Since when the evidence has been at page level without a break.
    pub page_level_since: Option<Timestamp>,
    pub page_after_secs: f64,
    /// Guard rails that stop automation here.
    pub bars: &'a [Bar],
    /// A freeze: what would be done by itself is asked for.
    pub frozen: Option<&'a Frozen>,
}

/// Decides. Pure: the same verdict in the same circumstances always gives the same decision.
pub fn decide(verdict: &Verdict, around: &Circumstances<'_>) -> Decided {
    let wanted = wanted(verdict, around);
    let reason = verdict.reason.clone();
    let mut barred: Vec<String> = Vec::new();
    let mut decision = wanted;
    if wanted == Decision::Rollback || matches!(around.kind, ReleaseKind::KnownBad) {
        barred.extend(bars_of(around));
    }
    if wanted == Decision::Rollback {
        decision = match (barred.is_empty(), around.mode) {
            (false, _) | (true, Mode::Page) => Decision::Page,
            (true, Mode::Approval) => Decision::Ask,
            (true, Mode::Auto | Mode::Observe) if around.frozen.is_some() => Decision::Ask,
            (true, Mode::Auto | Mode::Observe) => Decision::Rollback,
        };
        barred.extend(around.frozen.filter(|_| decision == Decision::Ask).map(ToString::to_string));
    }
    if around.mode == Mode::Observe {
        return Decided { decision: Decision::Hold, would: Some(decision), reason, barred };
    }
    Decided { decision, would: None, reason, barred }
}

fn wanted(verdict: &Verdict, around: &Circumstances<'_>) -> Decision {
    if matches!(around.kind, ReleaseKind::KnownBad) && verdict.strength < Strength::Rollback {
        return Decision::Page;
    }
    match verdict.strength {
        Strength::Rollback => Decision::Rollback,
        Strength::Urgent => Decision::Page,
        Strength::Page => {
            let lasted = around.page_level_since.map(|since| around.now.duration_since(since).as_secs_f64());
            let lasts = lasted.is_some_and(|secs| secs >= around.page_after_secs);
            if lasts || around.mode == Mode::Page { Decision::Page } else { Decision::Hold }
        }
        Strength::Quiet | Strength::Suspect | Strength::Minor => Decision::Hold,
    }
}

fn bars_of(around: &Circumstances<'_>) -> Vec<String> {
    let why = match around.kind {
        ReleaseKind::New => String::new(),
        ReleaseKind::Undo => {
            "this version ran here before, so somebody chose it: an undo is never undone".to_string()
        }
        ReleaseKind::OurRollback { run } => {
            format!("this version was restored by run {run}: a rollback is never rolled back")
        }
        ReleaseKind::KnownBad => {
            "this version was rolled back before and somebody deployed it again".to_string()
        }
    };
    let undo = Code::of_kind(around.kind).map(|code| format!("{why} [{code}]"));
    undo.into_iter().chain(around.bars.iter().map(|bar| format!("{bar} [{}]", Code::from(bar)))).collect()
}

/// The runbook's severity, from the evidence: SEV 1 is the worst.
pub fn severity(verdict: &Verdict) -> u8 {
    match (verdict.health, verdict.strength, verdict.cause) {
        (Health::Degraded, Strength::Rollback | Strength::Urgent, Cause::SinglePod) => 3,
        (Health::Degraded, Strength::Rollback | Strength::Urgent, _) => 2,
        (Health::Inconclusive | Health::Degraded, _, _) => 3,
        (Health::Minor | Health::Pending | Health::Healthy, _, _) => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn verdict(strength: Strength) -> Verdict {
        let rule = Some("error-rate".to_string());
        Verdict { health: Health::Degraded, cause: Cause::Release, strength, rule, reason: "because".into() }
    }

    fn around<'a>(mode: Mode, kind: &'a ReleaseKind, bars: &'a [Bar]) -> Circumstances<'a> {
        let now = Timestamp::from_second(1000).unwrap();
        let page_level_since = Some(Timestamp::from_second(950).unwrap());
        Circumstances { mode, now, kind, page_level_since, page_after_secs: 120.0, bars, frozen: None }
    }

    #[test]
    fn the_mode_decides_what_rollback_level_evidence_does() {
        let decision = |mode| decide(&verdict(Strength::Rollback), &around(mode, &ReleaseKind::New, &[]));
        assert_eq!(decision(Mode::Auto).decision, Decision::Rollback);
        assert_eq!(decision(Mode::Approval).decision, Decision::Ask);
        assert_eq!(decision(Mode::Page).decision, Decision::Page);
        assert_eq!(decision(Mode::Observe).decision, Decision::Hold);
        assert_eq!(decision(Mode::Observe).would, Some(Decision::Rollback));
    }

    #[test]
    fn a_freeze_asks_instead_of_acting() {
        let frozen = Frozen { until: Timestamp::from_second(7200).unwrap(), why: "launch".into() };
        let decided = |mode| {
            let around = Circumstances { frozen: Some(&frozen), ..around(mode, &ReleaseKind::New, &[]) };
            decide(&verdict(Strength::Rollback), &around)
        };
        let auto = decided(Mode::Auto);
        assert_eq!((auto.decision, auto.barred), (Decision::Ask, vec![frozen.to_string()]));
        assert_eq!(decided(Mode::Page).decision, Decision::Page);
        assert_eq!(decided(Mode::Observe).would, Some(Decision::Ask));
    }

    #[test]
    fn page_level_evidence_pages_after_two_minutes() {
        let kind = ReleaseKind::New;
        let mut at = around(Mode::Auto, &kind, &[]);
        assert_eq!(decide(&verdict(Strength::Page), &at).decision, Decision::Hold);
        at.page_level_since = Timestamp::from_second(880).ok();
        assert_eq!(decide(&verdict(Strength::Page), &at).decision, Decision::Page);
    }

    fn any_strength() -> impl Strategy<Value = Strength> {
        use Strength::*;
        prop::sample::select(vec![Quiet, Suspect, Minor, Page, Urgent, Rollback])
    }

    proptest! {
        #[test]
        fn nothing_but_rollback_evidence_about_a_new_version_rolls_back(
            strength in any_strength(),
            kind in prop::sample::select(vec![
                ReleaseKind::New, ReleaseKind::Undo, ReleaseKind::KnownBad, ReleaseKind::OurRollback { run: "r".into() }]),
            mode in prop::sample::select(vec![Mode::Auto, Mode::Approval, Mode::Page, Mode::Observe]),
            barred in any::<bool>(),
        ) {
            let bars = if barred { vec![Bar::NoKnownGood] } else { vec![] };
            let decided = decide(&verdict(strength), &around(mode, &kind, &bars));
            if decided.decision >= Decision::Ask {
                prop_assert!(strength == Strength::Rollback && kind == ReleaseKind::New && !barred);
            }
        }
    }
}
