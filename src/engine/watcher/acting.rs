//! From an assessment to what is done about it: a message, a page, a run, or the end of the watch.
use jiff::{SignedDuration, Timestamp};

use super::Watcher;
use super::asking::{asking, ruling};
use super::guarded::Guarded;
use super::owners::undone;
use crate::domain::event::{TargetEvent, WatchEnd};
use crate::domain::evidence::Strength;
use crate::domain::guardrails::Bar;
use crate::domain::memory::topic;
use crate::domain::message::of_run;
use crate::domain::names::TargetId;
use crate::domain::opening::{Request, blocking, open, run_id};
use crate::domain::plan::{Goal, Plan, draft};
use crate::domain::policy::{Decided, Decision, Ruling};
use crate::domain::release::ReleaseKind;
use crate::domain::run::{End, Run, evolve};
use crate::domain::trial::{Terms, Trial, end_of};
use crate::domain::verdict::{Health, Verdict};
use crate::domain::watch::Assessment;
use crate::engine::driver::{Input, marks_bad, marks_paging};
use crate::engine::ledger::Entry;
use crate::engine::settings::ServiceSettings;
use crate::ports::JournalError;
use crate::telemetry::{Metric, label};

/// How long a restored watch waits for the sight of its workload before it acts on what is remembered.
const ORIENTATION: SignedDuration = SignedDuration::from_secs(30);

/// A decision with what it would be carried out by, and what the policy said.
struct Resolved {
    decided: Decided,
    plan: Option<Plan>,
    ruling: Ruling,
}

impl Watcher {
    /// Judges one target now and does what has to be done.
    pub(super) async fn consider(&mut self, target: &TargetId) -> Result<(), JournalError> {
        self.judge(target).await;
        self.settle(target).await
    }

    /// Judges one target now.
    pub(super) async fn judge(&mut self, target: &TargetId) {
        let now = self.now();
        if let Some(active) = self.targets.get_mut(target).and_then(|g| g.watch.as_mut()) {
            active.look(now);
            self.record(target, now).await;
        }
    }

    /// Does what has to be done about the last judgement.
    pub(super) async fn settle(&mut self, target: &TargetId) -> Result<(), JournalError> {
        let last = self.targets.get(target).and_then(|g| g.watch.as_ref()?.last.clone());
        let Some(assessment) = last else { return Ok(()) };
        if self.is_oriented(target, assessment.at) {
            self.act(target, &assessment).await?;
            if assessment.ended && !self.run_ends_watch(target) {
                self.end_watch(target, &assessment).await?;
            }
        }
        self.show(target);
        Ok(())
    }

    /// At the beginning of a life, what is remembered may be over: first it is seen what runs now. That is not waited for
    /// for long, because a person can be told all the same.
    fn is_oriented(&self, target: &TargetId, now: Timestamp) -> bool {
        let Some(guarded) = self.targets.get(target) else { return false };
        let patience = self.began_at.saturating_add(ORIENTATION).unwrap_or(now);
        let overtaken = guarded.opening.is_some();
        !overtaken && (now >= patience || (guarded.view.is_some() && guarded.survey.is_some()))
    }

    /// The watch after our rollback is ended by its run, which may have to wait for a person.
    fn run_ends_watch(&self, target: &TargetId) -> bool {
        let watch = self.targets.get(target).and_then(|g| g.memory.watch.as_ref());
        matches!(watch.map(|w| &w.spec.release.kind), Some(ReleaseKind::OurRollback { run }) if self.runs.contains_key(run))
    }

    async fn act(&mut self, target: &TargetId, assessment: &Assessment) -> Result<(), JournalError> {
        let Some(guarded) = self.targets.get(target) else { return Ok(()) };
        let Some(watch) = &guarded.memory.watch else { return Ok(()) };
        let verdict = &assessment.verdict;
        if verdict.health == Health::Minor && !watch.told_minor.contains(&verdict.rule) {
            let (id, reason, rule) = (&watch.spec.id, verdict.reason.clone(), verdict.rule.clone());
            let event = TargetEvent::MinorTrouble { watch: id.clone(), reason, rule };
            return self.commit(target, vec![event]).await;
        }
        if let ReleaseKind::OurRollback { run } = &watch.spec.release.kind
            && self.runs.contains_key(run)
            && verdict.health != Health::Inconclusive
        {
            let run = run.clone();
            self.relapse(target, &run, verdict);
            return Ok(());
        }
        self.hold_back(target, assessment);
        if verdict.trips() && self.is_gathering(target) {
            return Ok(());
        }
        let Some(guarded) = self.targets.get(target) else { return Ok(()) };
        let (Some(watch), Some(active)) = (&guarded.memory.watch, &guarded.watch) else { return Ok(()) };
        let Resolved { decided, plan, ruling } = self.decide(guarded, &active.trial, assessment);
        let decided = self.one_page(target, verdict, assessment.at, decided);
        let known = watch.paged.contains(&topic(active.trial.cause(verdict), verdict.rule.as_deref()));
        let news = decided.decision == Decision::Page && watch.reached == Decision::Page && !known;
        if !news && decided.reached() <= watch.reached {
            return Ok(());
        }
        match (decided.decision, plan) {
            (Decision::Ask | Decision::Rollback, Some(plan)) => {
                self.open_run(target, verdict, decided, plan, &ruling).await
            }
            (Decision::Hold | Decision::Page | Decision::Ask | Decision::Rollback, plan) => {
                self.note_decision(target, verdict, decided, plan).await
            }
        }
    }

