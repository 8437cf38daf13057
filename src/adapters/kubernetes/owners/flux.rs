//! Flux's Kustomizations and HelmReleases, as far as they say whether they act.
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::domain::owner::{Automation, OwnerState};

/// Group, version, kind and plural, the newest version first.
pub(super) const KUSTOMIZATION: &[(&str, &str, &str, &str)] = &[
    ("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", "kustomizations"),
    ("kustomize.toolkit.fluxcd.io", "v1beta2", "Kustomization", "kustomizations"),
];
pub(super) const HELM_RELEASE: &[(&str, &str, &str, &str)] = &[
    ("helm.toolkit.fluxcd.io", "v2", "HelmRelease", "helmreleases"),
    ("helm.toolkit.fluxcd.io", "v2beta2", "HelmRelease", "helmreleases"),
    ("helm.toolkit.fluxcd.io", "v2beta1", "HelmRelease", "helmreleases"),
];

/// `reverts`: it undoes what others change without a new commit.
pub(super) fn state(object: &DynamicObject, reverts: bool) -> OwnerState {
    let suspend = object.data.pointer("/spec/suspend").cloned().unwrap_or(Value::Null);
    if suspend == json!(true) {
        return OwnerState::Suspended;
    }
    match object.metadata.uid.clone() {
        Some(uid) => OwnerState::Automated(Automation { uid, setting: suspend, reverts }),
        None => OwnerState::Unreadable { why: "the answer could not be understood".into() },
    }
}

pub(super) fn corrects_drift(release: &DynamicObject) -> bool {
    release.data.pointer("/spec/driftDetection/mode") == Some(&json!("enabled"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_true_suspends() {
        let read = |spec: Value| {
            let object: DynamicObject =
                serde_json::from_value(json!({"metadata": {"uid": "u"}, "spec": spec})).unwrap();
            (state(&object, false), corrects_drift(&object))
        };
        let automated =
            |setting: Value| OwnerState::Automated(Automation { uid: "u".into(), setting, reverts: false });
        assert_eq!(read(json!({"suspend": true})).0, OwnerState::Suspended);
        assert_eq!(read(json!({"suspend": false})).0, automated(json!(false)));
        assert_eq!(read(json!({})), (automated(Value::Null), false));
        assert!(read(json!({"driftDetection": {"mode": "enabled"}})).1);
        assert!(!read(json!({"driftDetection": {"mode": "warn"}})).1);
    }
}
