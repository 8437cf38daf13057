//! Response times of the new pods: measured for verification and for people.
use std::collections::{BTreeMap, VecDeque};

use super::Arm;
use crate::domain::histogram::Histogram;
use crate::domain::names::RuleName;

/// Batches that "recent" means: a minute at 5 seconds each.
const RECENT: usize = 12;
/// Pods beyond this are not measured.
const STREAMS_MAX: usize = 5_000;

#[derive(Clone, Debug)]
pub(super) struct LatencyRule {
    pub(super) name: RuleName,
    last: BTreeMap<String, Histogram>,
    batch: Histogram,
    recent: VecDeque<Histogram>,
}

impl LatencyRule {
    pub(super) fn new(name: RuleName) -> Self {
        Self { name, last: BTreeMap::new(), batch: Histogram::default(), recent: VecDeque::new() }
    }

    pub(super) fn take(&mut self, arm: Arm, pod: &str, now: &Histogram) {
        if arm != Arm::New {
            return;
        }
        if self.last.len() >= STREAMS_MAX && !self.last.contains_key(pod) {
            return;
        }
        let before = self.last.insert(pod.to_string(), now.clone());
        // The first reading only sets the mark: a quantile needs no requests from before the watch.
        if let Some(before) = before {
            self.batch.add(&now.since(&before));
        }
    }

    pub(super) fn close(&mut self) {
        self.recent.push_back(std::mem::take(&mut self.batch));
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    pub(super) fn p95_ms(&self) -> Option<f64> {
        let mut sum = Histogram::default();
        self.recent.iter().filter(|b| b.count() > 0.0).for_each(|b| sum.add(b));
        sum.quantile(0.95).map(|seconds| seconds * 1000.0)
    }
}
