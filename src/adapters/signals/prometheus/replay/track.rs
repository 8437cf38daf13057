//! One target on its way through the past: its releases and its pods, and what was measured of them.
use std::collections::BTreeMap;

use jiff::Timestamp;

use super::PastError;
use super::measured::Steps;
use super::pods::{self, Pods};
use super::rollouts::Rollout;
use crate::adapters::signals::Measured;
use crate::adapters::signals::prometheus::answer::Unanswered;
use crate::adapters::signals::prometheus::past::Grid;
use crate::adapters::signals::prometheus::{Place, PrometheusSource};
use crate::domain::names::{RuleName, TargetId};
use crate::domain::signal::{Reading, Sample};

/// One target on its way through the past.
pub(super) struct Track {
    pub(super) target: TargetId,
    pub(super) place: Place,
    pub(super) releases: Vec<Release>,
    /// What people call a version, by its hash.
    pub(super) names: BTreeMap<String, String>,
    pub(super) pods: Pods,
}

pub(super) struct Release {
    pub(super) label: String,
    pub(super) previous: Option<String>,
    pub(super) at: i64,
    pub(super) ended: Option<i64>,
}

pub(super) fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}

pub(super) fn unanswered(target: &TargetId) -> impl Fn(Unanswered) -> PastError {
    move |why| PastError::Unanswered { target: target.clone(), why: why.to_string() }
}

impl From<Rollout> for Release {
    fn from(Rollout { hash, previous, at, ended }: Rollout) -> Self {
        Self { label: hash, previous, at, ended }
    }
}

impl Track {
    pub(super) fn label(&self, hash: &str) -> String {
        self.names.get(hash).map_or(hash, String::as_str).to_string()
    }

    fn sample(&self, at: i64, release: Option<String>, pod: Option<String>, reading: Reading) -> Sample {
        let TargetId { service, target } = self.target.clone();
        Sample { at: second(at), service, target: Some(target), release, pod, reading }
    }

    /// A sample of one pod, which carries the label of the pod's version.
    fn of_pod(&self, at: i64, pod: Option<String>, reading: Reading) -> Sample {
        let release = pod.as_deref().and_then(|pod| self.pods.hash(pod)).map(|hash| self.label(hash));
        self.sample(at, release, pod, reading)
    }

    pub(super) async fn read(
        &mut self,
        source: &PrometheusSource,
        grid: Grid,
    ) -> Result<Vec<Sample>, PastError> {
        let mut samples = self.released(grid);
        let states = match source.range(pods::query(&self.place), grid).await {
            Ok(body) => self.pods.take(&body),
            Err(why) => Err(why),
        };
        let states = match states {
            Err(Unanswered::Partial(_)) => vec![],
            states => states.map_err(unanswered(&self.target))?,
        };
        let told = states.into_iter().map(|s| self.of_pod(s.at, Some(s.pod), Reading::Pod(s.reading)));
        samples.extend(told);
        for (group, rules) in source.groups_of(&self.target) {
            let measured = match source.steps(&group.query, &self.place, grid).await {
                Err(why @ Unanswered::Partial(_)) => Err(why.to_string()),
                measured => Ok(measured.map_err(unanswered(&self.target))?),
            };
            for rule in rules {
                samples.extend(self.measured(grid, rule, measured.as_ref()));
            }
        }
        self.pods.forget_gone();
        Ok(samples)
    }

    fn released(&self, grid: Grid) -> Vec<Sample> {
        let within = |at: i64| (grid.from..grid.to + grid.step).contains(&at);
        let mut samples = Vec::new();
        for Release { label, previous, at, ended } in &self.releases {
            let line = |at: i64, previous: Option<String>, rollout_ended: Option<Timestamp>| {
                self.sample(at, Some(label.clone()), None, Reading::Release { previous, rollout_ended })
            };
            samples.extend(within(*at).then(|| line(*at, previous.clone(), None)));
            let ended = ended.filter(|ended| within(*ended));
            samples.extend(ended.map(|ended| line(ended, None, Some(second(ended)))));
        }
        samples
    }

