//! Who is to blame for a value past its bound, case by case.
use super::*;
use crate::domain::names::{ServiceName, TargetId, TargetName};
use crate::domain::release::{Fingerprint, Release, ReleaseKind, Version};
use crate::domain::runbook::Judging;
use crate::domain::signal::{Reading, Sample};
use crate::domain::watch::Watch;
use std::time::Duration;

use Cause::{Release as Blamed, Shared, SinglePod, Unknown};
use Strength::{Page, Quiet, Rollback, Suspect, Urgent};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

/// A watch of half an hour over `v2`, released at second 0.
pub(in crate::domain::watch) fn spec(kind: ReleaseKind) -> WatchSpec {
    let to = Version { fingerprint: Fingerprint::named("v2"), label: "v2".into(), images: vec![] };
    let target = TargetId {
        service: ServiceName::parse("shop").unwrap(),
        target: TargetName::parse("backend").unwrap(),
    };
    WatchSpec {
        id: "w".into(),
        release: Release { target, kind, from: None, to, at: at(0) },
        known_good: None,
        opened_at: at(0),
        ends_at: at(1800),
        rules: vec![],
        judging: Judging::standard(Duration::from_secs(1800)),
        baseline: BTreeMap::new(),
    }
}

fn rule(bound: Bound, level: Option<f64>) -> ValueRule {
    rule_in(ReleaseKind::New, bound, level)
}

fn rule_in(release: ReleaseKind, bound: Bound, level: Option<f64>) -> ValueRule {
    let kind = RuleKind::Value { bound, for_secs: 60.0 };
    let rule = Rule::new(RuleName::parse("memory").unwrap(), kind);
    let baseline = level.map(|level| Baseline { level: Some(level), ..Baseline::default() });
    ValueRule::new(&rule, &spec(release), baseline.as_ref())
}

