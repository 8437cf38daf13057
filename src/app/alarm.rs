//! A daemon that cannot guard says so to the people who are configured to be told, not to its log alone.
use std::sync::Arc;

use super::reload::with_causes;
use super::{AppError, Daemon, Reread, channels};
use crate::config::Config;
use crate::domain::message::cannot_guard;
use crate::engine::alarm::tell_at_once;
use crate::engine::clock::SystemClock;
use crate::ports::{Clock, JournalError, Notifier};

/// Starts daemons and waits for them; a page goes out, past the journal, when that fails.
pub struct Guarding {
    notifiers: Vec<Arc<dyn Notifier>>,
}

impl Guarding {
    /// # Errors
    /// When the channels of this configuration cannot even be set up; then nobody can be told.
    pub fn of(config: &Config) -> Result<Self, AppError> {
        Ok(Self { notifiers: channels::notifiers(config)? })
    }

    /// As [`Daemon::start`].
    ///
    /// # Errors
    /// The same, after people were told.
    pub async fn start(&self, config: Config, reread: Option<Reread>) -> Result<Daemon, AppError> {
        match Daemon::start(config, reread).await {
            Ok(daemon) => Ok(daemon),
            Err(error) => Err(self.told(error).await),
        }
    }

    /// As [`Daemon::wait`].
    ///
    /// # Errors
    /// The same, after people were told.
    pub async fn wait(&self, daemon: Daemon) -> Result<(), AppError> {
        match daemon.wait().await {
            Ok(()) => Ok(()),
            // Somebody else guards by now.
            Err(error @ (AppError::Journal(JournalError::Stale { .. }) | AppError::LeadsNoMore(_))) => {
                Err(error)
            }
            Err(error) => Err(self.told(error).await),
        }
    }

    async fn told(&self, error: AppError) -> AppError {
        let now = SystemClock.now();
        tell_at_once(&self.notifiers, &cannot_guard(&with_causes(&error), now), now).await;
        error
    }
}
