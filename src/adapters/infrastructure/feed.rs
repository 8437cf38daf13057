//! Shows which commit is applied, and changes of the state that nobody announced.
use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::git::commit_of;
use super::notes::{Deployed, unannounced};
use super::site::Site;
use crate::domain::plan::infrastructure::state::{StateId, identify};
use crate::domain::workload::{RolloutState, WorkloadView};
use crate::ports::{FeedEvent, ReleaseFeed};

/// A pipeline has so long to say which commit it was that changed the state.
const UNANNOUNCED_AFTER: SignedDuration = SignedDuration::from_mins(2);

pub(super) struct InfrastructureFeed {
    events: mpsc::Receiver<FeedEvent>,
    _lookouts: JoinSet<()>,
}

impl InfrastructureFeed {
    pub(super) fn new(sites: impl IntoIterator<Item = Arc<Site>>) -> Self {
        let (sender, events) = mpsc::channel(64);
        let mut lookouts = JoinSet::new();
        for site in sites {
            lookouts.spawn(look_out(site, sender.clone()));
        }
        Self { events, _lookouts: lookouts }
    }
}

#[async_trait]
impl ReleaseFeed for InfrastructureFeed {
    async fn next(&mut self) -> Option<FeedEvent> {
        self.events.recv().await
    }
}

async fn look_out(site: Arc<Site>, events: mpsc::Sender<FeedEvent>) {
    let mut shown = None;
    loop {
        look(&site).await;
        let deployed = site.notes.deployed().unwrap_or_else(|why| {
            tracing::error!(target = %site.id, why, "what is applied is not known");
            None
        });
        if let Some(deployed) = deployed.filter(|deployed| shown.as_ref() != Some(&deployed.version)) {
            shown = Some(deployed.version.clone());
            if events.send(FeedEvent::Changed(Box::new(view(&site, &deployed)))).await.is_err() {
                return;
            }
        }
        // An announcement does not wait for the next look.
        tokio::select! {
            () = site.changed.notified() => {}
            () = tokio::time::sleep(site.config.interval) => {}
        }
    }
}

fn view(site: &Site, deployed: &Deployed) -> WorkloadView {
    WorkloadView {
        target: site.id.clone(),
        version: deployed.version.clone(),
        current_since: deployed.since,
        rollout: RolloutState::Ended { at: deployed.since },
        history: deployed.history(),
        pods: vec![],
        progress_deadline_secs: None,
    }
}

/// Compares the state with what it was.
async fn look(site: &Site) {
    let Ok(Some(deployed)) = site.notes.deployed() else { return };
    let state = {
        // Whoever applies a plan changes the state.
        let Ok(_one) = site.work.try_lock() else { return };
        read(site, &deployed).await
    };
    match state {
        Ok(Some(state)) => {
            if let Err(why) = take(site, state) {
                tracing::error!(target = %site.id, why, "a change of the state could not be noted");
            }
        }
        Ok(None) => {}
        Err(why) => tracing::warn!(target = %site.id, why, "the state could not be read"),
    }
}

async fn read(site: &Site, deployed: &Deployed) -> Result<Option<StateId>, String> {
    if let Some(file) = &site.config.state_file {
        let document = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        return Ok(identify(&document));
    }
    // Any commit will do that has the same backend.
    let commits =
        std::iter::once(&deployed.version).chain(deployed.earlier.iter().rev().map(|(version, _)| version));
    let Some(version) = commits.into_iter().find(|version| commit_of(version).is_some()) else {
        return Ok(None);
    };
    let bench = site.lookout(version).await?;
    bench.tool().state().await.map_err(|error| error.to_string())
}

