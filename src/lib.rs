//! rollguard: watches every release after a deploy, and rolls it back when the evidence says so.
pub mod cli;
pub mod client;
pub mod domain;
pub mod engine;
pub mod http;
pub mod ports;
pub mod telemetry;
