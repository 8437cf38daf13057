//! stub
pub mod sandbox;
