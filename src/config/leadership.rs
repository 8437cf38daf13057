//! Several replicas: which record they compete for, and how soon one follows another.
use std::time::Duration;

use super::raw::Fields;
use super::value::KubernetesName;
use crate::domain::lease::LeaseTimes;

/// The Lease that says who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeadershipConfig {
    /// Our own namespace if none is named.
    pub namespace: Option<String>,
    pub name: String,
    pub times: LeaseTimes,
}

pub(super) fn leadership(root: &Fields<'_>) -> Option<LeadershipConfig> {
    let lease = root.map("leadership")?.map("lease")?;
    let name = |key: &str| lease.read::<KubernetesName>(key).map(|name| name.0);
    Some(LeadershipConfig {
        namespace: name("namespace"),
        name: name("name").unwrap_or_else(|| "rollguard".into()),
        times: times(&lease),
    })
}

/// Each shorter than the one before, with room for a second attempt: or a single lost message would end a leadership.
fn times(lease: &Fields<'_>) -> LeaseTimes {
    let usual = LeaseTimes::default();
    let times = LeaseTimes {
        duration: lease.read("duration").unwrap_or(usual.duration),
        renew_deadline: lease.read("renew_deadline").unwrap_or(usual.renew_deadline),
        retry: lease.read("retry").unwrap_or(usual.retry),
    };
    let told = |time: Duration| humantime::format_duration(time).to_string();
    if times.renew_deadline >= times.duration {
        let duration = told(times.duration);
        let why = format!(
            "renew_deadline: not shorter than the duration ({duration}): another replica would lead before this one stops"
        );
        lease.notes.error(lease.at("renew_deadline"), why);
    }
    if times.retry * 2 > times.renew_deadline {
        let deadline = told(times.renew_deadline);
        let why = format!(
            "retry: longer than half of renew_deadline ({deadline}): one lost message would end a leadership"
        );
        lease.notes.error(lease.at("retry"), why);
    }
    times
}
