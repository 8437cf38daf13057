//! Before people hear that a restored version is bad: what differs from the time when it was healthy.
use std::time::Duration;

use jiff::Timestamp;

use super::driver::Tools;
use crate::domain::event::{RunEvent, RunOpened};
use crate::domain::keepsake::Comparison;
use crate::domain::plan::Change;
use crate::domain::run::{End, Phase, Run, evolve};

/// A page does not wait for longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is to be recorded before this event; nothing before most.
pub(super) async fn before(event: &RunEvent, run: &Run, tools: &Tools) -> Option<RunEvent> {
    let opened = run.opened.as_deref().filter(|_| is_bad_news(event, run))?;
    let comparisons = opened.plan.changes.iter().map(|change| compare(change, opened, tools));
    Some(RunEvent::Compared { comparisons: futures::future::join_all(comparisons).await })
}

fn is_bad_news(event: &RunEvent, run: &Run) -> bool {
    match event {
        RunEvent::Verified { passed, .. } => !passed,
        RunEvent::Relapsed { .. } => true,
        RunEvent::WatchEnded { .. } => {
            let after = evolve(run.clone(), event, Timestamp::UNIX_EPOCH);
            after.phase == Phase::Closed(End::StillBad)
        }
        RunEvent::Opened(_)
        | RunEvent::Adopted { .. }
        | RunEvent::Approved { .. }
        | RunEvent::Unanswered { .. }
        | RunEvent::Acknowledged { .. }
        | RunEvent::Denied { .. }
        | RunEvent::ApprovalExpired
        | RunEvent::StepStarted { .. }
        | RunEvent::Observed { .. }
        | RunEvent::Applied { .. }
        | RunEvent::StepDone { .. }
        | RunEvent::Stuck { .. }
        | RunEvent::Resumed { .. }
        | RunEvent::Skipped { .. }
        | RunEvent::Aborted { .. }
        | RunEvent::Checked { .. }
        | RunEvent::Compared { .. }
        | RunEvent::Superseded { .. } => false,
    }
}

async fn compare(change: &Change, opened: &RunOpened, tools: &Tools) -> Comparison {
    let then = opened.kept.iter().find(|kept| kept.version == change.to.fingerprint);
    let look = tokio::time::timeout(PATIENCE, tools.target.keepsake(&change.target)).await;
    let now = match look {
        Ok(found) => found.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    };
    let now = now.as_ref().map_err(String::clone);
    Comparison::of(change.target.clone(), change.to.label.clone(), then, now)
}
