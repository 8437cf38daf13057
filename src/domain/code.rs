//! Stable codes for everything that rollguard says no to, pages about or tells, each with what it means and what to do.
use std::fmt;

use serde::{Deserialize, Serialize};

use super::evidence::Cause;
use super::guardrails::Bar;
use super::memory::Topic;
use super::plan::Refusal;
use super::release::ReleaseKind;
use super::run::End;

macro_rules! codes {
    ($($id:ident $name:ident: $title:literal, $means:literal, $todo:literal;)*) => {
        /// A code keeps its number and its meaning for good; what is new gets a new one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "&'static str")]
        pub enum Code {
            $($name,)*
        }

        impl Code {
            pub const ALL: &[Code] = &[$(Code::$name),*];

            /// Such as `RG101`.
            pub fn id(self) -> &'static str {
                match self { $(Code::$name => stringify!($id),)* }
            }

            /// The same in one word, as Kubernetes' events have it: `NoKnownGood`.
            pub fn name(self) -> &'static str {
                match self { $(Code::$name => stringify!($name),)* }
            }

            pub fn explained(self) -> Explained {
                match self {
                    $(Code::$name => Explained { title: $title, means: $means, todo: $todo },)*
                }
            }
        }
    };
}

/// What a code means to a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    pub title: &'static str,
    pub means: &'static str,
    pub todo: &'static str,
}

