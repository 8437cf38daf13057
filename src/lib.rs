//! rollguard: watches every release after a deploy, and rolls it back when the evidence says so.
pub mod adapters;
pub mod domain;
pub mod engine;
pub mod ports;
pub mod telemetry;
