//! Who changed a workload's template last, as the API server keeps it in `metadata.managedFields`.
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};

use crate::domain::outcome::Finding;
use crate::domain::owner::{OURSELVES, Writer};

/// Times are whole seconds: of two changes in the same one, ours was the earlier if it is not there any more.
pub(in crate::adapters::kubernetes) fn writer(meta: &ObjectMeta) -> Option<Writer> {
    let entries = meta.managed_fields.iter().flatten().filter(|entry| writes_template(entry));
    let latest = entries.max_by_key(|entry| {
        let ours = entry.manager.as_deref() == Some(OURSELVES);
        (entry.time.as_ref().map(|time| time.0), !ours)
    })?;
    Some(Writer {
        manager: latest.manager.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| "somebody".into()),
        applies: latest.operation.as_deref() == Some("Apply"),
        at: latest.time.as_ref().map(|time| time.0),
    })
}

fn writes_template(entry: &ManagedFieldsEntry) -> bool {
    let fields = entry.fields_v1.as_ref().and_then(|fields| fields.0.pointer("/f:spec/f:template"));
    fields.is_some() && entry.subresource.as_deref().unwrap_or("").is_empty()
}

/// A conflict with the name of who made it.
pub(in crate::adapters::kubernetes) fn changed_by(finding: Finding, meta: &ObjectMeta) -> Finding {
    match (finding, writer(meta)) {
        (Finding::Conflict { why }, Some(writer)) if writer.manager != OURSELVES => {
            Finding::Conflict { why: format!("{why}: {}", writer.sentence()) }
        }
        (finding, _) => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn meta(entries: Value) -> ObjectMeta {
        serde_json::from_value(json!({"managedFields": entries})).unwrap()
    }

    fn entry(manager: &str, operation: &str, minute: u32, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
            "time": format!("2026-11-22T10:{minute:02}:00Z"), "fieldsV1": fields})
    }

    fn template() -> Value {
        json!({"f:spec": {"f:template": {"f:spec": {}}}})
    }

    #[test]
    fn the_latest_who_changed_the_template_wrote_it() {
        let status = json!({"manager": "kube-controller-manager", "operation": "Update", "subresource": "status",
            "time": "2026-11-22T10:09:00Z", "fieldsV1": template()});
        let replicas = json!({"f:spec": {"f:replicas": {}}});
        let written = writer(&meta(json!([
            entry("argocd-controller", "Apply", 5, template()),
            entry("kubectl-client-side-apply", "Update", 3, template()),
            entry("horizontal-pod-autoscaler", "Update", 8, replicas),
            status,
        ])))
        .unwrap();
        assert_eq!(written.sentence(), "argocd-controller (Apply) changed the template at 10:05:00 UTC");
        assert_eq!(writer(&meta(json!([]))), None);
        assert_eq!(writer(&ObjectMeta::default()), None);
    }

    #[test]
    fn in_the_same_second_it_was_the_other_one() {
        let both = |first: &str, second: &str| {
            meta(json!([entry(first, "Update", 5, template()), entry(second, "Update", 5, template())]))
        };
        let manager = |meta: ObjectMeta| writer(&meta).unwrap().manager;
        assert_eq!(manager(both("rollguard", "kubectl-set")), "kubectl-set");
        assert_eq!(manager(both("kubectl-set", "rollguard")), "kubectl-set");
    }
}
