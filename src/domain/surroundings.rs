//! What bears on a target's way back besides the target itself: rights, images, quotas, budgets and autoscalers.
use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::keepsake::ObjectKind;

/// As found a short while ago. What could not be looked at is in `unchecked`, and is never an obstacle.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Surroundings {
    /// What we need and may not do: `patch deployments.apps/web`.
    pub denied: Vec<String>,
    /// What the configuration asks to be measured, and we may not read: `get pods/log`.
    pub unseen: Vec<String>,
    /// Of what it refers to, the kinds that are read and may be.
    pub readable: BTreeSet<ObjectKind>,
    pub images: Vec<Image>,
    pub rollout: Option<Rollout>,
    /// Quotas without room for one more pod of the version to go back to, each with its numbers.
    pub full_quotas: Vec<String>,
    /// PodDisruptionBudgets that allow no disruption at present.
    pub spent_budgets: Vec<String>,
    /// Autoscalers that cannot add replicas, with how many there are.
    pub autoscalers_at_max: Vec<String>,
    /// How much later it is by our clock than by the cluster's.
    pub clock_ahead: Option<SignedDuration>,
    /// What nobody could say, and why.
    pub unchecked: Vec<String>,
}

/// A container image that a way back needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub name: String,
    pub presence: Presence,
}

/// Whether a registry still has an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    There,
    Gone,
    /// The registry was not asked, or did not say.
    Unknown {
        why: String,
    },
}

/// How pods are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Whether Kubernetes gives up a rollout that makes no progress.
    pub gives_up: bool,
    /// Pods that are made before others go.
    pub surge: u32,
    /// Pods that may go before others are ready.
    pub unavailable: u32,
}
