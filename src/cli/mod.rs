//! The command line: what can be said, and who carries it out.
mod audit;
mod backtest;
mod check;
mod demo;
mod doctor;
mod explain;
mod failure;
pub mod history;
mod orders;
mod output;
mod policy;
mod reload;
pub mod render;
mod report;
mod rollback;
mod serve;
mod show;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
use secrecy::SecretString;

use crate::client::Client;
use crate::client::dto::{TargetError, parse_target};
use crate::domain::names::TargetId;
use crate::domain::plan::Destination;
use crate::domain::plan::kubernetes::ImageChange;
pub use audit::AuditCommand;
pub use backtest::{BacktestArgs, chart};
pub use check::CheckArgs;
pub use demo::{DemoArgs, Scenario};
pub use doctor::{DoctorArgs, report};
pub use explain::{CompletionArgs, ExplainArgs};
pub use failure::{Exit, Failure};
pub use history::HistoryArgs;
pub use output::Output;
pub use policy::PolicyCommand;
pub use report::{ReportArgs, ReportFormat};
pub use serve::ServeArgs;

const DEFAULT_SERVER: &str = "http://127.0.0.1:9095";
const TOKEN_BYTES_MAX: usize = 4096;

const AFTER_HELP: &str = "\
Exit codes:
  0  it worked
  1  it failed
  2  the command line was wrong
  3  refused by policy or a guard rail
  4  there was no data to answer from

Environment:
  ROLLGUARD_SERVER      as --server
  ROLLGUARD_TOKEN_FILE  as --token-file
  ROLLGUARD_TOKEN       the token itself
  NO_COLOR              as --no-color";

/// Watches every release after a deploy, and rolls it back when the evidence says so.
#[derive(Debug, Parser)]
#[command(name = "rollguard", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Args)]
pub struct Global {
    /// The daemon to talk to [default: http://127.0.0.1:9095]
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// File that holds your token
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Output on stdout: text for people, or one compact JSON document
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    /// No colours
    #[arg(long, global = true)]
    pub no_color: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the daemon
    Serve(ServeArgs),
    /// Check a configuration: all errors at once, with file, line and column
    Check(CheckArgs),
    /// Show it all in an embedded world, in a minute
    Demo(DemoArgs),
    /// Judge past releases: which would have been rolled back or paged, when and why
    #[command(after_help = backtest::AFTER_HELP)]
    Backtest(BacktestArgs),
    /// Targets, their versions and watches, and the rollbacks
    Status,
    /// Could each target be rolled back right now, to what, and if not why
    #[command(after_help = doctor::AFTER_HELP)]
    Doctor(DoctorArgs),
    /// One rollback: why, the plan, the checks and the timeline
    Show(RunArg),
    /// The incident report of a rollback: timeline, evidence, decisions, approvals, steps, what to look into
    Report(ReportArgs),
    /// The versions of a target, what became of them, and the rollbacks
    History(HistoryArgs),
    /// What a rollback would do now; nothing is changed
    Plan(PlanArgs),
    /// Roll a target back
    Rollback(RollbackArgs),
    /// Approve the plan of a rollback
    Approve(ApproveArgs),
    /// Deny a rollback, for good
    Deny(DenyArgs),
    /// Say that you have a page or a question in hand: it escalates no further
    Ack(AckArgs),
    /// Let a stuck rollback try its step again
    Resume(RunArg),
    /// Let a stuck rollback leave its step out
    Skip(RunArg),
    /// Stop a rollback where it is
    Abort(AbortArgs),
    /// Stop all automation, or let it go on
    Kill(KillArgs),
    /// What the policy of each service says, and what would happen when
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// What was decided and done, in a chain of hashes: check it, or hand it to somebody else
    #[command(subcommand, after_help = audit::AFTER_HELP)]
    Audit(AuditCommand),
    /// Tell the daemon that a target was released
    Release(ReleaseArgs),
    /// Let the daemon read its configuration again; what is under way is finished as it began
    Reload,
    /// What a code such as RG203 means, and what to do
    Explain(ExplainArgs),
    /// The JSON Schema of the configuration, for editors
    Schema,
    /// A script that lets your shell complete command lines
    Completion(CompletionArgs),
}

#[derive(Debug, Args)]
pub struct RunArg {
    /// The rollback, as `rollguard status` names it
    pub run: String,
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Such as shop/backend; `rollguard status` lists them
    #[arg(value_name = "SERVICE/TARGET", value_parser = target)]
    pub target: TargetId,
    #[command(flatten)]
    pub to: DestinationArgs,
}

#[derive(Debug, Args)]
pub struct DestinationArgs {
    /// A revision of the target's history instead of the known good version
    #[arg(long, value_name = "N")]
    pub to_revision: Option<u64>,
    /// An image instead of an earlier version, as `kubectl set image` takes it
    #[arg(long, value_name = "[CONTAINER=]IMAGE", value_parser = ImageChange::parse, conflicts_with = "to_revision")]
    pub to_image: Option<ImageChange>,
}

impl DestinationArgs {
    fn destination(&self) -> Destination {
        Destination::of(self.to_revision, self.to_image.clone()).unwrap_or(Destination::KnownGood)
    }
}

#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// Such as shop/backend; `rollguard status` lists them
    #[arg(value_name = "SERVICE/TARGET", value_parser = target)]
    pub target: TargetId,
    #[command(flatten)]
    pub to: DestinationArgs,
    /// Why, for the record and the messages
    #[arg(long, default_value = "", hide_default_value = true)]
    pub reason: String,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Wait until it is verified, or has failed
    #[arg(long)]
    pub wait: bool,
}

