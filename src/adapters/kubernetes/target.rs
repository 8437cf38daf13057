//! Deployments as targets: surveyed, observed, and put back with one guarded patch.
use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};

use super::owners::{OwnerOptions, Owners, changed_by};
use super::survey::{selector, survey};
use super::{KubernetesTarget, facts, failure};
use crate::domain::names::TargetId;
use crate::domain::outcome::{Finding, Outcome};
use crate::domain::owner::OURSELVES;
use crate::domain::plan::kubernetes::{
    AwaitRollout, RestoreTemplate, Workload, WorkloadFacts, assess_restore, assess_rollout,
};
use crate::domain::plan::{Action, Step};
use crate::domain::survey::{KubernetesSurvey, Survey};
use crate::ports::{SurveyError, Target};

const TIMEOUT: Duration = Duration::from_secs(10);
/// Pods of one version that are looked at for a detail text.
const PODS_MAX: u32 = 500;

/// The targets of one cluster.
#[derive(Clone)]
pub struct KubernetesTargets {
    client: Client,
    targets: BTreeMap<TargetId, KubernetesTarget>,
    owners: Owners,
}

/// Why something could not be read or done.
enum Trouble {
    Missing,
    /// The server refused the request as it is.
    Refused(String),
    /// Not known what became of it.
    Unclear(String),
}

impl Trouble {
    fn of(error: &kube::Error) -> Self {
        let reason = failure::reason(error);
        match failure::code(error) {
            Some(404) => Trouble::Missing,
            // Not processed yet, or perhaps only its answer is late.
            Some(408 | 429) => Trouble::Unclear(reason),
            Some(400..500) => Trouble::Refused(reason),
            Some(_) | None => Trouble::Unclear(reason),
        }
    }

    fn reason(self) -> String {
        match self {
            Trouble::Missing => "it does not exist".into(),
            Trouble::Refused(why) | Trouble::Unclear(why) => why,
        }
    }
}

/// Waits no longer than the driver can.
async fn in_time<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Trouble> {
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(result) => result.map_err(|error| Trouble::of(&error)),
        Err(_) => Err(Trouble::Unclear(format!("no answer within {} s", TIMEOUT.as_secs()))),
    }
}

impl KubernetesTargets {
    pub(super) fn new(
        client: Client,
        targets: BTreeMap<TargetId, KubernetesTarget>,
        owners: OwnerOptions,
    ) -> Self {
        Self { owners: Owners::new(client.clone(), owners), client, targets }
    }

