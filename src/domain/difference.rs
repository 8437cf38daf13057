//! What a release changed in its pod template and around it: names for people, never a value.
use std::collections::BTreeMap;

use serde_json::Value;

use super::keepsake::{Keepsake, differences};
use super::release::Version;
use super::survey::{KubernetesSurvey, Survey};

/// More is no overview.
const LINES_MAX: usize = 15;

/// What runs now against the version that a rollback goes to, as far as both are known.
pub fn changed(
    survey: &Survey,
    to: &Version,
    then: Option<&Keepsake>,
    now: Option<&Keepsake>,
) -> Vec<String> {
    let mut lines = match survey {
        Survey::Kubernetes(found) => of_workload(found, to),
        // Their plans say it themselves.
        Survey::Frontend(_) | Survey::Database(_) | Survey::Infrastructure(_) => Vec::new(),
    };
    if let (Some(then), Some(now)) = (then, now) {
        lines.extend(differences(then, now).iter().map(ToString::to_string));
    }
    let more = lines.len().saturating_sub(LINES_MAX);
    if more > 0 {
        lines.truncate(LINES_MAX);
        lines.push(format!("and {more} more"));
    }
    lines
}

fn of_workload(found: &KubernetesSurvey, to: &Version) -> Vec<String> {
    let earlier = found.history.iter().find(|revision| revision.version.fingerprint == to.fingerprint);
    earlier.map(|earlier| of_templates(&earlier.template, &found.template)).unwrap_or_default()
}

fn of_templates(then: &Value, now: &Value) -> Vec<String> {
    let (then, now) = (&then["spec"], &now["spec"]);
    let mut lines = Vec::new();
    for list in ["containers", "initContainers"] {
        let (before, after) = (named(&then[list]), named(&now[list]));
        for (name, container) in &after {
            match before.get(name) {
                None => lines.push(format!("container {name} is new")),
                Some(earlier) => lines.extend(of_containers(name, earlier, container)),
            }
        }
        let gone = before.keys().filter(|name| !after.contains_key(*name));
        lines.extend(gone.map(|name| format!("container {name} is gone")));
    }
    let pod = other_keys(then, now, &["containers", "initContainers"]);
    lines.extend((!pod.is_empty()).then(|| format!("pod: {} changed", pod.join(", "))));
    lines
}

fn of_containers(name: &str, then: &Value, now: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    if then["image"] != now["image"] {
        let image = |container: &Value| container["image"].as_str().unwrap_or("none").to_string();
        lines.push(format!("container {name}: image {} → {}", image(then), image(now)));
    }
    let (before, after) = (named(&then["env"]), named(&now["env"]));
    let gone = before.keys().filter(|key| !after.contains_key(*key)).map(|key| format!("{key} gone"));
    let new = after.keys().filter(|key| !before.contains_key(*key)).map(|key| format!("{key} new"));
    let other = after.iter().filter(|(key, env)| before.get(*key).is_some_and(|before| before != *env));
    let environment: Vec<String> =
        other.map(|(key, _)| format!("{key} changed")).chain(new).chain(gone).collect();
    if !environment.is_empty() {
        lines.push(format!("container {name}: environment {}", environment.join(", ")));
    }
    let other = other_keys(then, now, &["name", "image", "env"]);
    lines.extend((!other.is_empty()).then(|| format!("container {name}: {} changed", other.join(", "))));
    lines
}

/// The items of a list by their name.
fn named(list: &Value) -> BTreeMap<&str, &Value> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(|item| Some((item["name"].as_str()?, item))).collect()
}

fn other_keys<'a>(then: &'a Value, now: &'a Value, known: &[&str]) -> Vec<&'a str> {
    let keys =
        |value: &'a Value| value.as_object().into_iter().flat_map(|map| map.keys().map(String::as_str));
    let mut all: Vec<&str> = keys(then).chain(keys(now)).collect();
    all.sort_unstable();
    all.dedup();
    all.retain(|key| !known.contains(key) && then[*key] != now[*key]);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn images_environment_and_everything_else_are_told_by_name_and_never_by_value() {
        let env = |pairs: &[(&str, &str)]| -> Value {
            pairs.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
        };
        let then = json!({"spec": {
            "containers": [
                {"name": "app", "image": "shop:v1", "env": env(&[("A", "1"), ("B", "hush"), ("C", "3")])},
                {"name": "old", "image": "x"},
            ],
            "serviceAccountName": "shop",
        }});
        let now = json!({"spec": {
            "containers": [
                {"name": "app", "image": "shop:v2", "env": env(&[("A", "1"), ("B", "hunter2"), ("D", "4")]), "resources": {}},
                {"name": "new", "image": "y"},
            ],
            "serviceAccountName": "shop-2",
        }});
        let lines = [
            "container app: image shop:v1 → shop:v2",
            "container app: environment B changed, D new, C gone",
            "container app: resources changed",
            "container new is new",
            "container old is gone",
            "pod: serviceAccountName changed",
        ];
        assert_eq!(of_templates(&then, &now), lines);
        assert!(of_templates(&then, &then).is_empty());
    }
}
