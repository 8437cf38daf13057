//! Says in one short line why a request failed, without repeating anything that could hold a secret.
use std::error::Error;

use kube::core::Status;
use kube::runtime::watcher;

/// Messages of the server are cut there.
const MESSAGE_CHARS: usize = 200;

/// The reason for people. Bodies of rejected objects are never repeated: they hold environment values.
pub(super) fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => of_status(status),
        // The output of a credential plug-in may hold the credential.
        kube::Error::Auth(_) => {
            "no credentials could be obtained: check the user of the kubeconfig or the service account".into()
        }
        kube::Error::SerdeError(_) => "the answer could not be understood".into(),
        other => root_cause(other),
    }
}

/// HTTP status of the answer, if there was one.
pub(super) fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// HTTP status and reason of a watch that failed.
pub(super) fn of_watch(error: &watcher::Error) -> (Option<u16>, String) {
    match error {
        watcher::Error::InitialListFailed(e)
        | watcher::Error::WatchStartFailed(e)
        | watcher::Error::WatchFailed(e) => (code(e), reason(e)),
        watcher::Error::WatchError(status) => (Some(status.code), of_status(status)),
        watcher::Error::NoResourceVersion => (None, "the server names no resourceVersion".to_string()),
    }
}

pub(super) fn of_status(status: &Status) -> String {
    let head = format!("HTTP {} {}", status.code, status.reason).trim_end().to_string();
    match status.code {
        // What was invalid is named by its field; the message would quote its value.
        400 | 422 => {
            let causes = status.details.iter().flat_map(|d| &d.causes);
            let fields: Vec<&str> = causes.map(|c| c.field.as_str()).filter(|f| !f.is_empty()).collect();
            if fields.is_empty() { head } else { format!("{head}: {}", fields.join(", ")) }
        }
        _ if status.message.is_empty() => head,
        _ => format!("{head}: {}", status.message.chars().take(MESSAGE_CHARS).collect::<String>()),
    }
}

fn root_cause(error: &dyn Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string().chars().take(MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::response::{StatusCause, StatusDetails};

    #[test]
    fn values_of_rejected_objects_are_not_repeated() {
        let cause = StatusCause {
            reason: "FieldValueInvalid".into(),
            message: "Invalid value: \"hunter2\"".into(),
            field: "spec.template.spec.containers[0].env[0].value".into(),
        };
        let details = StatusDetails {
            name: "web".into(),
            group: "apps".into(),
            kind: "Deployment".into(),
            uid: String::new(),
            causes: vec![cause],
            retry_after_seconds: 0,
        };
        let status = Status::failure("env: Invalid value: \"hunter2\"", "Invalid").with_code(422);
        let text = reason(&kube::Error::Api(status.with_details(details).boxed()));
        assert_eq!(text, "HTTP 422 Invalid: spec.template.spec.containers[0].env[0].value");
        let forbidden = Status::failure("deployments.apps is forbidden", "Forbidden").with_code(403);
        let text = reason(&kube::Error::Api(forbidden.boxed()));
        assert_eq!(text, "HTTP 403 Forbidden: deployments.apps is forbidden");
    }
}
