//! Channels that people are told through: chats, pagers, the public status page, forges, and a signed webhook.
pub mod alertmanager;
pub mod github;
pub mod opsgenie;
mod pace;
pub mod pagerduty;
mod post;
pub mod slack;
pub mod statuspage;
pub mod webhook;
