//! One check from outside in one watch: how long it has been failing, and whether the release is to blame.
use jiff::{SignedDuration, Timestamp};

use super::WatchSpec;
use super::rollout::Rollout;
use super::seen::Seen;
use crate::domain::evidence::{Cause, Evidence, Strength, clock_time};
use crate::domain::names::RuleName;
use crate::domain::runbook::{Checked, Rule, RuleKind};

/// A single bad answer happens to everybody.
const FAILURES_MIN: u32 = 3;

/// Failing means: no answer passed for `failing_for_secs`, and three at least failed. Answers that are further apart than
/// that leave a gap, and what was before it does not count. Readings from before the release say how it was then.
#[derive(Clone, Debug)]
pub(super) struct CheckRule {
    pub(super) name: RuleName,
    failing_for_secs: f64,
    pub(super) about: Checked,
    restores: bool,
    passed_at: Option<Timestamp>,
    /// Since then no answer passed, with gaps or without.
    not_passed_since: Option<Timestamp>,
    failing: Option<Failing>,
    pub(super) seen: Seen,
}

/// Failures without a gap between them.
#[derive(Clone, Debug)]
struct Failing {
    since: Timestamp,
    at: Timestamp,
    count: u32,
    detail: String,
}

impl CheckRule {
    pub(super) fn new(rule: &Rule, spec: &WatchSpec) -> Self {
        let (failing_for_secs, about) = match rule.kind {
            RuleKind::Check { failing_for_secs, about } => (failing_for_secs, about),
            RuleKind::Errors { .. } | RuleKind::Latency { .. } | RuleKind::Value { .. } => {
                (f64::INFINITY, Checked::Service)
            }
        };
        Self {
            name: rule.name.clone(),
            failing_for_secs,
            about,
            restores: spec.restores(),
            passed_at: None,
            not_passed_since: None,
            failing: None,
            seen: Seen::default(),
        }
    }

    pub(super) fn take(&mut self, at: Timestamp, ok: bool, detail: &str) {
        // Late and repeated readings add nothing.
        if self.seen.at.is_some_and(|seen| at <= seen) {
            return;
        }
        self.seen.take(at);
        if ok {
            (self.passed_at, self.not_passed_since, self.failing) = (Some(at), None, None);
            return;
        }
        self.not_passed_since.get_or_insert(at);
        let before = self.failing.take().filter(|f| secs(f.at, at) <= self.failing_for_secs);
        self.failing = Some(Failing {
            since: before.as_ref().map_or(at, |f| f.since),
            at,
            count: before.map_or(0, |f| f.count).saturating_add(1),
            detail: detail.chars().take(200).collect(),
        });
    }

    pub(super) fn assess(&self, rollout: &Rollout) -> Option<Evidence> {
        let recent = |f: &&Failing| secs(f.at, rollout.now) <= self.failing_for_secs;
        let failing = self.failing.as_ref().filter(recent)?;
        let (strength, cause, because) = self.finding(failing, rollout);
        let mut sentence = format!(
            "{} fails since {}, {} times in a row: {}",
            self.name,
            clock_time(failing.since),
            failing.count,
            failing.detail
        );
        if !because.is_empty() {
            sentence += &format!("; {because}");
        }
        Some(Evidence::fact(self.name.as_str(), strength, cause, Some(failing.since), sentence))
    }

    fn finding(&self, failing: &Failing, rollout: &Rollout) -> (Strength, Cause, &'static str) {
        // Time without an answer after the last one does not count.
        let counts_from = rollout.counts_from(failing.since, self.restores, SignedDuration::ZERO);
        let failed_secs = counts_from.map_or(0.0, |from| secs(from, failing.at));
        if failing.count < FAILURES_MIN || failed_secs < self.failing_for_secs {
            let suspect = failing.count >= FAILURES_MIN && failed_secs >= self.failing_for_secs / 2.0;
            return (if suspect { Strength::Suspect } else { Strength::Quiet }, Cause::Unknown, "");
        }
        if self.about == Checked::Certificate {
            return (Strength::Minor, Cause::Unknown, "no release causes that, so it is held against none");
        }
        let Some(first) = self.not_passed_since.filter(|_| self.passed_at.is_some()) else {
            let unseen = "it has not been seen to pass, so the release is not shown to be the cause";
            return (Strength::Page, Cause::Unknown, unseen);
        };
        if rollout.is_before(first) {
            return (Strength::Page, Cause::Unknown, "it failed before the release already");
        }
        if !rollout.covers(failing.since) {
            return (Strength::Urgent, Cause::Unknown, "it began after the rollout");
        }
        if rollout.other_worse_at(failing.since, SignedDuration::ZERO).is_some() {
            let because = "a service that was not released got worse at the same time";
            return (Strength::Urgent, Cause::Shared, because);
        }
        (Strength::Rollback, Cause::Release, "it passed before, and began to fail with the rollout")
    }
}

