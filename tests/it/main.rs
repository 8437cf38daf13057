//! All integration tests in one binary: linking is what costs.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod sandbox;