#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// The rollback, as `rollguard status` names it
    pub run: String,
    /// The plan that you mean: at least 12 characters of its digest; any other plan is refused
    #[arg(long, value_name = "DIGEST")]
    pub digest: Option<String>,
    /// In an emergency: your approval alone is enough; it pages, and is in the audit
    #[arg(long, requires = "reason")]
    pub break_glass: bool,
    /// Why the glass is broken, for the record and the messages
    #[arg(long, default_value = "", hide_default_value = true, requires = "break_glass")]
    pub reason: String,
}

#[derive(Debug, Args)]
pub struct AckArgs {
    /// A rollback, or a target such as shop/backend
    #[arg(value_name = "RUN|SERVICE/TARGET")]
    pub what: String,
}

#[derive(Debug, Args)]
pub struct DenyArgs {
    /// The rollback, as `rollguard status` names it
    pub run: String,
    /// Why, for the record and the messages
    #[arg(long)]
    pub reason: String,
}

#[derive(Debug, Args)]
pub struct AbortArgs {
    /// The rollback, as `rollguard status` names it
    pub run: String,
    /// Why, for the record and the messages
    #[arg(long, default_value = "", hide_default_value = true)]
    pub reason: String,
}

#[derive(Debug, Args)]
pub struct KillArgs {
    /// on: nothing is changed any more, not even by order; releases are still judged and paged
    #[arg(value_enum)]
    pub turn: Turn,
    /// Why, for the record and the messages
    #[arg(long, default_value = "", hide_default_value = true)]
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Turn {
    On,
    Off,
}

#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// Such as shop/backend; `rollguard status` lists them
    #[arg(value_name = "SERVICE/TARGET", value_parser = target)]
    pub target: TargetId,
    /// The version that was released
    #[arg(long)]
    pub version: String,
    /// When, as 2026-11-22T10:00:00Z; now, if missing
    #[arg(long, value_name = "TIME")]
    pub at: Option<Timestamp>,
}

fn target(text: &str) -> Result<TargetId, TargetError> {
    parse_target(text)
}

/// Carries a command line out, and answers with the process's exit code.
pub async fn run(cli: Cli) -> Exit {
    let out = Output::of_process(cli.global.output == Format::Json, cli.global.no_color);
    match dispatch(cli, &out).await {
        Ok(exit) => exit,
        Err(failure) => {
            out.note(&format!("rollguard: {failure}"));
            failure.exit
        }
    }
}

async fn dispatch(cli: Cli, out: &Output) -> Result<Exit, Failure> {
    let client = || client_of(&cli.global);
    match &cli.verb {
        Verb::Serve(args) => serve::run(args, out).await,
        Verb::Check(args) => check::run(args, out).await,
        Verb::Demo(args) => demo::run(args, out).await,
        Verb::Backtest(args) => backtest::run(args, out).await,
        Verb::Status => show::status(&client()?, out).await,
        Verb::Doctor(args) => doctor::run(args, &client()?, out).await,
        Verb::Show(args) => show::run(&args.run, &client()?, out).await,
        Verb::Report(args) => report::run(args, &client()?, out).await,
        Verb::History(args) => history::run(args, &client()?, out).await,
        Verb::Plan(args) => show::plan(args, &client()?, out).await,
        Verb::Rollback(args) => rollback::run(args, &client()?, out).await,
        Verb::Approve(args) => orders::approve(args, &client()?, out).await,
        Verb::Ack(args) => orders::acknowledge(args, &client()?, out).await,
        Verb::Deny(args) => orders::deny(args, &client()?, out).await,
        Verb::Resume(args) => orders::resume(&args.run, &client()?, out).await,
        Verb::Skip(args) => orders::skip(&args.run, &client()?, out).await,
        Verb::Abort(args) => orders::abort(args, &client()?, out).await,
        Verb::Kill(args) => orders::kill(args, &client()?, out).await,
        Verb::Policy(command) => policy::run(command, out),
        Verb::Audit(command) => audit::run(command, out).await,
        Verb::Release(args) => orders::release(args, &client()?, out).await,
        Verb::Reload => reload::run(&client()?, out).await,
        Verb::Explain(args) => explain::explain(args, out),
        Verb::Schema => explain::schema(out),
        Verb::Completion(args) => Ok(explain::completion(args)),
    }
}

fn client_of(global: &Global) -> Result<Client, Failure> {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let server = global.server.clone().or_else(|| set("ROLLGUARD_SERVER"));
    let file = global.token_file.clone().or_else(|| set("ROLLGUARD_TOKEN_FILE").map(PathBuf::from));
    let token = match file {
        Some(file) => Some(token_in(&file)?),
        None => set("ROLLGUARD_TOKEN").map(SecretString::from),
    };
    Ok(Client::new(server.as_deref().unwrap_or(DEFAULT_SERVER), token.as_ref())?)
}

fn token_in(file: &std::path::Path) -> Result<SecretString, Failure> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|e| Failure::new(Exit::Failure, format!("the token file {shown} cannot be read: {e}")))?;
    let token = text.trim();
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX || token.contains(char::is_whitespace) {
        let message = format!("the token file {shown} does not hold one token on one line");
        return Err(Failure::new(Exit::Failure, message));
    }
    Ok(SecretString::from(token))
}
