//! The daemon, as it is shipped, on a real control plane: what it does to workloads, and what it leaves alone.

mod adapter;
mod approval;
mod automatic;
mod companions;
mod compared;
mod doctor;
mod events;
mod hindered;
mod inside;
mod interrupted;
mod killed;
mod kinds;
mod left_alone;
mod logs;
mod owners;
mod restart;
mod rights;
mod undo;
pub(crate) mod world;
