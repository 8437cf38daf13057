//! Crashes of an unreleased service's pods.
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::Trouble;
use crate::domain::signal::PodReading;

const PODS_MAX: usize = 5_000;
/// A crash counts for so long.
const LASTS: SignedDuration = SignedDuration::from_mins(5);
/// One crash may be any pod's; two within a short time are trouble.
const CRASHES_MIN: usize = 2;

#[derive(Clone, Debug, Default)]
pub(super) struct PodControl {
    restarts: BTreeMap<String, u32>,
    /// When pods crashed, oldest first.
    crashes: Vec<Timestamp>,
}

impl PodControl {
    pub(super) fn take(&mut self, at: Timestamp, pod: &str, reading: &PodReading) {
        if reading.gone {
            self.restarts.remove(pod);
            return;
        }
        if self.restarts.len() >= PODS_MAX && !self.restarts.contains_key(pod) {
            return;
        }
        let before = self.restarts.insert(pod.to_string(), reading.restarts);
        let came = reading.restarts.saturating_sub(before.unwrap_or(reading.restarts));
        self.crashes.extend(std::iter::repeat_n(at, came.min(10) as usize));
    }

    pub(super) fn keep_only(&mut self, there: impl Fn(&str) -> bool) {
        self.restarts.retain(|pod, _| there(pod));
    }

    pub(super) fn close(&mut self, now: Timestamp) {
        self.crashes.retain(|at| now.duration_since(*at) <= LASTS);
        self.crashes.truncate(PODS_MAX);
    }

    pub(super) fn trouble(&self) -> Option<Trouble> {
        let since = *self.crashes.first().filter(|_| self.crashes.len() >= CRASHES_MIN)?;
        let detail = format!("its pods crashed {} times", self.crashes.len());
        Some(Trouble { since, crashes: true, detail })
    }
}
