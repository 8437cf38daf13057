//! The integration tests, one binary, so that they link once and share one control plane.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod journal;
