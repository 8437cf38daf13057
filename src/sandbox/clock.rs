//! The one place of the sandbox that reads the time.

use jiff::Timestamp;

pub(super) fn now() -> Timestamp {
    Timestamp::now()
}