fn secs(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::release::ReleaseKind;
    use crate::domain::watch::values::spec_for_tests as spec;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    /// What is thought at the last reading. The release is at 0, its rollout ends at 30; `readings` are seconds, with `!`
    /// before those that fail.
    fn judged(readings: &str) -> Evidence {
        judged_in(ReleaseKind::New, readings)
    }

    fn health(kind: ReleaseKind) -> CheckRule {
        let rule = RuleKind::check(60.0);
        CheckRule::new(&Rule::new(RuleName::parse("health").unwrap(), rule), &spec(kind))
    }

    fn judged_in(kind: ReleaseKind, readings: &str) -> Evidence {
        let mut rule = health(kind);
        let mut now = at(0);
        for reading in readings.split_whitespace() {
            let ok = !reading.starts_with('!');
            now = at(reading.trim_start_matches('!').parse().unwrap());
            rule.take(now, ok, if ok { "HTTP 200" } else { "HTTP 503" });
        }
        rule.assess(&Rollout::seen(at(0), Some(at(30)), now)).unwrap_or_else(quiet)
    }

    fn quiet() -> Evidence {
        Evidence::fact("health", Strength::Quiet, Cause::Unknown, None, String::new())
    }

    #[test]
    fn who_is_to_blame_for_a_failing_check() {
        use Cause::{Release, Unknown};
        use Strength::{Page, Quiet, Rollback, Suspect, Urgent};
        let cases = [
            ("passes", "-5 5 15 25 35 45", Quiet, Unknown),
            ("fails with the rollout", "-5 !5 !15 !25 !35 !45 !55 !65", Rollback, Release),
            ("half of the time", "-5 !5 !15 !25 !35", Suspect, Unknown),
            ("not for long", "-5 !5 !15 !25", Quiet, Unknown),
            ("flaps", "-5 !5 !15 !25 35 !45 !55 !65 75 !85 !95 !105", Quiet, Unknown),
            ("long, but two failures only", "-5 !5 !65", Quiet, Unknown),
            ("fails since before", "-60 !-5 !5 !15 !25 !35 !45 !55 !65", Page, Unknown),
            ("failed before, then a gap", "-200 !-150 !5 !15 !25 !35 !45 !55 !65", Page, Unknown),
            ("never seen to pass", "!5 !15 !25 !35 !45 !55 !65", Page, Unknown),
            ("passes again", "-5 !5 !15 !25 !35 !45 !55 !65 75", Quiet, Unknown),
            ("begins late", "-5 5 100 150 !160 !170 !180 !190 !200 !210 !220", Urgent, Unknown),
            ("a gap in between", "-5 !5 !15 !25 !90 !100 !110", Quiet, Unknown),
            ("late and repeated readings", "-5 !5 !5 !5 !15 5 !35 !45 !55 !65", Rollback, Release),
        ];
        for (what, readings, strength, cause) in cases {
            let evidence = judged(readings);
            assert_eq!((evidence.strength, evidence.cause), (strength, cause), "{what}: {evidence:?}");
        }
    }

    #[test]
    fn the_sentence_says_what_was_seen() {
        let evidence = judged("-5 !5 !15 !25 !35 !45 !55 !65");
        let expected = "health fails since 13:46:45, 7 times in a row: HTTP 503; it passed before, and began to fail with the rollout";
        assert_eq!(evidence.sentence, expected);
        assert_eq!(evidence.since, Some(at(5)));
    }

    #[test]
    fn a_version_that_is_restored_has_until_its_rollout_ended() {
        let strength = |readings| judged_in(ReleaseKind::Undo, readings).strength;
        assert_eq!(strength("-90 !-60 !-30 !-5 !10 !20 !30 !40"), Strength::Quiet);
        assert_eq!(strength("-90 !-60 !-30 !-5 !10 !20 !30 !40 50"), Strength::Quiet);
        assert_eq!(strength("-90 !-60 !-30 !-5 !10 !20 !30 !50 !70 !90"), Strength::Page);
    }

    #[test]
    fn a_certificate_is_told_and_held_against_nobody() {
        let kind = RuleKind::Check { failing_for_secs: 60.0, about: Checked::Certificate };
        let mut rule =
            CheckRule::new(&Rule::new(RuleName::parse("tls").unwrap(), kind), &spec(ReleaseKind::New));
        rule.take(at(-5), true, "");
        (0..=6).for_each(|n| rule.take(at(5 + n * 10), false, "its certificate expires in 9 days"));
        let evidence = rule.assess(&Rollout::seen(at(0), Some(at(30)), at(65))).unwrap();
        assert_eq!((evidence.strength, evidence.cause), (Strength::Minor, Cause::Unknown));
        assert!(evidence.sentence.ends_with("no release causes that, so it is held against none"));
    }

    #[test]
    fn silence_is_not_failing() {
        let mut rule = health(ReleaseKind::New);
        rule.take(at(-5), true, "");
        (1..=7).for_each(|n| rule.take(at(n * 10), false, "HTTP 503"));
        let assess =
            |now: i64| rule.assess(&Rollout::seen(at(0), None, at(now))).unwrap_or_else(quiet).strength;
        assert_eq!((assess(75), assess(131)), (Strength::Rollback, Strength::Quiet));
        assert_eq!(rule.seen.at, Some(at(70)));
    }
}
