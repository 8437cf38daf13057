//! Golden transcripts of the command line, and the binary against a real server.
mod doctor;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use clap::{CommandFactory, Parser};
use jiff::SignedDuration;
use rollguard::cli::{Cli, render};
use rollguard::client::dto::{
    CheckStatus, LeadershipStatus, Moment, PlanAnswer, RunAnswer, RunStatus, RunsAnswer, ServicesAnswer,
    TargetStatus, WatchStatus, WayBack,
};
use rollguard::domain::diagnosis::{Diagnosis, PodState, Stall, StalledPod, diagnose};
use rollguard::domain::event::WatchEnd;
use rollguard::domain::evidence::{Cause, Strength};
use rollguard::domain::guardrails::Killed;
use rollguard::domain::memory::EndedWatch;
use rollguard::domain::plan::kubernetes::Workload;
use rollguard::domain::policy::{Decision, Mode};
use rollguard::domain::release::{Release, ReleaseKind};
use rollguard::domain::runbook::{ChecklistItem, Item};
use rollguard::domain::verdict::{Health, Verdict};
use rollguard::domain::verification::CheckOutcome;
use rollguard::domain::watch::Figures;
use rollguard::domain::workload::WorkloadKind;

use crate::http_world::{ANNA, Doors, REASON, World, plan, run_status, start, target, up};

#[test]
fn help() {
    insta::assert_snapshot!("help", Cli::command().render_long_help());
    let mut command = Cli::command();
    let rollback = command.find_subcommand_mut("rollback").unwrap();
    insta::assert_snapshot!("help-rollback", rollback.render_long_help());
    Cli::command().debug_assert();
}

#[test]
fn every_verb_of_the_daemon_is_understood() {
    for line in [
        "serve --config c.yaml",
        "check --config c.yaml --live",
        "demo --scenario shared -o json",
        "backtest --recording a.jsonl b.jsonl.gz --config c.yaml --compare d.yaml --chart charts --fleet -o json",
        "status",
        "doctor",
        "doctor shop/backend -o json",
        "history shop/backend",
        "explain RG203",
        "explain",
        "schema",
        "completion zsh",
        "reload",
        "show r1",
        "plan shop/backend --to-revision 3",
        "plan shop/backend --to-image app=shop:v7",
        "rollback shop/backend --reason slow --yes --wait --server http://x",
        "approve r1 --digest 0123456789ab",
        "deny r1 --reason no",
        "resume r1",
        "skip r1",
        "abort r1",
        "release shop/backend --version v2 --at 2026-11-22T10:00:00Z",
    ] {
        let words = std::iter::once("rollguard").chain(line.split(' '));
        assert!(Cli::try_parse_from(words).is_ok(), "{line}");
    }
    for line in ["rollback shop", "plan Shop/backend", "deny r1", "release shop/b --version v2 --at noon"] {
        let words = std::iter::once("rollguard").chain(line.split(' '));
        assert_eq!(Cli::try_parse_from(words).map_err(|e| e.exit_code()).err(), Some(2), "{line}");
    }
}

fn services() -> ServicesAnswer {
    let change = plan().changes.remove(0);
    let later = |secs| start().checked_add(SignedDuration::from_secs(secs)).unwrap();
    let watch = WatchStatus {
        id: "w1".into(),
        release: Release {
            target: target(),
            kind: ReleaseKind::New,
            from: Some(change.to.clone()),
            to: change.from.clone(),
            at: start(),
        },
        opened_at: start(),
        ends_at: later(1800),
        decision: Decision::Ask,
        verdict: Some(Verdict {
            health: Health::Degraded,
            cause: Cause::Release,
            strength: Strength::Rollback,
            rule: Some("error-rate".into()),
            reason: REASON.into(),
        }),
        evidence: vec![],
        figures: Figures::default(),
        baseline: None,
    };
    let shop = TargetStatus {
        target: target(),
        mode: Mode::Approval,
        current: Some(change.from),
        known_good: Some(change.to.clone()),
        watch: Some(Box::new(watch)),
        last_watch: None,
        held: vec![],
        way_back: Some(WayBack::Open { to: change.to.label.clone() }),
        readiness: None,
        page: None,
    };
    let mut cart = TargetStatus { watch: None, mode: Mode::Auto, ..shop.clone() };
    cart.target.service = "cart".to_string().try_into().unwrap();
    cart.current = cart.known_good.clone();
    cart.last_watch = Some(EndedWatch {
        watch: "cart-1".into(),
        version: "v1".into(),
        end: WatchEnd::Healthy,
        ended_at: later(-600),
        reason: "no more than 0.3 % of 1,820 requests failed".into(),
    });
    cart.way_back = Some(WayBack::Barred { why: "deployment/cart -n prod is paused".into() });
    ServicesAnswer {
        now: later(345),
        targets: vec![cart, shop],
        sources: [("prometheus".to_string(), up(false)), ("pods".to_string(), up(true))].into(),
        feed: Some(up(true)),
        journal: Some(up(true)),
        outbox_waiting: 2,
        killed: Some(Killed { by: "anna".into(), at: start(), reason: "the database is being moved".into() }),
        leadership: None,
    }
}

