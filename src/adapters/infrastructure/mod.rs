//! Infrastructure that is written down for Terraform or OpenTofu in a git repository.
mod feed;
mod git;
mod notes;
mod site;
mod surroundings;
mod target;
mod tool;
mod workbench;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::InfrastructureConfig;
use crate::domain::names::TargetId;
use crate::ports::{Clock, ReleaseFeed};
use site::Site;

/// What is stopped may tidy up for so long: release its lock, write its state.
const GRACE: Duration = Duration::from_secs(60);

/// All targets of this kind.
#[derive(Clone)]
pub struct Infrastructure {
    sites: Arc<BTreeMap<TargetId, Arc<Site>>>,
}

impl Infrastructure {
    /// Makes a private folder for each target below `dir`.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn new(
        targets: impl IntoIterator<Item = (TargetId, InfrastructureConfig)>,
        dir: &Path,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let site = |(id, config): (TargetId, InfrastructureConfig)| {
            let dir = dir.join(id.service.as_str()).join(id.target.as_str());
            Ok((id.clone(), Arc::new(Site::new(id, config, &dir, clock.clone())?)))
        };
        let sites = targets.into_iter().map(site).collect::<std::io::Result<_>>()?;
        Ok(Self { sites: Arc::new(sites) })
    }

    pub fn feed(&self) -> Box<dyn ReleaseFeed> {
        Box::new(feed::InfrastructureFeed::new(self.sites.values().cloned()))
    }

    fn site(&self, target: &TargetId) -> Option<Arc<Site>> {
        self.sites.get(target).cloned()
    }

    /// Makes a plan in the background, if one is wanted and there is none.
    fn prepare(site: &Arc<Site>) {
        let Some(to) = site.begin() else { return };
        let site = site.clone();
        tokio::spawn(async move { site.prepare(to).await });
    }
}
