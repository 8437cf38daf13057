//! Tests of whole rooms and of the daemon as others see it.
mod config;
