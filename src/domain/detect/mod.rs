//! Statistics that stay valid however often we look: e-processes on error counts, response times and restarts.
pub mod counter;
pub mod crash;
pub mod errors;
pub mod healthy;
pub mod interval;
pub mod latency;
pub mod mixture;
