//! The engine: watches releases, drives runs, folds commands, delivers messages. It decides nothing itself: the domain does.
pub mod alarm;
pub mod clock;
pub mod commands;
mod comparing;
pub mod current;
pub mod driver;
pub mod kill;
pub mod leadership;
pub mod ledger;
pub mod measured;
pub mod outbox;
pub mod published;
pub mod reload;
mod rounds;
pub mod settings;
pub mod snapshot;
pub mod sources;
pub mod watcher;
