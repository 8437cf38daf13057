//! Argo Rollouts (analysis/analysis.go): the analysis fails once more measurements have failed than `failureLimit`, in all.

pub(crate) const INTERVAL_SECS: u32 = 60;
pub(crate) const FAILURE_LIMIT: u32 = 3;
/// The built-in default of `consecutiveErrorLimit`.
const CONSECUTIVE_ERROR_LIMIT: u32 = 4;

#[derive(Clone, Debug)]
pub(crate) struct Argo {
    failed: u32,
    failure_limit: u32,
    consecutive_errors: u32,
}

impl Argo {
    pub(crate) fn new(failure_limit: u32) -> Self {
        Self { failed: 0, failure_limit, consecutive_errors: 0 }
    }

    /// One measurement; `None` is a query that returned nothing or NaN. True: the rollout is aborted now.
    pub(crate) fn measure(&mut self, success: Option<bool>) -> bool {
        match success {
            Some(true) => self.consecutive_errors = 0,
            Some(false) => {
                self.consecutive_errors = 0;
                self.failed += 1;
            }
            None => self.consecutive_errors += 1,
        }
        self.failed > self.failure_limit || self.consecutive_errors > CONSECUTIVE_ERROR_LIMIT
    }
}
