//! `rollguard serve`: the daemon.
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{Exit, Failure, Output};
use crate::app::{Guarding, Reread};
use crate::config::{Config, load};

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

pub(super) async fn run(args: &ServeArgs, out: &Output) -> Result<Exit, Failure> {
    log_to_stderr();
    let config = loaded(&args.config, out)?;
    let mut hang_up = handler(SignalKind::hangup())?;
    let file = args.config.clone();
    let reread: Reread = Box::new(move || load(&file, &env));
    let guarding = Guarding::of(&config).map_err(|e| failure(&e))?;
    let daemon = guarding.start(config, Some(reread)).await.map_err(|e| failure(&e))?;
    let (stopper, reloads) = (daemon.stopper(), daemon.reloads());
    tokio::spawn(async move {
        while hang_up.recv().await.is_some() {
            // What came of it is in the log.
            drop(reloads.reload("SIGHUP").await);
        }
    });
    let (mut terminate, mut interrupt) =
        (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: open runs are kept in the journal and go on with the next start");
        stopper.cancel();
    });
    guarding.wait(daemon).await.map_err(|e| failure(&e))?;
    tracing::info!("stopped");
    Ok(Exit::Ok)
}

/// The configuration, with its warnings told and its errors as the failure.
pub(super) fn loaded(path: &std::path::Path, out: &Output) -> Result<Config, Failure> {
    let loaded = load(path, &env).map_err(|errors| Failure::new(Exit::Failure, errors.to_string()))?;
    loaded.warnings.iter().for_each(|warning| out.note(&warning.to_string()));
    Ok(loaded.config)
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// An error with all its causes, outermost first.
pub(super) fn failure(error: &dyn std::error::Error) -> Failure {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    Failure::new(Exit::Failure, text)
}

fn handler(kind: SignalKind) -> Result<tokio::signal::unix::Signal, Failure> {
    signal(kind).map_err(|e| Failure::new(Exit::Failure, format!("signals cannot be received: {e}")))
}

/// JSON lines unless a person is looking. `RUST_LOG` chooses what; rollguard's own news by default.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("rollguard=info,warn"));
    // A line that cannot be written is lost: to complain of that on stderr, which is full, would end the process.
    let logs = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
    let logs = logs.with_writer(std::io::stderr);
    let set = if std::io::stderr().is_terminal() { logs.try_init() } else { logs.json().try_init() };
    // Another subscriber was there first: then it is used.
    drop(set);
}
