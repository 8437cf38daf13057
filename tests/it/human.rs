//! People in the loop: what they are told, paged, asked and shown, against servers that behave as the real ones do.
mod chart;
mod forges;
mod pagers;
mod report;
mod slack;
mod slow;
mod statuspage;
mod templates;
mod world;