/// What one pod shows: from when to when, how much, and how much from which second on.
struct Shows(&'static str, std::ops::RangeInclusive<i64>, f64, (i64, f64));

/// Judged at the end of what the pods show; their names begin with `new` or `old`. The rollout ends at 30.
fn quiet() -> Evidence {
    Evidence::fact("value", Strength::Quiet, Cause::Unknown, None, String::new())
}

fn judged(mut rule: ValueRule, pods: &[Shows]) -> Evidence {
    let end = pods.iter().map(|Shows(_, when, ..)| *when.end()).max().unwrap();
    for second in (0..=end).filter(|second| second % 5 == 0) {
        for Shows(pod, when, before, (onset, after)) in pods {
            let arm = if pod.starts_with("old") { Arm::Old } else { Arm::New };
            if when.contains(&second) {
                rule.take(at(second), arm, pod, if second < *onset { *before } else { *after });
            }
        }
    }
    rule.assess(&Rollout::seen(at(0), Some(at(30)), at(end))).unwrap_or_else(quiet)
}

const NEVER: (i64, f64) = (i64::MAX, 0.0);

#[test]
fn who_is_to_blame_for_a_value_past_its_bound() {
    let above = || rule(Bound::Above(10.0), Some(5.0));
    let new = |onset| Shows("new-0", 5..=onset + 65, 5.0, (onset, 20.0));
    let second = |onset| Shows("new-1", 5..=onset + 65, 5.0, (onset, 20.0));
    let fine = |pod, end| Shows(pod, 5..=end, 5.0, NEVER);
    let cases = [
        ("with the rollout", above(), vec![new(20)], Rollback, Blamed),
        ("half of the time", above(), vec![Shows("new-0", 5..=40, 20.0, NEVER)], Suspect, Unknown),
        ("not for long", above(), vec![Shows("new-0", 5..=30, 20.0, NEVER)], Quiet, Unknown),
        ("at the bound", above(), vec![Shows("new-0", 5..=90, 10.0, NEVER)], Quiet, Unknown),
        ("late", above(), vec![new(300)], Urgent, Unknown),
        ("late, beside old pods", above(), vec![new(300), fine("old-0", 365)], Rollback, Blamed),
        ("old pods that left", above(), vec![new(300), fine("old-0", 200)], Urgent, Unknown),
        ("old too", above(), vec![new(20), Shows("old-0", 0..=85, 5.0, (40, 20.0))], Urgent, Shared),
        ("one of three", above(), vec![new(20), fine("new-1", 85), fine("new-2", 85)], Urgent, SinglePod),
        ("two of three", above(), vec![new(20), second(30), fine("new-2", 95)], Rollback, Blamed),
        ("one of two", above(), vec![new(20), fine("new-1", 85)], Rollback, Blamed),
        ("before already", rule(Bound::Above(10.0), Some(12.0)), vec![new(20)], Page, Unknown),
        ("no past, a pod", rule(Bound::Above(10.0), None), vec![new(20)], Rollback, Blamed),
        (
            "no past, no pod, so from the first",
            rule(Bound::Above(10.0), None),
            vec![Shows("", 5..=65, 20.0, NEVER)],
            Page,
            Unknown,
        ),
        (
            "no past, no pod, but seen well",
            rule(Bound::Above(10.0), None),
            vec![Shows("", 5..=85, 5.0, (20, 20.0))],
            Rollback,
            Blamed,
        ),
        (
            "below",
            rule(Bound::Below(4.0), Some(5.0)),
            vec![Shows("new-0", 5..=65, 3.0, NEVER)],
            Rollback,
            Blamed,
        ),
        ("below, above it", rule(Bound::Below(4.0), Some(5.0)), vec![new(20)], Quiet, Unknown),
        ("increase", rule(Bound::Increase(0.5), Some(12.0)), vec![new(20)], Rollback, Blamed),
        ("less increase", rule(Bound::Increase(0.5), Some(14.0)), vec![new(20)], Quiet, Unknown),
        (
            "increase over old pods",
            rule(Bound::Increase(0.5), None),
            vec![fine("old-0", 80), Shows("new-0", 5..=80, 8.0, NEVER)],
            Rollback,
            Blamed,
        ),
        ("nothing to increase from", rule(Bound::Increase(0.5), None), vec![new(20)], Page, Unknown),
    ];
    for (what, rule, pods, strength, cause) in cases {
        let evidence = judged(rule, &pods);
        assert_eq!((evidence.strength, evidence.cause), (strength, cause), "{what}: {evidence:?}");
    }
}

#[test]
fn a_version_that_is_restored_has_until_its_rollout_ended() {
    let strength = |pod, end| {
        let rule = rule_in(ReleaseKind::Undo, Bound::Above(10.0), Some(5.0));
        judged(rule, &[Shows(pod, 0..=end, 20.0, NEVER)]).strength
    };
    assert_eq!((strength("", 55), strength("", 60), strength("", 90)), (Quiet, Suspect, Rollback));
    assert_eq!(strength("new-0", 60), Rollback, "its own pods show what it does");
}

#[test]
fn gaps_and_numbers_that_are_none_do_not_count() {
    let strength_of = |readings: &[(i64, f64)]| {
        let mut rule = rule(Bound::Above(10.0), Some(5.0));
        readings.iter().for_each(|(second, value)| rule.take(at(*second), Arm::New, "new-0", *value));
        let now = at(readings.last().unwrap().0);
        rule.assess(&Rollout::seen(at(0), None, now)).unwrap_or_else(quiet).strength
    };
    let every = |step: usize| (5..=65).step_by(step).map(|s| (s, 20.0)).collect::<Vec<_>>();
    assert_eq!(strength_of(&every(10)), Rollback);
    assert_eq!(strength_of(&every(20)), Quiet, "a gap between any two");
    let hole: Vec<_> = every(5).into_iter().filter(|(s, _)| !(30..55).contains(s)).collect();
    assert_eq!(strength_of(&hole), Quiet);
    let odd: Vec<_> =
        every(5).into_iter().map(|(s, v)| (s, if s % 10 == 0 { f64::NAN } else { v })).collect();
    assert_eq!(strength_of(&odd), Rollback, "a number that is none is no reading");
    let late: Vec<_> = [every(5), vec![(30, 0.0), (65, 0.0)]].concat();
    let mut rule = rule(Bound::Above(10.0), None);
    late.iter().for_each(|(second, value)| rule.take(at(*second), Arm::New, "new-0", *value));
    let assess = |now| rule.assess(&Rollout::seen(at(0), None, at(now))).unwrap_or_else(quiet).strength;
    assert_eq!((assess(65), assess(90)), (Rollback, Quiet), "silence is not past the bound");
}

#[test]
fn sentences_name_the_numbers() {
    let increase = rule(Bound::Increase(0.5), Some(8e8));
    let pods = |end| [Shows("new-0", 5..=end, 1.3e9, NEVER), Shows("new-1", 5..=end, 1.31e9, NEVER)];
    assert_eq!(
        judged(increase, &pods(65)).sentence,
        "memory 1.31G > 1.2G (an increase by 50.0 %) on 2 of 2 new pods since 13:46:45, before the release 800M; \
         it began with the rollout"
    );
    let one = judged(rule(Bound::Below(0.5), Some(0.25)), &[Shows("", 5..=65, 0.1, NEVER)]);
    let expected =
        "memory 0.1 < 0.5 since 13:46:45, before the release 0.25; it was before the release already";
    assert_eq!(one.sentence, expected);
    let figures = [0.0, 0.012345, -7.125, 99.96, 1234.0, 5e15].map(figure);
    assert_eq!(figures, ["0", "0.012", "-7.12", "100", "1.23k", "5000T"]);
}

#[test]
fn a_watch_takes_values_and_checks_and_notices_their_silence() {
    let rule = |name: &str, kind| Rule::new(RuleName::parse(name).unwrap(), kind);
    let value = RuleKind::Value { bound: Bound::Above(10.0), for_secs: 60.0 };
    let check = RuleKind::check(60.0);
    let rules = vec![rule("memory", value), rule("health", check)];
    let mut watch = Watch::new(WatchSpec { rules, ..spec(ReleaseKind::New) });
    let name = |name: &str| RuleName::parse(name).unwrap();
    let mut verdicts = Vec::new();
    for second in -1..=400 {
        let mut take = |pod: Option<&str>, reading| {
            let target = &spec(ReleaseKind::New).release.target;
            let (service, target) = (target.service.clone(), Some(target.target.clone()));
            let release = pod.map(|_| "v2".to_string());
            let pod = pod.map(str::to_string);
            watch.take(&Sample { at: at(second), service, target, release, pod, reading });
        };
        if second <= 100 {
            let value = if second < 20 { 5.0 } else { 20.0 };
            take(Some("new-0"), Reading::Value { rule: name("memory"), value });
            take(None, Reading::Check { rule: name("health"), ok: second < 30, detail: "HTTP 503".into() });
        }
        if second == 200 {
            take(None, Reading::NoData { rule: name("memory"), reason: "timed out".into() });
        }
        let assessment = watch.tick(at(second));
        verdicts.push((second, assessment.verdict.rule, assessment.verdict.strength));
        if second == 100 {
            let rules: Vec<&str> = assessment.evidence.iter().map(|e| e.rule.as_str()).collect();
            assert_eq!(rules, ["memory", "health"]);
        }
    }
    let first =
        |strength| verdicts.iter().find(|(.., s)| *s == strength).map(|(at, rule, _)| (*at, rule.clone()));
    assert_eq!(first(Suspect), Some((50, Some("memory".into()))));
    assert_eq!(first(Rollback), Some((80, Some("memory".into()))));
    assert_eq!(first(Urgent), Some((220, Some("blind".into()))), "nothing for two minutes");
}

#[test]
fn a_value_that_is_published_late_and_seldom_is_judged_all_the_same() {
    let judged = |lag_secs| {
        let kind = RuleKind::Value { bound: Bound::Above(10.0), for_secs: 60.0 };
        let rule = Rule { lag_secs, ..Rule::new(RuleName::parse("p95").unwrap(), kind) };
        let before = Baseline { level: Some(5.0), ..Baseline::default() };
        let mut late = ValueRule::new(&rule, &spec(ReleaseKind::New), Some(&before));
        for second in [60, 120, 180, 240, 300, 360] {
            late.take(at(second), Arm::New, "", if second < 240 { 5.0 } else { 20.0 });
        }
        let evidence = late.assess(&Rollout::seen(at(0), Some(at(90)), at(370)));
        evidence.map_or((Quiet, Unknown), |found| (found.strength, found.cause))
    };
    assert_eq!(judged(180.0), (Rollback, Blamed));
    assert_eq!(judged(0.0), (Quiet, Unknown), "with such gaps nothing is known");
}
