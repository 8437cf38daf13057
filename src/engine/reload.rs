//! A new configuration without a restart: who asks for it, and what came of it.
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::domain::names::ServiceName;

/// What a new configuration changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    pub added: Vec<ServiceName>,
    pub removed: Vec<ServiceName>,
    pub changed: Vec<ServiceName>,
    /// Keys beside the services, such as `notify`.
    pub settings: Vec<String>,
    pub warnings: Vec<String>,
}

impl Reloaded {
    pub fn is_nothing(&self) -> bool {
        self.added.is_empty()
            && self.removed.is_empty()
            && self.changed.is_empty()
            && self.settings.is_empty()
    }
}

/// Why the configuration stayed as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    #[error("the configuration has mistakes: the one before stays in force")]
    Mistaken { problems: Vec<String> },
    #[error("{} cannot change while rollguard runs, it needs a restart: the configuration before stays in force", keys.join(" and "))]
    NeedsRestart { keys: Vec<&'static str> },
    #[error("the new configuration cannot be used: {why}; the one before stays in force")]
    Unusable { why: String },
    #[error("this daemon was not started from a file: there is nothing to read again")]
    NoFile,
    #[error("rollguard is stopping: its next start reads the configuration")]
    Stopping,
}

/// One request to read the configuration again.
#[derive(Debug)]
pub struct ReloadOrder {
    pub by: String,
    pub answer: oneshot::Sender<Result<Reloaded, ReloadError>>,
}

/// Where reloads are asked for: they are done one after the other.
#[derive(Clone, Debug)]
pub struct Reloads(mpsc::Sender<ReloadOrder>);

/// Orders that may wait.
const WAITING: usize = 4;

impl Reloads {
    /// The handle, and what it hands on.
    pub fn new() -> (Self, mpsc::Receiver<ReloadOrder>) {
        let (orders, receiver) = mpsc::channel(WAITING);
        (Self(orders), receiver)
    }

    /// Reads the configuration again and puts it in force.
    ///
    /// # Errors
    /// When it cannot be used, or needs a restart; nothing has changed then.
    pub async fn reload(&self, by: &str) -> Result<Reloaded, ReloadError> {
        let (answer, answered) = oneshot::channel();
        let order = ReloadOrder { by: by.to_string(), answer };
        self.0.send(order).await.map_err(|_| ReloadError::Stopping)?;
        answered.await.unwrap_or(Err(ReloadError::Stopping))
    }
}
