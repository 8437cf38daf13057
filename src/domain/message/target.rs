//! Messages about a release that is being watched: pages, small trouble, and the end of pages.
use super::{Facts, Message, MessageKind, owner, titled};
use crate::domain::code::Code;
use crate::domain::event::{TargetEvent, WatchEnd};
use crate::domain::evidence::{Cause, clock_time};
use crate::domain::memory::{OpenWatch, TargetMemory, Topic, topic};
use crate::domain::policy::{Decided, Decision};
use crate::domain::release::ReleaseKind;
use crate::domain::watch::WatchSpec;

/// Messages that an event of a target causes. `before` is the memory without the event.
pub fn of_target(event: &TargetEvent, before: &TargetMemory) -> Vec<Message> {
    if let TargetEvent::WatchOpened(spec) = event {
        let answered = before.paging.iter().filter_map(|incident| answered(spec, incident));
        return answered.chain([noticed(spec)]).collect();
    }
    let Some(spec) = before.watch.as_ref().map(|w| w.spec.as_ref()) else {
        return owner::of_owner(event, before);
    };
    match event {
        TargetEvent::Decided { decided, cause, rule, together, .. } if decided.decision == Decision::Page => {
            vec![page(spec, decided, topic(*cause, rule.as_deref()), together.is_some())]
        }
        TargetEvent::MinorTrouble { reason, rule, .. } => vec![minor(spec, reason, rule.as_deref())],
        TargetEvent::WatchClosed { end, reason, .. } => {
            let resolved = before.watch.iter().flat_map(|watch| resolve(watch, *end, reason));
            resolved.chain([ended(spec, *end, reason)]).collect()
        }
        TargetEvent::OwnerHeld { .. }
        | TargetEvent::OwnerStillHeld { .. }
        | TargetEvent::Acknowledged { .. }
        | TargetEvent::Escalated { .. }
        | TargetEvent::OwnerResumed { .. } => owner::of_owner(event, before),
        TargetEvent::Decided { .. }
        | TargetEvent::KnownGood { .. }
        | TargetEvent::WatchOpened(_)
        | TargetEvent::RolloutEnded { .. }
        | TargetEvent::RolledBack { .. }
        | TargetEvent::Paging { .. }
        | TargetEvent::Kept(_) => Vec::new(),
    }
}

/// A newer release is an answer to what is still paging. Our own rollback is not: its run says how it ends.
fn answered(spec: &WatchSpec, incident: &str) -> Option<Message> {
    let ours = matches!(spec.release.kind, ReleaseKind::OurRollback { .. });
    let lines = vec![format!("Released: {} UTC, it is being watched now", clock_time(spec.release.at))];
    (!ours && incident != spec.id).then(|| Message {
        key: format!("{incident}/replaced"),
        incident: incident.to_string(),
        kind: MessageKind::Resolve,
        service: spec.release.target.service.clone(),
        title: format!("[RESOLVED] {} was released", subject(spec)),
        lines,
        targets: vec![spec.release.target.clone()],
        code: Some(Code::PageOver),
        facts: None,
        level: 0,
    })
}

fn noticed(spec: &WatchSpec) -> Message {
    let good = spec.known_good.as_ref().map(|good| format!("Known good: {}", good.label));
    let until = format!("Watched until {} UTC", clock_time(spec.ends_at));
    let lines = std::iter::once(until).chain(good).collect();
    let title = match &spec.release.kind {
        ReleaseKind::New => format!("{} was released", subject(spec)),
        ReleaseKind::Undo => format!("{}, which ran before, was put back", subject(spec)),
        ReleaseKind::OurRollback { run } => format!("{} was restored by run {run}", subject(spec)),
        ReleaseKind::KnownBad => format!("{}, which was rolled back before, is back", subject(spec)),
    };
    of_watch(spec, "noticed", (MessageKind::Trace, Code::ReleaseNoticed), title, lines)
}

fn ended(spec: &WatchSpec, end: WatchEnd, reason: &str) -> Message {
    let (code, how) = match end {
        WatchEnd::Healthy => (Code::WatchHealthy, "is healthy"),
        WatchEnd::Inconclusive => (Code::WatchEnded, "was watched, and nothing is proven"),
        WatchEnd::Degraded => (Code::WatchEnded, "is still bad at the end of its watch"),
        WatchEnd::Blind => (Code::WatchEnded, "could not be seen"),
        WatchEnd::RolledBack => (Code::WatchEnded, "was rolled back"),
        WatchEnd::Superseded => (Code::WatchEnded, "was replaced"),
        WatchEnd::Gone => (Code::WatchEnded, "is not watched any more"),
    };
    let title = format!("{} {how}", subject(spec));
    of_watch(spec, "ended", (MessageKind::Trace, code), title, vec![format!("Reason: {reason}")])
}

/// `shop/backend v2`.
fn subject(spec: &WatchSpec) -> String {
    format!("{} {}", spec.release.target, spec.release.to.label)
}

