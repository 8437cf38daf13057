//! Looks at every target now and then, at once when it has changed: could it be rolled back if that were needed?
use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::domain::names::TargetId;
use crate::domain::readiness::{Code, Question, Readiness, Unsurveyed, needed, readiness};
use crate::domain::surroundings::Surroundings;
use crate::domain::survey::Survey;
use crate::engine::snapshot::Health;
use crate::ports::SurveyError;
use crate::telemetry::{Metric, label};

use super::noticing::{LOOK_UP_MAX, late};
use super::{Found, Watcher};

/// What the last look at a target found.
#[derive(Default)]
pub(super) struct Looked {
    pub(super) readiness: Option<Readiness>,
    /// Codes that metrics know: they go back to 0 when nothing is in the way any more.
    measured: BTreeSet<Code>,
}

/// Clocks of machines that are kept in time are never so far apart.
const CLOCKS_APART_MAX: SignedDuration = SignedDuration::from_secs(5);
/// A target that its feed does not show is looked at all the same, after so long.
const UNSEEN_AFTER: SignedDuration = SignedDuration::from_secs(15);

impl Watcher {
    /// At the beginning of a life.
    pub(super) fn begin_rounds(&mut self) {
        let at = self.now().saturating_add(UNSEEN_AFTER).unwrap_or(Timestamp::MAX);
        self.targets.keys().for_each(|target| self.rounds.hasten(target, at));
    }

    /// Looks at those whose turn it is, in the background.
    pub(super) fn look_around(&mut self) {
        for target in self.rounds.begin(self.now()) {
            let Some(guarded) = self.targets.get(&target) else {
                self.rounds.forget(&target);
                continue;
            };
            let memory = guarded.memory.clone();
            let (port, found) = (self.parts.tools.target.clone(), self.found.clone());
            tokio::spawn(async move {
                let survey = tokio::time::timeout(LOOK_UP_MAX, port.survey(&target)).await;
                let survey = survey.unwrap_or_else(|_| Err(late(&target)));
                let needed = survey.as_ref().map(|survey| needed(&memory, survey)).unwrap_or_default();
                let around = port.surroundings(&target, survey.as_ref().ok(), &needed);
                let around = tokio::time::timeout(LOOK_UP_MAX, around).await.unwrap_or_else(|_| unanswered());
                drop(found.send(Found::Looked { target, survey, around }).await);
            });
        }
    }

    pub(super) fn on_looked(
        &mut self,
        target: &TargetId,
        survey: &Result<Survey, SurveyError>,
        around: &Surroundings,
    ) {
        let now = self.now();
        self.rounds.finished(target, now);
        let open_run = self.runs.iter().find(|(_, run)| run.service == target.service).map(|(id, _)| id);
        let Some(guarded) = self.targets.get(target) else { return };
        let survey = survey.as_ref().map_err(unsurveyed);
        let answer = readiness(&Question {
            target,
            memory: &guarded.memory,
            survey: survey.as_ref().copied(),
            around,
            rails: &guarded.settings.rails,
            open_run: open_run.map(String::as_str),
            killed: self.killed.as_ref(),
            now,
        });
        self.take_clock(around.clock_ahead);
        self.take_readiness(target, answer);
        self.keep_what_is_missing(target, around);
        self.show(target);
    }

    /// Ages of pods and rollouts are differences between the two clocks.
    fn take_clock(&self, ahead: Option<SignedDuration>) {
        let Some(ahead) = ahead else { return };
        let (apart, now) = (ahead.abs(), self.now());
        let side = if ahead.is_negative() { "behind" } else { "ahead of" };
        let detail = format!("{} s {side} the API server's clock", apart.as_secs());
        self.parts.tools.picture.change(|s| {
            s.clock = Some(Health::turn(s.clock.as_ref(), apart <= CLOCKS_APART_MAX, detail, now));
        });
    }

    fn take_readiness(&mut self, target: &TargetId, answer: Readiness) {
        let Some(guarded) = self.targets.get_mut(target) else { return };
        let looked = &mut guarded.looked;
        let codes: BTreeSet<Code> = answer.obstacles.iter().map(|obstacle| obstacle.code).collect();
        let labels = || vec![label("service", &target.service), label("target", &target.target)];
        Metric::RollbackReady.set(f64::from(u8::from(answer.ready())), labels());
        looked.measured.extend(&codes);
        for code in &looked.measured {
            let labels = [labels(), vec![label("code", code.as_str())]].concat();
            Metric::RollbackObstacle.set(f64::from(u8::from(codes.contains(code))), labels);
        }
        let before = looked.readiness.as_ref();
        let known = |code| before.is_some_and(|b| b.obstacles.iter().any(|o| o.code == code));
        for obstacle in answer.obstacles.iter().filter(|obstacle| !known(obstacle.code)) {
            let (code, what, advice) = (obstacle.code.as_str(), &obstacle.what, &obstacle.advice);
            tracing::warn!(%target, code, what, advice, "this target could not be rolled back now");
        }
        if answer.ready() && before.is_some_and(|before| !before.ready()) {
            tracing::info!(%target, "this target could be rolled back again");
        }
        looked.readiness = Some(answer);
    }
}

fn unsurveyed(error: &SurveyError) -> Unsurveyed {
    match error {
        SurveyError::Missing { what } => Unsurveyed::Missing { what: what.clone() },
        SurveyError::Unknown { .. } | SurveyError::Unreadable { .. } => {
            Unsurveyed::Unreadable { why: error.to_string() }
        }
    }
}

fn unanswered() -> Surroundings {
    let why = format!("rights, images and quotas: no answer within {} s", LOOK_UP_MAX.as_secs());
    Surroundings { unchecked: vec![why], ..Surroundings::default() }
}
