//! `rollguard check`: whether a configuration is right, and with `--live` whether what it names is there.
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::output::clean;
use super::serve::{failure, loaded};
use super::{Exit, Failure, Output, policy};
use crate::app::live;
use crate::config::Config;

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Ask the cluster and the metric sources too
    #[arg(long)]
    pub live: bool,
}

pub(super) async fn run(args: &CheckArgs, out: &Output) -> Result<Exit, Failure> {
    let config = loaded(&args.config, out)?;
    live::buildable(&config).map_err(|e| failure(&e))?;
    let findings = if args.live { live::look(&config).await.map_err(|e| failure(&e))? } else { Vec::new() };
    let ok = findings.iter().all(|finding| finding.ok);
    let line = |f: &live::Finding| format!("[{}] {}: {}", if f.ok { "+" } else { "-" }, f.what, f.detail);
    let right = format!("{} is right: {}", args.config.display(), summary(&config));
    let hash = format!("hash, as the journal names it: {}", config.hash());
    let samples: Vec<_> = config.notify.templates.all().map(|(o, t)| (o.as_str(), t.sample(o))).collect();
    let sample = |(occasion, text): &(&str, String)| {
        let text: String = text.lines().map(|line| format!("\n  {}", clean(line))).collect();
        format!("notify.templates.{occasion}, with sample data:{text}")
    };
    let table = policy::table(&config);
    let text = || {
        let lines = [right, hash, table].into_iter().chain(findings.iter().map(line));
        lines.chain(samples.iter().map(sample)).collect::<Vec<_>>().join("\n")
    };
    let listed: Vec<_> =
        findings.iter().map(|f| json!({"what": f.what, "ok": f.ok, "detail": f.detail})).collect();
    let services: Vec<_> = config.services.iter().map(|s| s.name.as_str()).collect();
    let templates: serde_json::Map<_, _> =
        samples.iter().map(|(occasion, text)| (occasion.to_string(), text.as_str().into())).collect();
    let document = json!({
        "ok": ok, "services": services, "hash": config.hash(), "live": listed, "templates": templates,
        "policies": policy::tables(&config),
    });
    out.result(&document, text)?;
    Ok(if ok { Exit::Ok } else { Exit::Failure })
}

fn summary(config: &Config) -> String {
    let service = |s: &crate::config::ServiceConfig| {
        let policy = policy::word(s);
        format!(
            "{} ({policy}, {} targets, {} rules, {} checks)",
            s.name,
            s.targets.len(),
            s.rules.len(),
            s.checks.len()
        )
    };
    config.services.iter().map(service).collect::<Vec<_>>().join(", ")
}
