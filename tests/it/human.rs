//! The human in the loop: what people are told, paged, asked and shown, who may answer, and what is done when nobody does.
mod asked;
mod buttons;
mod chart;
mod forges;
mod pagers;
mod policy;
mod report;
mod roles;
mod slack;
mod slow;
mod statuspage;
mod templates;
mod world;
