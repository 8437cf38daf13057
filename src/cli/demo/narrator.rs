//! Tells what happens, as a person would want to hear it: read from the daemon's API, nothing else.
use jiff::Timestamp;

use super::Outcome;
use super::scenario::Scenario;
use super::stage::Stage;
use crate::cli::{Failure, Output};
use crate::domain::evidence::{Cause, Strength};
use crate::domain::memory::EndedWatch;
use crate::domain::policy::Decision;
use crate::http::dto::{RunAnswer, WatchStatus};

pub(super) struct Narrator {
    began: Timestamp,
    now: Timestamp,
    noticed_at: Option<Timestamp>,
    decided_at: Option<Timestamp>,
    decision: Decision,
    cause: Option<Cause>,
    reason: String,
    watch: Option<String>,
    watch_over: bool,
    told_evidence: f64,
    told_strength: Strength,
    told_failed: bool,
    told_moments: u64,
    run: Option<RunAnswer>,
}

impl Narrator {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            began: now,
            now,
            noticed_at: None,
            decided_at: None,
            decision: Decision::Hold,
            cause: None,
            reason: String::new(),
            watch: None,
            watch_over: false,
            told_evidence: 1.0,
            told_strength: Strength::Quiet,
            told_failed: false,
            told_moments: 0,
            run: None,
        }
    }

    pub(super) fn say(&self, out: &Output, what: &str, text: &str) {
        let secs = self.now.duration_since(self.began).as_secs();
        out.text(&format!("{secs:>4} s  {what:<10} {text}"));
    }

    pub(super) fn is_over(&self) -> bool {
        match &self.run {
            Some(run) => !run.open,
            None => self.watch_over,
        }
    }

    pub(super) async fn look(&mut self, stage: &Stage, out: &Output) -> Result<(), Failure> {
        let answer = stage.client.services().await?;
        self.now = answer.now;
        let (watch, last) =
            answer.targets.into_iter().next().map_or((None, None), |t| (t.watch, t.last_watch));
        match watch {
            Some(watch) if self.watch.is_none() => self.on_noticed(&watch, out),
            Some(watch) if self.watch.as_ref() == Some(&watch.id) => self.on_watch(&watch, out),
            Some(_) => {}
            None => self.on_watch_over(last),
        }
        let runs = stage.client.runs().await?;
        if let Some(run) = runs.runs.first() {
            let run = stage.client.run(&run.run).await?;
            self.on_run(run, out);
        }
        self.tell_messages(stage, out);
        if self.watch_over && self.run.is_none() {
            self.say(out, "over", &format!("the watch is over: {}", self.reason));
        }
        Ok(())
    }

    fn on_noticed(&mut self, watch: &WatchStatus, out: &Output) {
        self.watch = Some(watch.id.clone());
        self.noticed_at = Some(self.now);
        let from = watch.release.from.as_ref().map_or("nothing", |v| v.label.as_str());
        let left = watch.ends_at.duration_since(self.now).as_secs();
        let text = format!(
            "{} replaces {from} on {}: watched for {left} s",
            watch.release.to.label, watch.release.target
        );
        self.say(out, "noticed", &text);
    }

    fn on_watch(&mut self, watch: &WatchStatus, out: &Output) {
        if let Some(verdict) = &watch.verdict {
            self.reason.clone_from(&verdict.reason);
        }
        if watch.decision > self.decision {
            self.decision = watch.decision;
            self.decided_at = self.decided_at.or(Some(self.now));
            self.cause = watch.verdict.as_ref().map(|v| v.cause);
            if self.decision == Decision::Page {
                self.say(out, "decided", &format!("page a person: {}", self.reason));
            }
        }
        if self.decision == Decision::Hold {
            self.on_evidence(watch, out);
        }
    }

    fn on_watch_over(&mut self, last: Option<EndedWatch>) {
        self.watch_over = self.watch.is_some();
        // What was decided keeps the reason for which it was decided.
        if let Some(last) =
            last.filter(|last| self.decision == Decision::Hold && self.watch.as_ref() == Some(&last.watch))
        {
            self.reason = last.reason;
        }
    }

    /// How the evidence mounts. What is enough for a rollback is told with the decision.
    fn on_evidence(&mut self, watch: &WatchStatus, out: &Output) {
        let failed: f64 = watch.figures.recent.values().map(|counts| counts.bad).sum();
        let Some(evidence) = watch.evidence.iter().max_by_key(|e| e.strength) else { return };
        if failed > 0.0 && !self.told_failed && evidence.strength == Strength::Quiet {
            self.told_failed = true;
            return self.say(out, "watching", &format!("nothing against the release yet; {}", self.reason));
        }
        let e_value = evidence.numbers.as_ref().map_or(0.0, |n| n.e_value);
        let mounting = e_value >= self.told_evidence * 10.0;
        let stronger = evidence.strength > self.told_strength;
        let decisive = evidence.strength == Strength::Rollback;
        if !(mounting || stronger) || decisive || evidence.strength < Strength::Suspect {
            return;
        }
        self.told_evidence = e_value.max(self.told_evidence);
        self.told_strength = self.told_strength.max(evidence.strength);
        let needed = evidence.numbers.as_ref().map_or(String::new(), |n| {
            format!(" [evidence {:.0} of {:.0} needed]", n.e_value.min(n.e_needed), n.e_needed)
        });
        self.say(out, "evidence", &format!("{}{needed}", evidence.sentence));
    }

    fn on_run(&mut self, run: RunAnswer, out: &Output) {
        if self.run.is_none() {
            self.decision = run.decision;
            self.cause = Some(run.cause);
            self.reason.clone_from(&run.reason);
            self.decided_at = run.timeline.first().map(|moment| moment.at);
        }
        let seen = self.told_moments;
        for moment in run.timeline.iter().filter(|m| m.seq > seen) {
            self.told_moments = moment.seq;
            let what = match moment.kind.as_str() {
                "opened" => "decided",
                "step_started" | "applied" | "step_done" => "acting",
                "checked" => "checked",
                "verified" => "verified",
                "watch_ended" => "over",
                _ => continue,
            };
            self.say(out, what, &moment.what);
        }
        self.run = Some(run);
    }

    fn tell_messages(&self, stage: &Stage, out: &Output) {
        for message in stage.messages() {
            // The end of a page repeats what the message beside it says.
            let ends_page = message.pointer("/data/kind").is_some_and(|kind| kind == "resolve");
            if !ends_page && let Some(title) = message.pointer("/data/title").and_then(|t| t.as_str()) {
                self.say(out, "told", title);
            }
        }
    }

    pub(super) fn outcome(
        &self,
        scenario: Scenario,
        version_before: String,
        version_after: String,
    ) -> Outcome {
        let run = self.run.as_ref();
        let at = |kind: &str| run.and_then(|r| r.timeline.iter().find(|m| m.kind == kind)).map(|m| m.at);
        let verified = run.and_then(|r| r.verified);
        Outcome {
            scenario: scenario.name(),
            decision: self.decision,
            cause: self.cause.filter(|_| self.decision > Decision::Hold),
            rolled_back: at("applied").is_some(),
            version_before,
            version_after,
            verification: verified.map(|passed| if passed { "passed" } else { "failed" }),
            noticed_at: self.noticed_at,
            decided_at: self.decided_at,
            acted_at: at("applied"),
            recovered_at: at("verified"),
            reason: self.reason.clone(),
        }
    }
}