    /// Decides, with a plan if the evidence is enough for one.
    fn decide(&self, guarded: &Guarded, trial: &Trial, assessment: &Assessment) -> Resolved {
        let (settings, now) = (&guarded.settings, assessment.at);
        let (mut bars, mut plan) = (Vec::new(), None);
        if assessment.verdict.trips() {
            let incident = guarded.memory.watch.as_ref().map_or("", |w| w.spec.id.as_str());
            match self.plan_for_all(&guarded.id, &run_id(&settings.name, incident, now), now) {
                Ok(drafted) => plan = Some(drafted),
                Err(against) => bars.extend(against),
            }
            bars.extend(self.bars(guarded, now));
        }
        bars.extend(undone(guarded));
        let kind = guarded.memory.watch.as_ref().map_or(&ReleaseKind::New, |w| &w.spec.release.kind);
        let frozen = settings.rails.frozen(now);
        let ruling = ruling(settings, assessment, &guarded.id.target, plan.as_ref());
        let page_after = settings.page_after;
        let terms = Terms { ruling: &ruling, page_after, kind, frozen: frozen.as_ref() };
        let person = plan.as_ref().map(Plan::needs_person).unwrap_or_default();
        let decided = trial.decide(assessment, terms, bars).asking_for(person);
        Resolved { decided, plan, ruling }
    }

    async fn note_decision(
        &mut self,
        target: &TargetId,
        verdict: &Verdict,
        decided: Decided,
        plan: Option<Plan>,
    ) -> Result<(), JournalError> {
        // Who only observes would have taken the others along, too.
        let along = plan.filter(|_| decided.reached() > Decision::Page);
        let along = along.map(|plan| self.companions_decided(target, verdict, &decided, &plan));
        let Some(event) = self.decision(target, verdict, decided) else { return Ok(()) };
        self.commit(target, vec![event]).await?;
        for (other, event) in along.into_iter().flatten() {
            self.commit(&other, vec![event]).await?;
        }
        Ok(())
    }

    fn companions_decided(
        &self,
        target: &TargetId,
        verdict: &Verdict,
        decided: &Decided,
        plan: &Plan,
    ) -> Vec<(TargetId, TargetEvent)> {
        let trial = self.targets.get(target).and_then(|g| g.watch.as_ref()).map(|active| &active.trial);
        let cause = trial.map_or(verdict.cause, |trial| trial.cause(verdict));
        self.taken_along(target, plan, decided, cause)
    }

    /// A decision as it is journaled.
    fn decision(&self, target: &TargetId, verdict: &Verdict, decided: Decided) -> Option<TargetEvent> {
        let guarded = self.targets.get(target)?;
        let (watch, active) = (guarded.memory.watch.as_ref()?.spec.id.clone(), guarded.watch.as_ref()?);
        let trial = &active.trial;
        self.count_decision(target, &decided);
        Some(TargetEvent::Decided {
            watch,
            decided,
            cause: trial.cause(verdict),
            rule: verdict.rule.clone(),
            tripped: verdict.trips(),
            together: trial.together(verdict).cloned().map(Box::new),
            evidence: active.last.as_ref().map(|last| last.evidence.clone()).unwrap_or_default(),
        })
    }

    fn count_decision(&self, target: &TargetId, decided: &Decided) {
        let decision = format!("{:?}", decided.decision).to_lowercase();
        tracing::info!(%target, decision, reason = decided.reason, barred = ?decided.barred, would = ?decided.would, "decided");
        Metric::DecisionsTotal.add(1, vec![label("service", &target.service), label("decision", decision)]);
    }

