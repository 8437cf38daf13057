//! rollguard: watches every release after a deploy, and rolls it back when the evidence says so.
#![doc = include_str!("ARCHITECTURE.md")]
pub mod adapters;
pub mod app;
pub mod cli;
pub mod client;
pub mod config;
pub mod domain;
pub mod engine;
pub mod http;
pub mod ports;
pub mod sandbox;
pub mod telemetry;
