//! The one place that builds HTTP clients: rustls, no redirects, timeouts, bounded answers, errors without secrets.
use std::error::Error as _;
use std::ops::Deref;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Response};

/// For those who only hand it on.
pub type HttpClient = Client;

/// How we introduce ourselves.
const USER_AGENT: &str = concat!("rollguard/", env!("CARGO_PKG_VERSION"));
/// Connecting takes no longer than this, however long the whole exchange may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Longer explanations of other people's errors are cut.
const DETAIL_MAX: usize = 200;

/// Why there is no client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no HTTP client can be made: {why}; are the system's CA certificates installed?")]
pub struct ClientError {
    why: String,
}

/// Why an answer's body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the answer is longer than {limit} bytes")]
    TooLong { limit: usize },
    #[error("the answer broke off: {why}")]
    Broken { why: String },
}

/// A builder with all our settings, for those who add certificates or default headers to it.
pub fn builder(timeout: Duration) -> ClientBuilder {
    Client::builder()
        .user_agent(USER_AGENT)
        .redirect(Policy::none())
        .referer(false)
        .timeout(timeout)
        .connect_timeout(timeout.min(CONNECT_MAX))
}

/// Finishes what [`builder`] began.
///
/// # Errors
/// When TLS cannot be set up on this machine.
pub fn build(builder: ClientBuilder) -> Result<Client, ClientError> {
    builder.build().map_err(|error| ClientError { why: describe(&error) })
}

/// Reads a whole body of at most `limit` bytes.
///
/// # Errors
/// When it is longer or breaks off.
pub async fn read_body(mut response: Response, limit: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = next_chunk(&mut response).await? {
        if body.len() + chunk.len() > limit {
            return Err(BodyError::TooLong { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The next piece of a body, for those who need not hold all of it.
///
/// # Errors
/// When the connection breaks off or the client's timeout is over.
pub async fn next_chunk(
    response: &mut Response,
) -> Result<Option<impl Deref<Target = [u8]> + use<>>, BodyError> {
    response.chunk().await.map_err(|error| BodyError::Broken { why: describe(&error) })
}

/// What went wrong, for people and logs. Never contains the URL, which may hold a secret (as Slack's do).
pub fn describe(error: &reqwest::Error) -> String {
    let what = if error.is_timeout() {
        return "timed out".into();
    } else if error.is_dns() {
        "the host name cannot be resolved"
    } else if error.is_connect() {
        "cannot connect"
    } else if error.is_builder() {
        "the request cannot be built"
    } else if error.is_decode() || error.is_body() {
        "the body cannot be read"
    } else {
        "the request failed"
    };
    match root_cause(error) {
        Some(cause) => format!("{what}: {cause}"),
        None => what.into(),
    }
}

/// The innermost error's text, unless it may quote what was sent or received.
fn root_cause(error: &reqwest::Error) -> Option<String> {
    let mut cause = error.source()?;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if cause.is::<serde_json::Error>() || cause.is::<reqwest::Error>() {
        return None;
    }
    let text = shorten(&cause.to_string());
    (!text.contains("://")).then_some(text)
}

/// Somebody else's text, fit for a log line: one line, not too long.
pub fn shorten(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(DETAIL_MAX).map(clean).collect();
    if text.chars().nth(DETAIL_MAX).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "T00/B00/hush";

    async fn error_of(base: &str) -> String {
        let client = build(builder(Duration::from_secs(2)).no_proxy()).unwrap();
        let error = client.get(format!("{base}/{SECRET}")).send().await.unwrap_err();
        describe(&error)
    }

    #[tokio::test]
    async fn errors_say_what_happened_and_keep_secrets() {
        let refused = error_of("http://127.0.0.1:1").await;
        assert!(refused.starts_with("cannot connect: Connection refused"), "{refused}");
        let named = error_of("http://user:hush@rollguard.invalid").await;
        let bad = error_of("nonsense").await;
        assert_eq!(bad, "the request cannot be built: relative URL without a base");
        for text in [refused, named, bad] {
            assert!(!text.contains("hush") && !text.contains("127.0.0.1"), "{text}");
        }
    }

    #[test]
    fn foreign_text_becomes_one_short_line() {
        assert_eq!(shorten("a\nb"), "a b");
        assert_eq!(shorten(&"é".repeat(300)).chars().count(), DETAIL_MAX + 1);
    }
}
