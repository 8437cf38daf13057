//! Tells each workload's story in Kubernetes Events, where `kubectl describe` shows it.
use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::PostParams;
use kube::core::{ApiResource, DynamicObject, ObjectMeta};
use kube::{Api, Client};
use sha2::{Digest, Sha256};

use super::{KubernetesTarget, failure, resource};
use crate::domain::code::Code;
use crate::domain::message::{Message, MessageKind};
use crate::domain::names::TargetId;
use crate::domain::release::hex;
use crate::ports::{Delivered, Notifier, NotifyError};

/// The name of the channel, in metrics and logs.
const CHANNEL: &str = "kubernetes-events";
const CONTROLLER: &str = "rollguard";
/// The API server takes no longer ones.
const NOTE_BYTES_MAX: usize = 1024;
const NAME_CHARS_MAX: usize = 253;
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Writes an Event for each message that is about a workload of this cluster.
pub struct KubernetesEvents {
    client: Client,
    targets: BTreeMap<TargetId, KubernetesTarget>,
}

impl KubernetesEvents {
    pub(super) fn new(client: Client, targets: BTreeMap<TargetId, KubernetesTarget>) -> Self {
        Self { client, targets }
    }

    /// The same message about the same target has the same name: repeated, it is there already.
    async fn write(
        &self,
        about: &KubernetesTarget,
        message: &Message,
        code: Code,
        now: Timestamp,
    ) -> Result<(), NotifyError> {
        let workload = &about.workload;
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &workload.namespace, &resource(workload.kind));
        let object = in_time(api.get(&workload.name)).await?;
        let event = event(about, object.metadata.uid, message, code, now);
        let events: Api<Event> = Api::namespaced(self.client.clone(), &workload.namespace);
        match in_time(events.create(&PostParams::default(), &event)).await {
            Ok(_) | Err(Failed::There) => Ok(()),
            Err(failed) => Err(failed.into()),
        }
    }
}

#[async_trait]
impl Notifier for KubernetesEvents {
    fn channel(&self) -> &str {
        CHANNEL
    }

    /// The end of a page has an Event of its own: what ended it.
    fn wants(&self, message: &Message) -> bool {
        let ours = message.targets.iter().any(|target| self.targets.contains_key(target));
        ours && message.code.is_some() && message.kind != MessageKind::Resolve
    }

    async fn deliver(&self, message: &Message, now: Timestamp) -> Result<Delivered, NotifyError> {
        let Some(code) = message.code else { return Ok(Delivered::Once) };
        for about in message.targets.iter().filter_map(|target| self.targets.get(target)) {
            self.write(about, message, code, now).await?;
        }
        Ok(Delivered::Once)
    }
}

fn event(
    about: &KubernetesTarget,
    uid: Option<String>,
    message: &Message,
    code: Code,
    now: Timestamp,
) -> Event {
    let (namespace, name) = (Some(about.workload.namespace.clone()), Some(about.workload.name.clone()));
    let ApiResource { api_version, kind, .. } = resource(about.workload.kind);
    let metadata = ObjectMeta {
        name: Some(name_of(about, message)),
        namespace: namespace.clone(),
        ..ObjectMeta::default()
    };
    Event {
        metadata,
        event_time: Some(MicroTime(now)),
        type_: Some(type_of(message.kind).into()),
        reason: Some(code.name().into()),
        action: Some(action_of(code).into()),
        note: Some(note_of(message)),
        regarding: Some(ObjectReference {
            api_version: Some(api_version),
            kind: Some(kind),
            namespace,
            name,
            uid,
            ..ObjectReference::default()
        }),
        reporting_controller: Some(CONTROLLER.into()),
        reporting_instance: Some(CONTROLLER.into()),
        ..Event::default()
    }
}

fn name_of(about: &KubernetesTarget, message: &Message) -> String {
    let digest = hex(&Sha256::digest(format!("{}/{}", about.target, message.key)));
    let digest = digest.get(..16).unwrap_or(&digest);
    let room = NAME_CHARS_MAX - digest.len() - 1;
    let workload = about.workload.name.get(..room).unwrap_or(&about.workload.name);
    format!("{workload}.{digest}")
}

