//! Infrastructure taken back by a plan file, with the real Terraform and the real OpenTofu on a real git repository.
mod daemon;
mod failures;
mod reading;
mod way_back;
mod world;