fn runs() -> RunsAnswer {
    let plan = plan();
    let ask = RunStatus {
        run: "shop-1".into(),
        service: plan.service.clone(),
        summary: plan.summary(),
        phase: "awaiting approval".into(),
        open: true,
        reason: REASON.into(),
        digest: plan.digest(),
        steps: plan.steps.iter().map(|s| s.title.clone()).collect(),
        step: None,
        detail: None,
        checks: vec![],
        verified: None,
        until: start().checked_add(SignedDuration::from_mins(15)).ok(),
        approval: None,
    };
    let closed = RunStatus { run: "shop-0".into(), phase: "recovered".into(), open: false, ..ask.clone() };
    RunsAnswer { now: services().now, runs: vec![ask, closed] }
}

#[test]
fn status() {
    insta::assert_snapshot!("status", render::status(&services(), &runs(), false));
    let sources = Default::default();
    let nothing = ServicesAnswer { targets: vec![], sources, outbox_waiting: 0, killed: None, ..services() };
    let none = RunsAnswer { runs: vec![], ..runs() };
    assert_eq!(render::status(&nothing, &none, false), "No targets are configured.\n");
}

#[test]
fn status_says_which_replica_leads() {
    let told = |leader: Option<&str>, trouble: Option<&str>| {
        let leadership = LeadershipStatus {
            me: "rollguard-1_cd".into(),
            leader: leader.map(String::from),
            shown_at: services().now.checked_sub(SignedDuration::from_secs(2)).ok(),
            trouble: trouble.map(String::from),
        };
        let services = ServicesAnswer { targets: vec![], leadership: Some(leadership), ..services() };
        render::status(&services, &RunsAnswer { runs: vec![], ..runs() }, false)
    };
    let leading = told(Some("rollguard-1_cd"), None);
    assert!(leading.contains("\nrollguard-1_cd leads\n"), "{leading}");
    let standby = told(Some("rollguard-0_ab"), None);
    let expected =
        "rollguard-0_ab leads; this is rollguard-1_cd, which stands by, as rollguard-0_ab saw it 2s ago";
    assert!(standby.contains(expected), "{standby}");
    let nobody = told(None, Some("lease a/b cannot be read or written: HTTP 403 Forbidden"));
    assert!(nobody.contains("no replica leads, so nothing is judged or rolled back: lease a/b"), "{nobody}");
}

fn diagnosis() -> Diagnosis {
    let message = "0/3 nodes are available: 3 Insufficient cpu.".to_string();
    let pods = ["web-7f-a", "web-7f-b"].map(|name| StalledPod {
        name: name.into(),
        state: PodState::Unschedulable { message: message.clone() },
    });
    let workload =
        Workload { kind: WorkloadKind::Deployment, namespace: "default".into(), name: "web".into() };
    diagnose(&Stall { workload, pods: pods.into(), refused: None }, start())
}

#[test]
fn show() {
    let check =
        |name: &str, outcome, detail: &str| CheckStatus { name: name.into(), outcome, detail: detail.into() };
    let moment = |secs, what: &str| Moment {
        seq: 1,
        at: start().checked_add(SignedDuration::from_secs(secs)).unwrap(),
        kind: "x".into(),
        what: what.into(),
    };
    let run = RunAnswer {
        now: start(),
        run: "shop-1".into(),
        incident: "w1".into(),
        service: plan().service,
        phase: "stuck".into(),
        open: true,
        decision: Decision::Ask,
        cause: Cause::Release,
        reason: REASON.into(),
        barred: vec![],
        severity: 2,
        released_at: Some(start()),
        requested_by: None,
        approved_by: Some("anna".into()),
        approval_expires_at: Some(start()),
        approval: None,
        plan: PlanAnswer::from(&plan()),
        checklist: vec![
            ChecklistItem { item: Item::Severity, met: true, detail: "SEV 2".into() },
            ChecklistItem { item: Item::StatusPage, met: false, detail: "none is configured".into() },
        ],
        checks: vec![
            check("health", Some(CheckOutcome::Passed), "HTTP 200"),
            check("error rate", Some(CheckOutcome::NoData), "prometheus does not answer"),
            check("pods", None, "not checked yet"),
        ],
        verified: None,
        relapsed: None,
        diagnosis: diagnosis(),
        compared: vec![],
        timeline: vec![
            moment(0, &format!("approval asked for: {REASON}")),
            moment(75, "anna approved plan 0123456789ab"),
            moment(80, "stuck at step 1 (x): \u{1b}[2J somebody deployed v3"),
        ],
    };
    insta::assert_snapshot!("show", render::run(&run, false));
}

