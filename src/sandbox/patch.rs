//! Writes to a Deployment from outside: what the patch formats do, and what an API server lets them do.

use serde_json::Value;

use super::object::{self, Key};
use super::refusal::Refusal;

/// What a client sends to change an object.
#[derive(Debug)]
pub(super) enum Edit {
    JsonPatch(json_patch::Patch),
    MergePatch(Value),
    Replace(Value),
}

impl Edit {
    pub(super) fn parse_patch(content_type: &str, body: &[u8]) -> Result<Self, Refusal> {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        match media_type {
            "application/json-patch+json" => Ok(Self::JsonPatch(decode(body)?)),
            // Without lists to merge by key, the strategic form is the plain one; its directives are refused.
            "application/merge-patch+json" | "application/strategic-merge-patch+json" => {
                let patch: Value = decode(body)?;
                if patch.to_string().contains("\"$") {
                    return Err(Refusal::BadRequest(
                        "strategic merge directives ($patch, $retainKeys, …) are not supported by the sandbox".into(),
                    ));
                }
                Ok(Self::MergePatch(patch))
            }
            _ => Err(Refusal::UnsupportedMediaType),
        }
    }

    pub(super) fn parse_replacement(body: &[u8]) -> Result<Self, Refusal> {
        Ok(Self::Replace(decode(body)?))
    }

    /// Applies the edit to a stored object, all or nothing.
    pub(super) fn apply(&self, key: &Key, object: &mut Value) -> Result<(), Refusal> {
        let before = object.clone();
        match self {
            Self::JsonPatch(patch) => {
                json_patch::patch(object, patch).map_err(|_| Refusal::PatchRejected)?;
            }
            Self::MergePatch(patch) => json_patch::merge(object, patch),
            Self::Replace(replacement) => object.clone_from(replacement),
        }
        admit(key, &before, object)
    }
}

fn decode<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::BadRequest(format!("error decoding the request's body: {error}")))
}

/// Checks an edited Deployment, and puts back what only the server writes.
fn admit(key: &Key, before: &Value, after: &mut Value) -> Result<(), Refusal> {
    if let Some(reason) = fault_of(before, after) {
        return Err(Refusal::Invalid { key: key.clone(), reason: reason.to_owned() });
    }
    if Key::of(key.kind, after) != *key {
        return Err(Refusal::BadRequest(format!(
            "the name of the object does not match the name on the URL ({}/{})",
            key.namespace, key.name
        )));
    }
    let version = object::text(after, "/metadata/resourceVersion");
    if !version.is_empty() && version != object::text(before, "/metadata/resourceVersion") {
        return Err(Refusal::Conflict(key.clone()));
    }
    for field in ["uid", "creationTimestamp", "generation", "resourceVersion"] {
        after["metadata"][field] = before["metadata"][field].clone();
    }
    for field in ["status", "kind", "apiVersion"] {
        after[field] = before[field].clone();
    }
    Ok(())
}

/// Why an edited Deployment is not valid, if it is not.
fn fault_of(before: &Value, after: &Value) -> Option<&'static str> {
    let (metadata, spec) = (&after["metadata"], &after["spec"]);
    if !metadata.is_object() || !spec.is_object() {
        Some("metadata and spec: Required value")
    } else if !is_text_map(&metadata["annotations"]) || !is_text_map(&metadata["labels"]) {
        Some("metadata: annotations and labels are maps of text")
    } else if spec["selector"] != before["spec"]["selector"] {
        Some("spec.selector: Invalid value: field is immutable")
    } else if !selector_matches_template(spec) {
        Some("spec.template.metadata.labels: Invalid value: `selector` does not match template `labels`")
    } else if !is_text_map(&spec["template"]["metadata"]["annotations"]) {
        Some("spec.template.metadata.annotations: they are a map of text")
    } else if !matches!(object::text(spec, "/strategy/type"), "" | "RollingUpdate") {
        Some("spec.strategy.type: the sandbox knows RollingUpdate only")
    } else {
        None
    }
}

fn is_text_map(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(|map| map.values().all(Value::is_string))
}

