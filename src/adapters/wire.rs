//! What outgoing HTTP shares: addresses that never show up in texts, errors without them, bodies with a limit.
use std::error::Error;
use std::fmt;

use reqwest::Url;

/// An http(s) address. Its path or query may be a secret, so it is never shown.
#[derive(Clone)]
pub struct Endpoint(Url);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the address is not an absolute http:// or https:// URL; it is not shown because it may hold a secret"
)]
pub struct EndpointError;

impl Endpoint {
    /// # Errors
    /// Anything but an absolute http(s) URL with a host.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let url = Url::parse(text.trim()).map_err(|_| EndpointError)?;
        let usable = matches!(url.scheme(), "http" | "https") && url.has_host();
        if usable { Ok(Self(url)) } else { Err(EndpointError) }
    }

    /// The address of `segments` below this one, whose own path is kept.
    pub(crate) fn below(&self, segments: &[&str]) -> Self {
        let mut url = self.0.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        Self(url)
    }

    pub(crate) fn with_query<'a>(mut self, pairs: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        self.0.query_pairs_mut().extend_pairs(pairs);
        self
    }

    pub(crate) fn url(&self) -> Url {
        self.0.clone()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Endpoint(not shown)")
    }
}

/// What went wrong, without the address: reqwest's own text shows it, its causes do not.
pub(crate) fn describe(error: &reqwest::Error) -> String {
    let what = if error.is_timeout() {
        return "no answer in time".to_string();
    } else if error.is_connect() {
        "could not connect"
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else {
        "the request failed"
    };
    let mut root = error.source();
    while let Some(cause) = root.and_then(Error::source) {
        root = Some(cause);
    }
    root.map_or_else(|| what.to_string(), |cause| format!("{what}: {cause}"))
}

/// Why a body could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the answer is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("{0}")]
    Broken(String),
}

/// Reads a body that may be at most `limit` bytes long, and never holds more than that.
pub(crate) async fn body_within(mut response: reqwest::Response, limit: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| BodyError::Broken(describe(&e)))? {
        if body.len() + chunk.len() > limit {
            return Err(BodyError::TooLarge { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_their_path_and_stay_hidden() {
        let base = Endpoint::parse("https://am.example/prefix/").unwrap();
        let alerts = base.below(&["api", "v2", "alerts"]);
        assert_eq!(alerts.url().as_str(), "https://am.example/prefix/api/v2/alerts");
        assert!(!format!("{alerts:?}").contains("example"));
        for bad in ["", "am.example", "ftp://am.example", "unix:/run/x"] {
            assert_eq!(Endpoint::parse(bad).unwrap_err(), EndpointError, "{bad}");
        }
    }
}