fn type_of(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::Failed | MessageKind::Page | MessageKind::Ask => "Warning",
        MessageKind::Action
        | MessageKind::Complete
        | MessageKind::Resolve
        | MessageKind::Note
        | MessageKind::Trace => "Normal",
    }
}

/// What rollguard was doing: codes of one hundred are about one thing.
fn action_of(code: Code) -> &'static str {
    if code.id().starts_with("RG4") { "Rollback" } else { "Watch" }
}

/// On one line, as `kubectl describe` shows it, without the tag that tells people in a channel what it is.
fn note_of(message: &Message) -> String {
    let title = message.title.split_once("] ").map_or(message.title.as_str(), |(_, title)| title);
    let lines = message.lines.iter().map(|line| line.trim());
    let mut note = std::iter::once(title).chain(lines).collect::<Vec<_>>().join("; ");
    if note.len() > NOTE_BYTES_MAX {
        let most = NOTE_BYTES_MAX - '…'.len_utf8();
        let end = (0..=most).rev().find(|end| note.is_char_boundary(*end)).unwrap_or(0);
        note.truncate(end);
        note.push('…');
    }
    note
}

enum Failed {
    There,
    ForGood(String),
    ForNow(String),
}

impl From<Failed> for NotifyError {
    fn from(failed: Failed) -> Self {
        let channel = CHANNEL.to_string();
        match failed {
            Failed::ForNow(why) => NotifyError::Retry { channel, why, after: None },
            Failed::ForGood(why) => NotifyError::Refused { channel, why },
            Failed::There => NotifyError::Refused { channel, why: "it is there already".into() },
        }
    }
}

async fn in_time<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Failed> {
    let answer = tokio::time::timeout(ANSWER_MAX, request).await;
    let error = match answer {
        Err(_) => return Err(Failed::ForNow(format!("no answer within {} s", ANSWER_MAX.as_secs()))),
        Ok(Ok(found)) => return Ok(found),
        Ok(Err(error)) => error,
    };
    let why = failure::reason(&error);
    Err(match failure::code(&error) {
        Some(409) => Failed::There,
        Some(403) => Failed::ForGood(format!("{why}: allow it, or set kubernetes.events to false")),
        Some(408 | 429) | None => Failed::ForNow(why),
        Some(400..500) => Failed::ForGood(why),
        Some(_) => Failed::ForNow(why),
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::target;
    use super::*;
    use crate::domain::plan::kubernetes::Workload;
    use crate::domain::workload::WorkloadKind;

    fn message(lines: Vec<String>) -> Message {
        Message {
            key: "shop-1/action".into(),
            incident: "shop-1".into(),
            kind: MessageKind::Action,
            service: target("backend").service,
            title: "[ACTION] Initiating rollback - shop (backend v2 → v1)".into(),
            lines,
            targets: vec![target("backend")],
            code: Some(Code::RollbackStarted),
            facts: None,
            level: 0,
        }
    }

    fn web(name: &str) -> KubernetesTarget {
        let kind = WorkloadKind::Deployment;
        let workload = Workload { kind, namespace: "default".into(), name: name.into() };
        KubernetesTarget { target: target("backend"), workload }
    }

    #[test]
    fn a_note_is_one_line_and_never_too_long() {
        let lines = vec!["Reason: 15 % errors".to_string(), "  1. step".to_string()];
        let note = "Initiating rollback - shop (backend v2 → v1); Reason: 15 % errors; 1. step";
        assert_eq!(note_of(&message(lines)), note);
        for n in 0..4 {
            let note = note_of(&message(vec![format!("{}{}", "x".repeat(n), "→".repeat(1000))]));
            assert!(note.len() <= NOTE_BYTES_MAX && note.len() > NOTE_BYTES_MAX - 6 && note.ends_with('…'));
        }
    }

    #[test]
    fn the_name_follows_from_the_message_and_fits() {
        let (first, again) = (name_of(&web("web"), &message(vec![])), name_of(&web("web"), &message(vec![])));
        assert_eq!(first, again);
        assert!(first.starts_with("web.") && first.len() == 20, "{first}");
        let other = Message { key: "shop-1/verified".into(), ..message(vec![]) };
        assert_ne!(name_of(&web("web"), &other), first);
        assert_eq!(name_of(&web(&"w".repeat(253)), &other).len(), NAME_CHARS_MAX);
    }
}