fn selector_matches_template(spec: &Value) -> bool {
    let labels = &spec["template"]["metadata"]["labels"];
    spec["selector"]["matchLabels"]
        .as_object()
        .is_some_and(|wanted| wanted.iter().all(|(key, value)| labels.get(key) == Some(value)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::object::Kind;
    use super::*;

    fn deployment() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"namespace": "shop", "name": "web", "uid": "u", "resourceVersion": "7", "generation": 1,
                "creationTimestamp": "1970-01-01T00:00:00Z", "annotations": {"a/b": "1"}},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"image": "web:v1"}]}}},
            "status": {"replicas": 3},
        })
    }

    fn edited(edit: &Edit) -> Result<Value, Refusal> {
        let mut object = deployment();
        edit.apply(&Key::new(Kind::Deployment, "shop", "web"), &mut object)?;
        Ok(object)
    }

    fn json_patch(operations: &Value) -> Result<Value, Refusal> {
        edited(&Edit::parse_patch("application/json-patch+json", operations.to_string().as_bytes())?)
    }

    fn code(result: Result<Value, Refusal>) -> u16 {
        result.unwrap_err().code().as_u16()
    }

    #[test]
    fn a_json_patch_applies_when_its_tests_hold() {
        let patched = json_patch(&json!([
            {"op": "test", "path": "/metadata/annotations/a~1b", "value": "1"},
            {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "web:v2"},
        ]));
        assert_eq!(patched.unwrap()["spec"]["template"]["spec"]["containers"][0]["image"], "web:v2");
    }

    #[test]
    fn a_failed_test_and_a_missing_path_are_422() {
        let image = "/spec/template/spec/containers/0/image";
        assert_eq!(code(json_patch(&json!([{"op": "test", "path": image, "value": "web:v9"}]))), 422);
        assert_eq!(code(json_patch(&json!([{"op": "replace", "path": "/spec/none", "value": 1}]))), 422);
    }

    #[test]
    fn a_body_that_is_no_patch_is_400_and_another_format_415() {
        assert_eq!(code(json_patch(&json!({"op": "test"}))), 400);
        let applied = Edit::parse_patch("application/apply-patch+yaml", b"{}").unwrap_err();
        assert_eq!(applied.code().as_u16(), 415);
        let directive =
            Edit::parse_patch("application/strategic-merge-patch+json", br#"{"$patch":"replace"}"#);
        assert_eq!(directive.unwrap_err().code().as_u16(), 400);
    }

    #[test]
    fn a_merge_patch_removes_with_null() {
        let merge = Edit::MergePatch(json!({"metadata": {"annotations": {"a/b": null, "c": "2"}}}));
        assert_eq!(edited(&merge).unwrap()["metadata"]["annotations"], json!({"c": "2"}));
    }

    #[test]
    fn what_only_the_server_writes_is_put_back() {
        let mut replacement = deployment();
        replacement["status"] = json!({});
        replacement["metadata"]["uid"] = json!("forged");
        replacement["spec"]["replicas"] = json!(5);
        let stored = edited(&Edit::Replace(replacement)).unwrap();
        assert_eq!(stored["status"], json!({"replicas": 3}));
        assert_eq!(stored["metadata"]["uid"], "u");
        assert_eq!(stored["spec"]["replicas"], 5);
    }

    #[test]
    fn stale_versions_conflict_and_broken_objects_are_invalid() {
        let with = |pointer: &str, value: Value| {
            let mut replacement = deployment();
            *replacement.pointer_mut(pointer).unwrap() = value;
            code(edited(&Edit::Replace(replacement)))
        };
        assert_eq!(with("/metadata/resourceVersion", json!("6")), 409);
        assert_eq!(with("/metadata/name", json!("other")), 400);
        assert_eq!(with("/spec/selector", json!({"matchLabels": {}})), 422);
        assert_eq!(with("/spec/template/metadata/labels", json!({})), 422);
        assert_eq!(with("/spec", json!(null)), 422);
        assert_eq!(with("/metadata/annotations", json!("text")), 422);
    }
}