codes! {
    RG101 NoKnownGood: "No version is known to be good",
        "A rollback goes back to the last version whose watch ended well. This target has none yet, or it was itself rolled back.",
        "Name a revision: `rollguard rollback SERVICE/TARGET --to-revision N`; `rollguard history SERVICE/TARGET` lists them.";
    RG102 CoolingDown: "Automation rests after a rollback",
        "The target was rolled back less than `cool_down` ago. A second bad version in a row needs a person.",
        "Look at both releases; to roll back all the same, `rollguard rollback SERVICE/TARGET`.";
    RG103 RunOpen: "A rollback of this service is under way",
        "Only one rollback of a service runs at a time; its watch belongs to it.",
        "See `rollguard show RUN`; `rollguard abort RUN` ends it.";
    RG104 NotSurveyed: "The target could not be looked at",
        "A plan is drafted only from what the target is now, and that could not be read, or it runs another version than the one that was judged.",
        "See the reason after the colon; `rollguard check --live` asks the cluster for everything once.";
    RG105 TrippedTogether: "Several services tripped together",
        "Three or more services failed within minutes. What they share is the likelier cause, so no release is taken back for it.",
        "Look at what they share: database, network, a dependency. Roll back by hand if it is the releases after all.";
    RG106 UndoStands: "Somebody's own undo is never undone",
        "The version ran here before, so a person has chosen to go back to it.",
        "Decide by hand: `rollguard rollback SERVICE/TARGET --to-revision N`, or roll forward.";
    RG107 RollbackStands: "A rollback is never rolled back",
        "The version was restored by rollguard. What is still bad has another cause than the release.",
        "Compare configuration, secrets, schema and dependencies.";
    RG108 DeployedAgain: "A version that was rolled back is deployed again",
        "The same version had been taken back before, and somebody or a sync has deployed it again.",
        "Revert the commit too, or the next sync brings it back once more.";
    RG109 CompanionStays: "What was released together cannot all go back",
        "The targets of a service that were released together are rolled back together or not at all, and one of them has no way back.",
        "See to that one first, roll this one back alone by hand, or set `together: false`.";
    RG110 UndoneByOther: "The rollback was undone",
        "The version came back after it was rolled back; rollguard does not fight whoever put it there.",
        "Revert the commit, or hold the owner, and roll back again.";
    RG111 TooManyAtOnce: "Enough rollbacks are under way",
        "No more than `rollbacks_at_once` are carried out by themselves at the same time.",
        "Wait for one of them, or roll back by hand: `rollguard rollback SERVICE/TARGET`.";
    RG112 OftenToday: "Rolled back often enough for a day",
        "The service had `max_per_day` rollbacks within 24 hours: what is wrong is more than one release.",
        "Look at what the releases have in common; a rollback by hand is still possible.";
    RG113 BelowMinimum: "The version to go back to is too old",
        "It is older than `min_version`, or cannot be compared with it, so going back might undo a security fix.",
        "Decide by hand: `rollguard rollback SERVICE/TARGET`, or roll forward.";
    RG114 Killed: "The kill switch is on",
        "A person, or a file on the machine, has stopped all changes.",
        "`rollguard kill off` when it is time (or remove the file), then `rollguard resume RUN` for what it stopped.";
    RG201 TargetMissing: "The target does not exist",
        "The namespace and name of the configuration lead to nothing.",
        "Correct them, or remove the target, and `rollguard reload`.";
    RG202 Paused: "The workload is paused",
        "Kubernetes rolls nothing out while it is paused, a rollback neither.",
        "`kubectl rollout resume` it, or roll back by hand.";
    RG203 Owned: "Another controller owns the workload",
        "Argo CD or Flux would undo the rollback at its next sync.",
        "Roll back where the owner takes it from (revert the commit), or suspend the owner first.";
    RG204 RevisionGone: "The version is no longer in the history",
        "Kubernetes keeps as many old versions as `revisionHistoryLimit` says.",
        "Deploy the earlier image by hand; raise the limit for the next time.";
    RG205 AlreadyThere: "The target runs that version already",
        "There is nothing to go back to.",
        "Nothing needs to be done.";
    RG206 OnDelete: "Pods change only when they are deleted",
        "The update strategy is `OnDelete`: a template that is put back reaches no pod by itself.",
        "Put the template back and delete the pods one by one, or change the strategy to `RollingUpdate`.";
    RG207 NoSuchContainer: "The container is not known",
        "The pod has no container of that name, or several and none was named.",
        "Name one of them as CONTAINER=IMAGE; the message lists them.";
    RG211 FrontendRefused: "The frontend cannot be restored",
        "What the bucket holds does not allow to restore the earlier version: versioning, a version that is gone or archived, too many deletions, or a change meanwhile.",
        "The message names it; `rollguard doctor` shows it before it is needed.";
    RG212 DatabaseRefused: "The database cannot be rolled back",
        "What was found does not allow to take the migrations back: a down-migration that is missing, a dirty database, another version than expected, or an application that would not fit.",
        "The message names it and what is safe to do next.";
    RG213 InfrastructureRefused: "The infrastructure cannot be rolled back",
        "No plan could be made, or what it would do is never allowed by the configuration.",
        "The message names it; review the plan by hand.";
    RG301 ReleaseBad: "The release is bad",
        "Its pods fail by the rules of the runbook and the evidence says that the release is why; but the policy, or a guard rail, leaves it to a person.",
        "Roll back: `rollguard rollback SERVICE/TARGET`, or roll forward.";
    RG302 SharedTrouble: "The release is in trouble, and so is what was not released",
        "Old pods or other services got worse at the same time: a rollback would not help.",
        "Look at what they share: database, cache, network, a dependency.";
    RG303 TroubleTogether: "The release tripped together with others",
        "Several services under watch failed within minutes.",
        "Look at what they share, as with RG105.";
    RG304 OneBadPod: "One pod is bad, the others are well",
        "The version works elsewhere, so the pod or its node is the likelier cause.",
        "Look at the pod and its node; deleting the pod may be enough.";
    RG305 MaybeBad: "The release may be bad",
        "There is evidence against it, but not enough, or too late after the rollout, to blame it.",
        "Look at it; `rollguard status` shows the evidence as it grows.";
    RG306 CannotBeJudged: "The release cannot be judged",
        "Its measurements are missing. Missing data proves nothing, neither good nor bad.",
        "See to the source: `rollguard status` names it, `rollguard check --live` asks it.";
    RG307 SlightlyWorse: "The release is slightly worse",
        "Under 1 % of the requests are affected. That is not rolled back.",
        "A hot-fix, a feature flag, or a change of configuration.";
    RG308 ReleaseNoticed: "A release is being watched",
        "A new version was noticed; it is judged for the length of a watch.",
        "Nothing: you are told if it is bad.";
    RG309 WatchHealthy: "The watch ended well",
        "Nothing was found against the release; it is the version to go back to from now on.",
        "Nothing.";
    RG310 WatchEnded: "The watch is over",
        "It ended otherwise than healthy; the message says how.",
        "See the reason in the message.";
    RG311 PageOver: "A page is over",
        "What was paged about has ended, or somebody has acted on it.",
        "Nothing.";
    RG312 CertificateEnds: "A certificate needs somebody",
        "It ends soon, is over, or is for another name. No release changes that, so the version is not blamed.",
        "Renew it, or find out why that does not happen by itself.";
    RG401 RollbackAsked: "A rollback waits for approval",
        "The plan is drafted, and the policy is `approval`. Nothing is changed until somebody approves.",
        "`rollguard show RUN`, then `rollguard approve RUN` or `rollguard deny RUN --reason …`.";
    RG402 RollbackStarted: "A rollback has begun",
        "The plan is being carried out.",
        "Nothing: you are told how it ends. `rollguard show RUN` follows it.";
    RG403 RollbackStuck: "A rollback is stuck",
        "A step could not be done, or the target was changed meanwhile. Nothing more happens without a person.",
        "`rollguard show RUN`, then `rollguard resume RUN`, `skip` or `abort`.";
    RG404 RollbackVerified: "The rollback worked",
        "All checks passed; the restored version is watched.",
        "Revert the commit too: the next deploy or sync brings the bad version back.";
    RG405 RollbackUnverified: "Rolled back, but not verified",
        "The version is back, but not all checks passed in time. No second rollback is made.",
        "Compare configuration, secrets, schema and dependencies; `rollguard show RUN` has the checks.";
    RG406 StillBad: "Still bad after the rollback",
        "The restored version fails too, so the release was not the cause, or not the only one.",
        "Compare what changed besides the release, or roll forward with a hot-fix.";
    RG407 RollbackStable: "The watch after the rollback ended well",
        "The restored version was healthy for a whole watch.",
        "Nothing.";
    RG408 RollbackUnseen: "The watch after the rollback could not see",
        "The rollback was verified, and its measurements were missing afterwards.",
        "See to the source, then look whether the service is well.";
    RG409 RollbackDenied: "The rollback was denied",
        "A person decided against it; nothing was changed.",
        "Nothing, or `rollguard rollback SERVICE/TARGET` later.";
    RG410 ApprovalExpired: "Nobody approved in time",
        "An approval is void after `approval_expires`; nothing was changed, and the bad version still runs.",
        "`rollguard rollback SERVICE/TARGET` if it is still wanted.";
    RG411 RollbackAborted: "The rollback was stopped by a person",
        "What was done until then stays as it is.",
        "Look at the target; finish by hand what must be finished.";
    RG412 RollbackSuperseded: "A newer release overtook the rollback",
        "Somebody released meanwhile; that version is watched now.",
        "Nothing.";
    RG413 RollbackFailed: "The rollback did not restore the service",
        "Its watch ended and the service is still bad, or was never verified.",
        "Compare what changed besides the release, or roll forward with a hot-fix.";
    RG414 OwnerHeld: "An owner is still suspended",
        "A rollback suspended it so that it would not undo it. rollguard never resumes anything by itself.",
        "Revert the bad commit, then resume it with the command in the message.";
    RG415 OwnerResumed: "An owner was resumed",
        "Somebody resumed what a rollback had suspended; it deploys what Git has now.",
        "Look whether the version that was rolled back is out of Git.";
    RG416 KillSwitchTurned: "The kill switch was turned",
        "While it is on nothing is changed, not even by order; releases are judged and paged as before.",
        "`rollguard status` shows it; `rollguard kill off` ends it.";
    RG421 BrokenGlass: "A rollback went ahead without its approvals",
        "Somebody with the role `break_glass` approved it alone, and said why. It is in the audit.",
        "Ask whoever it was, and see to it that the approvals can be had in time.";
    RG422 Escalated: "Nobody has answered",
        "A page was not acknowledged, or a question not answered, for as long as the policy waits.",
        "`rollguard ack RUN` or `rollguard ack SERVICE/TARGET` says that somebody has it in hand.";
    RG423 InHand: "Somebody has it in hand",
        "The page was acknowledged: it escalates no further, and until it is answered only a person decides.",
        "Nothing.";
    RG501 NoSuchTarget: "The target is not configured",
        "The configuration in force has no target of this name.",
        "`rollguard status` lists the targets; `rollguard reload` after a change.";
    RG502 NoSuchRun: "There is no such rollback",
        "No rollback has this name.",
        "`rollguard status` lists them.";
    RG503 WrongPhase: "The rollback is in another phase",
        "The order does not fit what the rollback is doing now.",
        "`rollguard show RUN` says what it waits for.";
    RG504 OtherPlan: "The plan is another one by now",
        "An approval counts for the plan that was looked at, and for no other.",
        "Look at it again with `rollguard show RUN`.";
    RG505 Unreadable: "The answer could not be read",
        "The cluster or the journal did not answer.",
        "Try again; `rollguard status` shows what is down.";
    RG506 NotAccepted: "The order was not kept",
        "Orders are durable before they are acknowledged, and the journal could not be written.",
        "Send it again; see to the disk of `state_dir`.";
    RG521 ApprovalNotCounted: "The approval does not count",
        "It is asked of other people, or of more than one, or of somebody else than who ordered the rollback.",
        "`rollguard show RUN` says whom it waits for; in an emergency `rollguard approve RUN --break-glass --reason …`.";
    RG522 NothingPaged: "Nothing is being paged",
        "There is no page about this target that could be acknowledged.",
        "`rollguard status` shows what is open.";
    RG601 ConfigurationMistaken: "The configuration has mistakes",
        "None of it is in force; the one before stays.",
        "`rollguard check --config FILE` lists every mistake with line and column.";
    RG602 NeedsRestart: "The change needs a restart",
        "The address and the state directory cannot change while rollguard runs.",
        "Restart it: open watches and rollbacks go on where they were.";
    RG603 ConfigurationUnusable: "The configuration cannot be used",
        "It is well written, but what it names cannot be set up; the one before stays in force.",
        "See the reason after the colon.";
    RG604 CannotStart: "rollguard cannot guard",
        "It could not start, or had to stop. No release is judged, and no rollback goes on, until it runs again.",
        "Do what the message says; what was under way is kept in the journal and goes on from there.";
    RG605 JournalUnwritable: "The journal cannot be written",
        "Nothing is changed that is not in the journal first, so nothing is changed until it can be written again.",
        "Free some space, or see to the disk of `state_dir`; rollguard goes on by itself.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl From<Code> for &'static str {
    fn from(code: Code) -> Self {
        code.id()
    }
}

