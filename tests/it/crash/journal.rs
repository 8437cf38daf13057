//! What was written durably until some point, from which the journal can be made again as it was there.
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use jiff::Timestamp;
use rollguard::adapters::journal::MemoryJournal;
use rollguard::ports::{Journal, NewRecord};

use crate::support::hooked::Write;

/// All writes so far, and a number that tells this history from every other.
#[derive(Clone, Default)]
pub(super) struct Written {
    writes: Vec<Arc<Write>>,
    key: u64,
}

/// The number only: what is told of a world is compared at every point.
impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)
    }
}

impl Written {
    pub(super) fn push(&mut self, write: Write) {
        let mut hasher = DefaultHasher::new();
        (self.key, format!("{write:?}")).hash(&mut hasher);
        self.key = hasher.finish();
        self.writes.push(Arc::new(write));
    }

    /// All records, in order, with when they were written.
    pub(super) fn records(&self) -> impl DoubleEndedIterator<Item = (&NewRecord, Timestamp)> {
        let commits = self.writes.iter().filter_map(|write| match &**write {
            Write::Commit { commit, .. } => Some(commit),
            Write::Claim | Write::Settle { .. } | Write::Receive(_) | Write::Minutes { .. } => None,
        });
        commits.flat_map(|commit| commit.events.iter().map(|record| (record, commit.at)))
    }

    pub(super) async fn journal(&self) -> MemoryJournal {
        let journal = MemoryJournal::default();
        for write in &self.writes {
            match &**write {
                Write::Claim => drop(journal.claim().await.unwrap()),
                Write::Commit { epoch, commit } => journal.commit(*epoch, commit.clone()).await.unwrap(),
                Write::Settle { epoch, id, at, delivery } => {
                    journal.settle(*epoch, *id, *at, delivery.clone()).await.unwrap();
                }
                Write::Receive(item) => drop(journal.receive(item.clone()).await.unwrap()),
                Write::Minutes { epoch, target, rows } => {
                    journal.save_minutes(*epoch, target, rows.clone()).await.unwrap();
                }
            }
        }
        journal
    }
}
