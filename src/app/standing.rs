//! From the configuration to a candidate for the lease: who we are there, and which record it is about.
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::replica::Standing;
use crate::adapters::kubernetes::Kubernetes;
use crate::config::LeadershipConfig;
use crate::engine::leadership::Candidate;
use crate::ports::Clock;

/// The candidate, and what the replica keeps of it.
pub(super) fn stand(
    config: &LeadershipConfig,
    cluster: &Kubernetes,
    clock: Arc<dyn Clock>,
) -> (Candidate, Standing) {
    let chance = RandomState::new().build_hasher().finish();
    let me = identity(std::env::var("HOSTNAME").ok(), chance);
    let lease = Arc::new(cluster.lease(config.namespace.as_deref(), &config.name));
    let (fit, is_fit) = watch::channel(true);
    // The lower bits: the upper ones name us.
    let jitter = (chance & 0xffff) as f64 / f64::from(0xffff);
    let candidate = Candidate::new(lease, me.clone(), config.times, jitter, clock, is_fit);
    let leave = CancellationToken::new();
    let standing = Standing { me, role: candidate.role(), fit, leave, away_max: config.times.duration };
    (candidate, standing)
}

/// The pod's name, and what no other life of it has: a restarted container is another candidate.
fn identity(host: Option<String>, chance: u64) -> String {
    let host = host.filter(|host| !host.is_empty()).unwrap_or_else(|| "rollguard".into());
    format!("{host}_{:08x}", chance >> 32)
}