    /// Decision, plan, run, adoption and first step in one commit: then the run can be driven at once.
    async fn open_run(
        &mut self,
        target: &TargetId,
        verdict: &Verdict,
        decided: Decided,
        plan: Plan,
        ruling: &Ruling,
    ) -> Result<(), JournalError> {
        let now = self.now();
        let Some(event) = self.decision(target, verdict, decided.clone()) else { return Ok(()) };
        let Some(guarded) = self.targets.get(target) else { return Ok(()) };
        let Some(watch) = &guarded.memory.watch else { return Ok(()) };
        let (incident, settings) = (watch.spec.id.clone(), guarded.settings.clone());
        let released_at = Some(watch.spec.release.at);
        let along = self.companions_decided(target, verdict, &decided, &plan);
        let request = Request {
            verdict: Some(verdict),
            released_at,
            severity: ruling.severity,
            asking: asking(&settings, ruling.alone),
            ..request(&settings, incident.clone(), decided, plan)
        };
        let events = std::iter::once((target.clone(), event)).chain(along).collect();
        self.launch(request, run_id(&settings.name, &incident, now), events, vec![]).await
    }

    /// Opens a run durably and lets it be driven.
    pub(super) async fn launch(
        &mut self,
        mut request: Request<'_>,
        id: String,
        mut targets: Vec<(TargetId, TargetEvent)>,
        folded: Vec<i64>,
    ) -> Result<(), JournalError> {
        let now = self.now();
        request.kept = self.kept_for(&request.plan);
        request.changed = self.changed_by(&request.plan);
        request.configuration = self.parts.fleet.configuration.clone();
        let (run, events) = open(request, id.clone(), now, self.parts.tools.ledger.epoch());
        let Some(opened) = run.opened.as_deref() else { return Ok(()) };
        if let Some(item) = blocking(opened).first() {
            tracing::error!(run = id, item = item.item.title(), "the checklist forbids this rollback");
            return self.parts.tools.ledger.commit(now, &[], vec![], folded).await;
        }
        if opened.approval.is_none() {
            targets.extend(marks_bad(opened));
        }
        let mut messages = self.pages_joined(opened);
        let mut folding = Run::default();
        let mut entries = Vec::new();
        for event in events {
            folding = evolve(folding, &event, now);
            messages.extend(of_run(&event, &folding, now));
            entries.push(Entry::Run { run: id.clone(), event });
        }
        targets.extend(marks_paging(opened, &messages));
        let entry = |(target, event): &(TargetId, TargetEvent)| Entry::Target {
            target: target.clone(),
            event: event.clone(),
        };
        let entries: Vec<Entry> = targets.iter().map(entry).chain(entries).collect();
        self.parts.tools.ledger.commit(now, &entries, messages, folded).await?;
        targets.iter().for_each(|(target, event)| self.remember(target, event, now));
        self.start(run);
        Ok(())
    }

    /// Still bad after our rollback: its run is told, once.
    fn relapse(&mut self, target: &TargetId, run: &str, verdict: &Verdict) {
        let Some(active) = self.targets.get_mut(target).and_then(|g| g.watch.as_mut()) else { return };
        // While it is still rolling out, its own deadline is the judge; what is still bad afterwards is told then.
        let phase = self.parts.tools.viewer.look(|s| s.runs.get(run).map(|run| run.phase.clone()));
        let listens = phase.is_some_and(|phase| ["verifying", "watching"].contains(&phase.as_str()));
        if verdict.strength < Strength::Page || active.relapse_told || !listens {
            return;
        }
        let Some(open) = self.runs.get(run) else { return };
        let reason = match open.targets.as_slice() {
            [_] => verdict.reason.clone(),
            _ => format!("{}: {}", target.target, verdict.reason),
        };
        let input = Input::Relapsed { reason };
        active.relapse_told = open.inputs.try_send(input).is_ok();
    }

    pub(super) async fn on_run_closed(&mut self, run: &str, end: End) -> Result<(), JournalError> {
        self.runs.remove(run);
        self.end_watches_after(run, end).await?;
        self.publish_book();
        Ok(())
    }

    /// A run's end is that of the watches after it. A newer release has ended the watch of its own target already; what else
    /// the run restored is still to be watched.
    pub(super) async fn end_watches_after(&mut self, run: &str, end: End) -> Result<(), JournalError> {
        let watch_end = match end {
            End::Recovered => WatchEnd::Healthy,
            End::StillBad => WatchEnd::Degraded,
            End::Unseen => WatchEnd::Blind,
            End::Superseded => return Ok(()),
            End::Denied | End::Expired | End::Aborted => WatchEnd::Inconclusive,
        };
        let after = |g: &&Guarded| {
            let kind = g.memory.watch.as_ref().map(|w| &w.spec.release.kind);
            matches!(kind, Some(ReleaseKind::OurRollback { run: by }) if by == run)
        };
        let targets: Vec<TargetId> = self.targets.values().filter(after).map(|g| g.id.clone()).collect();
        for target in targets {
            self.close_watch(&target, watch_end, format!("run {run} is over")).await?;
            self.show(&target);
        }
        Ok(())
    }

