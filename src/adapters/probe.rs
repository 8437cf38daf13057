//! A GET and what its answer must be: the same for the checks after a rollback and for the rules of a watch.
mod body;

use std::time::Duration;

use reqwest::{Client, Response, StatusCode};

use super::endpoint::Endpoint;
use super::outbound::{describe, read_body};
use crate::domain::verification::Expect;

const BODY_MAX_BYTES: usize = 1024 * 1024;

/// Whether the URL answers with this status and content; either way with a short sentence about it. Every failure is one
/// of the endpoint, which is what is being checked. `client` must not follow redirects: a login page is not a healthy
/// service.
pub async fn answers(
    client: &Client,
    url: &str,
    (status, expect): (u16, &[Expect]),
    timeout: Duration,
) -> Result<String, String> {
    let response = get(client, url, timeout).await?;
    let found = response.status();
    if found.as_u16() != status {
        return Err(wrong_status(found, status));
    }
    if expect.is_empty() {
        return Ok(format!("HTTP {status}"));
    }
    let text = read_body(response, BODY_MAX_BYTES).await.map_err(|e| e.to_string())?;
    let met: Vec<String> = expect.iter().map(|e| body::met(&text, e)).collect::<Result<_, _>>()?;
    Ok(format!("{status}, {}", met.join(", ")))
}

/// Whether the URL answers with this version: at the JSON pointer, or anywhere as a whole word.
pub async fn names_version(
    client: &Client,
    url: &str,
    pointer: Option<&str>,
    label: &str,
    timeout: Duration,
) -> Result<String, String> {
    let response = get(client, url, timeout).await?;
    if response.status() != StatusCode::OK {
        return Err(wrong_status(response.status(), 200));
    }
    let text = read_body(response, BODY_MAX_BYTES).await.map_err(|e| e.to_string())?;
    body::has_version(&text, pointer, label)
}

async fn get(client: &Client, url: &str, timeout: Duration) -> Result<Response, String> {
    let endpoint = Endpoint::parse(url).map_err(|e| e.to_string())?;
    let sent = client.get(endpoint.url()).timeout(timeout).send().await;
    sent.map_err(|error| describe(&error))
}

fn wrong_status(found: StatusCode, wanted: u16) -> String {
    let hint = if found.is_redirection() { " (redirects are not followed)" } else { "" };
    format!("HTTP {} instead of {wanted}{hint}", found.as_u16())
}
