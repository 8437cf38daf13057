//! `rollguard policy`: what each service's policy says, and what would happen in a case that you make up.
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::serve::loaded;
use super::{Exit, Failure, Output};
use crate::config::{Cases, Config, PolicyCase, ServiceConfig, load_cases};
use crate::domain::evidence::{Cause, Strength};
use crate::domain::names::{ServiceName, TargetName};
use crate::domain::policy::answer::{Answer, Asked, Question, Service, answer};
use crate::domain::policy::told::{Row, rows};
use crate::domain::policy::{Decision, Mode};
use crate::domain::release::ReleaseKind;
use crate::domain::runbook::Rule;

pub(super) const AFTER_HELP: &str = "\
A case by itself, or files of cases:

  rollguard policy test --config rollguard.yaml --service shop --evidence crash-loop --at 2026-11-23T03:00:00Z
  rollguard policy test *.test.yaml

A file holds what must happen when:

  config: rollguard.yaml
  tests:
    - name: a crash loop at night is rolled back
      service: shop
      evidence: crash-loop
      at: 2026-11-23T03:00:00Z
      expect: {decision: rollback, because: line 1}";

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// What each service's policy says, as a table
    Show(PolicyShowArgs),
    /// What would happen in a case, and why; or whether files of cases hold
    #[command(after_help = AFTER_HELP)]
    Test(PolicyTestArgs),
}

#[derive(Debug, Args)]
pub struct PolicyShowArgs {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

#[derive(Debug, Args)]
pub struct PolicyTestArgs {
    /// Files of cases
    #[arg(value_name = "FILE", conflicts_with = "service")]
    pub files: Vec<PathBuf>,
    /// The configuration; files of cases may name their own
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Whose policy
    #[arg(long, value_parser = |text: &str| ServiceName::parse(text), required_unless_present = "files")]
    pub service: Option<ServiceName>,
    /// Which targets together; all unless named
    #[arg(long, value_parser = |text: &str| TargetName::parse(text))]
    pub target: Vec<TargetName>,
    /// How far the evidence reaches: rollback, urgent, page, minor or quiet
    #[arg(long, default_value = "rollback", value_parser = in_json::<Strength>)]
    pub verdict: Strength,
    /// Who is to blame: release, shared, single_pod or unknown
    #[arg(long, default_value = "release", value_parser = in_json::<Cause>)]
    pub cause: Cause,
    /// A rule, or a fact such as crash-loop
    #[arg(long, value_name = "NAME")]
    pub evidence: Vec<String>,
    /// When, such as 2026-11-23T03:00:00Z
    #[arg(long, value_name = "TIME", required_unless_present = "files")]
    pub at: Option<Timestamp>,
}

fn in_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|_| format!("{text:?} is none of the choices"))
}

pub(super) fn run(command: &PolicyCommand, out: &Output) -> Result<Exit, Failure> {
    match command {
        PolicyCommand::Show(args) => {
            let config = loaded(&args.config, out)?;
            out.result(&tables(&config), || table(&config))?;
            Ok(Exit::Ok)
        }
        PolicyCommand::Test(args) if args.files.is_empty() => ask(args, out),
        PolicyCommand::Test(args) => run_files(args, out),
    }
}

fn service_rows(service: &ServiceConfig) -> Vec<Row> {
    rows(&service.policy, service.approval_expires)
}

/// For machines.
pub(super) fn tables(config: &Config) -> serde_json::Value {
    let table = |s: &ServiceConfig| json!({"service": s.name.as_str(), "policy": service_rows(s)});
    json!(config.services.iter().map(table).collect::<Vec<_>>())
}

/// For people: what each service's policy says.
pub(super) fn table(config: &Config) -> String {
    let of_service = |service: &ServiceConfig| {
        let rows = service_rows(service);
        let width = rows.iter().map(|row| row.when.chars().count()).max().unwrap_or_default();
        let line = |row: &Row| format!("  {:width$}  {}", row.when, row.then);
        let lines: Vec<String> = rows.iter().map(line).collect();
        format!("policy of {}\n{}", service.name, lines.join("\n"))
    };
    config.services.iter().map(of_service).collect::<Vec<_>>().join("\n")
}

/// A policy in one word, for lists.
pub(super) fn word(service: &ServiceConfig) -> &'static str {
    let policy = &service.policy;
    match (policy.observe, policy.lines.is_empty()) {
        (true, _) => Mode::Observe.as_str(),
        (false, true) => policy.otherwise.as_str(),
        (false, false) => "a table",
    }
}

fn ask(args: &PolicyTestArgs, out: &Output) -> Result<Exit, Failure> {
    let missing = |what: &str| Failure::new(Exit::Usage, format!("{what} is missing"));
    let config = loaded(args.config.as_deref().ok_or_else(|| missing("--config"))?, out)?;
    let name = args.service.as_ref().ok_or_else(|| missing("--service"))?;
    let question = Question {
        strength: args.verdict,
        cause: args.cause,
        evidence: args.evidence.clone(),
        kind: ReleaseKind::New,
        at: args.at.ok_or_else(|| missing("--at"))?,
        targets: args.target.clone(),
    };
    let answer = answered(&config, name, question).map_err(|why| Failure::new(Exit::Failure, why))?;
    out.result(&answer, || told(&answer))?;
    Ok(Exit::Ok)
}

