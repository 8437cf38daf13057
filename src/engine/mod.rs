//! The engine: watches releases, drives runs, folds commands, delivers messages. It decides nothing itself: the domain does.
pub mod commands;
pub mod snapshot;
