//! Integration tests: one binary, one module per area.
mod checks;
mod deploy;
mod messages;
mod notify;
mod recorder;