impl TryFrom<String> for Code {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::find(&text).ok_or_else(|| format!("there is no code {text:?}"))
    }
}

impl Code {
    /// `RG101`, `rg101` or `NoKnownGood`.
    pub fn find(text: &str) -> Option<Self> {
        let is =
            |code: &&Code| code.id().eq_ignore_ascii_case(text) || code.name().eq_ignore_ascii_case(text);
        Self::ALL.iter().find(is).copied()
    }

    /// Why a release of this kind is left to a person; none for one that is simply new.
    pub fn of_kind(kind: &ReleaseKind) -> Option<Self> {
        match kind {
            ReleaseKind::New => None,
            ReleaseKind::Undo => Some(Code::UndoStands),
            ReleaseKind::OurRollback { .. } => Some(Code::RollbackStands),
            ReleaseKind::KnownBad => Some(Code::DeployedAgain),
        }
    }

    /// What a page about a release is about.
    pub fn of_page((cause, blind): Topic, together: bool) -> Self {
        match cause {
            Cause::Shared if together => Code::TroubleTogether,
            Cause::Unknown if blind => Code::CannotBeJudged,
            Cause::Release => Code::ReleaseBad,
            Cause::Shared => Code::SharedTrouble,
            Cause::SinglePod => Code::OneBadPod,
            Cause::Unknown => Code::MaybeBad,
        }
    }
}

