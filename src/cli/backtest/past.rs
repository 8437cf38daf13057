//! `rollguard backtest --prometheus`: which past of which Prometheus is asked for.
use clap::Args;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::super::{Exit, Failure};
use super::UNSET;
use crate::app::backtest::{GivenRelease, PastSource};
use crate::client::dto::parse_target;
use crate::config::Config;

#[derive(Debug, Args)]
pub struct PastArgs {
    /// A Prometheus whose past is judged instead of recordings, such as http://127.0.0.1:9090
    #[arg(long, value_name = "URL")]
    pub prometheus: Option<Url>,
    /// Releases from then on, as 2026-11-22T10:00:00Z
    #[arg(long, value_name = "TIME", requires = "prometheus")]
    pub from: Option<Timestamp>,
    /// Releases until then [default: now]
    #[arg(long, value_name = "TIME", requires = "prometheus")]
    pub to: Option<Timestamp>,
    /// Only this release, such as shop/backend=v2@2026-11-22T10:00:00Z; may be given several times
    #[arg(long, value_name = "SERVICE/TARGET=LABEL@TIME", requires = "prometheus", value_parser = release)]
    pub release: Vec<GivenRelease>,
}

fn release(text: &str) -> Result<GivenRelease, String> {
    let parts = text.split_once('=').and_then(|(target, rest)| Some((target, rest.rsplit_once('@')?)));
    let (target, (label, at)) =
        parts.filter(|(_, (label, _))| !label.is_empty()).ok_or("write SERVICE/TARGET=LABEL@TIME")?;
    let target = parse_target(target).map_err(|error| error.to_string())?;
    let at = at.parse().map_err(|error: jiff::Error| format!("{at:?} is no time: {error}"))?;
    Ok(GivenRelease { target, label: label.to_string(), at })
}

impl PastArgs {
    /// The past that is asked for; `None` where recordings are.
    pub(super) fn source(&self, config: Option<Config>) -> Result<Option<PastSource>, Failure> {
        let usage = |text: &str| Err(Failure::new(Exit::Usage, text));
        let Some(url) = self.prometheus.clone() else { return Ok(None) };
        let Some(mut config) = config else {
            return usage(
                "--prometheus needs --config: it says which services there are, and which series measure them",
            );
        };
        let earliest = self.release.iter().map(|release| release.at).min();
        let Some(from) = self.from.or(earliest) else {
            return usage("--prometheus needs --from, or the releases themselves with --release");
        };
        if self.to.is_some_and(|to| to < from) {
            return usage("--to is before --from");
        }
        if let Some(prometheus) = &mut config.sources.prometheus {
            prometheus.bearer_token = prometheus.bearer_token.take().filter(is_set);
            prometheus.headers.retain(|(_, value)| is_set(value));
        }
        Ok(Some(PastSource { url, config, from, to: self.to, given: self.release.clone() }))
    }
}

/// What only stands for a secret that is not here is sent to nobody.
fn is_set(secret: &SecretString) -> bool {
    !secret.expose_secret().starts_with(UNSET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_given_as_target_label_and_time() {
        let given = release("shop/backend=registry/shop:v2@sha256@2026-11-22T10:00:00Z").unwrap();
        assert_eq!(
            (given.target.to_string(), given.label),
            ("shop/backend".into(), "registry/shop:v2@sha256".into())
        );
        assert_eq!(given.at.to_string(), "2026-11-22T10:00:00Z");
        for bad in [
            "",
            "shop/backend",
            "shop/backend=v2",
            "shop=v2@2026-11-22T10:00:00Z",
            "shop/backend=@2026-11-22T10:00:00Z",
            "shop/backend=v2@soon",
        ] {
            assert!(release(bad).is_err(), "{bad}");
        }
    }
}
