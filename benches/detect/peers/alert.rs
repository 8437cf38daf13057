//! A Prometheus alerting rule: its expression must hold at every evaluation for as long as `for` says.

#[derive(Clone, Debug)]
pub(crate) struct Alert {
    for_secs: u32,
    active_at: Option<u32>,
}

impl Alert {
    pub(crate) fn new(for_secs: u32) -> Self {
        Self { for_secs, active_at: None }
    }

    /// One evaluation; a comparison with NaN or with nothing does not hold. True: it fires now.
    pub(crate) fn evaluate(&mut self, now_secs: u32, holds: Option<bool>) -> bool {
        if holds != Some(true) {
            self.active_at = None;
            return false;
        }
        let active_at = *self.active_at.get_or_insert(now_secs);
        now_secs - active_at >= self.for_secs
    }
}
