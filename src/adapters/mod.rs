//! Everything that talks to the outside, one folder per system; one folder never uses another.
#[cfg(feature = "aws")]
pub mod aws;
pub mod checks;
mod child;
pub mod database;
pub mod endpoint;
#[cfg(feature = "aws")]
pub mod frontend;
pub mod infrastructure;
pub mod journal;
pub mod kill_file;
pub mod kubernetes;
mod mask;
pub mod notify;
pub mod outbound;
pub mod postgres;
pub mod probe;
pub mod recording;
#[cfg(feature = "aws")]
pub mod registry;
pub mod signals;
pub mod tls;
