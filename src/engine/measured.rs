//! Verification checks that our own measurements answer: pods, error rate, latency and throughput after the rollback.
use super::snapshot::{Viewer, WatchStatus};
use crate::domain::evidence::{count_of, percent};
use crate::domain::names::TargetId;
use crate::domain::plan::Plan;
use crate::domain::release::ReleaseKind;
use crate::domain::verification::{CheckKind, CheckOutcome, CheckResult};
use crate::domain::watch::{Baseline, Figures};

/// A p95 within a tenth of what it was before the release is normal.
const NORMAL_P95: f64 = 1.1;

/// The result of a check on our own measurements; `None` for checks that ask something outside.
pub fn check(kind: &CheckKind, target: &TargetId, run: &str, viewer: &Viewer) -> Option<CheckResult> {
    let figures = || {
        viewer.look(|s| {
            let watch = s.targets.get(&target.to_string())?.watch.as_ref().filter(|w| is_after(w, run))?;
            Some((watch.figures.clone(), watch.baseline.clone()))
        })
    };
    let judge: fn(&Figures, &Option<Baseline>, f64) -> CheckResult = match kind {
        CheckKind::PodsReady => |figures, _, _| pods_ready(figures),
        CheckKind::EndpointsReady { .. } => |figures, _, _| endpoints_ready(figures),
        CheckKind::ErrorRate { .. } => |figures, _, below| error_rate(figures, below),
        CheckKind::LatencyP95 { .. } => latency,
        CheckKind::Throughput { .. } => throughput,
        CheckKind::Outside(_)
        | CheckKind::Version { .. }
        | CheckKind::Sql { .. }
        | CheckKind::Redis(_)
        | CheckKind::FrontendServed
        | CheckKind::NoActiveAlerts => return None,
    };
    let limit = match kind {
        CheckKind::ErrorRate { below } => *below,
        CheckKind::LatencyP95 { below_ms } => *below_ms,
        CheckKind::Throughput { at_least } => *at_least,
        CheckKind::PodsReady
        | CheckKind::EndpointsReady { .. }
        | CheckKind::Outside(_)
        | CheckKind::Version { .. }
        | CheckKind::Sql { .. }
        | CheckKind::Redis(_)
        | CheckKind::FrontendServed
        | CheckKind::NoActiveAlerts => 0.0,
    };
    let not_yet = || CheckResult::no_data("the restored version is not measured yet");
    Some(figures().map_or_else(not_yet, |(figures, baseline)| judge(&figures, &baseline, limit)))
}

/// The result over all targets of a run: the worst of theirs. One that never measured this says nothing beside one that does.
pub fn check_all(kind: &CheckKind, plan: &Plan, run: &str, viewer: &Viewer) -> Option<CheckResult> {
    let about = |target: &&TargetId| match kind {
        CheckKind::EndpointsReady { targets } => targets.contains(&target.target),
        CheckKind::PodsReady => plan.awaits_pods_of(target),
        CheckKind::Outside(_)
        | CheckKind::Version { .. }
        | CheckKind::FrontendServed
        | CheckKind::ErrorRate { .. }
        | CheckKind::LatencyP95 { .. }
        | CheckKind::Throughput { .. }
        | CheckKind::Sql { .. }
        | CheckKind::Redis(_)
        | CheckKind::NoActiveAlerts => true,
    };
    let targets = plan.changes.iter().map(|change| &change.target).filter(about);
    let results = targets.map(|target| Some((target, check(kind, target, run, viewer)?)));
    let mut results = results.collect::<Option<Vec<_>>>()?;
    if results.iter().any(|(_, result)| result.outcome != CheckOutcome::NoData) {
        let silent =
            |target: &TargetId| *kind != CheckKind::PodsReady && measures_nothing(target, run, viewer);
        results.retain(|(target, result)| result.outcome != CheckOutcome::NoData || !silent(target));
    }
    match results.as_slice() {
        [] => return Some(CheckResult::passed(beside_the_point(kind))),
        [(_, only)] => return Some(only.clone()),
        _ => {}
    }
    let is = |outcome| results.iter().any(|(_, result)| result.outcome == outcome);
    let worst = [CheckOutcome::Failed, CheckOutcome::NoData].into_iter().find(|outcome| is(*outcome));
    let told = results.iter().map(|(target, result)| format!("{}: {}", target.target, result.detail));
    let detail = told.collect::<Vec<_>>().join("; ");
    Some(CheckResult { outcome: worst.unwrap_or(CheckOutcome::Passed), detail })
}

/// Why a check is about nothing that was rolled back.
fn beside_the_point(kind: &CheckKind) -> &'static str {
    match kind {
        CheckKind::PodsReady => "nothing that was rolled back has pods",
        CheckKind::EndpointsReady { .. }
        | CheckKind::Outside(_)
        | CheckKind::Version { .. }
        | CheckKind::FrontendServed
        | CheckKind::ErrorRate { .. }
        | CheckKind::LatencyP95 { .. }
        | CheckKind::Throughput { .. }
        | CheckKind::Sql { .. }
        | CheckKind::Redis(_)
        | CheckKind::NoActiveAlerts => "no Service is named in front of what was rolled back",
    }
}

/// Under watch, and nothing was ever measured of it but its pods: a worker without requests.
fn measures_nothing(target: &TargetId, run: &str, viewer: &Viewer) -> bool {
    viewer.look(|s| {
        let watch = s.targets.get(&target.to_string()).and_then(|t| t.watch.as_ref());
        watch.is_some_and(|w| is_after(w, run) && w.baseline.is_none())
    })
}

/// Whether this is the watch after that rollback.
pub fn is_after(watch: &WatchStatus, run: &str) -> bool {
    matches!(&watch.release.kind, ReleaseKind::OurRollback { run: by } if by == run)
}

