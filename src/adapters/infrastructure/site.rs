//! One target: its configuration, its private folder, and what is known of it at the moment.
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use super::git::Git;
use super::notes::{Deployed, Notes};
use super::surroundings::{Surroundings, private_dir};
use super::workbench::{LOOKOUT, Workbench};
use crate::config::InfrastructureConfig;
use crate::domain::names::TargetId;
use crate::domain::plan::infrastructure::state::{self, StateId};
use crate::domain::plan::infrastructure::{MadePlan, Prepared};
use crate::domain::release::Version;
use crate::ports::Clock;

pub(super) struct Site {
    pub(super) id: TargetId,
    pub(super) config: InfrastructureConfig,
    pub(super) around: Surroundings,
    pub(super) notes: Notes,
    pub(super) clock: Arc<dyn Clock>,
    plans: PathBuf,
    memo: Mutex<Memo>,
    /// Whoever changes what is noted as deployed reads it under this lock.
    noting: Mutex<()>,
    /// One tool at a time; the state's own lock is for others.
    pub(super) work: tokio::sync::Mutex<()>,
    /// What is deployed has changed.
    pub(super) changed: Notify,
}

/// What is forgotten with the process.
#[derive(Default)]
pub(super) struct Memo {
    /// Where a rollback would go.
    wanted: Option<Version>,
    prepared: Option<Preparing>,
    /// Why the last announcement was not taken.
    pub(super) complaint: Option<String>,
    pub(super) state: Option<StateId>,
    /// A change of the state that nobody announced yet.
    pub(super) moved: Option<(StateId, Timestamp)>,
    /// The commit with which the state is read.
    lookout: Option<Version>,
}

struct Preparing {
    at: Timestamp,
    result: Prepared,
    under_way: bool,
}

/// A plan is made anew after this time: what it is about may have been changed by hand.
const FRESH: SignedDuration = SignedDuration::from_mins(30);

impl Site {
    pub(super) fn new(
        id: TargetId,
        config: InfrastructureConfig,
        dir: &Path,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let around = Surroundings::new(&config, dir)?;
        let plans = dir.join("plans");
        private_dir(&plans)?;
        Ok(Self {
            id,
            around,
            notes: Notes::new(dir)?,
            config,
            clock,
            plans,
            memo: Mutex::default(),
            noting: Mutex::default(),
            work: tokio::sync::Mutex::default(),
            changed: Notify::new(),
        })
    }

    pub(super) fn plans(&self) -> &Path {
        &self.plans
    }

    pub(super) fn memo(&self) -> MutexGuard<'_, Memo> {
        self.memo.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn noting(&self) -> MutexGuard<'_, ()> {
        self.noting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn deployed(&self) -> Result<Deployed, String> {
        let deployed = self.notes.deployed()?;
        let missing = || {
            self.memo().complaint.clone().unwrap_or_else(|| {
                format!(
                    "it is not known which commit is applied: say it with `rollguard release {} --version BEFORE..NOW`",
                    self.id
                )
            })
        };
        deployed.ok_or_else(missing)
    }

    /// A deploy tool says which commit it applied: `NOW`, or `BEFORE..NOW`.
    pub(super) async fn announce(&self, version: &str, at: Timestamp) -> Result<(), String> {
        let git = Git { repository: &self.config.repository, around: &self.around };
        let (before, now) = version.split_once("..").map_or((None, version), |(a, b)| (Some(a), b));
        let now = git.resolve(now).await?.version;
        let before = match before {
            Some(before) => Some(git.resolve(before).await?),
            None => None,
        };
        let _one = self.noting();
        let deployed = match (self.notes.deployed()?, before) {
            (Some(known), _) => known.then(now, at),
            (None, None) => Deployed::first(now, at),
            (None, Some(before)) => Deployed::first(before.version, before.at.min(at)).then(now, at),
        };
        // While the tool works, what it does is not over.
        if let Ok(_work) = self.work.try_lock() {
            self.notes.forget_half_way();
        }
        self.set_deployed(&deployed)
    }

    /// A plan of ours took it there.
    pub(super) fn arrived(&self, at: &Version) -> Result<(), String> {
        let _one = self.noting();
        let deployed = self.deployed()?.then(at.clone(), self.clock.now());
        self.notes.forget_half_way();
        self.forget_plan();
        self.set_deployed(&deployed)
    }

    /// A plan file that was begun, or is stale, is never applied again.
    pub(super) fn forget_plan(&self) {
        self.memo().prepared = None;
    }

    pub(super) fn set_deployed(&self, deployed: &Deployed) -> Result<(), String> {
        self.notes.set_deployed(deployed)?;
        self.memo().moved = None;
        self.changed.notify_one();
        Ok(())
    }

    pub(super) fn prepared(&self) -> Prepared {
        self.memo().prepared.as_ref().map_or(Prepared::Nothing, |preparing| preparing.result.clone())
    }

    /// From now on a plan for this version is wanted; `None` if there is nowhere to go.
    pub(super) fn want(&self, version: Option<Version>) {
        self.memo().wanted = version;
    }

