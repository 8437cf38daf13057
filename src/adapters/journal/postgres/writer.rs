//! The task that owns the session: what arrives while one transaction runs shares the next.
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::connection::{PostgresOptions, Server, Session, cell};
use super::error::unavailable;
use super::meta::Meta;
use super::{records, schema};
use crate::ports::{Commit, JournalError};

/// Requests that one transaction takes together.
const BATCH_MAX: usize = 128;
/// Records whose hashes are checked whenever the journal is opened.
const CHECKED_AT_OPEN: u64 = 1000;
const WROTE: &str = "SELECT transactions FROM writers WHERE id = $1";
/// However long Postgres waits for its own replicas: after a time-out it would say that it is done.
const COMMIT: &str = "SET LOCAL statement_timeout = 0; COMMIT";

/// A commit with its epoch, known again when it is tried again.
pub(super) type Sent = Arc<(u64, Commit)>;

/// The session, with what is known inside a transaction.
pub(super) struct Store {
    server: Server,
    session: Option<Session>,
    /// Of the open transaction; kept in step with its savepoints and written at its end.
    pub(super) meta: Meta,
    in_transaction: bool,
    /// Who this process is in the table of writers, and the number of its last transaction there.
    id: String,
    number: i64,
    /// The commits of the open transaction.
    written: Vec<Sent>,
    doubt: Option<Doubt>,
    /// Commits that are durable, though whoever asked for them was told that they may not be.
    landed: Vec<Sent>,
}

/// A transaction whose COMMIT was sent and not answered.
struct Doubt {
    number: i64,
    sent: Vec<Sent>,
}

/// What is left to do for a request once its transaction has ended.
type Answer = Box<dyn FnOnce(Result<(), JournalError>) + Send>;
/// What a request does inside the open transaction, or learns that there is none.
type Turn = Box<dyn for<'a> FnOnce(Result<&'a mut Store, JournalError>) -> BoxFuture<'a, Answer> + Send>;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Reads,
    Writes,
}

pub(super) struct Job {
    kind: Kind,
    turn: Turn,
}

impl Job {
    /// A request whose result is sent when it is durable, and not before.
    pub(super) fn new<T, W>(kind: Kind, work: W, reply: oneshot::Sender<Result<T, JournalError>>) -> Self
    where
        T: Send + 'static,
        W: for<'a> FnOnce(&'a mut Store) -> BoxFuture<'a, Result<T, JournalError>> + Send + 'static,
    {
        let turn: Turn = Box::new(move |turn| {
            Box::pin(async move {
                let result = match turn {
                    Ok(store) => store.atomically(work).await,
                    Err(error) => Err(error),
                };
                // Who asked may have stopped waiting; what was written stays written.
                Box::new(move |durable: Result<(), JournalError>| drop(reply.send(durable.and(result))))
                    as Answer
            })
        });
        Self { kind, turn }
    }

    async fn refuse(self, error: JournalError) {
        (self.turn)(Err(error)).await(Ok(()));
    }
}

/// Runs until every sender is gone.
pub(super) async fn run(mut store: Store, mut jobs: mpsc::Receiver<Job>) {
    while let Some(first) = jobs.recv().await {
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX
            && let Ok(job) = jobs.try_recv()
        {
            batch.push(job);
        }
        let done = match store.connect().await {
            Ok(()) => store.transact(batch).await,
            Err(error) => {
                refuse(batch, &error).await;
                Err(error)
            }
        };
        // Whoever asked meanwhile has waited long enough for a session that broke.
        if let Err(error) = done
            && !store.is_connected()
        {
            let waiting: Vec<Job> = std::iter::from_fn(|| jobs.try_recv().ok()).collect();
            refuse(waiting, &error).await;
        }
    }
}

async fn refuse(jobs: Vec<Job>, error: &JournalError) {
    for job in jobs {
        job.refuse(error.clone()).await;
    }
}

impl Store {
    /// Sets the tables up if there are none, and checks what is there.
    pub(super) async fn open(options: &PostgresOptions) -> Result<Self, JournalError> {
        let server = Server::new(options)?;
        let mut session = server.connect().await?;
        schema::set_up(&mut session, server.schema()).await?;
        records::check_tail(&mut session, CHECKED_AT_OPEN).await?;
        let id = session.rows("SELECT gen_random_uuid()::text", &[]).await?;
        let id = id.first().ok_or_else(|| unavailable("Postgres gave no answer"))?;
        Ok(Self {
            id: cell(id, 0)?,
            server,
            session: Some(session),
            meta: Meta::default(),
            in_transaction: false,
            number: 0,
            written: Vec::new(),
            doubt: None,
            landed: Vec::new(),
        })
    }

    pub(super) fn session(&mut self) -> Result<&mut Session, JournalError> {
        self.session.as_mut().ok_or_else(|| unavailable("there is no connection to Postgres"))
    }

