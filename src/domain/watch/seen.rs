//! When a rule was last measured, and why not since.
use jiff::Timestamp;

const WHY_CHARS_MAX: usize = 200;

#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) at: Option<Timestamp>,
    pub(super) missed_because: Option<String>,
}

impl Seen {
    pub(super) fn take(&mut self, at: Timestamp) {
        self.at = Some(at);
        self.missed_because = None;
    }
    pub(super) fn miss(&mut self, why: &str) {
        self.missed_because = Some(why.chars().take(WHY_CHARS_MAX).collect());
    }
}
