//! The integration tests, one binary, so that they link once and share one control plane.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod api;
mod audit;
#[cfg(feature = "aws")]
mod aws;
mod backtest;
mod checks;
mod cli;
mod components;
mod config;
mod crash;
mod daemon;
mod database;
mod demo;
mod deploy;
mod detect;
mod disk;
mod explain;
#[cfg(feature = "aws")]
mod frontend;
mod ha;
mod house;
mod http_world;
mod human;
mod infrastructure;
mod journal;
mod kubernetes;
mod messages;
mod metrics;
mod notify;
mod outbox;
mod outside;
mod postgres;
mod recorder;
mod reference;
mod reload;
mod sandbox;
mod signals;
mod simulation;
mod support;
mod watcher;
mod webhook;
