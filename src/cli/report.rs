//! `rollguard report`: a rollback as the review after it needs it.
use clap::{Args, ValueEnum};

use super::{Exit, Failure, Output};
use crate::client::Client;

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The rollback, as `rollguard status` names it
    pub run: String,
    /// What is written; `-o json` has all of it for machines
    #[arg(long, value_enum, default_value_t = ReportFormat::Markdown)]
    pub format: ReportFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    Markdown,
    /// One page that needs nothing else
    Html,
}

pub(super) async fn run(args: &ReportArgs, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let report = client.report(&args.run).await?;
    out.result(&report, || match args.format {
        ReportFormat::Markdown => report.markdown(),
        ReportFormat::Html => report.html(),
    })?;
    Ok(Exit::Ok)
}
