//! RDS where rollguard was built without the AWS adapters: it cannot be configured, so nothing here is ever called.
use crate::domain::outcome::Outcome;
use crate::domain::plan::database::{Instance, SnapshotFacts, TakeSnapshot};

/// There is none.
#[derive(Clone, Debug)]
pub enum RdsOptions {}

/// There is none.
pub enum Rds {}

impl Rds {
    pub(super) fn new(options: RdsOptions) -> Self {
        match options {}
    }

    pub(super) async fn instance(&self) -> Result<Instance, String> {
        match *self {}
    }

    pub(super) async fn snapshot(&self, _: &str) -> Result<Option<SnapshotFacts>, String> {
        match *self {}
    }

    pub(super) async fn take(&self, _: &TakeSnapshot) -> Outcome {
        match *self {}
    }
}
