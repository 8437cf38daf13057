//! Registries of container images, asked whether what a rollback needs is still there.
mod ecr;
mod name;

pub use ecr::{EcrAccess, EcrRegistry};