fn take(site: &Site, state: StateId) -> Result<(), String> {
    let _one = site.noting();
    let Some(deployed) = site.notes.deployed()? else { return Ok(()) };
    let now = site.clock.now();
    site.memo().state = Some(state.clone());
    if deployed.state.as_ref() == Some(&state) {
        site.memo().moved = None;
        return Ok(());
    }
    if deployed.is_settling(now) || site.notes.is_half_way() {
        return site.notes.set_deployed(&Deployed { state: Some(state), ..deployed });
    }
    let since = first_seen(site, &state, now);
    if now.duration_since(since) < UNANNOUNCED_AFTER {
        return Ok(());
    }
    tracing::warn!(target = %site.id, serial = state.serial, "the state was changed by somebody who did not say so");
    let deployed = deployed.then(unannounced(&state), since);
    site.set_deployed(&Deployed { state: Some(state), ..deployed })
}

fn first_seen(site: &Site, state: &StateId, now: Timestamp) -> Timestamp {
    let mut memo = site.memo();
    match &memo.moved {
        Some((moved, since)) if moved == state => *since,
        // Further changes belong to the same release.
        Some((_, since)) => {
            let since = *since;
            memo.moved = Some((state.clone(), since));
            since
        }
        None => {
            memo.moved = Some((state.clone(), now));
            now
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::adapters::infrastructure::git::version;
    use crate::adapters::infrastructure::notes::Applied;
    use crate::config::{InfrastructureConfig, Secrets};
    use crate::domain::names::{ServiceName, TargetId, TargetName};
    use crate::domain::plan::infrastructure::ruling::PlanTerms;
    use crate::ports::Clock;

    struct Minutes(Mutex<i64>);

    #[async_trait]
    impl Clock for Minutes {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(*self.0.lock().unwrap() * 60).unwrap()
        }
        async fn sleep_until(&self, _: Timestamp) {}
    }

    fn site(dir: &std::path::Path, clock: Arc<Minutes>) -> Site {
        let config = InfrastructureConfig {
            repository: PathBuf::new(),
            path: PathBuf::from("."),
            tool: PathBuf::from("tofu"),
            workspace: None,
            var_files: vec![],
            variables: Secrets::default(),
            backend: Secrets::default(),
            environment: vec![],
            state_file: None,
            terms: PlanTerms { stateful: vec![], never: vec![], changes_max: 1, deletes_max: 1 },
            interval: Duration::from_secs(60),
            lock_timeout: Duration::ZERO,
            plan_timeout: Duration::ZERO,
            apply_timeout: Duration::ZERO,
        };
        let (service, target) = (ServiceName::parse("shop").unwrap(), TargetName::parse("infra").unwrap());
        Site::new(TargetId { service, target }, config, dir, clock).unwrap()
    }

    /// What is shown as deployed after the state was seen with these serials, each at its minute.
    fn shown(seen: &[(i64, u64)], begun: bool) -> String {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(Minutes(Mutex::new(0)));
        let site = site(dir.path(), clock.clone());
        site.set_deployed(&Deployed::first(version("c1"), clock.now())).unwrap();
        if begun {
            site.notes.set_applied("ab", &Applied::Begun).unwrap();
        }
        for (minute, serial) in seen {
            *clock.0.lock().unwrap() = *minute;
            take(&site, StateId { lineage: "a".into(), serial: *serial }).unwrap();
        }
        site.deployed().unwrap().version.label
    }

    #[test]
    fn a_change_of_the_state_that_nobody_announces_is_a_release() {
        assert_eq!(shown(&[(0, 1), (9, 2), (30, 2)], false), "c1", "the pipeline was not done yet");
        assert_eq!(shown(&[(0, 1), (30, 2), (31, 2)], false), "c1", "the pipeline may still say what it was");
        assert_eq!(shown(&[(0, 1), (30, 2), (33, 2)], false), "serial 2");
        assert_eq!(shown(&[(0, 1), (30, 2), (31, 3), (32, 4)], false), "serial 4", "one release");
        assert_eq!(shown(&[(0, 1), (30, 2), (31, 1), (33, 1)], false), "c1", "it was taken back");
        assert_eq!(shown(&[(0, 1), (30, 2), (33, 2)], true), "c1", "it was a plan of ours");
    }
}
