//! A Lease of `coordination.k8s.io`: which replica leads, as `kubectl get lease` shows it.
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::coordination::v1::{Lease as Object, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};

use super::failure::{code, reason};
use crate::domain::lease::{Bid, LeaseRecord, StoredLease};
use crate::ports::{Lease, LeaseError};

/// The resourceVersion decides between two writes.
pub struct KubernetesLease {
    api: Api<Object>,
    /// `lease NAMESPACE/NAME`.
    title: String,
    name: String,
    /// As it was last: labels and annotations that others put there are kept.
    last: Mutex<Option<Object>>,
}

impl KubernetesLease {
    pub(super) fn new(client: &Client, namespace: &str, name: &str) -> Self {
        Self {
            api: Api::namespaced(client.clone(), namespace),
            title: format!("lease {namespace}/{name}"),
            name: name.to_string(),
            last: Mutex::default(),
        }
    }

    fn keep(&self, object: Object) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(object);
    }

    /// The object's metadata at this version.
    fn metadata(&self, version: &str) -> ObjectMeta {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let same =
            last.as_ref().filter(|object| object.metadata.resource_version.as_deref() == Some(version));
        same.map(|object| object.metadata.clone()).unwrap_or_else(|| ObjectMeta {
            name: Some(self.name.clone()),
            resource_version: Some(version.to_string()),
            ..ObjectMeta::default()
        })
    }

    fn failed(&self, error: &kube::Error) -> LeaseError {
        let lease = self.title.clone();
        match code(error) {
            Some(409) => LeaseError::Conflict { lease },
            _ => LeaseError::Unavailable { lease, why: reason(error) },
        }
    }

    fn version(&self, object: &Object) -> Result<String, LeaseError> {
        let missing =
            || LeaseError::Unavailable { lease: self.title.clone(), why: "it has no resourceVersion".into() };
        object.metadata.resource_version.clone().ok_or_else(missing)
    }
}

#[async_trait]
impl Lease for KubernetesLease {
    async fn read(&self) -> Result<Option<StoredLease>, LeaseError> {
        let found = self.api.get_opt(&self.name).await.map_err(|e| self.failed(&e))?;
        let Some(object) = found else { return Ok(None) };
        let version = self.version(&object)?;
        let record = record(object.spec.clone().unwrap_or_default());
        self.keep(object);
        Ok(Some(StoredLease { record, version }))
    }

    async fn write(&self, bid: &Bid) -> Result<String, LeaseError> {
        let spec = Some(spec(&bid.record));
        let params = PostParams::default();
        let written = match &bid.over {
            None => {
                let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                self.api.create(&params, &Object { metadata, spec }).await
            }
            Some(version) => {
                let metadata = self.metadata(version);
                self.api.replace(&self.name, &params, &Object { metadata, spec }).await
            }
        };
        let object = written.map_err(|e| match (code(&e), &bid.over) {
            // Deleted meanwhile.
            (Some(404), Some(_)) => LeaseError::Conflict { lease: self.title.clone() },
            _ => self.failed(&e),
        })?;
        let version = self.version(&object)?;
        self.keep(object);
        Ok(version)
    }
}

fn record(spec: LeaseSpec) -> LeaseRecord {
    let seconds = spec.lease_duration_seconds.and_then(|secs| u64::try_from(secs).ok());
    LeaseRecord {
        // Released ones have an empty name there.
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        duration: Duration::from_secs(seconds.unwrap_or_default()),
        acquired_at: spec.acquire_time.map(|time| time.0),
        renewed_at: spec.renew_time.map(|time| time.0),
        transitions: spec.lease_transitions.and_then(|n| u32::try_from(n).ok()).unwrap_or_default(),
    }
}

fn spec(record: &LeaseRecord) -> LeaseSpec {
    // Whole seconds: rounded up, so that nobody takes it early.
    let seconds = record.duration.as_secs() + u64::from(record.duration.subsec_nanos() > 0);
    LeaseSpec {
        holder_identity: Some(record.holder.clone().unwrap_or_default()),
        lease_duration_seconds: i32::try_from(seconds).ok(),
        acquire_time: record.acquired_at.map(MicroTime),
        renew_time: record.renewed_at.map(MicroTime),
        lease_transitions: i32::try_from(record.transitions).ok(),
        ..LeaseSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_way_through_the_api() {
        let record = LeaseRecord {
            holder: Some("rollguard-0_5f".into()),
            duration: Duration::from_secs(15),
            acquired_at: Some("2026-11-22T10:00:00Z".parse().unwrap()),
            renewed_at: Some("2026-11-22T10:00:02.5Z".parse().unwrap()),
            transitions: 3,
        };
        assert_eq!(super::record(spec(&record)), record);
        let released = LeaseRecord { holder: None, duration: Duration::from_millis(1500), ..record };
        let spec = spec(&released);
        assert_eq!((spec.holder_identity.as_deref(), spec.lease_duration_seconds), (Some(""), Some(2)));
        assert_eq!(super::record(spec).holder, None);
        assert_eq!(super::record(LeaseSpec::default()), LeaseRecord::default());
    }
}