    /// At each step what each pod measured, or that there was nothing to read.
    fn measured(&self, grid: Grid, rule: &RuleName, steps: Result<&Steps, &String>) -> Vec<Sample> {
        let mut samples = Vec::new();
        for at in (grid.from..=grid.to).step_by(grid.step.unsigned_abs() as usize) {
            let reason = match steps.map(|steps| steps.get(&at)) {
                Ok(Some(pods)) => {
                    let reading = |(pod, measured): (&Option<String>, &Measured)| {
                        self.of_pod(at, pod.clone(), measured.clone().reading(rule))
                    };
                    samples.extend(pods.iter().map(reading));
                    continue;
                }
                Ok(None) => "no series".to_string(),
                Err(why) => why.clone(),
            };
            let reading = Reading::NoData { rule: rule.clone(), reason };
            samples.push(self.sample(at, None, None, reading));
        }
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::super::{STEP_SECS, rank};
    use super::*;
    use crate::domain::names::ServiceName;

    fn track(releases: Vec<Release>) -> Track {
        let place = Place { namespace: "shop".into(), workload: "web".into() };
        let target = TargetId {
            service: ServiceName::parse("shop").unwrap(),
            target: crate::domain::names::TargetName::parse("web").unwrap(),
        };
        let names = [("aaa".to_string(), "v1".to_string())].into();
        Track { target, pods: Pods::new(&place), place, releases, names }
    }

    fn lines(mut samples: Vec<Sample>) -> Vec<String> {
        samples.sort_by_key(|sample| (sample.at, rank(&sample.reading)));
        let who = |sample: &Sample| sample.pod.clone().or(sample.release.clone()).unwrap_or_default();
        let what = |sample: &Sample| match &sample.reading {
            Reading::Release { rollout_ended: Some(_), .. } => "ended".to_string(),
            Reading::Release { previous, .. } => {
                format!("after {}", previous.as_deref().unwrap_or("nothing"))
            }
            Reading::Value { value, .. } => {
                format!("{value} of {}", sample.release.as_deref().unwrap_or("-"))
            }
            Reading::NoData { reason, .. } => reason.clone(),
            other => panic!("{other:?}"),
        };
        samples.iter().map(|s| format!("{} {} {}", s.at.as_second(), who(s), what(s))).collect()
    }

    const GRID: Grid = Grid { from: 1000, to: 1030, step: STEP_SECS };

    #[test]
    fn every_step_has_its_readings_or_says_that_there_are_none() {
        let release =
            Release { label: "v2".into(), previous: Some("v1".into()), at: 1015, ended: Some(1030) };
        let track = track(vec![release]);
        let rule = RuleName::parse("memory").unwrap();
        let value = |pod: &str, value: f64| (Some(pod.to_string()), Measured::Value(value));
        let steps: Steps = [
            (1015, [value("web-aaa-1", 1.0), value("web-bbb-1", 2.0)].into()),
            (1030, [value("odd", 3.0)].into()),
        ]
        .into();
        let mut samples = track.measured(GRID, &rule, Ok(&steps));
        samples.extend(track.released(GRID));
        let expected = [
            "1000  no series",
            "1015 v2 after v1",
            "1015 web-aaa-1 1 of v1",
            "1015 web-bbb-1 2 of bbb",
            "1030 v2 ended",
            "1030 odd 3 of -",
        ];
        assert_eq!(lines(samples), expected);
    }

    #[test]
    fn a_release_is_in_one_piece_only_and_a_partial_answer_is_no_data() {
        let release = |at| Release { label: "v2".into(), previous: None, at, ended: None };
        let track = track(vec![release(999), release(1000), release(1044), release(1045)]);
        assert_eq!(lines(track.released(GRID)), ["1000 v2 after nothing", "1044 v2 after nothing"]);
        let rule = RuleName::parse("memory").unwrap();
        let partial = track.measured(GRID, &rule, Err(&"a store is down".to_string()));
        assert_eq!(
            lines(partial),
            ["1000  a store is down", "1015  a store is down", "1030  a store is down"]
        );
    }
}
