//! The thread that owns the connection: what arrives while one sync runs shares the next transaction.
use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::super::chain::Tail;
use super::open::Lock;
use crate::ports::JournalError;

/// Requests that one transaction takes together.
const BATCH_MAX: usize = 512;

/// The connection with what is known of the tables without asking. The lock is released last.
pub(super) struct Store {
    pub(super) conn: Connection,
    pub(super) known: Known,
    _lock: Lock,
}

/// Kept in step with the tables: a transaction or savepoint that is rolled back takes this back too.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) tail: Tail,
    pub(super) unfolded: usize,
    pub(super) pruned_at: Option<Timestamp>,
}

/// What is left to do for a request once its transaction has ended.
type Answer = Box<dyn FnOnce(Result<(), JournalError>) + Send>;
/// One request: works inside the open transaction, or learns that there is none.
pub(super) type Job = Box<dyn FnOnce(Result<&mut Store, JournalError>) -> Answer + Send>;

/// A request whose result is sent when it is durable, and not before.
pub(super) fn job<T: Send + 'static>(
    work: impl FnOnce(&mut Store) -> Result<T, JournalError> + Send + 'static,
    reply: oneshot::Sender<Result<T, JournalError>>,
) -> Job {
    Box::new(move |turn| {
        let result = turn.and_then(|store| store.atomically(work));
        Box::new(move |durable| {
            // Who asked may have stopped waiting; what was written stays written.
            drop(reply.send(durable.and(result)));
        })
    })
}

/// Runs until every sender is gone.
pub(super) fn run(mut store: Store, mut jobs: mpsc::Receiver<Job>) {
    while let Some(first) = jobs.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX
            && let Ok(job) = jobs.try_recv()
        {
            batch.push(job);
        }
        store.transact(batch);
    }
}

impl Store {
    pub(super) fn new(conn: Connection, tail: Tail, unfolded: usize, lock: Lock) -> Self {
        Self { conn, known: Known { tail, unfolded, pruned_at: None }, _lock: lock }
    }

    fn transact(&mut self, batch: Vec<Job>) {
        let before = self.known.clone();
        let begun = self.run_sql("BEGIN IMMEDIATE");
        let answers: Vec<Answer> = batch
            .into_iter()
            .map(|job| match &begun {
                Ok(()) => job(Ok(self)),
                Err(e) => job(Err(e.clone())),
            })
            .collect();
        let ended = begun.and_then(|()| self.end());
        if ended.is_err() {
            self.known = before;
        }
        answers.into_iter().for_each(|answer| answer(ended.clone()));
    }

    fn end(&self) -> Result<(), JournalError> {
        self.still_open()?;
        self.run_sql("COMMIT").inspect_err(|_| {
            if let Err(error) = self.run_sql("ROLLBACK") {
                tracing::warn!(%error, "the journal's transaction was already over");
            }
        })
    }

    /// Everything that `work` writes, or nothing of it; the rest of the transaction is not touched.
    fn atomically<T>(
        &mut self,
        work: impl FnOnce(&mut Store) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        self.still_open()?;
        let before = self.known.clone();
        self.run_sql("SAVEPOINT request")?;
        let result = work(self);
        if result.is_err() {
            self.known = before;
            if !self.conn.is_autocommit() {
                self.run_sql("ROLLBACK TO request")?;
            }
        }
        if !self.conn.is_autocommit() {
            self.run_sql("RELEASE request")?;
        }
        result
    }

    /// SQLite ends a transaction by itself when the disk is full or fails; nothing may be written outside of one.
    fn still_open(&self) -> Result<(), JournalError> {
        if self.conn.is_autocommit() {
            let why = "the disk is full or failing, nothing was written; free some space".to_string();
            return Err(JournalError::Unavailable { why });
        }
        Ok(())
    }

    fn run_sql(&self, sql: &str) -> Result<(), JournalError> {
        self.conn.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}