    /// The version for which a plan must be made now; it counts as begun.
    pub(super) fn begin(&self) -> Option<Version> {
        let now = self.clock.now();
        let again = SignedDuration::try_from(self.config.interval).unwrap_or(FRESH);
        let mut memo = self.memo();
        let to = memo.wanted.clone()?;
        let moved = |base: &StateId| memo.state.as_ref().is_some_and(|state| state != base);
        let (due, keep) = match &memo.prepared {
            Some(preparing) if preparing.under_way => (false, true),
            None => (true, false),
            Some(Preparing { at, result, .. }) => match result {
                Prepared::Ready(made) if made.to.fingerprint != to.fingerprint || moved(&made.base) => {
                    (true, false)
                }
                Prepared::Ready(_) => (now.duration_since(*at) >= FRESH, true),
                Prepared::Failed { to: failed, .. } if failed.fingerprint == to.fingerprint => {
                    (now.duration_since(*at) >= again, true)
                }
                Prepared::Nothing | Prepared::BeingMade { .. } | Prepared::Failed { .. } => (true, false),
            },
        };
        if !due {
            return None;
        }
        let shown = memo.prepared.take().map(|preparing| preparing.result).filter(|_| keep);
        let result = shown.unwrap_or_else(|| Prepared::BeingMade { to: to.clone() });
        memo.prepared = Some(Preparing { at: now, result, under_way: true });
        Some(to)
    }

    /// Makes the plan; it may take minutes.
    pub(super) async fn prepare(&self, to: Version) {
        let _one = self.work.lock().await;
        let before = self.prepared();
        let result = match self.make(&to).await {
            Ok((made, bench)) => self.newer(before, made, &bench),
            Err(why) => Prepared::Failed { to, why, backup: self.backup() },
        };
        match &result {
            Prepared::Ready(made) => {
                tracing::info!(target = %self.id, to = made.to.label, sha256 = made.sha256, "a plan is made")
            }
            Prepared::Failed { why, .. } => tracing::warn!(target = %self.id, why, "no plan could be made"),
            Prepared::Nothing | Prepared::BeingMade { .. } => {}
        }
        self.memo().prepared = Some(Preparing { at: self.clock.now(), result, under_way: false });
    }

    /// A plan that says the same as the one before is that one: people may have been asked about it.
    fn newer(&self, before: Prepared, made: MadePlan, bench: &Workbench<'_>) -> Prepared {
        match before {
            Prepared::Ready(before)
                if MadePlan { sha256: made.sha256.clone(), ..(*before).clone() } == made =>
            {
                bench.remove();
                Prepared::Ready(before)
            }
            Prepared::Nothing | Prepared::BeingMade { .. } | Prepared::Failed { .. } | Prepared::Ready(_) => {
                Prepared::Ready(Box::new(made))
            }
        }
    }

    async fn make(&self, to: &Version) -> Result<(MadePlan, Workbench<'_>), String> {
        Workbench::sweep(self);
        let name = format!("{}-{}", to.label, self.clock.now().as_millisecond());
        let bench = Workbench::open(self, to, &name).await?;
        let planned = async {
            let tool = bench.tool();
            let state = || async { tool.state().await.map_err(|error| error.to_string()) };
            let base = state().await?.ok_or(NO_STATE)?;
            let planned = bench.plan().await?;
            if state().await?.as_ref() != Some(&base) {
                return Err("the state was changed while the plan was made".to_string());
            }
            let tool = tool.version().await.map_err(|error| error.to_string())?;
            self.memo().state = Some(base.clone());
            Ok(MadePlan { to: to.clone(), sha256: planned.sha256, base, tool, reading: planned.reading })
        };
        match planned.await {
            Ok(made) => Ok((made, bench)),
            Err(why) => {
                bench.remove();
                Err(why)
            }
        }
    }

    /// Where the state can be read from; any commit will do that has the same backend.
    pub(super) async fn lookout(&self, version: &Version) -> Result<Workbench<'_>, String> {
        if self.memo().lookout.as_ref() == Some(version) {
            return Ok(Workbench::lookout(self));
        }
        let bench = Workbench::open(self, version, LOOKOUT).await?;
        self.memo().lookout = Some(version.clone());
        Ok(bench)
    }

    /// How a state of this machine differs from its backup.
    fn backup(&self) -> Vec<String> {
        let Some(file) = &self.config.state_file else { return Vec::new() };
        let mut name = file.clone().into_os_string();
        name.push(".backup");
        let read = std::fs::read(&name).ok().zip(std::fs::read(file).ok());
        let mut lines = read.map(|(backup, present)| state::compare(&backup, &present)).unwrap_or_default();
        if !lines.is_empty() {
            let program = self.config.tool.display();
            lines.push(format!("look at it with `{program} show {}`", Path::new(&name).display()));
        }
        lines
    }
}

/// A plan against an empty state would create everything once more.
const NO_STATE: &str = "there is no state: is the backend configured? A state in a file of this machine needs \
     `backend \"local\" {}` in the repository and `backend: {path: FILE}` here";
