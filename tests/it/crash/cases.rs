//! Every kind of plan that there is, what happens beside it, and the world that each must end in.
use jiff::{SignedDuration, Timestamp};
use rollguard::domain::plan::kubernetes::{ImageChange, restart};
use rollguard::domain::plan::{Goal, Plan, draft};
use rollguard::domain::policy::asking::Then;
use rollguard::domain::run::End;
use rollguard::domain::survey::Survey;
use rollguard::domain::workload::WorkloadKind;

use crate::support::infrastructure::{Infrastructure, commit};
use crate::support::schema::Schema;
use crate::support::workloads::{Workload, Workloads, target, version};

pub(super) const RUN: &str = "shop-crash1";
const ROLLOUT_SECS: u64 = 600;

/// What a person does when they read a message that asks for one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Person {
    Nobody,
    Approves,
    /// Mends what is in the way first.
    Resumes,
    /// Puts the version back by hand first.
    Skips,
    Aborts,
}

/// What happens to the world while the plan is carried out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Meddling {
    None,
    /// The workload is paused after the plan was made.
    Paused,
    /// The kill switch is turned on after the first change.
    Killed,
}

pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) workloads: fn(Timestamp) -> Workloads,
    pub(super) plan: fn(&Workloads, Timestamp) -> Plan,
    pub(super) asks: bool,
    /// So many people must approve.
    pub(super) needed: usize,
    /// What is done while nobody answers, after so many seconds.
    pub(super) unanswered: &'static [(u64, Then)],
    pub(super) person: Person,
    pub(super) meddling: Meddling,
    /// How long the process is down each time.
    pub(super) down: SignedDuration,
    /// Explored once more where the answers to changes are lost.
    pub(super) loses_answers: bool,
    pub(super) end: End,
    /// Changes that came of applied steps.
    pub(super) effects: &'static [&'static str],
    /// Keys of messages, without the run and without times.
    pub(super) told: &'static [&'static str],
    /// Those that it depends on the point whether they are told.
    pub(super) may_be_told: &'static [&'static str],
}

const AT_ONCE: SignedDuration = SignedDuration::ZERO;
/// Longer than an approval is waited for.
const LONG: SignedDuration = SignedDuration::from_mins(20);
/// Longer than everything that is waited for.
const LONGER: SignedDuration = SignedDuration::from_mins(61);

const DONE: &[&str] = &["action", "closed", "resolve", "resolve-verified", "verified"];

fn deployment(now: Timestamp) -> Workloads {
    let since = now - SignedDuration::from_hours(24);
    let workload = Workload::running(WorkloadKind::Deployment, &["shop:v1", "shop:v2"], since);
    Workloads::default().with(target("shop", "backend"), workload)
}

fn owned(now: Timestamp) -> Workloads {
    let workload = deployment(now).of(&target("shop", "backend")).clone().owned();
    Workloads::default().with(target("shop", "backend"), workload)
}

fn one_of_each_kind(now: Timestamp) -> Workloads {
    let since = now - SignedDuration::from_hours(24);
    let of = |kind| Workload::running(kind, &["shop:v1", "shop:v2"], since);
    Workloads::default()
        .with(target("shop", "agent"), of(WorkloadKind::DaemonSet))
        .with(target("shop", "backend"), of(WorkloadKind::Deployment))
        .with(target("shop", "store"), of(WorkloadKind::StatefulSet))
}

fn database(_: Timestamp) -> Workloads {
    Workloads::default().with_database(target("shop", "database"), Schema::at(3))
}

fn backend_and_database(now: Timestamp) -> Workloads {
    deployment(now).with_database(target("shop", "database"), Schema::at(3))
}

/// All back, in the order of a configuration; the databases by two versions.
fn all_back(workloads: &Workloads, now: Timestamp) -> Plan {
    let plan = |(id, schema): (_, &Schema)| {
        let survey = Survey::Database(Box::new(schema.survey(id)));
        draft(&survey, &Goal::Revision(1), RUN, ROLLOUT_SECS).unwrap()
    };
    let first = (workloads.iter().count() > 0).then(|| back(workloads, now));
    Plan::joined(first.into_iter().chain(workloads.databases().map(plan)).collect()).unwrap()
}

/// Every target back to its first version.
fn back(workloads: &Workloads, _: Timestamp) -> Plan {
    let plan = |(id, workload): (_, &Workload)| {
        let survey = Survey::Kubernetes(Box::new(workload.survey(id)));
        draft(&survey, &Goal::Version(version("shop:v1")), RUN, ROLLOUT_SECS).unwrap()
    };
    Plan::joined(workloads.iter().map(plan).collect()).unwrap()
}

fn other_image(workloads: &Workloads, _: Timestamp) -> Plan {
    let goal = Goal::Image(ImageChange::parse("shop:v7").unwrap());
    draft(&workloads.survey(&target("shop", "backend")), &goal, RUN, ROLLOUT_SECS).unwrap()
}

