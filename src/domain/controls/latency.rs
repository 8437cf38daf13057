//! Response times of an unreleased service against its own running past.
use std::collections::BTreeMap;

use super::{OVER_AFTER, QUIET, RENEW_AFTER, Trouble, USUAL_MIN, bounds};
use crate::domain::detect::counter::STREAMS_MAX;
use crate::domain::detect::latency::{Slower, thresholds};
use crate::domain::detect::mixture::Span;
use crate::domain::histogram::Histogram;

/// Slower by this share of the limit is worse already.
const NULL_SHARE: f64 = 0.5;

#[derive(Clone, Debug)]
pub(super) struct LatencyControl {
    increase: f64,
    pods: BTreeMap<String, Histogram>,
    batch: Histogram,
    /// The present block of batches and the one before it: what is usual.
    block: Histogram,
    before: Histogram,
    test: Option<Slower>,
    batches: u32,
    alarmed_for: u32,
}

impl LatencyControl {
    pub(super) fn new(increase: f64) -> Self {
        Self {
            increase,
            pods: BTreeMap::new(),
            batch: Histogram::default(),
            block: Histogram::default(),
            before: Histogram::default(),
            test: None,
            batches: 0,
            alarmed_for: 0,
        }
    }

    pub(super) fn take(&mut self, pod: &str, times: &Histogram) {
        if let Some(last) = self.pods.get_mut(pod) {
            self.batch.add(&last.advance(times));
        } else if self.pods.len() < STREAMS_MAX {
            self.pods.insert(pod.to_string(), times.clone());
        }
    }

    pub(super) fn keep_only(&mut self, there: impl Fn(&str) -> bool) {
        self.pods.retain(|pod, _| there(pod));
    }

    pub(super) fn close(&mut self, span: Span) {
        let batch = std::mem::take(&mut self.batch);
        if batch.count() <= 0.0 {
            return;
        }
        if let Some(test) = &mut self.test {
            test.update_since_before(span, &batch.cumulative());
        }
        self.batches += 1;
        if self.test.as_ref().is_some_and(Slower::alarmed) {
            self.alarmed_for += 1;
            // Times that stay where they are become the usual ones.
            if self.alarmed_for >= RENEW_AFTER + OVER_AFTER {
                self.block = batch;
                self.renew();
            }
            return;
        }
        self.alarmed_for = 0;
        self.block.add(&batch);
        let quiet = self.test.as_ref().is_none_or(|test| test.e_value() < QUIET);
        if quiet && (self.batches >= RENEW_AFTER || (self.test.is_none() && self.block.count() >= USUAL_MIN))
        {
            self.renew();
        }
    }

    fn renew(&mut self) {
        (self.batches, self.alarmed_for) = (0, 0);
        let mut usual = std::mem::take(&mut self.before);
        self.before = std::mem::take(&mut self.block);
        usual.add(&self.before);
        let chosen = thresholds(&usual.cumulative(), 1.0 + self.increase * NULL_SHARE);
        let known = usual.count() >= USUAL_MIN && !chosen.is_empty();
        self.test = known.then(|| Slower::new(&chosen, bounds()));
    }

    pub(super) fn trouble(&self) -> Option<Trouble> {
        let test = self.test.as_ref().filter(|test| test.alarmed())?;
        let onset = test.onset()?;
        Some(Trouble { since: onset.since, crashes: false, detail: "slower responses".to_string() })
    }
}
