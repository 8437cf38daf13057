//! The kill switch: by a person's order, which the journal remembers, or by a file on the machine.
use std::sync::Arc;

use tokio::sync::watch;

use crate::domain::guardrails::Killed;
use crate::ports::KillFile;

/// Asked before every change. Cheap to clone.
#[derive(Clone)]
pub struct KillSwitch {
    ordered: watch::Sender<Option<Killed>>,
    file: Arc<dyn KillFile>,
}

impl KillSwitch {
    pub fn new(file: Arc<dyn KillFile>) -> Self {
        Self { ordered: watch::Sender::new(None), file }
    }

    /// What a person ordered, once it is in the journal.
    pub fn order(&self, killed: Option<Killed>) {
        self.ordered.send_replace(killed);
    }

    pub fn ordered(&self) -> Option<Killed> {
        self.ordered.borrow().clone()
    }

    /// Whether it is on now. The file is looked at each time: it must work when nothing else does.
    pub async fn look(&self) -> Option<Killed> {
        match self.ordered() {
            Some(killed) => Some(killed),
            None => self.file.look().await,
        }
    }
}
