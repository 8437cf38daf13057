//! The only place of the daemon that reads a clock.
use async_trait::async_trait;
use jiff::Timestamp;

use crate::ports::Clock;

/// The machine's clock. Waiting uses the monotonic clock and looks again at the wall clock every few seconds, so that a
/// clock that is set does not make a deadline wait for hours.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(5);

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep_until(&self, at: Timestamp) {
        loop {
            let left = at.duration_since(Timestamp::now());
            if !left.is_positive() {
                return;
            }
            tokio::time::sleep(left.unsigned_abs().min(LOOK_AGAIN)).await;
        }
    }
}
