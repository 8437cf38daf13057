//! rollguard: watches every release after a deploy, and rolls it back when the evidence says so.
pub mod config;
pub mod domain;
pub mod engine;
pub mod ports;
pub mod telemetry;
