//! What the assessments of a watch come to: the strongest decision, and what the watch leaves behind.
use std::time::Duration;

use jiff::Timestamp;

use super::event::WatchEnd;
use super::evidence::{Cause, Strength};
use super::guardrails::Bar;
use super::guardrails::freeze::Frozen;
use super::memory::makes_known_good;
use super::policy::{Circumstances, Decided, Decision, Ruling, decide};
use super::release::ReleaseKind;
use super::verdict::{Health, Verdict};
use super::watch::{Assessment, Watch};

/// A fold over the assessments of one watch. A daemon and a backtest decide by it alike.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Since when the evidence has been at page level without a break.
    page_level_since: Option<Timestamp>,
    worst: Strength,
    /// Set once several services have tripped together: what was held back then is not done later.
    together: Option<Bar>,
}

/// What a service's owner lets rollguard do, and how patiently.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    pub ruling: &'a Ruling,
    pub page_after: Duration,
    pub kind: &'a ReleaseKind,
    pub frozen: Option<&'a Frozen>,
}

impl Default for Trial {
    fn default() -> Self {
        Self { page_level_since: None, worst: Strength::Quiet, together: None }
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

    /// Several services have tripped together, or (`None`) they have not: that holds for the rest of the watch.
    pub fn hold_back(&mut self, together: Option<Bar>) {
        self.together = self.together.take().or(together);
    }

    /// What holds the release's own evidence back, if other services tripped together with it.
    pub fn together(&self, verdict: &Verdict) -> Option<&Bar> {
        self.together.as_ref().filter(|_| verdict.trips())
    }

    /// Who or what is to blame, by what happened to other services too.
    pub fn cause(&self, verdict: &Verdict) -> Cause {
        if self.together(verdict).is_some() { Cause::Shared } else { verdict.cause }
    }

    /// Decides on the assessment that was noted last.
    pub fn decide(&self, assessment: &Assessment, terms: Terms<'_>, mut bars: Vec<Bar>) -> Decided {
        bars.extend(self.together(&assessment.verdict).cloned());
        // Nobody looks again after the end: what is at page level then pages without waiting any longer.
        let patience = if assessment.ended { Duration::ZERO } else { terms.page_after };
        let around = Circumstances {
            ruling: terms.ruling,
            now: assessment.at,
            kind: terms.kind,
            page_level_since: self.page_level_since,
            page_after_secs: patience.as_secs_f64(),
            bars: &bars,
            frozen: terms.frozen,
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
pub fn end_of(last: &Assessment) -> WatchEnd {
    match (last.verdict.health, last.verdict.strength) {
        _ if last.evidence.iter().any(|e| e.strength >= Strength::Page && !e.is_blindness()) => {
            WatchEnd::Degraded
        }
        (_, Strength::Page | Strength::Urgent | Strength::Rollback) => WatchEnd::Blind,
        (Health::Healthy, _) => WatchEnd::Healthy,
        (Health::Pending | Health::Minor | Health::Degraded | Health::Inconclusive, _) => {
            WatchEnd::Inconclusive
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::evidence::Evidence;
    use crate::domain::policy::Mode;

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
                let ruling = &Ruling::plain(Mode::Auto);
                let terms = Terms { ruling, page_after, kind: &ReleaseKind::New, frozen: None };
                last = Some(trial.decide(&assessment, terms, vec![]).decision);
            }
            last.unwrap()
        };
        let (page, quiet) = (Strength::Page, Strength::Quiet);
        assert_eq!(decide(&[(0, page, false), (119, page, false)]), Decision::Hold);
        assert_eq!(decide(&[(0, page, false), (120, page, false)]), Decision::Page);
        assert_eq!(decide(&[(0, page, false), (60, quiet, false), (120, page, false)]), Decision::Hold);
        assert_eq!(decide(&[(0, page, true)]), Decision::Page);
    }

    #[test]
    fn a_watch_that_could_not_see_at_its_end_is_neither_degraded_nor_good() {
        let fact = |rule: &str, strength| {
            Evidence::fact(rule, strength, Cause::Unknown, None, format!("{rule} says so"))
        };
        let end = |evidence: Vec<Evidence>, strength| {
            end_of(&Assessment { evidence, ..assessment(0, strength, true) })
        };
        let blind = || fact("blind", Strength::Urgent);
        assert_eq!(end(vec![blind()], Strength::Urgent), WatchEnd::Blind);
        assert_eq!(
            end(vec![blind(), fact("restarts", Strength::Suspect)], Strength::Urgent),
            WatchEnd::Blind
        );
        assert_eq!(end(vec![blind(), fact("latency", Strength::Page)], Strength::Urgent), WatchEnd::Degraded);
        assert_eq!(end(vec![fact("latency", Strength::Page)], Strength::Page), WatchEnd::Degraded);
        assert_eq!(end(vec![], Strength::Quiet), WatchEnd::Inconclusive);
    }

    #[test]
    fn what_was_held_back_once_is_not_done_later() {
        let mut trial = Trial::default();
        let tripped = assessment(0, Strength::Rollback, false);
        let ruling = &Ruling::plain(Mode::Auto);
        let terms = Terms { ruling, page_after: Duration::ZERO, kind: &ReleaseKind::New, frozen: None };
        assert_eq!(trial.decide(&tripped, terms, vec![]).decision, Decision::Rollback);
        trial.hold_back(Some(Bar::Together { services: vec![], watched: 3 }));
        trial.hold_back(None);
        let decided = trial.decide(&tripped, terms, vec![]);
        assert_eq!((decided.decision, trial.cause(&tripped.verdict)), (Decision::Page, Cause::Shared));
        let paged = assessment(0, Strength::Page, false).verdict;
        assert_eq!(trial.cause(&paged), Cause::Unknown, "only what trips is held back");
    }
}
