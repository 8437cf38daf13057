//! Keeps the distance between requests that a channel asks for.
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Whoever takes a turn waits until it has been so long since the last one.
#[derive(Debug)]
pub(super) struct Pace {
    every: Duration,
    turns: Mutex<Option<Interval>>,
}

impl Pace {
    /// Zero is no pace at all.
    pub(super) fn new(every: Duration) -> Self {
        Self { every, turns: Mutex::new(None) }
    }

    pub(super) async fn turn(&self) {
        if self.every.is_zero() {
            return;
        }
        let mut turns = self.turns.lock().await;
        let begin = || {
            let mut turns = interval(self.every);
            turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
            turns
        };
        turns.get_or_insert_with(begin).tick().await;
    }
}
