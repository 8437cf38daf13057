//! `rollguard backtest` as a process: what it prints, where, and how it ends.
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use rollguard::app::backtest::Options;
use rollguard::cli::chart;
use serde_json::Value;

use super::{judged_with, recording};

const CONFIG: &str = "\
api: {people: [{name: ann, token_env: A_TOKEN_THAT_IS_NOT_HERE}]}
notify: {webhook: {url_env: A_URL_THAT_IS_NOT_HERE, secret_env: A_SECRET_THAT_IS_NOT_HERE}}
sources:
  prometheus: {url: 'http://127.0.0.1:1', bearer_token_env: A_SECRET_THAT_IS_NOT_HERE}
services:
  - name: shop
    policy: POLICY
    targets: [{name: backend, kubernetes: {namespace: shop, deployment: backend}}]
    rules:
      - name: error-rate
        errors: {above: ABOVE, source: prometheus, total: http_requests_total, bad: 'http_requests_total{code=\"500\"}'}
";

fn backtest(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rollguard")).arg("backtest").args(args).output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let text = str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn json_is_one_compact_line_per_release_and_nothing_else() {
    let (bad, good) = (recording("bad-release"), recording("healthy"));
    let output = backtest(&["-o", "json", "--recording", path(&bad), path(&good)]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let lines = lines(&output);
    assert_eq!(lines.len(), 2);
    let decisions: Vec<&Value> = lines.iter().map(|line| &line["decision"]).collect();
    assert_eq!(decisions, ["rollback", "hold"]);
    assert_eq!(lines[1]["cause"], Value::Null);
    assert!(lines.iter().all(|line| line.get("compare").is_none()));
    assert_eq!(stderr(&output), "");
}

#[test]
fn people_get_a_table_with_a_summary() {
    let (bad, late) = (recording("bad-release"), recording("late-onset"));
    let output = backtest(&["--recording", path(&bad), "--recording", path(&late)]);
    let text = str::from_utf8(&output.stdout).unwrap();
    assert!(text.starts_with("TARGET        RELEASE  RELEASED (UTC)"), "{text}");
    assert!(text.contains("shop/backend  v2       2026-11-22 10:00:00  rollback"), "{text}");
    assert!(text.trim_end().ends_with("lines: 1 rolled back, 1 paged"), "{text}");
}

#[test]
fn what_cannot_be_read_is_counted_and_what_holds_no_release_is_no_data() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("r.jsonl");
    let counts = r#"{"at":"2026-11-22T10:00:05Z","kind":"counts","service":"shop","rule":"error-rate","bad":0,"total":1}"#;
    let weather = r#"{"at":"2026-11-22T10:00:05Z","kind":"weather","service":"shop"}"#;
    fs::write(&file, format!("{counts}\nnonsense\n{weather}\n{counts}\n")).unwrap();
    let output = backtest(&["--recording", path(&file)]);
    assert_eq!(output.status.code(), Some(4));
    let told = stderr(&output);
    assert!(told.contains("r.jsonl: line 2: expected"), "{told}");
    assert!(told.contains("1 lines were of kinds that this version does not know"), "{told}");
    assert!(told.contains("no release"), "{told}");
    let missing = backtest(&["--recording", "/nowhere/r.jsonl"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        stderr(&missing).contains("/nowhere/r.jsonl cannot be read: No such file"),
        "{}",
        stderr(&missing)
    );
    assert_eq!(backtest(&[]).status.code(), Some(2));
}

#[test]
fn a_configuration_judges_and_a_second_one_is_compared() {
    let dir = tempfile::tempdir().unwrap();
    let (strict, lax) = (dir.path().join("strict.yaml"), dir.path().join("lax.yaml"));
    fs::write(&strict, CONFIG.replace("POLICY", "approval").replace("ABOVE", "5%")).unwrap();
    fs::write(&lax, CONFIG.replace("POLICY", "auto").replace("ABOVE", "10%").replace("shop", "cart"))
        .unwrap();
    let (bad, good) = (recording("bad-release"), recording("healthy"));
    let args = ["--recording", path(&bad), path(&good), "--config", path(&strict), "--compare", path(&lax)];
    let output = backtest(&[&["-o", "json"], &args[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let lines = lines(&output);
    assert_eq!(
        (&lines[0]["decision"], &lines[0]["compare"]["decision"]),
        (&"ask".into(), &"rollback".into())
    );
    assert_eq!(
        (&lines[0]["compare"]["differs"], &lines[1]["compare"]["differs"]),
        (&true.into(), &false.into())
    );
    let text = backtest(&args);
    let text = str::from_utf8(&text.stdout).unwrap();
    assert!(text.contains("* rollback") && text.contains("; 1 differ"), "{text}");
    fs::write(&lax, CONFIG.replace("POLICY", "auto").replace("ABOVE", "10%").replace("shop", "cart"))
        .unwrap();
    let stranger = backtest(&["--recording", path(&bad), "--config", path(&lax)]);
    assert!(stderr(&stranger).contains("judged by the standard runbook: shop"), "{}", stderr(&stranger));
}

#[test]
fn only_one_service_can_be_asked_for() {
    let bad = recording("bad-release");
    let output = backtest(&["-o", "json", "--recording", path(&bad), "--service", "cart"]);
    assert_eq!((output.status.code(), lines(&output).len()), (Some(4), 0));
}

/// One file per service, as `serve` keeps them: only together they show that it is nobody's release.
#[test]
fn a_fleet_is_judged_in_the_order_of_time_whatever_the_order_of_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let incident = &super::incidents::all()["bad-release"];
    let files: Vec<_> = ["cart", "mail", "shop"].map(|service| dir.path().join(service)).into();
    for file in &files {
        let name = file.file_name().unwrap().to_str().unwrap();
        fs::write(file, incident.replace(r#""service":"shop""#, &format!(r#""service":"{name}""#))).unwrap();
    }
    let names: Vec<&str> = files.iter().map(|file| path(file)).collect();
    let decisions = |args: &[&str]| {
        let output = backtest(&[args, &["-o", "json", "--recording"], &names].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let decisions: Vec<Value> = lines(&output).iter().map(|line| line["decision"].clone()).collect();
        decisions
    };
    assert_eq!(decisions(&[]), ["rollback"; 3]);
    assert_eq!(decisions(&["--fleet"]), ["rollback", "rollback", "page"]);
}

#[test]
fn charts_are_drawn_one_per_release() {
    let dir = tempfile::tempdir().unwrap();
    let charts = dir.path().join("charts");
    let bad = recording("bad-release");
    let output = backtest(&["--recording", path(&bad), "--chart", path(&charts)]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let files: Vec<_> = fs::read_dir(&charts).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(files, ["shop+backend.v2.20261122T100000Z.svg"]);
}

/// The numbers in it are those of the recording; only what the judge says about them is left out.
#[test]
fn a_chart_shows_the_course_and_what_happened() {
    let options = Options { traced: true, ..Options::default() };
    let mut judged = judged_with(vec![recording("slower")], options).remove(0);
    (judged.reason, judged.decided_at) = ("slower <than> before & beside".into(), judged.released_at);
    (judged.decision, judged.delay_seconds) = (rollguard::domain::policy::Decision::Rollback, 60.0);
    judged.decided_at += std::time::Duration::from_secs(60);
    let trace = judged.trace.as_mut().unwrap();
    trace.tracks.iter_mut().for_each(|track| track.points.truncate(20));
    insta::assert_snapshot!("chart", chart::svg(&judged).unwrap());
}
