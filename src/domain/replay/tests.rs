//! Replays of small recordings: releases that overlap, lines that are late or doubled, and files that end too soon.
use std::fmt::Write;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::domain::evidence::Cause;
use crate::domain::policy::Decision;
use crate::domain::signal::{Reading, line::LineReader};
use crate::domain::verdict::Health;

fn at(second: i64) -> Timestamp {
    let start: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
    start + SignedDuration::from_secs(second)
}

/// Cumulative counters of the pods of one service, written as lines.
#[derive(Default)]
struct Recording {
    text: String,
    sums: BTreeMap<String, (f64, f64)>,
}

impl Recording {
    fn release(&mut self, second: i64, label: &str, previous: &str) -> &mut Self {
        let at = at(second);
        writeln!(self.text, r#"{{"at":"{at}","kind":"release","service":"shop","target":"backend","release":"{label}","previous":"{previous}"}}"#).unwrap();
        self
    }

    fn ended(&mut self, second: i64, label: &str) -> &mut Self {
        let at = at(second);
        writeln!(self.text, r#"{{"at":"{at}","kind":"release","service":"shop","target":"backend","release":"{label}","rollout_ended":"{at}"}}"#).unwrap();
        self
    }

    /// A batch every five seconds: of every 100 requests, so many failed.
    fn serve(&mut self, seconds: std::ops::Range<i64>, label: &str, pod: &str, failed: f64) -> &mut Self {
        for second in seconds.step_by(5) {
            let sum = self.sums.entry(format!("{label}-{pod}")).or_default();
            sum.0 += failed;
            sum.1 += 100.0;
            let (at, (bad, total)) = (at(second), sum);
            writeln!(self.text, r#"{{"at":"{at}","kind":"counts","service":"shop","target":"backend","rule":"error-rate","release":"{label}","pod":"{label}-{pod}","bad":{bad},"total":{total}}}"#).unwrap();
        }
        self
    }

    /// The lines in the order of time, as a recorder writes them.
    fn lines(&self) -> Vec<Sample> {
        let mut reader = LineReader::default();
        let mut lines: Vec<Sample> =
            self.text.lines().map(|line| reader.read(line.as_bytes()).unwrap()).collect();
        lines.sort_by_key(|line| (line.at, !matches!(line.reading, Reading::Release { .. })));
        lines
    }

    fn judged(&self) -> Vec<Judged> {
        replay(&self.lines())
    }
}

fn replay(lines: &[Sample]) -> Vec<Judged> {
    let mut replay = Replay::new(Policies::new([]), Options::default());
    let mut out: Vec<Judged> = lines.iter().flat_map(|line| replay.take(line)).collect();
    out.extend(replay.finish());
    assert_eq!(replay.finish(), [], "what is finished is told once");
    out
}

/// v1 for ten minutes, then v2 whose pods fail so much, beside one of v1.
fn incident(failed: f64) -> Recording {
    let mut recording = Recording::default();
    recording
        .serve(-600..1900, "v1", "a", 0.1)
        .serve(-600..0, "v1", "b", 0.1)
        .release(0, "v2", "v1")
        .ended(60, "v2")
        .serve(5..1900, "v2", "a", failed)
        .serve(5..1900, "v2", "b", failed);
    recording
}

#[test]
fn a_bad_release_is_rolled_back_and_a_good_one_is_healthy() {
    let bad = incident(15.0).judged();
    assert_eq!(bad.len(), 1);
    let bad = &bad[0];
    assert_eq!(
        (bad.decision, bad.cause, bad.verdict),
        (Decision::Rollback, Some(Cause::Release), Health::Degraded)
    );
    assert_eq!((bad.released_at, bad.rule.as_deref()), (at(0), Some("error-rate")));
    assert!(bad.delay_seconds <= 30.0 && bad.decided_at == at(bad.delay_seconds as i64), "{bad:?}");
    let good = &incident(0.1).judged()[0];
    assert_eq!((good.decision, good.cause, good.verdict), (Decision::Hold, None, Health::Healthy));
    assert_eq!((good.decided_at, good.delay_seconds), (at(1800), 1800.0));
}

#[test]
fn lines_have_exactly_the_documented_keys() {
    let json = serde_json::to_value(&incident(15.0).judged()[0]).unwrap();
    let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let mut wanted = [
        "service",
        "target",
        "release",
        "released_at",
        "verdict",
        "cause",
        "decision",
        "decided_at",
        "delay_seconds",
        "rule",
        "reason",
        "evidence",
    ];
    wanted.sort_unstable();
    let mut keys = keys;
    keys.sort_unstable();
    assert_eq!(keys, wanted);
    assert!(json["evidence"]["numbers"]["total"].as_f64().unwrap() > 0.0, "{json}");
}

#[test]
fn a_newer_release_supersedes_and_is_compared_with_the_same_past() {
    let mut recording = Recording::default();
    recording
        .serve(-600..900, "v1", "a", 0.1)
        .release(0, "v2", "v1")
        .serve(5..300, "v2", "a", 0.1)
        .release(300, "v3", "v2")
        .serve(305..900, "v3", "a", 20.0);
    let judged = recording.judged();
    let told: Vec<_> = judged.iter().map(|j| (j.release.as_str(), j.decision, j.verdict)).collect();
    assert_eq!(
        told,
        [("v2", Decision::Hold, Health::Inconclusive), ("v3", Decision::Rollback, Health::Degraded)]
    );
    assert!(
        judged[0].reason.starts_with("v3 came after 5 min of a watch of 30 min: "),
        "{}",
        judged[0].reason
    );
    // v2 was not proven: v1 is still the known good version that v3 is compared with.
    assert!(judged[1].evidence.lead.as_ref().unwrap().numbers.as_ref().unwrap().old_estimate.is_some());
}

#[test]
fn an_undo_is_never_rolled_back_and_a_known_bad_version_pages() {
    let mut recording = incident(15.0);
    recording.release(600, "v1", "v1").serve(605..1900, "v1", "c", 30.0).release(2000, "v2", "v1").serve(
        2005..2600,
        "v2",
        "d",
        15.0,
    );
    let told: Vec<_> = recording.judged().iter().map(|j| (j.release.clone(), j.decision)).collect();
    let wanted = [("v2", Decision::Rollback), ("v1", Decision::Page), ("v2", Decision::Page)];
    assert_eq!(told, wanted.map(|(label, decision)| (label.to_string(), decision)));
}

#[test]
fn a_watch_that_is_cut_short_holds_and_says_so() {
    let mut recording = Recording::default();
    recording.serve(-600..200, "v1", "a", 0.1).release(0, "v2", "v1").serve(5..200, "v2", "a", 0.1);
    let judged = &recording.judged()[0];
    assert_eq!((judged.decision, judged.verdict), (Decision::Hold, Health::Inconclusive));
    assert!(
        judged.reason.starts_with("the recording ends 3 min into a watch of 30 min: "),
        "{}",
        judged.reason
    );
    assert_eq!(judged.decided_at, at(195));
    // A last batch just before the end of the watch is no cut.
    let mut whole = Recording::default();
    whole.serve(-600..1800, "v1", "a", 0.1).release(0, "v2", "v1").serve(5..1800, "v2", "a", 0.1);
    assert_eq!(whole.judged()[0].verdict, Health::Healthy);
}

#[test]
fn a_release_without_a_target_is_judged_on_all_lines_of_its_service() {
    let recording = incident(15.0);
    let strip = |line: &Sample| Sample { target: None, ..line.clone() };
    let all: Vec<Sample> = recording.lines().iter().map(strip).collect();
    let only_release = |line: &Sample| if line.pod.is_none() { strip(line) } else { line.clone() };
    let releases: Vec<Sample> = recording.lines().iter().map(only_release).collect();
    let only_counts = |line: &Sample| if line.pod.is_some() { strip(line) } else { line.clone() };
    let counts: Vec<Sample> = recording.lines().iter().map(only_counts).collect();
    let wanted = &recording.judged()[0];
    for (lines, target) in [(all, None), (releases, None), (counts, wanted.target.clone())] {
        assert_eq!(replay(&lines), [Judged { target, ..wanted.clone() }]);
    }
}

#[test]
fn lines_without_versions_are_about_the_new_one_and_pods_may_be_missing() {
    let mut recording = Recording::default();
    recording.serve(-600..0, "v1", "a", 0.1).release(0, "v2", "v1").serve(5..600, "v1", "a", 15.0);
    let strip = |line: Sample| match line.reading {
        Reading::Release { .. } => line,
        _ => Sample { release: None, pod: None, ..line },
    };
    let lines: Vec<Sample> = recording.lines().into_iter().map(strip).collect();
    let judged = replay(&lines);
    assert_eq!((judged.len(), judged[0].decision), (1, Decision::Rollback), "{judged:?}");
}

#[test]
fn a_release_that_names_no_version_is_left_out_and_counted() {
    let mut replay = Replay::new(Policies::new([]), Options::default());
    for line in incident(15.0).lines() {
        replay.take(&Sample { release: None, ..line });
    }
    assert_eq!(replay.finish(), []);
    assert_eq!(replay.left_out(), LeftOut { nameless: 2, ..LeftOut::default() });
}

#[test]
fn what_is_more_than_an_hour_late_is_left_out() {
    let mut replay = Replay::new(Policies::new([]), Options::default());
    let lines = incident(0.1).lines();
    lines.iter().for_each(|line| drop(replay.take(line)));
    let early = Sample { at: at(-3000), ..lines[0].clone() };
    replay.take(&early);
    assert_eq!(replay.left_out().out_of_order, 1);
}

#[test]
fn services_that_trip_together_are_paged_as_shared() {
    let services = ["shop", "cart", "mail"].map(|name| ServiceName::parse(name).unwrap());
    let lines: Vec<Sample> = incident(15.0)
        .lines()
        .into_iter()
        .flat_map(|line| services.clone().map(|service| Sample { service, ..line.clone() }))
        .collect();
    let judge = |fleet| {
        let mut replay = Replay::new(Policies::new([]), Options { fleet, ..Options::default() });
        let mut out: Vec<Judged> = lines.iter().flat_map(|line| replay.take(line)).collect();
        out.extend(replay.finish());
        out.into_iter().map(|j| (j.decision, j.cause)).collect::<Vec<_>>()
    };
    let alone = (Decision::Rollback, Some(Cause::Release));
    assert_eq!(judge(false), [alone; 3]);
    // The first two could not know; the third stops it.
    assert_eq!(judge(true), [alone, alone, (Decision::Page, Some(Cause::Shared))]);
}

#[test]
fn an_unreleased_service_that_gets_worse_too_clears_the_release() {
    let mut shop = Recording::default();
    shop.serve(-600..0, "v1", "a", 0.1).release(0, "v2", "v1");
    shop.serve(5..60, "v2", "a", 0.1).serve(60..600, "v2", "a", 15.0);
    let mut cart = Recording::default();
    cart.serve(-600..45, "v7", "a", 0.1).serve(45..600, "v7", "a", 15.0);
    let of_cart = |line| Sample { service: ServiceName::parse("cart").unwrap(), ..line };
    let mut lines: Vec<Sample> = cart.lines().into_iter().map(of_cart).chain(shop.lines()).collect();
    lines.sort_by_key(|line| line.at);
    let judge = |fleet| {
        let mut replay = Replay::new(Policies::new([]), Options { fleet, ..Options::default() });
        let mut out: Vec<Judged> = lines.iter().flat_map(|line| replay.take(line)).collect();
        out.extend(replay.finish());
        out.into_iter().map(|j| (j.decision, j.cause)).collect::<Vec<_>>()
    };
    assert_eq!(judge(false), [(Decision::Rollback, Some(Cause::Release))]);
    assert_eq!(judge(true), [(Decision::Page, Some(Cause::Shared))]);
}

#[test]
fn memory_does_not_grow_with_the_recording() {
    let mut replay = Replay::new(Policies::new([]), Options::default());
    let mut recording = Recording::default();
    recording.serve(0..5, "v1", "a", 0.0);
    let line = recording.lines().remove(0);
    for day in 0..20_i64 {
        for n in 0..200_i64 {
            let pod = Some(format!("pod-{day}-{n}"));
            replay.take(&Sample { at: at(day * 86_400 + n * 60), pod, ..line.clone() });
        }
    }
    let text = format!("{replay:?}");
    assert!(text.len() < 300_000, "{} characters of state", text.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn doubled_lines_change_nothing(every in 1usize..7, failed in prop::sample::select(vec![0.1, 15.0])) {
        let lines = incident(failed).lines();
        let doubled: Vec<Sample> =
            lines.iter().enumerate().flat_map(|(i, line)| vec![line.clone(); 1 + usize::from(i % every == 0)]).collect();
        prop_assert_eq!(replay(&doubled), replay(&lines));
    }

    #[test]
    fn order_within_a_batch_changes_nothing(seed in any::<u64>(), failed in prop::sample::select(vec![0.1, 15.0])) {
        let lines = incident(failed).lines();
        let mut mixed = lines.clone();
        let order = |line: &Sample| {
            let release = matches!(line.reading, Reading::Release { .. });
            let hash = line.pod.iter().flat_map(|p| p.bytes()).fold(seed, |h, b| h.wrapping_mul(31).wrapping_add(b.into()));
            (line.at, !release, hash)
        };
        mixed.sort_by_key(order);
        prop_assert_eq!(replay(&mixed), replay(&lines));
    }

    #[test]
    fn a_little_disorder_does_not_change_the_decision(swaps in prop::collection::vec(0usize..2000, 0..200)) {
        let mut lines = incident(15.0).lines();
        for swap in swaps {
            let i = swap % (lines.len() - 1);
            lines.swap(i, i + 1);
        }
        let judged = replay(&lines);
        prop_assert_eq!((judged.len(), judged[0].decision), (1, Decision::Rollback));
    }

    #[test]
    fn other_services_change_nothing(failed in prop::sample::select(vec![0.1, 15.0]), shift in 0i64..600) {
        let shop = incident(failed).lines();
        let other = |line: &Sample| Sample {
            service: ServiceName::parse("cart").unwrap(),
            at: line.at + SignedDuration::from_secs(shift),
            ..line.clone()
        };
        let mut both: Vec<Sample> = shop.iter().cloned().chain(shop.iter().map(other)).collect();
        both.sort_by_key(|line| line.at);
        let mine: Vec<Judged> = replay(&both).into_iter().filter(|j| j.service.as_str() == "shop").collect();
        prop_assert_eq!(mine, replay(&shop));
    }
}
