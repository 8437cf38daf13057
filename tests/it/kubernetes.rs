//! The daemon, as it is shipped, on a real control plane: what it does to Deployments, and what it leaves alone.

mod adapter;
mod approval;
mod automatic;
mod events;
mod interrupted;
mod left_alone;
mod rights;
mod undo;
mod world;