    async fn end_watch(&mut self, target: &TargetId, assessment: &Assessment) -> Result<(), JournalError> {
        self.close_watch(target, end_of(assessment), assessment.verdict.reason.clone()).await?;
        self.publish_book();
        Ok(())
    }

    /// Ends a watch; it may leave its version as the known good one.
    pub(super) async fn close_watch(
        &mut self,
        target: &TargetId,
        end: WatchEnd,
        reason: String,
    ) -> Result<(), JournalError> {
        let now = self.now();
        self.record(target, now).await;
        let Some(guarded) = self.targets.get_mut(target) else { return Ok(()) };
        let Some(active) = guarded.watch.take() else { return Ok(()) };
        let spec = active.watch.spec().clone();
        let reached = guarded.memory.watch.as_ref().map_or(Decision::Hold, |w| w.reached);
        tracing::info!(%target, version = spec.release.to.label, ?end, reason, "the watch is over");
        let mut events = vec![TargetEvent::WatchClosed { watch: spec.id.clone(), end, reason }];
        if let Some(why) = active.trial.leaves_known_good(&active.watch, end, reached) {
            events.push(TargetEvent::KnownGood { version: spec.release.to.clone(), why });
        }
        let good = events.len() > 1;
        self.commit(target, events).await?;
        if good {
            self.keep_what_is_good(target, end);
        }
        self.heed_pods(target);
        self.parts.recorder.close(&spec.id).await;
        Ok(())
    }

    /// Writes the batch to the recording, once it is as long as a batch.
    async fn record(&mut self, target: &TargetId, now: Timestamp) {
        let Some(active) = self.targets.get_mut(target).and_then(|g| g.watch.as_mut()) else { return };
        let spec = active.watch.spec();
        let due = now.duration_since(active.recorded_at).as_secs_f64() >= spec.judging.batch_secs * 0.9;
        if due {
            self.write_batch(target, now).await;
        }
    }

    /// What a new life of the process must know.
    pub(super) async fn write_batch(&mut self, target: &TargetId, now: Timestamp) {
        let Some(active) = self.targets.get_mut(target).and_then(|g| g.watch.as_mut()) else { return };
        if active.batch.is_empty() {
            return;
        }
        let watch = active.watch.spec().id.clone();
        active.recorded_at = now;
        let mut samples: Vec<_> = std::mem::take(&mut active.batch).into_values().collect();
        samples.sort_by_key(|sample| sample.at);
        self.parts.recorder.record(&watch, samples).await;
    }
}

/// A run of this service, asked for by nobody yet.
pub(super) fn request(
    settings: &ServiceSettings,
    incident: String,
    decided: Decided,
    plan: Plan,
) -> Request<'_> {
    Request {
        service: &settings.name,
        incident,
        decided,
        verdict: None,
        requested_by: None,
        released_at: None,
        plan,
        checks: settings.checks.clone(),
        severity: 3,
        asking: asking(settings, false),
        verify_secs: settings.verify_deadline.as_secs(),
        watch_secs: settings.watch.as_secs(),
        status_page: settings.status_page.clone(),
        kept: Vec::new(),
        changed: Vec::new(),
        configuration: None,
    }
}

/// The plan to go back to the known good version, from the last survey.
pub(super) fn way_back(guarded: &Guarded, run: &str) -> Result<Plan, Bar> {
    let good = guarded.memory.known_good.clone().ok_or(Bar::NoKnownGood)?;
    let survey = match &guarded.survey {
        Some(Ok(survey)) => survey,
        Some(Err(error)) => return Err(Bar::NotSurveyed { why: error.to_string() }),
        None => return Err(Bar::NotSurveyed { why: "it was not asked yet".into() }),
    };
    let watched = guarded.memory.watch.as_ref().map(|w| &w.spec.release.to);
    if watched.is_some_and(|watched| watched.fingerprint != survey.version().fingerprint) {
        let why = format!("it runs {} by now, about which nothing is known yet", survey.version().label);
        return Err(Bar::NotSurveyed { why });
    }
    let settings = &guarded.settings;
    draft(survey, &Goal::Version(good), run, settings.rollout_deadline.as_secs()).map_err(Bar::Refused)
}
