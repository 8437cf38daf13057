//! Errors of an unreleased service against its own running past.
use super::{OVER_AFTER, QUIET, RENEW_AFTER, Trouble, USUAL_MIN, bounds};
use crate::domain::detect::counter::Counters;
use crate::domain::detect::errors::{Absolute, Counts};
use crate::domain::detect::mixture::Span;
use crate::domain::evidence::percent;

/// What was seen fades by this much per batch: about a quarter of an hour counts.
const FADE: f64 = 0.995;

#[derive(Clone, Debug)]
pub(super) struct ErrorControl {
    above: f64,
    counters: Counters,
    batch: Counts,
    usual: Counts,
    /// None while it is not known what is usual.
    test: Option<Absolute>,
    batches: u32,
    /// Batches in a row below the null, while there is trouble.
    well: u32,
}

impl ErrorControl {
    pub(super) fn new(above: f64) -> Self {
        Self {
            above,
            counters: Counters::default(),
            batch: Counts::default(),
            usual: Counts::default(),
            test: None,
            batches: 0,
            well: 0,
        }
    }

    pub(super) fn take(&mut self, pod: &str, bad: f64, total: f64) {
        self.batch.add(self.counters.advance(pod, Counts { bad, total }, false));
    }

    /// What was counted in an earlier life.
    pub(super) fn know(&mut self, past: Counts) {
        self.usual.add(past);
    }

    pub(super) fn keep_only(&mut self, there: impl Fn(&str) -> bool) {
        self.counters.keep_only(there);
    }

    pub(super) fn close(&mut self, span: Span) {
        let batch = std::mem::take(&mut self.batch);
        if batch.total <= 0.0 {
            return;
        }
        self.batches += 1;
        if let Some(test) = &mut self.test {
            test.update(span, batch);
        }
        if let Some(test) = self.test.as_ref().filter(|test| test.alarmed()) {
            let past = batch.bad > batch.total * test.null();
            self.well = if past { 0 } else { self.well + 1 };
            if self.well >= OVER_AFTER {
                self.renew();
            }
            return;
        }
        self.well = 0;
        if self.test.as_ref().is_none_or(|test| test.e_value() < QUIET) {
            self.usual = Counts { bad: self.usual.bad * FADE, total: self.usual.total * FADE };
            self.usual.add(batch);
            if self.test.is_none() || self.batches >= RENEW_AFTER {
                self.renew();
            }
        }
    }

    fn renew(&mut self) {
        (self.batches, self.well) = (0, 0);
        let usual = self.usual.ratio().filter(|_| self.usual.total >= USUAL_MIN);
        self.test = usual.map(|usual| Absolute::page(self.above, usual, bounds()));
    }

    pub(super) fn trouble(&self) -> Option<Trouble> {
        let test = self.test.as_ref().filter(|test| test.alarmed())?;
        let onset = test.onset().filter(|o| o.total > 0.0)?;
        let detail = format!("{} errors", percent(onset.bad / onset.total));
        Some(Trouble { since: onset.since, crashes: false, detail })
    }
}
