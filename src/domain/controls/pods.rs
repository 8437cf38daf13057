//! Crashes of an unreleased service's pods that used not to crash.
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::Trouble;
use crate::domain::signal::PodReading;

const PODS_MAX: usize = 5_000;
/// A crash counts for so long.
const LASTS: SignedDuration = SignedDuration::from_mins(5);
/// One crash may be any pod's; two within a short time are trouble.
const CRASHES_MIN: usize = 2;
/// A pod that ran for so long has recovered: it may begin to crash anew. A crash loop waits at most five minutes between
/// two crashes.
const RECOVERED: SignedDuration = SignedDuration::from_mins(30);

#[derive(Clone, Debug, Default)]
pub(super) struct PodControl {
    pods: BTreeMap<String, Pod>,
    /// When pods crashed that had been well, oldest first.
    crashes: Vec<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Pod {
    restarts: u32,
    /// The first and the last of the crashes that it has not recovered from.
    crashing: Option<(Timestamp, Timestamp)>,
}

impl PodControl {
    pub(super) fn take(&mut self, at: Timestamp, pod: &str, reading: &PodReading) {
        if reading.gone {
            self.pods.remove(pod);
            return;
        }
        if let Some(known) = self.pods.get_mut(pod) {
            let came = known.crashed(at, reading.restarts);
            self.crashes.extend(std::iter::repeat_n(at, came));
        } else if self.pods.len() < PODS_MAX {
            self.pods.insert(pod.to_string(), Pod::at_first_sight(at, reading));
        }
    }

    pub(super) fn keep_only(&mut self, there: impl Fn(&str) -> bool) {
        self.pods.retain(|pod, _| there(pod));
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

impl Pod {
    /// One that is not well and has crashed before may have done so for days.
    fn at_first_sight(at: Timestamp, reading: &PodReading) -> Self {
        let crashing = reading.restarts > 0 && !reading.ready;
        Self { restarts: reading.restarts, crashing: crashing.then_some((Timestamp::MIN, at)) }
    }

    /// Crashes since it was seen last, as far as they are news: one that crashes all day tells nothing of this minute.
    fn crashed(&mut self, at: Timestamp, restarts: u32) -> usize {
        let before = std::mem::replace(&mut self.restarts, restarts);
        let came = restarts.saturating_sub(before);
        if came == 0 {
            return 0;
        }
        let last_spell = self.crashing.filter(|(_, last)| at.duration_since(*last) < RECOVERED);
        let first = last_spell.map_or(at, |(first, _)| first);
        self.crashing = Some((first, at));
        if at.duration_since(first) <= LASTS { came.min(10) as usize } else { 0 }
    }
}
