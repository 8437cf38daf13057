//! What must hold of every schedule when it is over.
use std::collections::{BTreeMap, BTreeSet};

use rollguard::domain::event::{Record, RunEvent, StreamId, TargetEvent, from_record};
use rollguard::domain::memory::TargetMemory;
use rollguard::domain::message::{MessageKind, of_run, of_target};
use rollguard::domain::policy::Mode;
use rollguard::domain::run::{End, Phase, Run, evolve};

use super::schedule::Schedule;
use super::story::{Story, opened};
use super::world::{FIXED, GOOD, RELEASED, SERVICES, Trouble, api};

/// Everything that is not as it must be.
pub(crate) fn violations(schedule: &Schedule, story: &Story<'_>) -> Vec<String> {
    let mut wrong = story.world.state().wrong.clone();
    let runs = story.runs();
    wrong.extend(effects(story, &runs));
    wrong.extend(incidents(schedule, story, &runs));
    wrong.extend(runs.iter().flat_map(ends));
    wrong.extend(approvals(&records(story)));
    wrong.extend(untold(story));
    wrong.extend(left_open(story, &runs));
    wrong.extend(lost(schedule, story, &runs));
    wrong
}

/// All records; one that was written twice because its writer was told that it failed counts once.
fn records(story: &Story<'_>) -> Vec<Record> {
    let mut known = BTreeSet::new();
    let all = story.world.journal.records().into_iter();
    all.filter(|r| known.insert((r.stream.clone(), r.at, r.epoch, r.kind.clone(), r.body.to_string())))
        .collect()
}

/// Each run changes the target at most once, and one that got past its change did so.
fn effects(story: &Story<'_>, runs: &[Run]) -> Vec<String> {
    let effects = story.world.state().workloads.effects();
    let of = |kind: &str| {
        let records = records(story).into_iter().filter(|r| r.kind == kind && r.body["step"] == 0);
        records.map(|r| r.stream).collect::<BTreeSet<StreamId>>().len()
    };
    let (done, begun) = (of("step_done"), of("step_started"));
    let mut wrong = Vec::new();
    if effects.len() > begun {
        wrong.push(format!("doubled effect: {effects:?} of {begun} runs that had begun"));
    }
    if effects.len() < done {
        wrong.push(format!("lost effect: {effects:?} of {done} runs that say so"));
    }
    if effects.iter().any(|effect| *effect != format!("api: {GOOD}")) {
        wrong.push(format!("rolled back to something else: {effects:?} of {} runs", runs.len()));
    }
    wrong
}

/// At most one rollback for an incident, and only for what was bad and was seen to be.
fn incidents(schedule: &Schedule, story: &Story<'_>, runs: &[Run]) -> Vec<String> {
    let mut of: BTreeMap<&str, usize> = BTreeMap::new();
    runs.iter().for_each(|run| *of.entry(&opened(run).incident).or_default() += 1);
    let twice = of.iter().filter(|(_, runs)| **runs > 1);
    let mut wrong: Vec<String> = twice.map(|(incident, n)| format!("{n} rollbacks of {incident}")).collect();
    if !runs.is_empty() && schedule.trouble == Trouble::None {
        wrong.push("a healthy release was touched".into());
    }
    if !runs.is_empty() && !story.world.state().shown_bad {
        wrong.push("a rollback without evidence".into());
    }
    for run in runs {
        let from: Vec<&str> = opened(run).plan.changes.iter().map(|c| c.from.images[0].as_str()).collect();
        if from != [RELEASED] {
            wrong.push(format!("{from:?} were to be taken away"));
        }
    }
    wrong
}

/// A run ends once, and is watched for its full time.
fn ends(run: &Run) -> Vec<String> {
    let mut wrong = Vec::new();
    if let (Phase::Closed(End::Recovered), false) = (&run.phase, run.verified == Some(true)) {
        wrong.push(format!("{} recovered and was never verified", opened(run).run));
    }
    wrong
}

