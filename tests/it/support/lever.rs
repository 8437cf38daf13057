//! A kill switch beside the journal that a test turns.
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use rollguard::domain::guardrails::Killed;
use rollguard::engine::kill::KillSwitch;
use rollguard::ports::KillFile;

#[derive(Clone, Default)]
pub(crate) struct Lever(Arc<Mutex<Option<Killed>>>);

impl Lever {
    pub(crate) fn pull(&self) {
        let killed = Killed { by: "a test".into(), at: Timestamp::UNIX_EPOCH, reason: "to see it".into() };
        *self.0.lock().unwrap() = Some(killed);
    }

    pub(crate) fn release(&self) {
        *self.0.lock().unwrap() = None;
    }

    /// As one life of a daemon has it.
    pub(crate) fn switch(&self) -> KillSwitch {
        KillSwitch::new(Arc::new(self.clone()))
    }
}

#[async_trait]
impl KillFile for Lever {
    async fn look(&self) -> Option<Killed> {
        self.0.lock().unwrap().clone()
    }
}
