//! Databases as targets: a real Postgres, the real golang-migrate, a real Redis, and RDS through moto.
mod alike;
mod checks;
mod noticed;
#[cfg(feature = "aws")]
mod rds;
mod served;
mod stage;
