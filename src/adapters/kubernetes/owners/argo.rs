//! Argo CD's Applications and Argo Rollouts, as far as they say who acts by itself.
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::Workload;
use crate::domain::owner::{Automation, OwnerState};

pub(super) const GROUP: &str = "argoproj.io";
pub(super) const VERSION: &str = "v1alpha1";
pub(super) const ROLLOUT: &str = "Rollout";
/// Group, version, kind and plural, the newest version first.
pub(super) const APPLICATION: &[(&str, &str, &str, &str)] =
    &[(GROUP, VERSION, "Application", "applications")];

/// `automated: {}` is automated too; `enabled: false` is not.
pub(super) fn state(application: &DynamicObject) -> OwnerState {
    let automated = application.data.pointer("/spec/syncPolicy/automated").filter(|value| value.is_object());
    let Some(automated) = automated.filter(|value| value.get("enabled") != Some(&json!(false))) else {
        return OwnerState::Manual;
    };
    let owners = application.metadata.owner_references.iter().flatten();
    if let Some(set) = owners.into_iter().find(|owner| owner.kind == "ApplicationSet") {
        return OwnerState::ApplicationSetOwned { set: set.name.clone() };
    }
    let Some(uid) = application.metadata.uid.clone() else {
        return OwnerState::Unreadable { why: "the answer could not be understood".into() };
    };
    let reverts = automated.get("selfHeal") == Some(&json!(true));
    OwnerState::Automated(Automation { uid, setting: automated.clone(), reverts })
}

/// Whether the Application applies the workload, by its own status; before its first sync it says nothing.
pub(super) fn holds(application: &DynamicObject, workload: Workload<'_>) -> bool {
    let Some(resources) = application.data.pointer("/status/resources").and_then(Value::as_array) else {
        return true;
    };
    resources.iter().any(|resource| {
        let is = |key: &str, value: &str| resource.get(key).and_then(Value::as_str) == Some(value);
        is("kind", workload.kind) && is("name", workload.name) && is("namespace", workload.namespace)
    })
}

/// Whether a Rollout runs the pods of this workload's template.
pub(super) fn refers(rollout: &DynamicObject, workload: Workload<'_>) -> bool {
    let reference = rollout.data.pointer("/spec/workloadRef");
    let is = |key: &str, value: &str| {
        reference.and_then(|reference| reference.get(key)).and_then(Value::as_str) == Some(value)
    };
    is("kind", workload.kind) && is("name", workload.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn application(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    fn state_with(automated: Value) -> OwnerState {
        state(&application(json!({"metadata": {"name": "shop", "uid": "u"},
            "spec": {"syncPolicy": {"automated": automated}}})))
    }

    #[test]
    fn only_what_syncs_by_itself_is_automated() {
        let automated =
            |setting: Value, reverts| OwnerState::Automated(Automation { uid: "u".into(), setting, reverts });
        for (setting, reverts) in [
            (json!({}), false),
            (json!({"prune": true}), false),
            (json!({"enabled": true, "selfHeal": true}), true),
        ] {
            assert_eq!(state_with(setting.clone()), automated(setting, reverts));
        }
        assert_eq!(state_with(json!({"enabled": false, "selfHeal": true})), OwnerState::Manual);
        assert_eq!(state_with(Value::Null), OwnerState::Manual);
        assert_eq!(state(&application(json!({"metadata": {}, "spec": {}}))), OwnerState::Manual);
    }

    #[test]
    fn an_application_set_matters_only_for_what_is_automated() {
        let owned = |policy: Value| {
            let owner = json!([{"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "name": "all", "uid": "s"}]);
            state(&application(
                json!({"metadata": {"uid": "u", "ownerReferences": owner}, "spec": {"syncPolicy": policy}}),
            ))
        };
        assert_eq!(owned(json!({"automated": {}})), OwnerState::ApplicationSetOwned { set: "all".into() });
        assert_eq!(owned(json!({})), OwnerState::Manual);
    }

    #[test]
    fn an_application_of_the_same_name_that_holds_something_else_is_not_the_owner() {
        let workload = Workload { kind: "Deployment", namespace: "shop", name: "web" };
        let with =
            |resources: Value| holds(&application(json!({"metadata": {}, "status": resources})), workload);
        let resource = |name: &str| json!({"kind": "Deployment", "namespace": "shop", "name": name});
        assert!(with(json!({"resources": [resource("db"), resource("web")]})));
        assert!(!with(json!({"resources": [resource("db")]})));
        assert!(with(json!({})), "before its first sync");
    }
}