fn page(spec: &WatchSpec, decided: &Decided, topic: Topic, together: bool) -> Message {
    let ((cause, blind), mut code) = (topic, Code::of_page(topic, together));
    let (key, mut what) = match cause {
        Cause::Shared if together => ("page-together", "is in trouble together with others: not rolled back"),
        Cause::Unknown if blind => ("page-blind", "cannot be judged"),
        Cause::Release => ("page-release", "is bad"),
        Cause::Shared => ("page-shared", "is in trouble, and so is what was not released: not rolled back"),
        Cause::SinglePod => ("page-single-pod", "has one bad pod: not rolled back"),
        Cause::Unknown => ("page-unknown", "may be in trouble"),
    };
    if spec.release.kind == ReleaseKind::KnownBad {
        (what, code) = ("is back after it was rolled back", Code::DeployedAgain);
    }
    let mut lines = vec![format!("Reason: {}", decided.reason)];
    if decided.barred.is_empty() {
        lines.push(format!("Nothing was changed: {} is still running", spec.release.to.label));
    }
    lines.extend(decided.policy.iter().map(|policy| format!("Policy: {policy}")));
    lines.extend(decided.barred.iter().map(|bar| format!("Not rolled back: {bar}")));
    lines.extend(look_at(cause).map(|hint| format!("Next: {hint}")));
    lines.push(format!("Released: {} UTC", clock_time(spec.release.at)));
    lines.push(match &spec.known_good {
        Some(good) => {
            format!("To roll back to {}, known good: rollguard rollback {}", good.label, spec.release.target)
        }
        None => "No version is known to be good: a person has to choose where to go back to".to_string(),
    });
    let title = format!("[PAGE] {} {what}", subject(spec));
    let facts = Some(Box::new(Facts::of_watch(spec, decided)));
    Message { facts, ..of_watch(spec, key, (MessageKind::Page, code), title, lines) }
}

/// Where a person looks first, when it is not the release itself.
fn look_at(cause: Cause) -> Option<&'static str> {
    match cause {
        Cause::Shared => Some("look at what they share: database, cache, network, a dependency"),
        Cause::SinglePod => Some("look at that pod and its node; deleting the pod may be enough"),
        Cause::Release | Cause::Unknown => None,
    }
}

fn minor(spec: &WatchSpec, reason: &str, rule: Option<&str>) -> Message {
    if let Some(rule) = rule.filter(|rule| spec.is_about_certificate(rule)) {
        let lines = vec![
            format!("Reason: {reason}"),
            "Not rolled back: the version is not to blame, and is judged by its other rules".to_string(),
            "Next: renew the certificate, or find out why that does not happen by itself".to_string(),
        ];
        let title = format!("[NOTE] {}: {rule} needs somebody", subject(spec));
        return of_watch(
            spec,
            &format!("minor-{rule}"),
            (MessageKind::Note, Code::CertificateEnds),
            title,
            lines,
        );
    }
    let lines = vec![
        format!("Reason: {reason}"),
        "Not rolled back: that is not done for under 1 % of the requests".to_string(),
        "Alternatives: a hot-fix, a feature flag, a configuration change".to_string(),
    ];
    let title = format!("[MINOR] {} is slightly worse", subject(spec));
    of_watch(spec, "minor", (MessageKind::Note, Code::SlightlyWorse), title, lines)
}

/// A page ends with its watch, except that a version which is still bad, or was when it was last seen, keeps paging until
/// a person acts on it.
fn resolve(watch: &OpenWatch, end: WatchEnd, reason: &str) -> Vec<Message> {
    let spec = &watch.spec;
    if watch.reached != Decision::Page || watch.paged.is_empty() {
        return Vec::new();
    }
    let only_blind = watch.paged.iter().all(|(_, blind)| *blind);
    let what = match end {
        WatchEnd::Degraded => return Vec::new(),
        WatchEnd::Blind if !only_blind => return Vec::new(),
        WatchEnd::Blind => "is not being judged any more",
        WatchEnd::Healthy => "is healthy",
        WatchEnd::Inconclusive => "is not in trouble any more",
        WatchEnd::RolledBack => "was rolled back",
        WatchEnd::Superseded => "was replaced",
        WatchEnd::Gone => "is gone",
    };
    let title = format!("[RESOLVED] {} {what}", subject(spec));
    vec![of_watch(
        spec,
        "resolve",
        (MessageKind::Resolve, Code::PageOver),
        title,
        vec![format!("Reason: {reason}")],
    )]
}

fn of_watch(
    spec: &WatchSpec,
    what: &str,
    (kind, code): (MessageKind, Code),
    title: String,
    lines: Vec<String>,
) -> Message {
    let target = spec.release.target.clone();
    Message {
        key: format!("{}/{what}", spec.id),
        incident: spec.id.clone(),
        kind,
        service: target.service.clone(),
        title: titled(title, kind, code),
        lines,
        targets: vec![target],
        code: Some(code),
        facts: None,
        level: 0,
    }
}
