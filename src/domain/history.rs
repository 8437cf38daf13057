//! The versions of a target as its workload and rollguard's memory know them together, newest first.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::TargetEvent;
use super::memory::{EndedWatch, TargetMemory};
use super::release::{Fingerprint, Version};
use super::survey::{KubernetesSurvey, Revision, Survey};

/// One version, with everything that is known about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PastVersion {
    /// None if the workload's own history has lost it: there is no way back to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    #[serde(flatten)]
    pub version: Version,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_cause: Option<String>,
    pub marks: Marks,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<RolledBack>,
    /// How its last watch ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched: Option<EndedWatch>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    pub current: bool,
    pub known_good: bool,
    pub known_bad: bool,
    pub under_watch: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBack {
    pub run: String,
    pub at: Timestamp,
}

const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// Puts both together. Without a survey, what runs now is what was seen last.
pub fn versions(events: &[(Timestamp, TargetEvent)], survey: Option<&Survey>) -> Vec<PastVersion> {
    let mut past = Past::default();
    events.iter().for_each(|(at, event)| past.remember(event, *at));
    match survey {
        Some(Survey::Kubernetes(survey)) => past.know(survey),
        Some(Survey::Frontend(_) | Survey::Database(_) | Survey::Infrastructure(_)) | None => {}
    }
    past.versions()
}

#[derive(Default)]
struct Past {
    memory: TargetMemory,
    /// In the order in which they were first heard of.
    all: Vec<PastVersion>,
    current: Option<Fingerprint>,
}

impl Past {
    fn note(&mut self, version: &Version, change: impl FnOnce(&mut PastVersion)) {
        let known = self.all.iter_mut().find(|known| known.version.fingerprint == version.fingerprint);
        if let Some(known) = known {
            change(known);
            return;
        }
        let mut new = PastVersion {
            revision: None,
            version: version.clone(),
            created_at: None,
            change_cause: None,
            marks: Marks::default(),
            rolled_back: None,
            watched: None,
        };
        change(&mut new);
        self.all.push(new);
    }

    fn remember(&mut self, event: &TargetEvent, at: Timestamp) {
        let watched = self.memory.watch.as_ref().map(|watch| watch.spec.release.to.clone());
        self.memory = std::mem::take(&mut self.memory).fold(event, at);
        match event {
            TargetEvent::KnownGood { version, .. } => self.note(version, |_| {}),
            TargetEvent::WatchOpened(spec) => self.note(&spec.release.to, |_| {}),
            TargetEvent::RolledBack { run, bad } => {
                let rolled_back = RolledBack { run: run.clone(), at };
                self.note(bad, |past| past.rolled_back = Some(rolled_back));
            }
            TargetEvent::WatchClosed { .. } => {
                let ended = self.memory.last_watch.clone();
                if let Some(version) = watched {
                    self.note(&version, |past| past.watched = ended);
                }
            }
            TargetEvent::RolloutEnded { .. }
            | TargetEvent::Decided { .. }
            | TargetEvent::MinorTrouble { .. }
            | TargetEvent::Paging { .. }
            | TargetEvent::OwnerHeld { .. }
            | TargetEvent::OwnerStillHeld { .. }
            | TargetEvent::OwnerResumed { .. }
            | TargetEvent::Acknowledged { .. }
            | TargetEvent::Escalated { .. }
            | TargetEvent::Kept(_) => {}
        }
    }

    fn know(&mut self, survey: &KubernetesSurvey) {
        for Revision { revision, version, annotations, created_at, .. } in &survey.history {
            self.note(version, |past| {
                past.revision = Some(*revision);
                past.version = version.clone();
                past.created_at = *created_at;
                past.change_cause = annotations.get(CHANGE_CAUSE).cloned();
            });
        }
        self.current = Some(survey.version.fingerprint.clone());
    }