impl From<&Bar> for Code {
    fn from(bar: &Bar) -> Self {
        match bar {
            Bar::NoKnownGood => Code::NoKnownGood,
            Bar::Refused(refusal) => refusal.into(),
            Bar::CoolingDown { .. } => Code::CoolingDown,
            Bar::RunOpen { .. } => Code::RunOpen,
            Bar::NotSurveyed { .. } => Code::NotSurveyed,
            Bar::Together { .. } => Code::TrippedTogether,
            Bar::Companion { .. } => Code::CompanionStays,
            Bar::Undone { .. } => Code::UndoneByOther,
            Bar::Busy { .. } => Code::TooManyAtOnce,
            Bar::OftenToday { .. } => Code::OftenToday,
            Bar::BelowMinimum { .. } => Code::BelowMinimum,
            Bar::Killed(_) => Code::Killed,
        }
    }
}

impl From<&Refusal> for Code {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::TargetMissing { .. } => Code::TargetMissing,
            Refusal::Paused { .. } => Code::Paused,
            Refusal::Owned { .. } => Code::Owned,
            Refusal::RevisionGone { .. } => Code::RevisionGone,
            Refusal::AlreadyThere { .. } => Code::AlreadyThere,
            Refusal::OnDelete { .. } => Code::OnDelete,
            Refusal::NoSuchContainer { .. } => Code::NoSuchContainer,
            Refusal::Frontend(_) => Code::FrontendRefused,
            Refusal::Database(_) => Code::DatabaseRefused,
            Refusal::Infrastructure(_) => Code::InfrastructureRefused,
        }
    }
}

