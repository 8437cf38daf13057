//! Everything that talks to the outside, one folder per system; one folder never uses another.
pub mod journal;
pub mod recording;
