//! Keeps one replica leading: lets the elector act on the lease, and tells the others of this process who leads.
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::domain::lease::{Bid, Elector, LeaseTimes, Moment, Step, SteppedDown, Written};
use crate::ports::{Clock, Lease, LeaseError};
use crate::telemetry::Stopwatch;

/// What this replica does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It serves, and waits. `holder` is who leads, as far as is known.
    Standby {
        holder: Option<String>,
        trouble: Option<String>,
    },
    Leading,
}

/// Giving the lease back at the end takes no longer.
const RELEASE_MAX: Duration = Duration::from_secs(3);

/// One replica that wants to lead.
pub struct Candidate {
    lease: Arc<dyn Lease>,
    elector: Elector,
    /// A single attempt takes no longer, so that there are two before the deadline.
    attempt_max: Duration,
    clock: Arc<dyn Clock>,
    began: Stopwatch,
    /// Whether leading would be of use: there is a journal to write to.
    fit: watch::Receiver<bool>,
    role: watch::Sender<Role>,
    until: watch::Sender<Moment>,
    trouble: Option<String>,
}

impl Candidate {
    /// `jitter` is between 0 and 1.
    pub fn new(
        lease: Arc<dyn Lease>,
        me: String,
        times: LeaseTimes,
        jitter: f64,
        clock: Arc<dyn Clock>,
        fit: watch::Receiver<bool>,
    ) -> Self {
        Self {
            lease,
            elector: Elector::new(me, times, jitter),
            attempt_max: times.renew_deadline / 2,
            clock,
            began: Stopwatch::start(),
            fit,
            role: watch::Sender::new(Role::Standby { holder: None, trouble: None }),
            until: watch::Sender::new(Moment::ZERO),
            trouble: None,
        }
    }

    pub fn role(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    pub fn tenure(&self) -> Tenure {
        Tenure(Some((self.began, self.until.subscribe())))
    }

    /// Stands for the lease, holds it, and gives it back when `leave` is cancelled: only then, since whoever leads must have
    /// stopped before.
    ///
    /// # Errors
    /// Why it does not lead any more, without having been asked to leave.
    pub async fn run(mut self, leave: CancellationToken) -> Result<(), SteppedDown> {
        while !leave.is_cancelled() {
            let (now, fit) = (self.began.elapsed(), *self.fit.borrow());
            let step = self.elector.next(now, fit, self.clock.now());
            self.show();
            match step {
                Step::Wait { until } => tokio::select! {
                    () = tokio::time::sleep(until.saturating_sub(now)) => {}
                    () = leave.cancelled() => {}
                },
                Step::Read => self.read().await,
                Step::Take(bid) | Step::Renew(bid) => self.write(bid).await,
                Step::StepDown { why } => return Err(why),
            }
        }
        self.release().await;
        Ok(())
    }

    /// How long an attempt that begins now may take: a leader must notice in time that it leads no more.
    fn patience(&self, now: Moment) -> Duration {
        let left = self.elector.leads_until().map(|until| until.saturating_sub(now));
        left.map_or(self.attempt_max, |left| left.min(self.attempt_max))
    }

    async fn read(&mut self) {
        let patience = self.patience(self.began.elapsed());
        let answer = tokio::time::timeout(patience, self.lease.read()).await;
        let now = self.began.elapsed();
        match answer {
            Ok(Ok(found)) => {
                self.trouble = None;
                self.elector.read(found, now);
            }
            Ok(Err(error)) => {
                self.tell(error.to_string());
                self.elector.unread(now);
            }
            Err(_) => {
                self.tell("the lease cannot be read: no answer in time".into());
                self.elector.unread(now);
            }
        }
    }

    async fn write(&mut self, bid: Bid) {
        let began = self.began.elapsed();
        let answer = tokio::time::timeout(self.patience(began), self.lease.write(&bid)).await;
        let written = match answer {
            Ok(Ok(version)) => {
                self.trouble = None;
                Written::Done { version }
            }
            Ok(Err(LeaseError::Conflict { .. })) => Written::Conflict,
            Ok(Err(error @ LeaseError::Unavailable { .. })) => {
                self.tell(error.to_string());
                Written::Unknown
            }
            Err(_) => {
                self.tell("the lease cannot be written: no answer in time".into());
                Written::Unknown
            }
        };
        self.elector.wrote(bid, written, began, self.began.elapsed());
    }

    fn tell(&mut self, trouble: String) {
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::warn!(trouble, "leadership");
        }
        self.trouble = Some(trouble);
    }

    fn show(&self) {
        let until = self.elector.leads_until();
        self.until.send_replace(until.unwrap_or_default());
        let role = match until {
            Some(_) => Role::Leading,
            None => Role::Standby {
                holder: self.elector.holder().map(str::to_string),
                trouble: self.trouble.clone(),
            },
        };
        self.role.send_if_modified(|shown| {
            let changed = *shown != role;
            *shown = role;
            changed
        });
    }

    async fn release(mut self) {
        let bid = self.elector.release(self.clock.now());
        self.show();
        let Some(bid) = bid else { return };
        match tokio::time::timeout(RELEASE_MAX, self.lease.write(&bid)).await {
            Ok(Ok(_)) => tracing::info!("the lease is given back: another replica may lead at once"),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the lease could not be given back: it runs out by itself")
            }
            Err(_) => tracing::warn!("the lease could not be given back in time: it runs out by itself"),
        }
    }
}

/// Whether this process leads at this moment, by its own monotonic clock: also right after it was paused.
#[derive(Clone, Debug)]
pub struct Tenure(Option<(Stopwatch, watch::Receiver<Moment>)>);

impl Tenure {
    /// Of the only process that there is.
    pub fn unlimited() -> Self {
        Self(None)
    }

    pub fn holds(&self) -> bool {
        self.0.as_ref().is_none_or(|(began, until)| began.elapsed() < *until.borrow())
    }
}
