//! What policies answer: each mode by itself, and every case of a table.
use proptest::prelude::*;

use super::*;

fn verdict(strength: Strength) -> Verdict {
    let rule = Some("error-rate".to_string());
    Verdict { health: Health::Degraded, cause: Cause::Release, strength, rule, reason: "because".into() }
}

fn around<'a>(ruling: &'a Ruling, kind: &'a ReleaseKind, bars: &'a [Bar]) -> Circumstances<'a> {
    let now = Timestamp::from_second(1000).unwrap();
    let page_level_since = Some(Timestamp::from_second(950).unwrap());
    Circumstances { ruling, now, kind, page_level_since, page_after_secs: 120.0, bars, frozen: None }
}

#[test]
fn the_mode_decides_what_rollback_level_evidence_does() {
    let decision =
        |mode| decide(&verdict(Strength::Rollback), &around(&Ruling::plain(mode), &ReleaseKind::New, &[]));
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
        let ruling = Ruling::plain(mode);
        let around = Circumstances { frozen: Some(&frozen), ..around(&ruling, &ReleaseKind::New, &[]) };
        decide(&verdict(Strength::Rollback), &around)
    };
    let auto = decided(Mode::Auto);
    assert_eq!((auto.decision, auto.barred), (Decision::Ask, vec![frozen.to_string()]));
    assert_eq!(decided(Mode::Page).decision, Decision::Page);
    assert_eq!(decided(Mode::Observe).would, Some(Decision::Ask));
}

#[test]
fn page_level_evidence_pages_after_two_minutes() {
    let (kind, ruling) = (ReleaseKind::New, Ruling::plain(Mode::Auto));
    let mut at = around(&ruling, &kind, &[]);
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
        let decided = decide(&verdict(strength), &around(&Ruling::plain(mode), &kind, &bars));
        if decided.decision >= Decision::Ask {
            prop_assert!(strength == Strength::Rollback && kind == ReleaseKind::New && !barred);
        }
    }
}

mod cases {
    use std::collections::BTreeMap;

    use crate::domain::evidence::{Cause, Strength};
    use crate::domain::names::{RuleName, TargetKind, TargetName};
    use crate::domain::policy::hours::Hours;
    use crate::domain::policy::matter::{About, Matter, Seen};
    use crate::domain::policy::table::{Act, Case, Line, Policy, SeverityLine, TargetTerms, When};
    use crate::domain::policy::{Mode, Ruling};
    use crate::domain::verdict::{Health, Verdict};

    const DAY: &str = "2026-11-23T10:00:00Z";
    const NIGHT: &str = "2026-11-23T03:00:00Z";

    fn name(text: &str) -> TargetName {
        TargetName::parse(text).unwrap()
    }

    fn anything(then: Act) -> Line {
        Line { evidence: vec![], severity: vec![], kinds: vec![], hours: None, then }
    }

    fn about(matter: Matter) -> Vec<About> {
        vec![About::Matter(matter)]
    }

    fn policy(lines: Vec<Line>) -> Policy {
        let target = |kind| (name(kind_name(kind)), TargetTerms { kind, own: None });
        Policy {
            lines,
            hours: Some(Hours::new("Mon-Fri", "09:00", "18:00", "UTC").unwrap()),
            severities: vec![
                SeverityLine { evidence: about(Matter::NeverReady), severity: 1 },
                SeverityLine { evidence: about(Matter::Value), severity: 3 },
                SeverityLine { evidence: about(Matter::Check), severity: 4 },
            ],
            targets: TargetKind::ALL.into_iter().map(target).collect::<BTreeMap<_, _>>(),
            ..Mode::Auto.into()
        }
    }