fn back_and_restarted(workloads: &Workloads, now: Timestamp) -> Plan {
    let mut plan = back(workloads, now);
    let mut restored = workloads.of(&target("shop", "backend")).clone();
    restored.deploy("shop:v1", now);
    plan.steps.extend(restart(&restored.survey(&target("shop", "backend")), now, ROLLOUT_SECS).unwrap());
    plan
}

fn infrastructure(_: Timestamp) -> Workloads {
    Workloads::default().with_infrastructure(target("shop", "network"), Infrastructure::at_c2())
}

fn back_to_c1(workloads: &Workloads, _: Timestamp) -> Plan {
    let survey = workloads.survey(&target("shop", "network"));
    draft(&survey, &Goal::Version(commit("c1")), RUN, ROLLOUT_SECS).unwrap()
}

const PLAIN: Case = Case {
    name: "a Deployment is restored",
    workloads: deployment,
    plan: back,
    asks: false,
    needed: 1,
    unanswered: &[],
    person: Person::Nobody,
    meddling: Meddling::None,
    down: AT_ONCE,
    loses_answers: false,
    end: End::Unseen,
    effects: &["backend: shop:v1"],
    told: DONE,
    may_be_told: &[],
};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a DaemonSet, a Deployment and a StatefulSet are restored by one plan",
        workloads: one_of_each_kind,
        effects: &["agent: shop:v1", "backend: shop:v1", "store: shop:v1"],
        ..PLAIN
    },
    Case {
        name: "the owner is held first",
        workloads: owned,
        loses_answers: true,
        effects: &["backend: suspend", "backend: shop:v1"],
        ..PLAIN
    },
    Case {
        name: "the kill switch is turned on half way, and a person goes on later",
        workloads: owned,
        person: Person::Resumes,
        meddling: Meddling::Killed,
        effects: &["backend: suspend", "backend: shop:v1"],
        told: &["action", "closed", "resolve", "resolve", "resolve-verified", "stuck-1", "verified"],
        ..PLAIN
    },
    Case {
        name: "restored and restarted",
        plan: back_and_restarted,
        loses_answers: true,
        effects: &["backend: shop:v1", "backend: restart"],
        ..PLAIN
    },
    Case {
        name: "a snapshot is taken and two migrations are taken back",
        workloads: database,
        plan: all_back,
        loses_answers: true,
        effects: &["database: snapshot", "database: 2", "database: 1"],
        ..PLAIN
    },
    Case {
        name: "a Deployment and a database go back in one run",
        workloads: backend_and_database,
        plan: all_back,
        effects: &["backend: shop:v1", "database: snapshot", "database: 2", "database: 1"],
        ..PLAIN
    },
    PLAIN,
    Case { name: "the image is changed", plan: other_image, effects: &["backend: shop:v7"], ..PLAIN },
    Case {
        name: "a person approves",
        asks: true,
        person: Person::Approves,
        told: &["action", "ask", "closed", "resolve", "resolve", "resolve-verified", "verified"],
        ..PLAIN
    },
    Case {
        name: "two people approve",
        asks: true,
        needed: 2,
        person: Person::Approves,
        told: &[
            "action",
            "approved-1",
            "ask",
            "closed",
            "resolve",
            "resolve",
            "resolve-verified",
            "verified",
        ],
        ..PLAIN
    },
    Case {
        name: "nobody answers, and the policy rolls back",
        asks: true,
        unanswered: &[(60, Then::PageAgain), (120, Then::Rollback)],
        told: &["action", "ask", "ask-2", "closed", "resolve", "resolve", "resolve-verified", "verified"],
        ..PLAIN
    },
    Case {
        name: "the plan file of infrastructure is approved, applied once, and proved by another",
        workloads: infrastructure,
        plan: back_to_c1,
        asks: true,
        person: Person::Approves,
        loses_answers: true,
        effects: &["network: c1"],
        told: &["action", "ask", "closed", "resolve", "resolve", "resolve-verified", "verified"],
        ..PLAIN
    },
    Case {
        name: "the approval expires while the process is down",
        asks: true,
        down: LONG,
        end: End::Expired,
        effects: &[],
        told: &["ask", "closed"],
        ..PLAIN
    },
    Case {
        name: "deadlines pass while the process is down",
        person: Person::Resumes,
        down: LONGER,
        may_be_told: &["resolve", "stuck-0", "stuck-1"],
        ..PLAIN
    },
    Case {
        name: "stuck, mended and resumed",
        person: Person::Resumes,
        meddling: Meddling::Paused,
        told: &["action", "closed", "resolve", "resolve", "resolve-verified", "stuck-0", "verified"],
        ..PLAIN
    },
    Case {
        name: "stuck, done by hand and skipped",
        person: Person::Skips,
        meddling: Meddling::Paused,
        effects: &[],
        told: &["action", "closed", "resolve", "resolve", "resolve-verified", "stuck-0", "verified"],
        ..PLAIN
    },
    Case {
        name: "stuck and aborted",
        person: Person::Aborts,
        meddling: Meddling::Paused,
        end: End::Aborted,
        effects: &[],
        told: &["action", "closed", "resolve", "stuck-0"],
        ..PLAIN
    },
];
