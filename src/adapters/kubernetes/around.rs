//! What bears on the way back of a workload, read from the cluster: rights always, quotas and the like where granted.
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ListParams;
use kube::core::{Selector, SelectorExt};
use kube::{Api, Client, Resource};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::KubernetesTarget;
use super::commons::{Common, Commons, Kept};
use super::keepsake;
use super::quota::shortages;
use super::rights::{self, Right};
use super::target::{Trouble, in_time};
use crate::domain::plan::kubernetes::Workload;
use crate::domain::release::Version;
use crate::domain::surroundings::Surroundings;
use crate::domain::survey::Survey;

/// Reads that a Role of its own grants (deploy/kubernetes/watched-namespace/doctor.yaml): without them nothing is missing
/// but a warning.
const QUOTAS: Right<'static> = listing("", "resourcequotas");
const BUDGETS: Right<'static> = listing("policy", "poddisruptionbudgets");
const AUTOSCALERS: Right<'static> = listing("autoscaling", "horizontalpodautoscalers");

const fn listing(group: &'static str, resource: &'static str) -> Right<'static> {
    Right { verb: "list", group, resource, name: None }
}

/// Objects of one kind that are looked at in a namespace.
const LISTED_MAX: u32 = 500;

/// One look around one target.
struct Look<'a> {
    client: &'a Client,
    commons: &'a Commons,
    common: Arc<Common>,
    target: &'a KubernetesTarget,
    /// What is measured beside the workload takes these.
    extras: Vec<Right<'a>>,
    around: Surroundings,
}

/// Everything but the images.
pub(super) async fn surroundings<'a>(
    client: &'a Client,
    commons: &'a Commons,
    target: &'a KubernetesTarget,
    extras: Vec<Right<'a>>,
    survey: Option<&Survey>,
    needed: &[Version],
) -> Surroundings {
    let common = commons.of(&target.workload.namespace);
    let mut look = Look { client, commons, common, target, extras, around: Surroundings::default() };
    let optional = look.ask_rights().await;
    // What cannot be read is told by the survey.
    look.around.rollout = survey.and_then(|survey| survey.workload()?.rollout);
    let template = survey.zip(needed.first()).and_then(|(survey, to)| template(survey, to));
    if optional.contains(&QUOTAS) {
        look.read_quotas(template.as_ref()).await;
    }
    if optional.contains(&BUDGETS) {
        look.read_budgets(template.as_ref()).await;
    }
    if optional.contains(&AUTOSCALERS) {
        look.read_autoscalers().await;
    }
    look.around
}

impl Look<'_> {
    /// Notes what is denied, and answers which of the optional reads are allowed.
    async fn ask_rights(&mut self) -> Vec<Right<'static>> {
        let optional = [QUOTAS, BUDGETS, AUTOSCALERS];
        let (namespace, needed) = (&self.target.workload.namespace, rights::needed(&self.target.workload));
        let asked: Vec<Right<'_>> =
            needed.iter().copied().chain(self.extras.iter().copied()).chain(optional).collect();
        let rules = self.commons.get(&self.common.rules, in_time(rights::rules(self.client, namespace)));
        let lacking = async {
            let rules = rules.await?;
            in_time(rights::lacking(self.client, namespace, &rules, &asked)).await
        };
        let lacking = match lacking.await {
            Ok(lacking) => lacking,
            Err(trouble) => {
                self.unchecked("rights", trouble);
                return Vec::new();
            }
        };
        let denied = needed.iter().filter(|right| lacking.contains(right)).map(Right::title);
        self.around.denied.extend(denied);
        let unseen = self.extras.iter().filter(|right| lacking.contains(right)).map(Right::title);
        self.around.unseen.extend(unseen);
        self.around.readable = keepsake::readable(&self.extras, &lacking);
        // Somebody may be granting it just now.
        if !self.around.denied.is_empty() || !self.around.unseen.is_empty() {
            self.common.rules.forget().await;
        }
        for right in optional.iter().filter(|right| lacking.contains(right)) {
            self.around
                .unchecked
                .push(format!("{} in {namespace}: reading them is not granted", right.resource));
        }
        optional.into_iter().filter(|right| !lacking.contains(right)).collect()
    }

    async fn read_quotas(&mut self, template: Option<&PodTemplateSpec>) {
        let Some(pod) = template.and_then(|template| template.spec.as_ref()) else { return };
        let common = self.common.clone();
        let quotas = self.list(&QUOTAS, &common.quotas).await;
        self.around.full_quotas = quotas.iter().flat_map(|quota| shortages(quota, pod)).collect();
    }

    async fn read_budgets(&mut self, template: Option<&PodTemplateSpec>) {
        let labels = template.and_then(|template| template.metadata.as_ref()?.labels.clone());
        let labels = labels.unwrap_or_default();
        let common = self.common.clone();
        let budgets = self.list(&BUDGETS, &common.budgets).await;
        let spent = budgets.iter().filter(|budget| covers(budget, &labels) && is_spent(budget));
        self.around.spent_budgets = spent.filter_map(|budget| budget.metadata.name.clone()).collect();
    }

    async fn read_autoscalers(&mut self) {
        let common = self.common.clone();
        let autoscalers = self.list(&AUTOSCALERS, &common.autoscalers).await;
        let at_max = autoscalers.iter().filter_map(|autoscaler| at_max(autoscaler, &self.target.workload));
        self.around.autoscalers_at_max = at_max.collect();
    }

    async fn list<K>(&mut self, right: &Right<'_>, kept: &Kept<Vec<K>>) -> Arc<Vec<K>>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.target.workload.namespace);
        let page = ListParams::default().limit(LISTED_MAX);
        let ask = async { Ok(in_time(api.list(&page)).await?.items) };
        match self.commons.get(kept, ask).await {
            Ok(list) => list,
            Err(trouble) => {
                self.unchecked(right.resource, trouble);
                Arc::default()
            }
        }
    }

    fn unchecked(&mut self, what: &str, trouble: Trouble) {
        self.around.unchecked.push(format!(
            "{what} in {}: {}",
            self.target.workload.namespace,
            trouble.reason()
        ));
    }
}