    fn kind_name(kind: TargetKind) -> &'static str {
        kind.as_str()
    }

    fn ruling(policy: &Policy, matter: Matter, at: &str, targets: &[&str]) -> Ruling {
        let verdict = Verdict {
            health: Health::Degraded,
            cause: Cause::Release,
            strength: Strength::Rollback,
            rule: None,
            reason: String::new(),
        };
        let seen = [Seen { rule: matter.as_str().into(), matter: Some(matter) }];
        let targets: Vec<TargetName> = targets.iter().map(|target| name(target)).collect();
        policy.rule(Case { verdict: &verdict, seen: &seen, at: at.parse().unwrap(), targets: &targets })
    }

    #[test]
    fn the_first_line_that_fits_decides() {
        let lines = vec![
            Line { evidence: about(Matter::CrashLoop), ..anything(Act::Auto) },
            Line { evidence: about(Matter::Latency), hours: Some(When::Inside), ..anything(Act::Approval) },
            Line { severity: vec![3], ..anything(Act::Approval) },
            Line { evidence: about(Matter::Latency), ..anything(Act::Page) },
        ];
        let policy = Policy { otherwise: Act::Approval, ..policy(lines) };
        let says = |matter, at| {
            let Ruling { act, severity, because, .. } = ruling(&policy, matter, at, &["kubernetes"]);
            (act, severity, because.unwrap().split(" (").next().unwrap().to_string())
        };
        let line = |n: u8| format!("line {n} of the policy");
        assert_eq!(says(Matter::CrashLoop, NIGHT), (Act::Auto, 2, line(1)));
        assert_eq!(says(Matter::Latency, DAY), (Act::Approval, 2, line(2)));
        assert_eq!(says(Matter::Latency, NIGHT), (Act::Page, 2, line(4)));
        assert_eq!(says(Matter::Value, DAY), (Act::Approval, 3, line(3)));
        assert_eq!(says(Matter::Errors, DAY), (Act::Approval, 2, "no line fits: otherwise approval".into()));
        let sev4 = says(Matter::Check, DAY);
        assert_eq!(sev4, (Act::Page, 4, "SEV 4: the runbook rolls back from SEV 2 on".into()));
    }

    #[test]
    fn a_rule_may_be_named_and_all_that_trips_is_looked_at() {
        let rule = RuleName::parse("checkout").unwrap();
        let lines = vec![Line { evidence: vec![About::Rule(rule)], ..anything(Act::Approval) }];
        let policy = policy(lines);
        let verdict = Verdict {
            health: Health::Degraded,
            cause: Cause::Release,
            strength: Strength::Rollback,
            rule: Some("errors".into()),
            reason: String::new(),
        };
        let seen =
            ["errors", "checkout"].map(|rule| Seen { rule: rule.into(), matter: Some(Matter::Errors) });
        let at = DAY.parse().unwrap();
        let act =
            |seen| policy.rule(Case { verdict: &verdict, seen, at, targets: &[name("kubernetes")] }).act;
        assert_eq!((act(&seen[..]), act(&seen[..1])), (Act::Approval, Act::Auto));
        // What is not enough for a rollback is no matter for lines.
        let page = Verdict { strength: Strength::Page, ..verdict.clone() };
        let weak = policy.rule(Case { verdict: &page, seen: &[], at, targets: &[name("kubernetes")] });
        assert_eq!((weak.act, weak.because.is_some()), (Act::Auto, true));
    }

    #[test]
    fn databases_and_infrastructure_ask_unless_it_is_written_and_the_strictest_counts() {
        let plain: Policy = Policy { lines: vec![], ..policy(vec![]) };
        let act = |policy: &Policy, targets: &[&str]| ruling(policy, Matter::Errors, DAY, targets).act;
        assert_eq!(act(&plain, &["kubernetes", "frontend"]), Act::Auto);
        for kind in ["database", "infrastructure"] {
            assert_eq!(act(&plain, &["kubernetes", kind]), Act::Approval);
            let why = ruling(&plain, Matter::Errors, DAY, &[kind]);
            assert!(why.because.unwrap().contains("unless it is written otherwise") && !why.alone);
        }
        let own = |mode| {
            let mut policy = plain.clone();
            policy.targets.get_mut("database").unwrap().own = Some(mode);
            policy
        };
        assert_eq!(act(&own(Mode::Auto), &["database"]), Act::Auto);
        assert!(ruling(&own(Mode::Auto), Matter::Errors, DAY, &["database"]).alone);
        assert_eq!(act(&own(Mode::Page), &["kubernetes", "database"]), Act::Page);
        assert!(ruling(&own(Mode::Observe), Matter::Errors, DAY, &["kubernetes", "database"]).observe);
        let named = Line { kinds: vec![TargetKind::Database], ..anything(Act::Auto) };
        assert_eq!(act(&policy(vec![named]), &["database"]), Act::Auto);
        assert_eq!(act(&policy(vec![anything(Act::Auto)]), &["database"]), Act::Approval, "no kind is named");
    }

    /// Every evidence, time, set of targets and pair of lines: one answer, always the same, with a reason.
    #[test]
    fn every_case_has_exactly_one_answer_with_a_reason() {
        let hours = [None, Some(When::Inside), Some(When::Outside)];
        let severities: [&[u8]; 4] = [&[], &[1], &[3, 4], &[1, 2, 3, 4]];
        let kinds: [&[TargetKind]; 2] = [&[], &[TargetKind::Database]];
        let evidence = [vec![], about(Matter::CrashLoop), about(Matter::Value)];
        let mut lines = Vec::new();
        for (hours, severity) in hours.iter().flat_map(|h| severities.iter().map(move |s| (*h, s.to_vec()))) {
            for (kinds, evidence) in kinds.iter().flat_map(|k| evidence.iter().map(move |e| (k.to_vec(), e)))
            {
                let then = Act::ALL[lines.len() % 3];
                lines.push(Line {
                    evidence: evidence.clone(),
                    severity: severity.clone(),
                    kinds,
                    hours,
                    then,
                });
            }
        }
        let targets: [&[&str]; 4] =
            [&["kubernetes"], &["database"], &["frontend", "kubernetes"], &["kubernetes", "infrastructure"]];
        let mut cases = 0;
        for first in &lines {
            for second in lines.iter().step_by(7) {
                let policy = policy(vec![first.clone(), second.clone()]);
                for matter in
                    [Matter::CrashLoop, Matter::Value, Matter::Check, Matter::NeverReady, Matter::Alert]
                {
                    for (at, targets) in [DAY, NIGHT].iter().flat_map(|at| targets.map(|t| (at, t))) {
                        check(&policy, matter, at, targets);
                        cases += 1;
                    }
                }
            }
        }
        assert!(cases > 10_000, "{cases}");
    }

    /// What must hold of any answer, worked out from the lines anew.
    fn check(policy: &Policy, matter: Matter, at: &str, targets: &[&str]) {
        let given = ruling(policy, matter, at, targets);
        assert_eq!(given, ruling(policy, matter, at, targets));
        let severity = match matter {
            Matter::NeverReady => 1,
            Matter::Value => 3,
            Matter::Check => 4,
            _ => 2,
        };
        let one = |target: &&str| {
            let kind = TargetKind::ALL.into_iter().find(|kind| kind.as_str() == *target).unwrap();
            let fits = |line: &&Line| {
                let severe =
                    if line.severity.is_empty() { severity <= 2 } else { line.severity.contains(&severity) };
                let timely = line.hours.is_none_or(|when| (when == When::Inside) == (at == DAY));
                let about = line.evidence.is_empty() || line.evidence == about(matter);
                severe && timely && about && (line.kinds.is_empty() || line.kinds.contains(&kind))
            };
            let line = policy.lines.iter().find(fits);
            let act = line.map_or(if severity > 2 { Act::Page } else { policy.otherwise }, |line| line.then);
            let asks = matches!(kind, TargetKind::Database | TargetKind::Infrastructure);
            let written = line.is_some_and(|line| line.kinds.contains(&kind));
            if asks && !written { act.max(Act::Approval) } else { act }
        };
        assert_eq!(Some(given.act), targets.iter().map(one).max(), "{policy:?} {matter:?} {at} {targets:?}");
        assert!(given.because.is_some_and(|why| !why.is_empty()));
        assert_eq!(given.severity, severity);
    }
}
