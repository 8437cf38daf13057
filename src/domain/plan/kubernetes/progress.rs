//! How far a rollout is: the decision tables of `kubectl rollout status`, one for each kind of workload.
//!
//! Source: kubectl's `pkg/polymorphichelpers/rollout_status.go`.
use serde::{Deserialize, Serialize};

use crate::domain::workload::{UpdateStrategy, WorkloadKind};

/// The numbers of a workload that say how far it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub kind: WorkloadKind,
    pub update: UpdateStrategy,
    pub generation: i64,
    pub observed_generation: i64,
    /// Pods that there are to be.
    pub wanted: u32,
    /// Pods that there are, old and new.
    pub total: u32,
    pub updated: u32,
    /// Those of a StatefulSet are counted when they are ready, as kubectl does.
    pub available: u32,
    /// `Progressing=False, ProgressDeadlineExceeded`, which only Deployments have.
    pub gave_up: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The controller has not seen the latest change.
    Unobserved,
    GaveUp,
    Rolling(String),
    Complete,
    /// Nothing rolls out by itself.
    OnDelete,
}

impl Progress {
    pub fn is_observed(&self) -> bool {
        self.observed_generation >= self.generation
    }

    pub fn stage(&self) -> Stage {
        let partition = match self.update {
            UpdateStrategy::OnDelete => return Stage::OnDelete,
            UpdateStrategy::Rolling { partition } => partition,
        };
        if !self.is_observed() {
            return Stage::Unobserved;
        }
        if self.gave_up {
            return Stage::GaveUp;
        }
        let waiting = match self.kind {
            WorkloadKind::Deployment => self.deployment(),
            WorkloadKind::StatefulSet => self.stateful_set(partition),
            WorkloadKind::DaemonSet => self.daemon_set(),
        };
        waiting.map_or(Stage::Complete, Stage::Rolling)
    }

    fn deployment(&self) -> Option<String> {
        if self.updated < self.wanted {
            return Some(format!("{} of {} new replicas have been updated", self.updated, self.wanted));
        }
        if self.total > self.updated {
            return Some(format!("{} old replicas are pending termination", self.total - self.updated));
        }
        (self.available < self.updated)
            .then(|| format!("{} of {} updated replicas are available", self.available, self.updated))
    }

    fn stateful_set(&self, partition: u32) -> Option<String> {
        if self.available < self.wanted {
            return Some(format!("{} of {} pods are ready", self.available, self.wanted));
        }
        let due = self.wanted.saturating_sub(partition);
        (self.updated < due).then(|| format!("{} of {due} new pods have been updated", self.updated))
    }

    fn daemon_set(&self) -> Option<String> {
        if self.updated < self.wanted {
            return Some(format!("{} of {} new pods have been updated", self.updated, self.wanted));
        }
        (self.available < self.wanted)
            .then(|| format!("{} of {} updated pods are available", self.available, self.wanted))
    }

    /// How a complete rollout stands.
    pub fn complete(&self, label: &str) -> String {
        let (available, wanted, updated) = (self.available, self.wanted, self.updated);
        match (self.kind, self.update) {
            (WorkloadKind::StatefulSet, UpdateStrategy::Rolling { partition: 1.. }) => {
                format!("{updated} of {wanted} pods, all above the partition, run {label}, and all are ready")
            }
            (WorkloadKind::StatefulSet, _) => {
                format!("{available} of {wanted} pods run {label} and are ready")
            }
            (WorkloadKind::DaemonSet, _) => {
                format!("{available} of {wanted} pods run {label} and are available")
            }
            (WorkloadKind::Deployment, _) => {
                format!("{available} of {wanted} replicas run {label} and are available")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(kind: WorkloadKind, partition: u32, [total, updated, available]: [u32; 3]) -> String {
        let update = UpdateStrategy::Rolling { partition };
        let (generation, observed_generation) = (2, 2);
        let gave_up = false;
        let progress = Progress {
            kind,
            update,
            generation,
            observed_generation,
            wanted: 3,
            total,
            updated,
            available,
            gave_up,
        };
        match progress.stage() {
            Stage::Rolling(detail) => detail,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn each_kind_has_its_own_table() {
        let deployment = |numbers| stage(WorkloadKind::Deployment, 0, numbers);
        assert_eq!(deployment([4, 2, 4]), "2 of 3 new replicas have been updated");
        assert_eq!(deployment([4, 3, 4]), "1 old replicas are pending termination");
        assert_eq!(deployment([3, 3, 2]), "2 of 3 updated replicas are available");
        assert_eq!(deployment([3, 3, 3]), "Complete");
        let set = |partition, numbers| stage(WorkloadKind::StatefulSet, partition, numbers);
        assert_eq!(set(0, [3, 3, 2]), "2 of 3 pods are ready");
        assert_eq!(set(0, [3, 2, 3]), "2 of 3 new pods have been updated");
        assert_eq!(set(0, [3, 3, 3]), "Complete");
        assert_eq!(set(2, [3, 0, 3]), "0 of 1 new pods have been updated");
        assert_eq!(set(2, [3, 1, 3]), "Complete", "what is below the partition stays");
        assert_eq!(set(9, [3, 0, 3]), "Complete");
        let daemons = |numbers| stage(WorkloadKind::DaemonSet, 0, numbers);
        assert_eq!(daemons([0, 2, 3]), "2 of 3 new pods have been updated");
        assert_eq!(daemons([0, 3, 2]), "2 of 3 updated pods are available");
        assert_eq!(daemons([0, 3, 3]), "Complete");
    }

    #[test]
    fn what_is_not_observed_or_on_delete_is_not_judged() {
        let progress = Progress {
            kind: WorkloadKind::StatefulSet,
            update: UpdateStrategy::default(),
            generation: 2,
            observed_generation: 1,
            wanted: 3,
            total: 3,
            updated: 3,
            available: 3,
            gave_up: false,
        };
        assert_eq!(progress.stage(), Stage::Unobserved);
        let observed = Progress { observed_generation: 2, gave_up: true, ..progress };
        assert_eq!(observed.stage(), Stage::GaveUp);
        let on_delete = Progress { update: UpdateStrategy::OnDelete, ..observed };
        assert_eq!(on_delete.stage(), Stage::OnDelete);
    }
}
