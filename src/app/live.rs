//! `check --live`: asks the cluster and the sources whether what the configuration names is there.
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::rooms::Rooms;
use super::{AppError, build, channels, outside};
use crate::adapters::signals::http::HttpSource;
use crate::config::Config;
use crate::domain::names::TargetId;
use crate::domain::owner::hold;
use crate::domain::signal::{Reading, Sample};
use crate::domain::survey::Survey;
use crate::domain::workload::UpdateStrategy;
use crate::engine::clock::SystemClock;
use crate::ports::{Ask, AskTarget, Clock, History, SignalSource, Target};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub what: String,
    pub ok: bool,
    pub detail: String,
}

/// An answer takes no longer than this.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// Builds all adapters without asking anybody: what a selector or an address has wrong shows here.
///
/// # Errors
/// The first adapter that cannot be built.
pub fn buildable(config: &Config) -> Result<(), AppError> {
    build::sources(config)?;
    channels::notifiers(config)?;
    build::checks(config)?;
    Ok(())
}

/// Asks everything once.
///
/// # Errors
/// When the adapters cannot even be built.
pub async fn look(config: &Config) -> Result<Vec<Finding>, AppError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let cluster = build::cluster(config, clock.clone()).await?;
    let port = Rooms::new(build::kinds(config), Arc::new(cluster.targets()), &build::rooms(config)?);
    let targets: Vec<TargetId> = build::fleet(config).targets().map(|(id, _)| id).collect();
    let mut findings = Vec::new();
    for target in &targets {
        findings.push(survey(&port, target).await);
    }
    let to = clock.now();
    let from = to.saturating_sub(SignedDuration::from_mins(5)).unwrap_or(to);
    for source in build::measuring(config)? {
        for target in &targets {
            let about = AskTarget { target: target.clone(), pods: vec![] };
            let history = tokio::time::timeout(ANSWER_MAX, source.history(&about, from, to)).await;
            let what = format!("{} about {target}", source.name());
            let (ok, detail) = match history {
                Err(_) => (false, "no answer in time".to_string()),
                Ok(history) => match history.missing {
                    Some(why) => (source.intervals().1.is_some(), why),
                    None => (true, format!("{} rules have a past", with_past(&history))),
                },
            };
            findings.push(Finding { what, ok, detail });
        }
    }
    for http in outside::sources(config)? {
        findings.extend(checked(&http, &targets, to).await);
    }
    Ok(findings)
}

fn with_past(history: &History) -> usize {
    history.batches.len() + history.times.len() + history.values.len()
}

/// What the HTTP checks of each service answer now.
async fn checked(http: &HttpSource, targets: &[TargetId], at: Timestamp) -> Vec<Finding> {
    let mut about: Vec<AskTarget> = Vec::new();
    for target in targets {
        if !about.iter().any(|other| other.target.service == target.service) {
            about.push(AskTarget { target: target.clone(), pods: vec![] });
        }
    }
    let samples = http.read(&Ask { at, targets: about }).await;
    let finding = |sample: Sample| match sample.reading {
        Reading::Check { rule, ok, detail } => {
            Some(Finding { what: format!("check {rule} of {}", sample.service), ok, detail })
        }
        Reading::Release { .. }
        | Reading::Counts { .. }
        | Reading::Histogram { .. }
        | Reading::Value { .. }
        | Reading::Pod(_)
        | Reading::Alert { .. }
        | Reading::Control { .. }
        | Reading::Remark { .. }
        | Reading::NoData { .. } => None,
    };
    samples.into_iter().filter_map(finding).collect()
}

async fn survey(port: &dyn Target, target: &TargetId) -> Finding {
    let what = format!("target {target}");
    let survey = tokio::time::timeout(ANSWER_MAX, port.survey(target)).await;
    let (ok, detail) = match survey {
        Err(_) => (false, "no answer in time".to_string()),
        Ok(Err(error)) => (false, error.to_string()),
        Ok(Ok(survey @ (Survey::Frontend(_) | Survey::Database(_) | Survey::Infrastructure(_)))) => {
            (true, format!("runs {}", survey.version().label))
        }
        Ok(Ok(Survey::Kubernetes(survey))) => {
            match (hold(survey.origin.owner.as_ref()), survey.paused, survey.history.len()) {
                (Err(owner), _, _) => {
                    (false, format!("it belongs to {}; {}", owner.objection(), owner.advice()))
                }
                (Ok(_), true, _) => {
                    (false, "it is paused, and a paused Deployment cannot be rolled back".to_string())
                }
                (Ok(_), false, _) if survey.update == UpdateStrategy::OnDelete => (
                    false,
                    "its update strategy is OnDelete, so its pods change only when they are deleted"
                        .to_string(),
                ),
                (Ok(_), false, 0 | 1) => {
                    (true, format!("runs {}, and has no earlier revision yet", survey.version.label))
                }
                (Ok(_), false, n) => {
                    (true, format!("runs {}, with {} earlier revisions", survey.version.label, n - 1))
                }
            }
        }
    };
    Finding { what, ok, detail }
}
