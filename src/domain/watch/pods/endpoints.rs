//! Ready pods that the Service in front sends nothing to: a release that its Service does not find serves nobody.
use jiff::Timestamp;

use super::{Arm, Pod, Pods, Rollout};
use crate::domain::evidence::{Cause, Evidence, Strength, clock_time, count_of};

/// The cluster takes a moment to tell a Service about a pod that became ready.
const UNREACHED_SECS: f64 = 30.0;

impl Pod {
    /// It is ready, and gets no requests.
    pub(super) fn is_unreached(&self) -> bool {
        self.reading.ready && self.reading.endpoint == Some(false)
    }
    fn is_endpoint(&self) -> bool {
        self.reading.endpoint == Some(true)
    }
}

impl Pods {
    /// New pods that get requests, of those of which it is known.
    pub(in crate::domain::watch) fn endpoints(&self) -> Option<usize> {
        let known = self.of(Arm::New).filter_map(|pod| pod.reading.endpoint);
        known.fold(None, |sum, ready| Some(sum.unwrap_or(0) + usize::from(ready)))
    }

    pub(super) fn unreached(&self, rollout: &Rollout) -> Option<Evidence> {
        if self.of(Arm::New).any(Pod::is_endpoint) {
            return None;
        }
        let lost = |pod: &&Pod| Pod::for_secs(pod.unreached_since, rollout.now) >= UNREACHED_SECS;
        let since = self.of(Arm::New).filter(lost).filter_map(|pod| pod.unreached_since).min()?;
        let ready = self.of(Arm::New).filter(|pod| pod.reading.ready).count();
        let old = self.of(Arm::Old).filter(|pod| pod.is_endpoint()).count();
        // Old pods that lost their endpoints too: somebody changed the Service.
        let (strength, cause) = match (old, self.of(Arm::Old).any(Pod::is_unreached)) {
            (1.., _) => (Strength::Rollback, Cause::Release),
            (0, true) => (Strength::Urgent, Cause::Shared),
            (0, false) if self.old_was_endpoint => (Strength::Rollback, Cause::Release),
            // It was never seen to send anybody anything: perhaps it is not the Service in front.
            (0, false) => (Strength::Urgent, Cause::Unknown),
        };
        let evidence = Evidence::fact("endpoints", strength, cause, Some(since), sentence(ready, old, since));
        Some(self.blame(rollout, evidence))
    }
}

fn sentence(ready: usize, old: usize, since: Timestamp) -> String {
    let beside = if old == 0 {
        "it has no ready endpoint at all".to_string()
    } else {
        format!("it has {} of the old version", count_of(old, "endpoint"))
    };
    format!(
        "the Service has 0 of {ready} ready endpoints of the new version since {}, though they are ready; {beside}: compare the pods' labels with its selector",
        clock_time(since)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::runbook::{Judging, LateOnset};
    use crate::domain::signal::PodReading;
    use std::time::Duration;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// From second 10 on new pods are ready, and in the Service or not; old ones were in it before, and are or are not now.
    fn found(new: Option<bool>, old: &[Option<bool>], seconds: i64) -> Option<Evidence> {
        let mut pods = Pods::new(Judging::standard(Duration::from_secs(1800)), true, 360);
        let reading =
            |endpoint| PodReading { ready: true, endpoint, created_at: Some(at(0)), ..PodReading::default() };
        for (second, endpoint) in (1..).zip(old) {
            pods.take(at(second), Arm::Old, "old", &reading(*endpoint));
        }
        for name in ["a", "b", "c"] {
            pods.take(at(10), Arm::New, name, &reading(new));
        }
        let mut rollout = Rollout::seen(at(0), None, at(10 + seconds));
        rollout.late_onset = LateOnset::Page;
        pods.unreached(&rollout)
    }

    #[test]
    fn ready_pods_that_the_service_does_not_find_are_the_releases() {
        let found = found(Some(false), &[Some(true)], 30).unwrap();
        assert_eq!((found.strength, found.cause), (Strength::Rollback, Cause::Release));
        assert_eq!(
            found.sentence,
            "the Service has 0 of 3 ready endpoints of the new version since 00:00:10, though they are ready; it has 1 endpoint of the old version: compare the pods' labels with its selector"
        );
    }

    #[test]
    fn what_is_not_known_and_what_is_young_is_no_evidence() {
        assert_eq!(found(None, &[Some(true)], 60), None);
        assert_eq!(found(Some(true), &[Some(true)], 60), None);
        assert_eq!(found(Some(false), &[Some(true)], 29), None);
    }

    #[test]
    fn a_service_that_lost_everybody_is_not_the_releases_doing() {
        let shared = found(Some(false), &[Some(true), Some(false)], 60).unwrap();
        assert_eq!((shared.strength, shared.cause), (Strength::Urgent, Cause::Shared));
        assert!(shared.sentence.contains("it has no ready endpoint at all"), "{}", shared.sentence);
        let never = found(Some(false), &[], 60).unwrap();
        assert_eq!((never.strength, never.cause), (Strength::Urgent, Cause::Unknown));
    }
}
