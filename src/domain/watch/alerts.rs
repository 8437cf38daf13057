//! Alerts from outside: evidence only together with a signal of our own, unless the service says otherwise.
use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::evidence::{Cause, Evidence, Strength, clock_time};
use crate::domain::signal::AlertStatus;

/// More alerts than this at once say nothing more.
const ALERTS_MAX: usize = 200;

#[derive(Clone, Debug, Default)]
pub(super) struct Alerts {
    firing: BTreeMap<String, (Timestamp, String)>,
}

impl Alerts {
    pub(super) fn take(
        &mut self,
        at: Timestamp,
        alert: &str,
        status: AlertStatus,
        labels: &BTreeMap<String, String>,
    ) {
        let key = format!("{alert}{labels:?}");
        match status {
            AlertStatus::Resolved => {
                self.firing.remove(&key);
            }
            AlertStatus::Firing if self.firing.len() < ALERTS_MAX => {
                self.firing.entry(key).or_insert((at, alert.to_string()));
            }
            AlertStatus::Firing => {}
        }
    }

    pub(super) fn assess(&self, others: &[Evidence], corroborate: bool) -> Option<Evidence> {
        let (since, name) = self.firing.values().min()?;
        let fired = format!("alert {name} is firing since {}", clock_time(*since));
        let own = others.iter().filter(|e| e.strength >= Strength::Page).max_by_key(|e| e.strength);
        let (strength, cause, sentence) = match own {
            // An alert adds to how sure we are, never to who is to blame: trouble that is not shown to be the release's stays so.
            Some(own) if own.cause == Cause::Release || (own.cause == Cause::Unknown && !corroborate) => {
                (Strength::Rollback, Cause::Release, format!("{fired}, and {}", own.sentence))
            }
            Some(own) => (Strength::Urgent, own.cause, format!("{fired}, and {}", own.sentence)),
            None if corroborate => {
                (Strength::Page, Cause::Unknown, format!("{fired}, but no signal of our own confirms it"))
            }
            None => (Strength::Rollback, Cause::Release, fired),
        };
        Some(Evidence::fact("alert", strength, cause, Some(*since), sentence))
    }
}
