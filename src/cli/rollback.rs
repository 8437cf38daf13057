//! `rollguard rollback`: shows the plan, asks, orders, and with `--wait` stays until it is verified.
use std::collections::BTreeSet;
use std::time::Duration;

use super::orders::told;
use super::show::unread;
use super::{Exit, Failure, Output, RollbackArgs, render};
use crate::client::dto::{RollbackRequest, RunAnswer};
use crate::client::{Client, ClientError};
use crate::domain::names::ServiceName;

const POLL_EVERY: Duration = Duration::from_secs(1);
/// Polls without a run, or without an answer, before waiting is given up. The order stands.
const PATIENCE_POLLS: u32 = 30;

pub(super) async fn run(args: &RollbackArgs, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let plan = client.plan(&args.target, &args.to.destination()).await.map_err(unread)?;
    out.text(&render::plan(&plan));
    confirm(args, out)?;
    let known = runs_of(client, &args.target.service).await?;
    let request = RollbackRequest {
        service: args.target.service.clone(),
        target: args.target.target.clone(),
        revision: args.to.to_revision,
        image: args.to.to_image.clone(),
        reason: args.reason.clone(),
    };
    let answer = client.rollback(&request).await?;
    if !args.wait {
        return told(&answer, &format!("rollback of {}", args.target), out);
    }
    let run = begun(client, &args.target.service, &known).await?;
    let answer = ended(client, &run, out).await?;
    out.result(&answer, || render::run(&answer, out.color()))?;
    Ok(exit_of(&answer))
}

fn confirm(args: &RollbackArgs, out: &Output) -> Result<(), Failure> {
    if args.yes {
        return Ok(());
    }
    if !out.interactive() {
        return Err(Failure::new(Exit::Usage, "nobody is here to confirm this: add --yes if you mean it"));
    }
    let wanted = args.target.to_string();
    let typed = out.ask(&format!("Type {wanted} to roll it back:"));
    if typed.as_deref() == Some(wanted.as_str()) {
        return Ok(());
    }
    Err(Failure::new(Exit::Failure, "not confirmed: nothing was changed"))
}

async fn runs_of(client: &Client, service: &ServiceName) -> Result<BTreeSet<String>, ClientError> {
    let runs = client.runs().await?.runs.into_iter();
    Ok(runs.filter(|run| run.service == *service).map(|run| run.run).collect())
}

/// Waits for the run that the order begins.
async fn begun(client: &Client, service: &ServiceName, known: &BTreeSet<String>) -> Result<String, Failure> {
    for _ in 0..PATIENCE_POLLS {
        tokio::time::sleep(POLL_EVERY).await;
        let now = runs_of(client, service).await?;
        if let Some(run) = now.difference(known).next() {
            return Ok(run.clone());
        }
    }
    let message = "the order is accepted, but no rollback has begun: see `rollguard status` for why";
    Err(Failure::new(Exit::Refused, message))
}

/// Follows a run until it is verified, needs a person, or is over. A daemon that restarts meanwhile is waited for.
async fn ended(client: &Client, run: &str, out: &Output) -> Result<RunAnswer, Failure> {
    let (mut seen, mut unanswered) = (0, 0);
    loop {
        match client.run(run).await {
            Ok(answer) => {
                unanswered = 0;
                answer.timeline.iter().skip(seen).for_each(|moment| out.note(&render::moment(moment)));
                seen = answer.timeline.len();
                if answer.verified.is_some() || !answer.open || answer.phase == "stuck" {
                    return Ok(answer);
                }
            }
            Err(ClientError::Unreachable { .. }) if unanswered < PATIENCE_POLLS => unanswered += 1,
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}

fn exit_of(answer: &RunAnswer) -> Exit {
    if answer.verified == Some(true) && answer.phase != "still bad" { Exit::Ok } else { Exit::Failure }
}
