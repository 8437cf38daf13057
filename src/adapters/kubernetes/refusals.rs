//! Why a StatefulSet's or a DaemonSet's controller makes no pod: only its Events say so, since it writes no condition as a ReplicaSet's does.
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::{Api, Client};

use super::target::in_time;

/// Events of one object that are looked at; the API server forgets them after an hour.
const EVENTS_MAX: u32 = 500;
/// A controller tries again after 17 minutes at the latest; what it said before that is over.
const SAID_AT_MOST: SignedDuration = SignedDuration::from_mins(20);

/// What it said last about making pods, if that failed. Nothing where Events cannot be read: then it is not known.
pub(super) async fn refusal(client: &Client, namespace: &str, uid: &str, now: Timestamp) -> Option<String> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let about = ListParams::default().fields(&format!("involvedObject.uid={uid}")).limit(EVENTS_MAX);
    let events = in_time(api.list(&about)).await.ok()?;
    latest_refusal(&events.items, now)
}

fn latest_refusal(events: &[Event], now: Timestamp) -> Option<String> {
    let made = |event: &&Event| matches!(event.reason.as_deref(), Some("FailedCreate" | "SuccessfulCreate"));
    let latest = events.iter().filter(made).max_by_key(|event| said_at(event))?;
    let recent = said_at(latest).is_some_and(|at| now.duration_since(at) <= SAID_AT_MOST);
    let failed = latest.reason.as_deref() == Some("FailedCreate");
    let message = latest.message.as_deref().filter(|message| recent && failed && !message.is_empty())?;
    Some(essence(message).to_string())
}

/// An Event is counted up, unless it belongs to a series of its own.
fn said_at(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|at| at.0);
    let last = event.last_timestamp.as_ref().map(|at| at.0);
    series.or(last).or_else(|| event.event_time.as_ref().map(|at| at.0))
}

/// Without how each controller begins.
fn essence(message: &str) -> &str {
    let after = |mark: &str| message.split_once(mark).map(|(_, rest)| rest);
    after("failed error: ").or_else(|| message.strip_prefix("Error creating: ")).unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(reason: &str, message: &str, minute: i64) -> Event {
        let at = Timestamp::from_second(minute * 60).unwrap();
        serde_json::from_value(
            json!({"metadata": {}, "involvedObject": {}, "reason": reason, "message": message,
            "lastTimestamp": at}),
        )
        .unwrap()
    }

    #[test]
    fn only_what_was_said_last_and_lately_counts() {
        let quota = "pods \"web-2\" is forbidden: exceeded quota: few";
        let stateful = format!("create Pod web-2 in StatefulSet web failed error: {quota}");
        let refused = event("FailedCreate", &stateful, 10);
        let at = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
        let latest = |events: &[Event], minute| latest_refusal(events, at(minute));
        let earlier = event("SuccessfulCreate", "create Pod web-1 in StatefulSet web successful", 9);
        let deleted = event("SuccessfulDelete", "delete Pod web-2", 11);
        assert_eq!(latest(&[refused.clone(), earlier, deleted], 12).as_deref(), Some(quota));
        let made = event("SuccessfulCreate", "create Pod web-2 in StatefulSet web successful", 11);
        assert_eq!(latest(&[refused.clone(), made], 12), None, "it was made after all");
        assert_eq!(latest(&[refused], 31), None, "that is long ago");
        let daemon =
            event("FailedCreate", "Error creating: admission webhook \"policy\" denied the request", 10);
        assert_eq!(latest(&[daemon], 11).as_deref(), Some("admission webhook \"policy\" denied the request"));
        assert_eq!(latest(&[], 11), None);
    }
}
