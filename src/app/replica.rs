//! One replica: stands by while another one leads, leads when it may, and stops everything that leads before it leaves.
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::adapters::Equipment;
use super::leading::House;
use super::reload::{Duty, Reloader};
use super::{AppError, Tasks, end_of, outcome_of};
use crate::engine::leadership::Role;
use crate::engine::published::{Publisher, mirror};
use crate::engine::reload::ReloadOrder;
use crate::engine::snapshot::{LeadershipStatus, Snapshot};
use crate::ports::JournalError;
use crate::telemetry::{Metric, Stopwatch};

/// The leader's picture is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between attempts to begin an epoch.
const CLAIM_AGAIN: Duration = Duration::from_secs(1);
/// What leads ends within this time; what does not is cut off with the process, and the lease is not given back before.
const STOP_MAX: Duration = Duration::from_secs(20);

/// Where several replicas take turns.
pub(super) struct Standing {
    pub(super) me: String,
    pub(super) role: watch::Receiver<Role>,
    /// Whether leading would be of use.
    pub(super) fit: watch::Sender<bool>,
    /// Gives the lease back.
    pub(super) leave: CancellationToken,
    /// A leader whose journal is away for so long lets another one try.
    pub(super) away_max: Duration,
}

pub(super) struct Replica {
    pub(super) reloader: Reloader,
    pub(super) house: House,
    /// None for the only one, which leads from its start.
    pub(super) standing: Option<Standing>,
    /// What leads.
    pub(super) tasks: Tasks,
}

impl Replica {
    /// Takes orders, and turns at leading, until the process stops or must not lead any more.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<ReloadOrder>) -> Result<(), AppError> {
        self.reloader.measure(true);
        let outcome = self.go_on(&mut orders).await;
        self.house.stop.cancel();
        let ended = tokio::time::timeout(STOP_MAX, end_of(&mut self.tasks)).await;
        match (&self.standing, &ended) {
            (Some(standing), Ok(_)) => standing.leave.cancel(),
            (Some(_), Err(_)) => tracing::warn!("not everything ended in time: the lease runs out by itself"),
            (None, _) => {}
        }
        self.reloader.finish().await;
        outcome.and(ended.unwrap_or(Ok(())))
    }

    async fn go_on(&mut self, orders: &mut mpsc::Receiver<ReloadOrder>) -> Result<(), AppError> {
        let stop = self.house.stop.clone();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut roles = self.standing.as_ref().map(|standing| standing.role.clone());
        self.show_role();
        loop {
            let stands_by = matches!(self.reloader.duty, Duty::Standby(_));
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(ended) = self.tasks.join_next() => return outcome_of(ended),
                Some(order) = orders.recv() => self.reloader.obey(order).await,
                Some(role) = next_role(&mut roles) => {
                    self.show_role();
                    if role == Role::Leading && stands_by {
                        tokio::select! {
                            led = self.take_over() => led?,
                            () = stop.cancelled() => return Ok(()),
                        }
                    }
                }
                _ = looks.tick(), if stands_by => self.look().await,
            }
        }
    }

    /// Shows what the leader sees, and stands for the lease only while there is a journal to lead with.
    async fn look(&mut self) {
        let readable = mirror(self.house.journal.as_ref(), &self.house.picture, self.house.clock.now()).await;
        if let Some(standing) = &self.standing {
            standing.fit.send_replace(readable);
        }
    }

    fn show_role(&self) {
        let Some(standing) = &self.standing else { return };
        let (leader, trouble) = match standing.role.borrow().clone() {
            Role::Standby { holder, trouble } => (holder, trouble),
            Role::Leading => (Some(standing.me.clone()), None),
        };
        Metric::Leader.set(f64::from(u8::from(leader.as_ref() == Some(&standing.me))), vec![]);
        self.house.picture.change(|s| {
            let shown_at = s.leadership.as_ref().and_then(|before| before.shown_at);
            let me = standing.me.clone();
            s.leadership = Some(LeadershipStatus { me, leader, trouble, shown_at });
        });
    }

    /// Begins a new epoch, in which nobody else can write any more, and goes on where the last leader was.
    async fn take_over(&mut self) -> Result<(), AppError> {
        let epoch = self.claim().await?;
        tracing::info!(epoch, "this replica leads");
        let fresh = |before: &Snapshot| Snapshot {
            config: before.config.clone(),
            leadership: before.leadership.clone().map(|status| LeadershipStatus { shown_at: None, ..status }),
            ..Snapshot::default()
        };
        self.house.picture.change(|s| *s = fresh(s));
        self.lead(epoch);
        Ok(())
    }

    pub(super) fn lead(&mut self, epoch: u64) {
        let Duty::Standby(equipment) = &self.reloader.duty else { return };
        let equipment = Equipment::clone(equipment);
        self.reloader.duty = self.house.lead(epoch, &self.reloader.in_use, equipment, &mut self.tasks);
        if let Some(standing) = &self.standing {
            let publisher = Publisher {
                journal: self.house.journal.clone(),
                viewer: self.house.picture.viewer(),
                clock: self.house.clock.clone(),
                epoch,
                away_max: standing.away_max,
            };
            let stop = self.house.stop.clone();
            self.tasks.spawn(async move { publisher.run(stop).await.map_err(AppError::from) });
        }
    }

    async fn claim(&self) -> Result<u64, AppError> {
        let away_max = self.standing.as_ref().map_or(Duration::ZERO, |standing| standing.away_max);
        let began = Stopwatch::start();
        loop {
            match self.house.journal.claim().await {
                Err(JournalError::Unavailable { why }) if began.elapsed() < away_max => {
                    tracing::warn!(why, "this replica holds the lease, and cannot write the journal yet");
                    tokio::time::sleep(CLAIM_AGAIN).await;
                }
                claimed => return claimed.map_err(AppError::from),
            }
        }
    }
}

async fn next_role(roles: &mut Option<watch::Receiver<Role>>) -> Option<Role> {
    let roles = roles.as_mut()?;
    // An error means that the candidate has ended: why, it says itself.
    roles.changed().await.ok()?;
    Some(roles.borrow_and_update().clone())
}
