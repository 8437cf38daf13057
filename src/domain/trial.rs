//! What the assessments of a watch come to: the strongest decision, and what the watch leaves behind.
use std::time::Duration;

use jiff::Timestamp;

use super::event::WatchEnd;
use super::evidence::Strength;
use super::guardrails::Bar;
use super::memory::makes_known_good;
use super::policy::{Circumstances, Decided, Decision, Mode, decide};
use super::release::ReleaseKind;
use super::verdict::{Health, Verdict};
use super::watch::{Assessment, Watch};

/// A fold over the assessments of one watch. A daemon and a backtest decide by it alike.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// Since when the evidence has been at page level without a break.
    page_level_since: Option<Timestamp>,
    worst: Strength,
}

/// What a service's owner lets rollguard do, and how patiently.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    pub mode: Mode,
    pub page_after: Duration,
    pub kind: &'a ReleaseKind,
}

impl Default for Trial {
    fn default() -> Self {
        Self { page_level_since: None, worst: Strength::Quiet }
    }
}

impl Trial {
    /// Folds one look at the watch.
    pub fn note(&mut self, assessment: &Assessment) {
        let strength = assessment.verdict.strength;
        self.worst = self.worst.max(strength);
        let since = self.page_level_since.unwrap_or(assessment.at);
        self.page_level_since = (strength >= Strength::Page).then_some(since);
    }

    /// Decides on the assessment that was noted last.
    pub fn decide(&self, assessment: &Assessment, terms: Terms<'_>, bars: &[Bar]) -> Decided {
        // Nobody looks again after the end: what is at page level then pages without waiting any longer.
        let patience = if assessment.ended { Duration::ZERO } else { terms.page_after };
        let around = Circumstances {
            mode: terms.mode,
            now: assessment.at,
            kind: terms.kind,
            page_level_since: self.page_level_since,
            page_after_secs: patience.as_secs_f64(),
            bars,
        };
        decide(&assessment.verdict, &around)
    }

    /// Why the end of this watch makes its version the known good one, if it does. `reached` is the strongest decision.
    pub fn leaves_known_good(&self, watch: &Watch, end: WatchEnd, reached: Decision) -> Option<String> {
        let quiet = self.worst < Strength::Page && reached == Decision::Hold;
        makes_known_good(end, quiet && !watch.troubled(), watch.watched_secs(), watch.spec())
    }
}

/// How a watch ends that nothing cut short.
pub fn end_of(verdict: &Verdict) -> WatchEnd {
    match (verdict.health, verdict.strength) {
        (_, Strength::Page | Strength::Urgent | Strength::Rollback) => WatchEnd::Degraded,
        (Health::Healthy, _) => WatchEnd::Healthy,
        (Health::Pending | Health::Minor | Health::Degraded | Health::Inconclusive, _) => {
            WatchEnd::Inconclusive
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::evidence::Cause;

    fn assessment(second: i64, strength: Strength, ended: bool) -> Assessment {
        let verdict = Verdict {
            health: Health::Degraded,
            cause: Cause::Unknown,
            strength,
            rule: None,
            reason: "because".into(),
        };
        let at = Timestamp::from_second(second).unwrap();
        Assessment { at, verdict, evidence: vec![], ended }
    }

    #[test]
    fn page_level_pages_after_lasting_without_a_break_or_at_the_end() {
        let page_after = Duration::from_secs(120);
        let decide = |looks: &[(i64, Strength, bool)]| {
            let mut trial = Trial::default();
            let mut last = None;
            for (second, strength, ended) in looks {
                let assessment = assessment(*second, *strength, *ended);
                trial.note(&assessment);
                let terms = Terms { mode: Mode::Auto, page_after, kind: &ReleaseKind::New };
                last = Some(trial.decide(&assessment, terms, &[]).decision);
            }
            last.unwrap()
        };
        let (page, quiet) = (Strength::Page, Strength::Quiet);
        assert_eq!(decide(&[(0, page, false), (119, page, false)]), Decision::Hold);
        assert_eq!(decide(&[(0, page, false), (120, page, false)]), Decision::Page);
        assert_eq!(decide(&[(0, page, false), (60, quiet, false), (120, page, false)]), Decision::Hold);
        assert_eq!(decide(&[(0, page, true)]), Decision::Page);
    }
}
