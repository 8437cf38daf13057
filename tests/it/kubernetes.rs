//! The daemon, as it is shipped, on a real control plane: what it does to workloads, and what it leaves alone.

mod adapter;
mod approval;
mod automatic;
mod companions;
mod doctor;
mod events;
mod interrupted;
mod kinds;
mod left_alone;
mod owners;
mod restart;
mod rights;
mod undo;
mod world;
