//! How the HTTP checks of a target stood lately: a watch opens knowing whether they passed before the release.
use std::collections::BTreeMap;

use super::names::RuleName;
use super::signal::{Reading, Sample};

/// Per check the sample with which its present state began, the latest one, and the last of the state before.
#[derive(Debug, Default)]
pub struct LastChecks(BTreeMap<RuleName, State>);

#[derive(Debug)]
struct State {
    before: Option<Sample>,
    began: Sample,
    latest: Sample,
}

impl LastChecks {
    /// Takes every sample of the target, under watch or not: a watch may follow another at once.
    pub fn take(&mut self, sample: &Sample) {
        let Some((rule, ok)) = state_of(sample) else { return };
        let (sample, before) = (sample.clone(), self.0.remove(rule));
        let state = match before {
            Some(state) if state_of(&state.latest).is_some_and(|(_, was)| was == ok) => {
                State { latest: sample, ..state }
            }
            changed => {
                State { before: changed.map(|state| state.latest), began: sample.clone(), latest: sample }
            }
        };
        if let Some((rule, _)) = state_of(&state.latest) {
            self.0.insert(rule.clone(), state);
        }
    }

    /// What a new watch should know, oldest first for each check.
    pub fn samples(&self) -> Vec<Sample> {
        let of = |state: &State| {
            let began = (state.began.at < state.latest.at).then(|| state.began.clone());
            [state.before.clone(), began, Some(state.latest.clone())]
        };
        self.0.values().flat_map(of).flatten().collect()
    }
}

fn state_of(sample: &Sample) -> Option<(&RuleName, bool)> {
    match &sample.reading {
        Reading::Check { rule, ok, .. } => Some((rule, *ok)),
        Reading::Release { .. }
        | Reading::Counts { .. }
        | Reading::Histogram { .. }
        | Reading::Value { .. }
        | Reading::Pod(_)
        | Reading::Alert { .. }
        | Reading::Control { .. }
        | Reading::Remark { .. }
        | Reading::NoData { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    #[test]
    fn the_states_before_are_kept_and_nothing_else() {
        let check = |second: i64, ok| Sample {
            at: Timestamp::from_second(second).unwrap(),
            service: "shop".to_string().try_into().unwrap(),
            target: None,
            release: None,
            pod: None,
            reading: Reading::Check { rule: RuleName::parse("health").unwrap(), ok, detail: String::new() },
        };
        let kept = |readings: &[(i64, bool)]| {
            let mut last = LastChecks::default();
            readings.iter().for_each(|(second, ok)| last.take(&check(*second, *ok)));
            last.samples().iter().map(|s| s.at.as_second()).collect::<Vec<_>>()
        };
        assert!(kept(&[]).is_empty());
        assert_eq!(kept(&[(1, true)]), [1]);
        assert_eq!(kept(&[(1, true), (2, true), (3, true)]), [1, 3]);
        assert_eq!(kept(&[(1, true), (2, true), (3, false), (4, false), (5, false)]), [2, 3, 5]);
        assert_eq!(kept(&[(1, false), (2, true), (3, false)]), [2, 3]);
    }
}
