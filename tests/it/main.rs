//! Integration tests, one binary: it links once.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod api;
mod cli;
mod http_world;
mod webhook;