    fn deployments(&self, namespace: &str) -> Api<DynamicObject> {
        let resource = ApiResource::erase::<Deployment>(&());
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    async fn replica_sets(
        &self,
        namespace: &str,
        deployment: &DynamicObject,
    ) -> Result<Vec<DynamicObject>, Trouble> {
        let selector =
            selector(deployment).ok_or_else(|| Trouble::Unclear("its selector cannot be read".into()))?;
        let resource = ApiResource::erase::<ReplicaSet>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        Ok(in_time(api.list(&ListParams::default().labels(&selector))).await?.items)
    }

    async fn read(&self, target: &KubernetesTarget) -> Result<KubernetesSurvey, Trouble> {
        let deployment = in_time(self.deployments(&target.namespace).get(&target.deployment)).await?;
        let origin = self.owners.origin(&target.target, &deployment, "Deployment");
        let (sets, origin) = tokio::join!(self.replica_sets(&target.namespace, &deployment), origin);
        let survey = survey(target, &deployment, &sets?)
            .ok_or_else(|| Trouble::Unclear("the answer could not be understood".into()))?;
        Ok(KubernetesSurvey { origin, ..survey })
    }

    async fn facts(&self, workload: &Workload) -> Result<Option<(DynamicObject, WorkloadFacts)>, Trouble> {
        match in_time(self.deployments(&workload.namespace).get(&workload.name)).await {
            Err(Trouble::Missing) => Ok(None),
            Err(trouble) => Err(trouble),
            Ok(deployment) => {
                let facts = facts::facts(&deployment)
                    .ok_or_else(|| Trouble::Unclear("the answer could not be understood".into()))?;
                Ok(Some((deployment, facts)))
            }
        }
    }

    async fn observe_restore(&self, step: &RestoreTemplate) -> Result<Finding, Trouble> {
        let Some((deployment, facts)) = self.facts(&step.workload).await? else {
            return Ok(assess_restore(step, None));
        };
        let finding = assess_restore(step, Some(&facts));
        let known = facts.fingerprint == step.from || facts.fingerprint == step.to;
        Ok(if known { finding } else { changed_by(finding, &deployment.metadata) })
    }

    /// Asks for the pods only while there is something to explain.
    async fn observe_rollout(&self, step: &AwaitRollout) -> Result<Finding, Trouble> {
        let Some((deployment, mut facts)) = self.facts(&step.workload).await? else {
            return Ok(assess_rollout(step, None));
        };
        let finding = assess_rollout(step, Some(&facts));
        if !matches!(finding, Finding::NotYet { .. }) {
            return Ok(changed_by(finding, &deployment.metadata));
        }
        facts.waiting = self.waiting(step, &deployment, &facts.uid).await?;
        Ok(assess_rollout(step, Some(&facts)))
    }

    async fn waiting(
        &self,
        step: &AwaitRollout,
        deployment: &DynamicObject,
        uid: &str,
    ) -> Result<Vec<String>, Trouble> {
        let namespace = &step.workload.namespace;
        let sets = self.replica_sets(namespace, deployment).await?;
        let Some(selector) = facts::pods_selector(uid, &sets, &step.version) else { return Ok(Vec::new()) };
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let list = in_time(api.list(&ListParams::default().labels(&selector).limit(PODS_MAX))).await?;
        Ok(facts::waiting(&list.items))
    }

    async fn restore(&self, step: &RestoreTemplate) -> Outcome {
        let what = step.workload.argument();
        let patch = match serde_json::from_value(step.patch.clone()) {
            Ok(operations) => Patch::<()>::Json(operations),
            Err(_) => {
                return Outcome::Refused { why: format!("the plan's patch for {what} is no JSON Patch") };
            }
        };
        let params = PatchParams { field_manager: Some(OURSELVES.into()), ..PatchParams::default() };
        let api = self.deployments(&step.workload.namespace);
        match in_time(api.patch(&step.workload.name, &params, &patch)).await {
            Ok(_) => Outcome::Done { detail: format!("the template of {what} was put back") },
            Err(Trouble::Missing) => Outcome::Refused { why: format!("{what} does not exist") },
            Err(Trouble::Refused(why)) => Outcome::Refused { why: format!("{what} was not changed: {why}") },
            Err(Trouble::Unclear(why)) => Outcome::Unknown { why },
        }
    }
}

#[async_trait]
impl Target for KubernetesTargets {
    async fn survey(&self, target: &TargetId) -> Result<Survey, SurveyError> {
        let known = self.targets.get(target);
        let known = known.ok_or_else(|| SurveyError::Unknown { target: target.clone() })?;
        let workload = Workload { namespace: known.namespace.clone(), name: known.deployment.clone() };
        match self.read(known).await {
            Ok(survey) => Ok(Survey::Kubernetes(survey)),
            Err(Trouble::Missing) => Err(SurveyError::Missing { what: workload.argument() }),
            Err(trouble) => Err(SurveyError::Unreadable { what: workload.argument(), why: trouble.reason() }),
        }
    }

    async fn observe(&self, step: &Step) -> Finding {
        let finding = match &step.action {
            Action::HoldOwner(hold) => Ok(self.owners.observe(hold).await),
            Action::RestoreTemplate(restore) => self.observe_restore(restore).await,
            Action::AwaitRollout(wait) => self.observe_rollout(wait).await,
        };
        finding.unwrap_or_else(|trouble| Finding::Unseen { why: trouble.reason() })
    }

    async fn apply(&self, step: &Step) -> Outcome {
        match &step.action {
            Action::HoldOwner(hold) => self.owners.hold(hold).await,
            Action::RestoreTemplate(restore) => self.restore(restore).await,
            Action::AwaitRollout(_) => Outcome::Done { detail: "nothing to do".into() },
        }
    }
}
