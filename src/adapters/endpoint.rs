//! Addresses of outgoing HTTP, which may be secrets and so never show up in texts.
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
