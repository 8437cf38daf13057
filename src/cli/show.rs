//! The verbs that only look: `status`, `show` and `plan`.
use serde::Serialize;

use super::{Exit, Failure, Output, PlanArgs, render};
use crate::client::dto::{RunStatus, ServicesAnswer};
use crate::client::{Client, ClientError};

/// `status -o json`: both answers as one document.
#[derive(Serialize)]
struct Status<'a> {
    #[serde(flatten)]
    services: &'a ServicesAnswer,
    runs: &'a [RunStatus],
}

pub(super) async fn status(client: &Client, out: &Output) -> Result<Exit, Failure> {
    let (services, runs) = (client.services().await?, client.runs().await?);
    let document = Status { services: &services, runs: &runs.runs };
    out.result(&document, || render::status(&services, &runs, out.color()))?;
    Ok(Exit::Ok)
}

pub(super) async fn run(run: &str, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let answer = client.run(run).await?;
    out.result(&answer, || render::run(&answer, out.color()))?;
    Ok(Exit::Ok)
}

pub(super) async fn plan(args: &PlanArgs, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let plan = client.plan(&args.target, &args.to.destination()).await.map_err(unread)?;
    out.result(&plan, || render::plan(&plan))?;
    Ok(Exit::Ok)
}

/// A target that cannot be read now leaves nothing to draft a plan from.
pub(super) fn unread(error: ClientError) -> Failure {
    let no_data = matches!(&error, ClientError::Answered { status: 503, .. });
    let failure = Failure::from(error);
    if no_data { Failure { exit: Exit::NoData, ..failure } } else { failure }
}
