//! Flagger (pkg/controller/scheduler.go): failed checks add up and are never taken back; the tick after the last one rolls back.

/// The documented `interval` and `threshold`.
pub(crate) const INTERVAL_SECS: u32 = 60;
pub(crate) const THRESHOLD: u32 = 5;

#[derive(Clone, Debug)]
pub(crate) struct Flagger {
    failed_checks: u32,
    threshold: u32,
}

impl Flagger {
    pub(crate) fn new(threshold: u32) -> Self {
        Self { failed_checks: 0, threshold }
    }

    /// One tick of the scheduler; `passed` is `None` without data, which counts as a failed check. True: it rolls back now.
    pub(crate) fn tick(&mut self, passed: Option<bool>) -> bool {
        // The threshold is looked at before the metrics are: the fifth failure is acted on one tick later.
        if self.failed_checks >= self.threshold {
            return true;
        }
        if passed != Some(true) {
            self.failed_checks += 1;
        }
        false
    }
}
