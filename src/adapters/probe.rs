//! Asks a service from outside: the same for the checks after a rollback and for the rules of a watch.
mod answer;
mod certificate;
mod cookies;
mod journey;

use std::time::Duration;

use reqwest::{Client, StatusCode};

use super::endpoint::Endpoint;
use super::outbound::describe;
use crate::adapters::mask::Mask;
use crate::config::Secrets;
use crate::domain::answer::Wanted;
use crate::domain::probe::{HttpProbe, Probe};
use answer::{Answer, has_version, wrong_status};
pub(super) use certificate::Witness;

/// Whether the service answers as it should; either way with a short sentence about it. Every failure is one of the
/// service, which is what is being checked. `client` must not follow redirects: a login page is not a healthy service.
pub async fn ask(client: &Client, probe: &Probe, secrets: &Secrets) -> Result<String, String> {
    match probe {
        Probe::Http(http) => answers(client, http).await,
        Probe::Journey(journey) => journey::travel(client, journey, secrets).await,
        Probe::Certificate(certificate) => certificate::look(certificate, probe.timeout()).await,
    }
}

async fn answers(client: &Client, http: &HttpProbe) -> Result<String, String> {
    let endpoint = Endpoint::parse(&http.url).map_err(|e| e.to_string())?;
    let timeout = Duration::try_from_secs_f64(http.timeout_secs).map_err(|e| e.to_string())?;
    let request = client.get(endpoint.url()).timeout(timeout);
    let Wanted { status, expect, within_secs } = &http.wanted;
    let (response, watch) = answer::send(request).await?;
    // A body that nobody asks about is not waited for.
    if expect.is_empty() && within_secs.is_none() {
        let found = response.status();
        return match status.accept(found.as_u16()) {
            true => Ok(format!("HTTP {}", found.as_u16())),
            false => Err(wrong_status(found, status)),
        };
    }
    Answer::read(response, watch).await?.meets(&http.wanted, &Mask::default())
}

/// Whether the URL answers with this version: at the JSON pointer, or anywhere as a whole word.
pub async fn names_version(
    client: &Client,
    url: &str,
    pointer: Option<&str>,
    label: &str,
    timeout: Duration,
) -> Result<String, String> {
    let endpoint = Endpoint::parse(url).map_err(|e| e.to_string())?;
    let response = client.get(endpoint.url()).timeout(timeout).send().await.map_err(|e| describe(&e))?;
    if response.status() != StatusCode::OK {
        return Err(wrong_status(response.status(), &200.into()));
    }
    let body = answer::body_of(response).await?;
    has_version(&body, pointer, label)
}
