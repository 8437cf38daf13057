//! What a pod template takes from ConfigMaps and Secrets, by name and key.
use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, KeyToPath, PodSpec, PodTemplateSpec, Volume};
use serde::Deserialize;
use serde_json::Value;

use crate::domain::keepsake::{ObjectKind, ObjectName};

/// The keys of one object that a template uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Used {
    All,
    Keys(BTreeSet<String>),
}

impl Used {
    pub(super) fn has(&self, key: &str) -> bool {
        match self {
            Used::All => true,
            Used::Keys(keys) => keys.contains(key),
        }
    }
}

/// By object; what is named twice is used in both ways.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct References(pub(super) BTreeMap<ObjectName, Used>);

impl References {
    /// Of a raw template. One that cannot be understood refers to nothing that we know of.
    pub(super) fn of(template: &Value) -> Self {
        let mut found = Self::default();
        let template = PodTemplateSpec::deserialize(template).ok();
        if let Some(pod) = template.and_then(|template| template.spec) {
            found.take_pod(&pod);
        }
        found
    }

    fn take_pod(&mut self, pod: &PodSpec) {
        pod.init_containers.iter().flatten().chain(&pod.containers).for_each(|c| self.take_container(c));
        pod.volumes.iter().flatten().for_each(|volume| self.take_volume(volume));
    }

    fn take_container(&mut self, container: &Container) {
        for from in container.env_from.iter().flatten() {
            if let Some(map) = &from.config_map_ref {
                self.note(ObjectKind::ConfigMap, &map.name, Used::All);
            }
            if let Some(secret) = &from.secret_ref {
                self.note(ObjectKind::Secret, &secret.name, Used::All);
            }
        }
        for from in container.env.iter().flatten().filter_map(|env| env.value_from.as_ref()) {
            if let Some(map) = &from.config_map_key_ref {
                self.note(ObjectKind::ConfigMap, &map.name, one(&map.key));
            }
            if let Some(secret) = &from.secret_key_ref {
                self.note(ObjectKind::Secret, &secret.name, one(&secret.key));
            }
        }
    }

    fn take_volume(&mut self, volume: &Volume) {
        if let Some(map) = &volume.config_map {
            self.note(ObjectKind::ConfigMap, &map.name, items(map.items.as_ref()));
        }
        if let Some(secret) = &volume.secret {
            let name = secret.secret_name.as_deref().unwrap_or_default();
            self.note(ObjectKind::Secret, name, items(secret.items.as_ref()));
        }
        let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        for source in projected {
            if let Some(map) = &source.config_map {
                self.note(ObjectKind::ConfigMap, &map.name, items(map.items.as_ref()));
            }
            if let Some(secret) = &source.secret {
                self.note(ObjectKind::Secret, &secret.name, items(secret.items.as_ref()));
            }
        }
    }

    fn note(&mut self, kind: ObjectKind, name: &str, used: Used) {
        if name.is_empty() {
            return;
        }
        let known = self.0.entry(ObjectName { kind, name: name.to_string() });
        let known = known.or_insert_with(|| Used::Keys(BTreeSet::new()));
        match (known, used) {
            (Used::All, _) => {}
            (known, Used::All) => *known = Used::All,
            (Used::Keys(known), Used::Keys(more)) => known.extend(more),
        }
    }
}

fn one(key: &str) -> Used {
    Used::Keys([key.to_string()].into())
}

fn items(items: Option<&Vec<KeyToPath>>) -> Used {
    items.map_or(Used::All, |items| Used::Keys(items.iter().map(|item| item.key.clone()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whatever_a_pod_is_given_is_found_with_its_keys() {
        let template = json!({"spec": {
            "initContainers": [{"name": "migrate", "envFrom": [{"secretRef": {"name": "admin"}}]}],
            "containers": [{"name": "app",
                "envFrom": [{"prefix": "X_", "configMapRef": {"name": "config"}}],
                "env": [
                    {"name": "PLAIN", "value": "1"},
                    {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "shared", "key": "a"}}},
                    {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "shared", "key": "b"}}},
                    {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "config", "key": "c"}}},
                    {"name": "P", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password", "optional": true}}},
                    {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                ]}],
            "imagePullSecrets": [{"name": "registry"}],
            "volumes": [
                {"name": "v1", "configMap": {"name": "files", "items": [{"key": "x", "path": "x"}]}},
                {"name": "v2", "secret": {"secretName": "tls"}},
                {"name": "v3", "projected": {"sources": [
                    {"secret": {"name": "db", "items": [{"key": "user", "path": "u"}]}},
                    {"configMap": {"name": "projected"}},
                    {"serviceAccountToken": {"path": "token"}},
                ]}},
                {"name": "v4", "emptyDir": {}},
            ],
        }});
        let keys = |keys: &[&str]| Used::Keys(keys.iter().map(ToString::to_string).collect());
        let map = |name: &str| ObjectName { kind: ObjectKind::ConfigMap, name: name.into() };
        let secret = |name: &str| ObjectName { kind: ObjectKind::Secret, name: name.into() };
        let expected = [
            (map("config"), Used::All),
            (map("files"), keys(&["x"])),
            (map("projected"), Used::All),
            (map("shared"), keys(&["a", "b"])),
            (secret("admin"), Used::All),
            (secret("db"), keys(&["password", "user"])),
            (secret("tls"), Used::All),
        ];
        assert_eq!(References::of(&template).0, expected.into());
        assert_eq!(References::of(&json!({"spec": {"containers": 7}})), References::default());
    }
}
