//! Channels that people are told through: Slack, a signed webhook, and pages through Alertmanager.
pub mod alertmanager;
mod post;
pub mod slack;
pub mod webhook;