    fn versions(mut self) -> Vec<PastVersion> {
        let print = |version: &Option<Version>| version.as_ref().map(|v| v.fingerprint.clone());
        let current = self.current.or_else(|| print(&self.memory.current));
        let (good, watched) = (
            print(&self.memory.known_good),
            self.memory.watch.as_ref().map(|watch| watch.spec.release.to.fingerprint.clone()),
        );
        for past in &mut self.all {
            let is = |other: &Option<Fingerprint>| other.as_ref() == Some(&past.version.fingerprint);
            past.marks = Marks {
                current: is(&current),
                known_good: is(&good),
                known_bad: self.memory.known_bad.contains(&past.version.fingerprint),
                under_watch: is(&watched),
            };
        }
        // What the workload has lost is older than what it still has.
        self.all.sort_by_key(|past| past.revision);
        self.all.reverse();
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::WatchEnd;
    use crate::domain::names::{ServiceName, TargetId, TargetName};
    use crate::domain::owner::Origin;
    use crate::domain::release::{Release, ReleaseKind};
    use crate::domain::runbook::Judging;
    use crate::domain::watch::WatchSpec;
    use crate::domain::workload::{UpdateStrategy, WorkloadKind};
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn version(label: &str) -> Version {
        Version { fingerprint: Fingerprint::named(label), label: label.into(), images: vec![] }
    }

    fn target() -> TargetId {
        let (service, target) = (ServiceName::parse("shop").unwrap(), TargetName::parse("backend").unwrap());
        TargetId { service, target }
    }

    fn opened(label: &str) -> (String, TargetEvent) {
        let (at, kind, to) = (Timestamp::UNIX_EPOCH, ReleaseKind::New, version(label));
        let release = Release { target: target(), kind, from: None, to, at };
        let id = format!("watch-of-{label}");
        let spec = WatchSpec {
            id: id.clone(),
            release,
            known_good: None,
            opened_at: at,
            ends_at: at,
            rules: vec![],
            judging: Judging::standard(Duration::ZERO),
            baseline: BTreeMap::new(),
        };
        (id, TargetEvent::WatchOpened(Box::new(spec)))
    }

    fn survey(running: &str, labels: &[(u64, &str)]) -> Survey {
        let revision = |(revision, label): &(u64, &str)| Revision {
            name: format!("web-{label}"),
            uid: (*label).into(),
            revision: *revision,
            version: version(label),
            template: serde_json::Value::Null,
            annotations: BTreeMap::from([(CHANGE_CAUSE.to_string(), format!("deployed {label}"))]),
            created_at: Some(Timestamp::UNIX_EPOCH),
        };
        Survey::Kubernetes(Box::new(KubernetesSurvey {
            target: target(),
            kind: WorkloadKind::Deployment,
            namespace: "default".into(),
            name: "web".into(),
            uid: "u".into(),
            paused: false,
            update: UpdateStrategy::default(),
            replicas: 3,
            revision: 4,
            template: serde_json::Value::Null,
            version: version(running),
            annotations: BTreeMap::new(),
            origin: Origin::default(),
            history: labels.iter().map(revision).collect(),
            revision_history_limit: None,
            rollout: None,
        }))
    }

    /// v0 was watched and is gone, v1 is known good, v2 was rolled back.
    fn past() -> Vec<(Timestamp, TargetEvent)> {
        let (first, open) = opened("v0");
        let reason = "v1 came after v0".to_string();
        let (_, second) = opened("v2");
        let events = [
            open,
            TargetEvent::WatchClosed { watch: first, end: WatchEnd::Superseded, reason },
            TargetEvent::KnownGood { version: version("v1"), why: "it ran".into() },
            second,
            TargetEvent::RolledBack { run: "shop-1".into(), bad: version("v2") },
        ];
        events.into_iter().map(|event| (Timestamp::UNIX_EPOCH, event)).collect()
    }

    #[test]
    fn the_workload_and_the_memory_tell_it_together() {
        let all = versions(&past(), Some(&survey("v1", &[(2, "v2"), (3, "v1")])));
        let told: Vec<_> = all.iter().map(|past| (past.version.label.as_str(), past.revision)).collect();
        assert_eq!(told, [("v1", Some(3)), ("v2", Some(2)), ("v0", None)], "newest first");
        let [good, bad, gone] = &all[..] else { panic!("{all:?}") };
        assert!(good.marks.current && good.marks.known_good && !good.marks.known_bad);
        assert_eq!(good.change_cause.as_deref(), Some("deployed v1"));
        assert!(bad.marks.known_bad && !bad.marks.current && bad.marks.under_watch);
        assert_eq!(bad.rolled_back.as_ref().map(|r| r.run.as_str()), Some("shop-1"));
        assert_eq!(gone.watched.as_ref().map(|w| w.end), Some(WatchEnd::Superseded));
    }

    #[test]
    fn without_the_workload_it_is_what_is_remembered() {
        let all = versions(&past(), None);
        assert!(all.iter().all(|past| past.revision.is_none()));
        let current: Vec<_> = all.iter().filter(|past| past.marks.current).collect();
        assert_eq!(current.len(), 1);
        assert_eq!(current[0].version.label, "v2", "as it was seen last");
        assert!(versions(&[], None).is_empty());
    }
}
