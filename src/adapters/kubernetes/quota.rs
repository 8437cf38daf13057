//! Whether a ResourceQuota leaves room for one more pod of a template.
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodSpec, ResourceQuota, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

type Amounts = BTreeMap<String, f64>;

/// What is short: `quota compute: requests.cpu 2 of 2 used, 500m more needed`.
pub(super) fn shortages(quota: &ResourceQuota, pod: &PodSpec) -> Vec<String> {
    let name = quota.metadata.name.as_deref().unwrap_or("");
    let (Some(spec), Some(status)) = (&quota.spec, &quota.status) else { return Vec::new() };
    // A quota with other scopes counts other pods.
    let scoped = spec.scope_selector.is_some() || spec.scopes.iter().flatten().any(|s| s != "NotTerminating");
    if scoped {
        return Vec::new();
    }
    let (needs, none) = (needs(pod), BTreeMap::new());
    let (hard, used) = (status.hard.as_ref().unwrap_or(&none), status.used.as_ref().unwrap_or(&none));
    let short = hard.iter().filter_map(|(resource, limit)| {
        let needed = *needs.get(resource.as_str())?;
        let taken = used.get(resource).map_or("0", |q| q.0.as_str());
        let full = needed > 0.0 && amount(taken)? + needed > amount(&limit.0)? * (1.0 + f64::EPSILON);
        full.then(|| format!("quota {name}: {resource} {taken} of {} used", limit.0))
    });
    short.collect()
}

/// What one pod takes of a quota, by the quota's own names.
fn needs(pod: &PodSpec) -> Amounts {
    let mut needs: Amounts = [("pods".to_string(), 1.0), ("count/pods".to_string(), 1.0)].into();
    let of = |section: fn(&ResourceRequirements) -> Option<&BTreeMap<String, Quantity>>| {
        let mut sum = Amounts::new();
        for container in &pod.containers {
            add(&mut sum, container.resources.as_ref().and_then(section));
        }
        // Init containers run one by one, before the others: the largest counts.
        for container in pod.init_containers.iter().flatten() {
            let mut one = Amounts::new();
            add(&mut one, container.resources.as_ref().and_then(section));
            one.into_iter().for_each(|(name, value)| {
                let most = sum.entry(name).or_default();
                *most = most.max(value);
            });
        }
        sum
    };
    let requests = of(|r| r.requests.as_ref().or(r.limits.as_ref()));
    for (name, value) in requests {
        if ["cpu", "memory", "ephemeral-storage"].contains(&name.as_str()) {
            needs.insert(name.clone(), value);
        }
        needs.insert(format!("requests.{name}"), value);
    }
    needs
        .extend(of(|r| r.limits.as_ref()).into_iter().map(|(name, value)| (format!("limits.{name}"), value)));
    needs
}

fn add(sum: &mut Amounts, of: Option<&BTreeMap<String, Quantity>>) {
    for (name, quantity) in of.into_iter().flatten() {
        *sum.entry(name.clone()).or_default() += amount(&quantity.0).unwrap_or(0.0);
    }
}

/// A quantity as Kubernetes writes it: `500m`, `1.5Gi`, `2e3`.
fn amount(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 15] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let unit = UNITS.into_iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let (number, factor) = unit.unwrap_or((text, 1.0));
    number.parse::<f64>().ok().map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod() -> PodSpec {
        serde_json::from_value(json!({
            "containers": [
                {"name": "app", "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}},
                {"name": "proxy", "resources": {"limits": {"cpu": "0.25"}}},
            ],
            "initContainers": [{"name": "migrate", "resources": {"requests": {"memory": "3Gi"}}}],
        }))
        .unwrap()
    }

    fn short(scopes: Value, hard: Value, used: Value) -> Vec<String> {
        let quota = json!({"metadata": {"name": "q"}, "spec": {"scopes": scopes}, "status": {"hard": hard, "used": used}});
        shortages(&serde_json::from_value(quota).unwrap(), &pod())
    }

    #[test]
    fn what_one_more_pod_needs_must_fit() {
        let none = || json!([]);
        let fits = json!({"pods": "4", "requests.cpu": "2750m", "memory": "3Gi", "limits.memory": "2Gi"});
        assert!(short(none(), fits, json!({"pods": "3", "requests.cpu": "2"})).is_empty());
        let told = short(none(), json!({"pods": "3"}), json!({"pods": "3"}));
        assert_eq!(told, ["quota q: pods 3 of 3 used"]);
        let told = short(none(), json!({"requests.cpu": "2700m"}), json!({"requests.cpu": "2"}));
        assert_eq!(told, ["quota q: requests.cpu 2 of 2700m used"], "a limit without a request is one");
        assert_eq!(short(none(), json!({"limits.memory": "1900Mi", "services": "0"}), json!({})).len(), 1);
        assert!(short(none(), json!({"limits.nvidia.com/gpu": "0"}), json!({})).is_empty(), "it needs none");
    }

    #[test]
    fn a_quota_for_other_pods_is_no_matter() {
        let full = || (json!({"pods": "1"}), json!({"pods": "1"}));
        assert!(short(json!(["BestEffort"]), full().0, full().1).is_empty());
        assert_eq!(short(json!(["NotTerminating"]), full().0, full().1).len(), 1);
    }

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        let read = ["500m", "1.5Gi", "2e3", "3k", "-1", "1E", "12"].map(|text| amount(text).unwrap());
        assert_eq!(read, [0.5, 1_610_612_736.0, 2000.0, 3000.0, -1.0, 1e18, 12.0]);
        assert_eq!(amount("many"), None);
    }
}
