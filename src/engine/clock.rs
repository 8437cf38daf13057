//! The only place of the daemon that reads a clock.
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::ports::Clock;
use crate::telemetry::Stopwatch;

/// The machine's clock. Waiting looks again at the wall clock every few seconds and takes no longer than was left when it
/// began, so that a clock that is set, forward or back, makes nobody wait for hours.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

const LOOK_AGAIN: Duration = Duration::from_secs(5);

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep_until(&self, at: Timestamp) {
        let (began, given) = (Stopwatch::start(), left(at).unwrap_or_default());
        while let Some(left) = left(at) {
            let really_left = given.saturating_sub(began.elapsed());
            if really_left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(really_left).min(LOOK_AGAIN)).await;
        }
    }
}

fn left(at: Timestamp) -> Option<Duration> {
    let left = at.duration_since(Timestamp::now());
    left.is_positive().then(|| left.unsigned_abs())
}
