//! `rollguard backtest`: what the judge would have decided about past releases, as lines, a table or charts.
pub mod chart;
mod past;
mod told;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::serve::failure;
use super::{Exit, Failure, Output};
use crate::app::backtest::{
    Judged, News, Options, Order, PastSource, Policies, Tally, paced, policies, run as judge, run_past,
};
use crate::config::{Config, load};
use crate::domain::names::{NameError, ServiceName, TargetId};
use past::PastArgs;
use told::{Line, Told};

pub(super) const AFTER_HELP: &str = "\
Without --config, rules are those of the runbook (error-rate over 5 %, latency up over 50 %), the policy is `auto`, and
the watch lasts 30 minutes. With it, services that it does not name are judged so all the same.

What a recording cannot tell is taken to be well: that the way back is open, and that no other rollback is under way.
Under the policy `observe`, what would have been done is shown. Several recordings are judged each by itself, but with
--fleet together, in the order of time.

With --prometheus URL --config FILE --from TIME, the releases of the configured Deployments are found from
kube-state-metrics, and what the rules measure is read in steps of 15 seconds from an hour before each to the end of its
watch. Versions are named by the hash of their ReplicaSet. Without kube-state-metrics, name them with --release.

With -o json, one line per release, in the order in which their watches ended.";

/// Broken lines that are told one by one; the others are counted.
const BROKEN_TOLD: u64 = 5;

#[derive(Debug, Args)]
pub struct BacktestArgs {
    /// Recordings, as `serve` keeps them: JSON lines, gzipped or not
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "prometheus",
        conflicts_with = "prometheus",
        num_args = 1..
    )]
    pub recording: Vec<PathBuf>,
    #[command(flatten)]
    pub past: PastArgs,
    /// The configuration whose rules and policies judge
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A second configuration: shows where its decisions differ
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// Write a chart of each release into this directory
    #[arg(long, value_name = "DIR")]
    pub chart: Option<PathBuf>,
    /// Guard rails across services count: many that trip at once are nobody's release
    #[arg(long)]
    pub fleet: bool,
    /// Only this service
    #[arg(long, value_name = "NAME", value_parser = service)]
    pub service: Option<ServiceName>,
}

fn service(text: &str) -> Result<ServiceName, NameError> {
    ServiceName::parse(text)
}

/// What stands for a secret that is not here.
const UNSET: &str = "https://unset.invalid/";

pub(super) async fn run(args: &BacktestArgs, out: &Output) -> Result<Exit, Failure> {
    let config = args.config.as_deref().map(|path| configured(path, args, out)).transpose()?;
    let compare = args.compare.as_deref().map(|path| configured(path, args, out)).transpose()?;
    let past = args.past.source(config.clone())?;
    if let Some(dir) = &args.chart {
        fs::create_dir_all(dir).map_err(|e| unwritable(dir, &e))?;
    }
    let order = Order {
        policies: config.as_ref().map_or_else(|| Policies::new([]), policies),
        compare: compare.as_ref().map(policies),
        only: args.service.clone(),
        options: Options { fleet: args.fleet, traced: args.chart.is_some() },
    };
    let mut told = Told::new(args.compare.as_deref());
    let tally = judged(&order, past.as_ref(), args, &mut told, out).await?;
    told.finish(&tally, out);
    left_out(&tally, out);
    unnamed(&tally, config.as_ref(), out);
    if tally.releases == 0 {
        let nowhere = if past.is_some() { "no release was found" } else { "the recordings hold no release" };
        return Err(Failure::new(Exit::NoData, format!("{nowhere}: nothing was judged")));
    }
    Ok(Exit::Ok)
}

/// Judges the past of a Prometheus, or recordings where there is none, and tells of each release.
async fn judged(
    order: &Order,
    past: Option<&PastSource>,
    args: &BacktestArgs,
    told: &mut Told,
    out: &Output,
) -> Result<Tally, Failure> {
    let (mut broken, mut failed) = (0, None);
    let mut tell = |news| match news {
        News::Judged { judged, compared } => {
            let done = tell(&Line { judged, compared }, args, told, out);
            failed = failed.take().or(done.err());
        }
        News::Broken { path, why } => {
            broken += 1;
            if broken <= BROKEN_TOLD {
                out.note(&format!("{}: {why}: the line is left out", path.display()));
            }
        }
        News::Unknown(targets) => unknown(&targets, out),
    };
    let tally = match past {
        Some(past) => run_past(past, order, &mut tell).await.map_err(|e| failure(&e)),
        None => judge(&args.recording, order, &mut tell).map_err(|e| failure(&e)),
    };
    failed.map_or(tally, Err)
}

fn unknown(targets: &[TargetId], out: &Output) {
    let list = targets.iter().map(TargetId::to_string).collect::<Vec<_>>().join(", ");
    out.note(&format!(
        "kube-state-metrics tells nothing of {list} in that time: name the releases with --release, or see that it is scraped"
    ));
}

/// A backtest sends nothing to anybody: secrets that are not here are not needed either.
fn configured(path: &Path, args: &BacktestArgs, out: &Output) -> Result<Config, Failure> {
    let env = |name: &str| {
        let set = std::env::var(name).ok();
        set.or_else(|| Some(format!("{UNSET}{name}")))
    };
    let loaded = load(path, &env).map_err(|errors| Failure::new(Exit::Failure, errors.to_string()))?;
    loaded.warnings.iter().for_each(|warning| out.note(&warning.to_string()));
    Ok(if args.past.prometheus.is_some() { paced(loaded.config) } else { loaded.config })
}

fn tell(line: &Line, args: &BacktestArgs, told: &mut Told, out: &Output) -> Result<(), Failure> {
    if let Some(dir) = &args.chart {
        write_chart(dir, &line.judged)?;
    }
    told.line(line, out)
}

fn write_chart(dir: &Path, judged: &Judged) -> Result<(), Failure> {
    let Some(svg) = chart::svg(judged) else { return Ok(()) };
    let file = dir.join(chart::file_name(judged));
    fs::write(&file, svg).map_err(|e| unwritable(&file, &e))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    let text = format!("{} cannot be written: {error}; name another directory with --chart", path.display());
    Failure::new(Exit::Failure, text)
}

fn left_out(tally: &Tally, out: &Output) {
    let left = tally.left_out;
    let counted = [
        (tally.broken.saturating_sub(BROKEN_TOLD), "further lines could not be read and were left out"),
        (tally.unknown, "lines were of kinds that this version does not know, and were skipped"),
        (
            left.out_of_order,
            "lines were more than an hour late and were left out: sort the recording by time",
        ),
        (left.nameless, "release lines name no version and were left out"),
        (
            left.no_room,
            "lines were beyond the limits on services, targets and watches at once, and were left out",
        ),
    ];
    for (count, what) in counted.iter().filter(|(count, _)| *count > 0) {
        out.note(&format!("{count} {what}"));
    }
}

fn unnamed(tally: &Tally, config: Option<&Config>, out: &Output) {
    let Some(config) = config else { return };
    let named: BTreeSet<&ServiceName> = config.services.iter().map(|service| &service.name).collect();
    let strangers = tally.services.iter().filter(|service| !named.contains(service));
    let strangers: Vec<&str> = strangers.map(ServiceName::as_str).collect();
    if !strangers.is_empty() {
        let list = strangers.join(", ");
        out.note(&format!("not in the configuration, so judged by the standard runbook: {list}"));
    }
}