fn pods_ready(figures: &Figures) -> CheckResult {
    let detail = format!("{} of {} ready", figures.pods_ready, count_of(figures.pods, "pod"));
    match (figures.pods, figures.restarts) {
        (0, _) => CheckResult::no_data("no pod of the restored version has been seen"),
        (_, 1..) => CheckResult::failed(format!(
            "{detail}, {} since the rollback",
            count_of(figures.restarts as usize, "restart")
        )),
        (pods, 0) if figures.pods_ready == pods => CheckResult::passed(format!("{detail}, no restarts")),
        (_, 0) => CheckResult::failed(detail),
    }
}

fn endpoints_ready(figures: &Figures) -> CheckResult {
    let Some(ready) = figures.endpoints else {
        return CheckResult::no_data(
            "the Service's endpoints are not known: check its name, and allow list and watch on endpointslices",
        );
    };
    let detail = format!("the Service has {ready} of {} as ready endpoints", count_of(figures.pods, "pod"));
    if ready > 0 && ready >= figures.pods_ready {
        CheckResult::passed(detail)
    } else {
        CheckResult::failed(detail)
    }
}

fn error_rate(figures: &Figures, below: f64) -> CheckResult {
    let served = figures.recent.values().filter(|counts| counts.total > 0.0);
    let worst = served.max_by(|a, b| a.ratio().unwrap_or(0.0).total_cmp(&b.ratio().unwrap_or(0.0)));
    let Some(counts) = worst else { return CheckResult::no_data("no requests in the last minute") };
    let ratio = counts.ratio().unwrap_or(0.0);
    let detail = format!("{} on {:.0} requests, limit {}", percent(ratio), counts.total, percent(below));
    if ratio < below { CheckResult::passed(detail) } else { CheckResult::failed(detail) }
}

fn latency(figures: &Figures, baseline: &Option<Baseline>, below_ms: f64) -> CheckResult {
    let Some(p95) = figures.p95_ms else { return CheckResult::no_data("no latency in the last minute") };
    let before = baseline.as_ref().and_then(|b| b.p95_ms);
    let usual = before.map_or(String::new(), |ms| format!(", before the release {ms:.0} ms"));
    let detail = format!("p95 {p95:.0} ms, limit {below_ms:.0} ms{usual}");
    let normal = p95 < below_ms || before.is_some_and(|ms| p95 <= ms * NORMAL_P95);
    if normal { CheckResult::passed(detail) } else { CheckResult::failed(detail) }
}

fn throughput(figures: &Figures, baseline: &Option<Baseline>, at_least: f64) -> CheckResult {
    let total = figures.recent.values().map(|c| c.total).fold(0.0, f64::max);
    let Some(before) = baseline.as_ref().and_then(Baseline::per_second).filter(|rate| *rate > 0.0) else {
        return CheckResult::no_data("nothing is known of the time before the release");
    };
    if figures.recent_secs <= 0.0 {
        return CheckResult::no_data("nothing is measured yet");
    }
    let now = total / figures.recent_secs;
    let detail = format!("{now:.1} requests/s, {} of {before:.1} before the release", percent(now / before));
    if now >= before * at_least { CheckResult::passed(detail) } else { CheckResult::failed(detail) }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::Picture;
    use super::*;
    use crate::domain::names::{ServiceName, TargetName};
    use crate::domain::plan::kubernetes::{AwaitRollout, Workload};
    use crate::domain::plan::{Action, Change, Step};
    use crate::domain::release::{Fingerprint, Version};
    use crate::domain::workload::WorkloadKind;

    fn id(target: &str) -> TargetId {
        let service = ServiceName::parse("shop").unwrap();
        TargetId { service, target: TargetName::parse(target).unwrap() }
    }

    /// Of these targets only `workloads` have pods to wait for.
    fn plan(targets: &[&str], workloads: &[&str]) -> Plan {
        let version = Version { fingerprint: Fingerprint::named("f"), label: "v1".into(), images: vec![] };
        let change = |name: &&str| Change { target: id(name), from: version.clone(), to: version.clone() };
        let step = |name: &&str| {
            let workload =
                Workload { kind: WorkloadKind::Deployment, namespace: "shop".into(), name: (*name).into() };
            let action =
                Action::AwaitRollout(AwaitRollout { workload, version: version.fingerprint.clone() });
            Step { target: id(name), title: "await".into(), deadline_secs: 600, action }
        };
        let (changes, steps) = (targets.iter().map(change).collect(), workloads.iter().map(step).collect());
        Plan { service: ServiceName::parse("shop").unwrap(), changes, steps }
    }

    const UNMEASURED: &str = "the restored version is not measured yet";

    #[test]
    fn only_targets_with_a_service_in_front_are_asked_for_its_endpoints() {
        let picture = Picture::default();
        let kind = CheckKind::EndpointsReady { targets: vec![TargetName::parse("backend").unwrap()] };
        let all = |targets| check_all(&kind, &plan(targets, targets), "shop-1", &picture.viewer()).unwrap();
        assert_eq!(all(&["backend", "worker"]), CheckResult::no_data(UNMEASURED));
        assert_eq!(all(&["worker"]).outcome, CheckOutcome::Passed);
    }

    #[test]
    fn only_targets_with_pods_are_asked_for_them() {
        let picture = Picture::default();
        let all = |targets, workloads| {
            check_all(&CheckKind::PodsReady, &plan(targets, workloads), "shop-1", &picture.viewer()).unwrap()
        };
        assert_eq!(all(&["web", "backend"], &["backend"]), CheckResult::no_data(UNMEASURED));
        assert_eq!(all(&["web"], &[]), CheckResult::passed("nothing that was rolled back has pods"));
    }
}