/// The pod template of the version that a rollback goes to.
fn template(survey: &Survey, to: &Version) -> Option<PodTemplateSpec> {
    PodTemplateSpec::deserialize(&survey.workload()?.find(&to.fingerprint)?.template).ok()
}

fn covers(budget: &PodDisruptionBudget, labels: &BTreeMap<String, String>) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.clone());
    selector.and_then(|s| Selector::try_from(s).ok()).is_some_and(|selector| selector.matches(labels))
}

fn is_spent(budget: &PodDisruptionBudget) -> bool {
    budget.status.as_ref().is_some_and(|status| status.disruptions_allowed == Some(0))
}

/// `web (10 of 10)`.
fn at_max(autoscaler: &HorizontalPodAutoscaler, workload: &Workload) -> Option<String> {
    let (spec, about) = (&autoscaler.spec, &autoscaler.spec.scale_target_ref);
    let current = autoscaler.status.as_ref()?.current_replicas?;
    let ours = about.kind == workload.kind.title() && about.name == workload.name;
    let name = autoscaler.metadata.name.as_deref()?;
    (ours && current >= spec.max_replicas).then(|| format!("{name} ({current} of {})", spec.max_replicas))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::workload::WorkloadKind;
    use serde_json::{Value, json};

    #[test]
    fn an_autoscaler_counts_for_its_own_deployment() {
        let autoscaler = |name: &str, current: u32| {
            let value = json!({"metadata": {"name": "web"}, "status": {"currentReplicas": current},
                "spec": {"maxReplicas": 4, "scaleTargetRef": {"kind": "Deployment", "name": name}}});
            let web =
                Workload { kind: WorkloadKind::Deployment, namespace: "shop".into(), name: "web".into() };
            at_max(&serde_json::from_value(value).unwrap(), &web)
        };
        assert_eq!(autoscaler("web", 4).as_deref(), Some("web (4 of 4)"));
        assert_eq!((autoscaler("web", 3), autoscaler("other", 4)), (None, None));
    }

    #[test]
    fn a_budget_counts_for_pods_that_it_selects() {
        let budget = |selector: Value, allowed: u32| {
            let value = json!({"spec": {"selector": selector}, "status": {"disruptionsAllowed": allowed,
                "currentHealthy": 3, "desiredHealthy": 3, "expectedPods": 3}});
            let budget: PodDisruptionBudget = serde_json::from_value(value).unwrap();
            let labels = [("app".to_string(), "web".to_string())].into();
            covers(&budget, &labels) && is_spent(&budget)
        };
        assert!(budget(json!({"matchLabels": {"app": "web"}}), 0));
        assert!(budget(json!({}), 0), "an empty selector selects all pods of the namespace");
        assert!(!budget(json!({"matchLabels": {"app": "web"}}), 1));
        assert!(!budget(json!({"matchLabels": {"app": "other"}}), 0));
    }
}