fn rollguard(world: &World, args: &[&str], token: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollguard"));
    command.args(args).env_clear().env("ROLLGUARD_SERVER", world.url("")).stdin(Stdio::null());
    token.map(|token| command.env("ROLLGUARD_TOKEN", token));
    command.output().unwrap()
}

async fn said(world: &World, args: &[&str], token: Option<&str>) -> (i32, String, String) {
    let output = tokio::task::block_in_place(|| rollguard(world, args, token));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_talks_to_a_real_server_and_its_exit_codes_mean_something() {
    let world = World::start(Doors::default()).await;
    let (code, out, err) = said(&world, &["status", "-o", "json"], Some(ANNA)).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["runs"].as_array().map(Vec::len), Some(2));
    assert_eq!(out.lines().count(), 1);

    let (code, out, err) = said(&world, &["approve", "r-ask", "-o", "json"], Some(ANNA)).await;
    assert_eq!(code, 0, "{err}");
    assert!(err.starts_with("Plan "), "{err}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["run"], "r-ask");

    let cases: [(&[&str], i32, &str); 7] = [
        (&["approve", "r-ask", "--digest", "0123456789ab"], 3, "nothing was approved"),
        (&["approve", "r-stuck"], 3, "approve needs awaiting approval"),
        (&["show", "nope"], 1, "there is no run"),
        (&["plan", "shop/backend", "--to-revision", "9"], 4, "the API server does not answer"),
        (
            &["plan", "shop/backend", "--to-revision", "8"],
            3,
            "no version of shop/backend is known to be good",
        ),
        (&["rollback", "shop/backend"], 2, "add --yes"),
        (
            &["--server", "http://127.0.0.1:1", "status"],
            1,
            "cannot reach http://127.0.0.1:1: connection refused; is `rollguard serve` running?",
        ),
    ];
    for (args, expected, sentence) in cases {
        let (code, _, err) = said(&world, args, Some(ANNA)).await;
        assert_eq!(code, expected, "{args:?}: {err}");
        assert!(err.contains(sentence), "{args:?}: {err}");
    }
    let (code, out, _) = said(&world, &["rollback", "shop/backend", "--yes"], Some(ANNA)).await;
    assert_eq!(code, 0);
    assert!(out.contains("accepted: rollback of shop/backend"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_come_from_a_file_and_are_never_repeated() {
    let world = World::start(Doors::default()).await;
    let (code, _, err) = said(&world, &["status"], Some("wrong-secret-token")).await;
    assert_eq!(code, 1);
    assert!(err.contains("set --token-file") && !err.contains("wrong-secret-token"), "{err}");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{ANNA}").unwrap();
    let path = file.path().to_str().unwrap();
    assert_eq!(said(&world, &["status", "--token-file", path], None).await.0, 0);
    let (code, _, err) = said(&world, &["--server", "http://anna:pw-1234@host", "status"], None).await;
    assert!(code == 1 && !err.contains("pw-1234"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_followed_until_it_is_verified() {
    let world = World::start(Doors::default()).await;
    let (journal, picture) = (world.journal.clone(), world.picture.clone());
    tokio::spawn(async move {
        while journal.kinds().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        picture.change(|s| s.runs.extend([("r-done".to_string(), run_status("r-done", "watching"))]));
    });
    let args = ["rollback", "shop/backend", "--yes", "--wait", "--reason", "slow"];
    let (code, out, err) = said(&world, &args, Some(ANNA)).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("Plan ") && out.contains("  Verified  passed"), "{out}");
    assert!(err.contains("2026-11-22 10:00:01  verified; watching until"), "{err}");
}
