//! Integration tests: one binary, one module per area.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]
mod checks;
mod deploy;
mod messages;
mod notify;
mod recorder;