/// No step before an approval that was asked for, no approval after its time, and no end after an end.
fn approvals(records: &[Record]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut runs: BTreeMap<&StreamId, Run> = BTreeMap::new();
    for record in records.iter().filter(|r| r.stream.as_run().is_some()) {
        let event: RunEvent = from_record(record).unwrap();
        let run = runs.entry(&record.stream).or_default();
        let told = |what: &str| format!("{}: {what}", record.stream.as_str());
        match (&run.phase, &event) {
            (Phase::AwaitingApproval { .. }, RunEvent::StepStarted { .. }) => {
                wrong.push(told("a step began before the approval"));
            }
            (Phase::AwaitingApproval { until }, RunEvent::Approved { .. }) if record.at >= *until => {
                wrong.push(told("an approval that had expired was taken"));
            }
            (Phase::Closed(end), _) => wrong.push(told(&format!("{} after it ended {end:?}", record.kind))),
            _ => {}
        }
        if let (RunEvent::WatchEnded { .. }, Phase::Watching { until }) = (&event, &run.phase)
            && record.at < *until
        {
            wrong.push(told("the watch after the rollback was cut short"));
        }
        *run = evolve(std::mem::take(run), &event, record.at);
    }
    wrong
}

/// Messages that events in the journal cause, and that never arrived.
fn untold(story: &Story<'_>) -> Vec<String> {
    let mut expected = BTreeSet::new();
    let mut runs: BTreeMap<StreamId, Run> = BTreeMap::new();
    let mut memories: BTreeMap<StreamId, TargetMemory> = BTreeMap::new();
    for record in records(story) {
        let messages = if record.stream.as_run().is_some() {
            let event: RunEvent = from_record(&record).unwrap();
            let run = runs.entry(record.stream).or_default();
            *run = evolve(std::mem::take(run), &event, record.at);
            of_run(&event, run, record.at)
        } else if SERVICES.iter().any(|name| record.stream == StreamId::target(&api(name))) {
            let event: TargetEvent = from_record(&record).unwrap();
            let memory = memories.entry(record.stream).or_default();
            let messages = of_target(&event, memory);
            *memory = std::mem::take(memory).fold(&event, record.at);
            messages
        } else {
            vec![]
        };
        let for_people = messages.into_iter().filter(|message| message.kind != MessageKind::Trace);
        expected.extend(for_people.map(|message| message.key));
    }
    let state = story.world.state();
    let lost = expected.into_iter().filter(|key| !state.taken.contains_key(key));
    lost.map(|key| format!("lost message: {key}")).collect()
}

fn left_open(story: &Story<'_>, runs: &[Run]) -> Vec<String> {
    let open = runs.iter().filter(|run| run.is_open());
    let open = open.map(|run| format!("{} is left {}", opened(run).run, run.phase_title()));
    let memory = |name: &&str| {
        let stream = StreamId::target(&api(name));
        let events = records(story).into_iter().filter(|r| r.stream == stream);
        events.fold(TargetMemory::default(), |memory, r| memory.fold(&from_record(&r).unwrap(), r.at))
    };
    let watched = SERVICES.iter().filter(|name| memory(name).watch.is_some());
    let mut wrong: Vec<String> =
        open.chain(watched.map(|name| format!("{name} is watched for ever"))).collect();
    let good = memory(&"shop").known_good.map(|good| good.images[0].clone());
    if good.as_deref().is_none_or(|good| good == RELEASED && story.world.trouble != Trouble::None) {
        wrong.push(format!("known good at the end: {good:?}"));
    }
    wrong
}

/// What is seen to be bad, and may be taken back, is taken back.
fn lost(schedule: &Schedule, story: &Story<'_>, runs: &[Run]) -> Option<String> {
    let image = story.world.image();
    let must = schedule.mode == Mode::Auto && schedule.trouble != Trouble::None && schedule.leaves_sight();
    if must && image != GOOD {
        let phases: Vec<&str> = runs.iter().map(Run::phase_title).collect();
        return Some(format!("lost rollback: {image} runs at the end, runs {phases:?}"));
    }
    (schedule.trouble == Trouble::None && ![RELEASED, FIXED].contains(&image.as_str()))
        .then(|| format!("{image} runs at the end, though nothing was wrong"))
}