    fn is_connected(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_usable)
    }

    async fn connect(&mut self) -> Result<(), JournalError> {
        if !self.is_connected() {
            self.session = None;
            self.session = Some(self.server.connect().await?);
        }
        Ok(())
    }

    /// The row of the table meta, as the open transaction or else everybody sees it.
    pub(super) async fn known(&mut self) -> Result<Meta, JournalError> {
        if self.in_transaction { Ok(self.meta.clone()) } else { Meta::read(self.session()?).await }
    }

    /// Refuses an epoch that is not the current one.
    pub(super) fn check_epoch(&self, ours: u64) -> Result<(), JournalError> {
        let current = self.meta.epoch;
        if current == ours { Ok(()) } else { Err(JournalError::Stale { ours, current }) }
    }

    /// Looked for when the answer to this transaction's COMMIT is lost.
    pub(super) fn has_written(&mut self, sent: Sent) {
        self.written.push(sent);
    }

    /// Whether this very commit was tried before and has been durable since, unknown to whoever asked.
    pub(super) fn has_landed(&mut self, sent: &Sent) -> bool {
        let known = self.landed.iter().position(|landed| landed == sent);
        known.map(|place| self.landed.swap_remove(place)).is_some()
    }

    /// The error is that of the whole transaction; each request has learnt of it, or of its own.
    async fn transact(&mut self, batch: Vec<Job>) -> Result<(), JournalError> {
        let writes = batch.iter().any(|job| job.kind == Kind::Writes);
        let begun = if writes { self.begin().await } else { Ok(()) };
        let before = self.landed.clone();
        let mut answers = Vec::with_capacity(batch.len());
        for job in batch {
            let turn = begun.clone().map(|()| &mut *self);
            answers.push((job.turn)(turn).await);
        }
        let ended = match begun {
            Ok(()) if writes => self.end().await,
            begun => begun,
        };
        if ended.is_err() {
            self.landed = before;
        }
        answers.into_iter().for_each(|answer| answer(ended.clone()));
        ended
    }

    async fn begin(&mut self) -> Result<(), JournalError> {
        self.session()?.run("BEGIN").await?;
        match self.lock().await {
            Ok(()) => {
                self.in_transaction = true;
                Ok(())
            }
            Err(error) => self.undo(error).await,
        }
    }

    /// Once the row is locked, no transaction of ours that was cut off is still under way: what is not there will not come.
    async fn lock(&mut self) -> Result<(), JournalError> {
        self.meta = Meta::lock(self.session()?).await?;
        let Some(number) = self.doubt.as_ref().map(|doubt| doubt.number) else { return Ok(()) };
        let id = self.id.clone();
        let rows = self.session()?.rows(WROTE, &[&id]).await?;
        let reached = rows.first().map(|row| cell::<i64>(row, 0)).transpose()?;
        let sent = self.doubt.take().map(|doubt| doubt.sent).unwrap_or_default();
        if reached.is_some_and(|reached| reached >= number) {
            for sent in sent {
                if !self.landed.contains(&sent) {
                    self.landed.push(sent);
                }
            }
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<(), JournalError> {
        self.in_transaction = false;
        self.number += 1;
        let sent = std::mem::take(&mut self.written);
        let (meta, id, number) = (self.meta.clone(), self.id.clone(), self.number);
        if let Err(error) = meta.save(self.session()?, &id, number).await {
            return self.undo(error).await;
        }
        match self.session()?.run(COMMIT).await {
            Err(error) if self.is_connected() => self.undo(error).await,
            Err(error) => {
                self.doubt = Some(Doubt { number, sent });
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    async fn undo(&mut self, why: JournalError) -> Result<(), JournalError> {
        if self.is_connected()
            && let Err(error) = self.session()?.run("ROLLBACK").await
        {
            tracing::warn!(%error, "a transaction of the journal was not rolled back, but its session has ended");
        }
        Err(why)
    }

    /// Everything that `work` writes, or nothing of it; the rest of the transaction is not touched.
    async fn atomically<T, W>(&mut self, work: W) -> Result<T, JournalError>
    where
        W: for<'a> FnOnce(&'a mut Self) -> BoxFuture<'a, Result<T, JournalError>>,
    {
        if !self.in_transaction {
            return work(self).await;
        }
        let before = (self.meta.clone(), self.landed.clone());
        self.session()?.run("SAVEPOINT request").await?;
        match work(self).await {
            Ok(done) => self.session()?.run("RELEASE request").await.map(|()| done),
            Err(error) => {
                (self.meta, self.landed) = before;
                // If this fails, so does the end of the transaction.
                drop(self.session()?.run("ROLLBACK TO request; RELEASE request").await);
                Err(error)
            }
        }
    }
}