impl From<End> for Code {
    fn from(end: End) -> Self {
        match end {
            End::Recovered => Code::RollbackStable,
            End::StillBad => Code::RollbackFailed,
            End::Unseen => Code::RollbackUnseen,
            End::Denied => Code::RollbackDenied,
            End::Expired => Code::ApprovalExpired,
            End::Aborted => Code::RollbackAborted,
            End::Superseded => Code::RollbackSuperseded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_number_and_by_its_name_and_no_two_are_alike() {
        let ids: std::collections::BTreeSet<&str> = Code::ALL.iter().map(|code| code.id()).collect();
        assert_eq!(ids.len(), Code::ALL.len());
        assert!(Code::ALL.is_sorted_by_key(|code| code.id()));
        for code in Code::ALL {
            assert_eq!(Code::find(&code.id().to_lowercase()), Some(*code));
            assert_eq!(Code::find(code.name()), Some(*code));
            assert!(code.id().len() == 5 && code.id().starts_with("RG"), "{code}");
            let read: Code = serde_json::from_value(serde_json::json!(code.id())).unwrap();
            assert_eq!(read, *code);
        }
        assert_eq!(Code::find("RG999"), None);
    }

    #[test]
    fn every_code_says_what_it_means_and_what_to_do() {
        for code in Code::ALL {
            let Explained { title, means, todo } = code.explained();
            assert!(!title.is_empty() && !title.ends_with('.'), "{code}: {title}");
            assert!(means.ends_with('.') && todo.ends_with('.'), "{code}: {means} {todo}");
        }
    }
}
