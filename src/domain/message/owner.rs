//! What is said about owners: what deploys a bad version again, what is suspended, and when somebody resumed it.
use super::{Message, MessageKind, asked};
use crate::domain::code::Code;
use crate::domain::event::{RunOpened, TargetEvent};
use crate::domain::evidence::clock_time;
use crate::domain::memory::TargetMemory;
use crate::domain::owner::{Controller, Held, HoldOwner, Origin, Owner};
use crate::domain::run::Run;

/// Messages that an event about an owner causes. `before` is the memory without the event.
pub(super) fn of_owner(event: &TargetEvent, before: &TargetMemory) -> Vec<Message> {
    let about = |controller: &Controller| {
        before.held.iter().find(|held| held.hold.controller == *controller).cloned()
    };
    match event {
        TargetEvent::OwnerStillHeld { controller } => about(controller).iter().map(still_held).collect(),
        TargetEvent::OwnerResumed { controller, why } => {
            about(controller).iter().map(|held| resumed(held, why)).collect()
        }
        TargetEvent::Acknowledged { target, incident, by } => vec![asked::in_hand(target, incident, by)],
        TargetEvent::Escalated { target, incident, level } => {
            vec![asked::escalated(before, target, incident, *level)]
        }
        TargetEvent::OwnerHeld { .. }
        | TargetEvent::KnownGood { .. }
        | TargetEvent::WatchOpened(_)
        | TargetEvent::RolloutEnded { .. }
        | TargetEvent::Decided { .. }
        | TargetEvent::MinorTrouble { .. }
        | TargetEvent::WatchClosed { .. }
        | TargetEvent::RolledBack { .. }
        | TargetEvent::Paging { .. }
        | TargetEvent::Kept(_) => Vec::new(),
    }
}

fn still_held(held: &Held) -> Message {
    let title = format!("[HELD] {} is still suspended - {}", held.hold.controller.title(), held.target);
    let lines = vec![
        format!(
            "Suspended: since {} {} UTC, by run {}",
            held.since.strftime("%Y-%m-%d"),
            clock_time(held.since),
            held.run
        ),
        "Until somebody resumes it, nothing that is committed is deployed".to_string(),
        resume(held.hold.resume_command()),
    ];
    note(held, Code::OwnerHeld, &format!("held-{}", held.told + 1), title, lines)
}

fn resumed(held: &Held, why: &str) -> Message {
    let title = format!("[RESUMED] {} - {}", held.hold.controller.title(), held.target);
    let lines = vec![
        format!("{why}: the suspension by run {} is over", held.run),
        "It deploys what Git has now: look whether the version that was rolled back is out of it".to_string(),
    ];
    note(held, Code::OwnerResumed, "resumed", title, lines)
}

fn note(held: &Held, code: Code, what: &str, title: String, lines: Vec<String>) -> Message {
    let controller = held.hold.controller.title().replace(' ', "-");
    Message {
        key: format!("{}/{what}-{controller}", held.run),
        incident: held.run.clone(),
        kind: MessageKind::Note,
        service: held.target.service.clone(),
        title,
        lines,
        targets: vec![held.target.clone()],
        code: Some(code),
        facts: None,
        level: 0,
    }
}

fn resume(command: String) -> String {
    format!("To resume it, once the bad version is out of Git: {command}")
}

/// What deploys the bad version again: said in every message with which a rollback may be left as it is.
pub(super) fn comes_again(opened: &RunOpened) -> Vec<String> {
    let unknown = Origin::default();
    let line = |(origin, bad): (Option<&Origin>, &str)| {
        format!("Next: {}", origin.unwrap_or(&unknown).comes_again(bad))
    };
    distinct(opened.plan.origins().map(line))
}

/// What this run suspended, and how to resume it.
pub(super) fn held(run: &Run) -> Vec<String> {
    let lines = |hold: &HoldOwner| {
        let title = hold.controller.title();
        [
            format!("Held: {title} was suspended for this rollback, and stays so until a person resumes it"),
            resume(hold.resume_command()),
        ]
    };
    distinct(run.holds().flat_map(|(_, hold)| lines(hold)))
}

/// What every message of a run says of its owners: Helm's record is wrong until a person corrects it.
pub(super) fn standing(opened: &RunOpened) -> Vec<String> {
    let helm = |(origin, bad): (Option<&Origin>, &str)| {
        let owner = origin?.owner.as_ref()?;
        let command = owner.helm_command()?;
        let title = owner.title();
        Some(format!("{title} still records {bad}, whatever runs; to correct that: {command}"))
    };
    distinct(opened.plan.origins().filter_map(helm))
}

/// What the announcement says of owners: which are suspended first, and which do not stand in the way.
pub(super) fn announced(opened: &RunOpened) -> Vec<String> {
    let steps = 0..opened.plan.steps.len();
    let holds = steps.filter_map(|step| opened.plan.hold_at(step));
    let holds = holds.map(|hold| {
        let title = hold.controller.title();
        format!("Owner: {title} is suspended first, and stays so until a person resumes it")
    });
    let idle = opened.plan.origins().filter_map(|(origin, _)| Some(format!("Owner: {}", origin?.mention()?)));
    distinct(holds.chain(idle))
}

/// What a person who looks at a rollback that was undone, or is stuck, needs to know of the owners.
pub(super) fn owners(opened: &RunOpened) -> Vec<String> {
    let line = |(origin, _): (Option<&Origin>, &str)| {
        let owner = origin?.owner.as_ref()?;
        match owner {
            Owner::GitOps(gitops) => Some(format!(
                "Owner: {}; to keep it from acting: {}",
                owner.title(),
                gitops.controller.hold_command()
            )),
            Owner::Helm { .. } | Owner::ArgoRollout { .. } => None,
        }
    };
    distinct(opened.plan.origins().filter_map(line))
}

fn distinct(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for line in lines {
        if !seen.contains(&line) {
            seen.push(line);
        }
    }
    seen
}