/// What the policy of a service answers; without targets it is about all of them.
fn answered(config: &Config, name: &ServiceName, mut question: Question) -> Result<Answer, String> {
    let service = config.services.iter().find(|service| service.name == *name);
    let service = service.ok_or_else(|| format!("there is no service {name}"))?;
    let has = |name: &TargetName| service.targets.iter().any(|target| target.name == *name);
    if let Some(unknown) = question.targets.iter().find(|target| !has(target)) {
        return Err(format!("{name} has no target {unknown}"));
    }
    if question.targets.is_empty() {
        question.targets = service.targets.iter().map(|target| target.name.clone()).collect();
    }
    let rules: Vec<Rule> = service.rules.iter().map(|rule| rule.rule.clone()).collect();
    let about = Service {
        policy: &service.policy,
        rails: &service.rails,
        rules: &rules,
        approval_expires: service.approval_expires,
    };
    Ok(answer(about, &question))
}

fn told(answer: &Answer) -> String {
    let mut lines = vec![format!("decision  {}", title(answer.decision))];
    lines.extend(answer.would.map(|would| format!("would     {}", title(would))));
    lines.push(format!("severity  SEV {}", answer.severity));
    lines.extend(answer.because.iter().map(|why| format!("because   {why}")));
    lines.extend(answer.asked.iter().flat_map(asked));
    lines.join("\n")
}

fn asked(asked: &Asked) -> Vec<String> {
    let of = if asked.from.is_empty() { "anybody who may approve".into() } else { asked.from.join(", ") };
    let mut lines = vec![format!("asked     {} of {of}", asked.needed)];
    lines.extend(asked.follow_ups.iter().map(|f| format!("{}  nobody has answered: {}", f.at, f.then)));
    if !asked.follow_ups.last().is_some_and(|last| last.then.ends()) {
        lines.push(format!("{}  it expires, and pages", asked.expires_at));
    }
    lines
}

fn title(decision: Decision) -> &'static str {
    match decision {
        Decision::Hold => "hold",
        Decision::Page => "page",
        Decision::Ask => "ask",
        Decision::Rollback => "rollback",
    }
}

/// How one case went.
#[derive(Serialize)]
struct Tested {
    file: String,
    line: usize,
    name: String,
    ok: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    wrong: Vec<String>,
}

fn run_files(args: &PolicyTestArgs, out: &Output) -> Result<Exit, Failure> {
    let mut tested = Vec::new();
    for file in &args.files {
        tested.extend(run_file(file, args.config.as_deref(), out)?);
    }
    let failed = tested.iter().filter(|tested| !tested.ok).count();
    let text = || {
        let line = |t: &Tested| {
            let wrong: String = t.wrong.iter().map(|wrong| format!("\n        {wrong}")).collect();
            let how = if t.ok { "ok  " } else { "FAIL" };
            format!("  {how}  {}:{}: {}{wrong}", t.file, t.line, t.name)
        };
        let lines = tested.iter().map(line).chain([format!("{} cases, {failed} failed", tested.len())]);
        lines.collect::<Vec<_>>().join("\n")
    };
    out.result(&json!({"ok": failed == 0, "cases": tested}), text)?;
    Ok(if failed == 0 { Exit::Ok } else { Exit::Failure })
}

fn run_file(file: &Path, given: Option<&Path>, out: &Output) -> Result<Vec<Tested>, Failure> {
    let Cases { config, tests } = load_cases(file).map_err(|e| Failure::new(Exit::Failure, e.to_string()))?;
    let shown = file.display().to_string();
    let missing =
        || Failure::new(Exit::Usage, format!("{shown} names no configuration: add `config:` or --config"));
    let config = loaded(given.or(config.as_deref()).ok_or_else(missing)?, out)?;
    let test = |case: PolicyCase| {
        let wrong = wrong(&config, &case);
        Tested { file: shown.clone(), line: case.line, name: case.name, ok: wrong.is_empty(), wrong }
    };
    Ok(tests.into_iter().map(test).collect())
}

/// What is otherwise than expected.
fn wrong(config: &Config, case: &PolicyCase) -> Vec<String> {
    let question = Question {
        strength: case.strength,
        cause: case.cause,
        evidence: case.evidence.clone(),
        kind: ReleaseKind::New,
        at: case.at,
        targets: case.targets.clone(),
    };
    let answer = match answered(config, &case.service, question) {
        Ok(answer) => answer,
        Err(why) => return vec![why],
    };
    let because = answer.because.join("; ");
    let mut wrong = Vec::new();
    let decision = case.expect.decision.filter(|expected| *expected != answer.decision);
    wrong.extend(decision.map(|expected| {
        format!("expected decision {}, got {}: {because}", title(expected), title(answer.decision))
    }));
    let severity = case.expect.severity.filter(|expected| *expected != answer.severity);
    wrong.extend(severity.map(|expected| format!("expected SEV {expected}, got SEV {}", answer.severity)));
    let reason = case.expect.because.as_ref().filter(|expected| !because.contains(expected.as_str()));
    wrong.extend(reason.map(|expected| format!("expected because {expected:?}, got {because:?}")));
    wrong
}
