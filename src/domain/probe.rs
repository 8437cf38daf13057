//! What is asked of a service from outside, as its users would: one request, a journey, or the certificate that it shows.
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::answer::Wanted;
use super::journey::Journey;

/// The same for the rules of a watch and for the checks after a rollback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "check", rename_all = "snake_case")]
pub enum Probe {
    /// GET answers as it should.
    Http(HttpProbe),
    Journey(Journey),
    Certificate(CertificateProbe),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpProbe {
    pub url: String,
    #[serde(flatten)]
    pub wanted: Wanted,
    #[serde(default = "timeout_secs", skip_serializing_if = "is_timeout_secs")]
    pub timeout_secs: f64,
}

/// The certificate at the URL's host and port is for that host, and valid for so much longer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertificateProbe {
    pub url: String,
    pub valid_for_secs: f64,
    #[serde(default = "timeout_secs", skip_serializing_if = "is_timeout_secs")]
    pub timeout_secs: f64,
}

/// One request or handshake, unless said otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(5);

fn timeout_secs() -> f64 {
    TIMEOUT.as_secs_f64()
}

fn is_timeout_secs(secs: &f64) -> bool {
    *secs == timeout_secs()
}

impl HttpProbe {
    pub fn new(url: impl Into<String>, wanted: Wanted) -> Self {
        Self { url: url.into(), wanted, timeout_secs: timeout_secs() }
    }
}

impl Probe {
    pub fn http(url: impl Into<String>, wanted: Wanted) -> Self {
        Probe::Http(HttpProbe::new(url, wanted))
    }

    /// It takes no longer than this.
    pub fn timeout(&self) -> Duration {
        let secs = match self {
            Probe::Http(http) => http.timeout_secs,
            Probe::Journey(journey) => journey.timeout_secs,
            Probe::Certificate(certificate) => certificate.timeout_secs,
        };
        duration(secs)
    }

    /// After a failure it is not sent again before this has passed.
    pub fn rest(&self) -> Duration {
        match self {
            Probe::Journey(journey) => duration(journey.every_secs),
            Probe::Http(_) | Probe::Certificate(_) => Duration::ZERO,
        }
    }
}

fn duration(secs: f64) -> Duration {
    Duration::try_from_secs_f64(secs).unwrap_or(TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::answer::{Expect, Statuses};
    use crate::domain::verification::CheckKind;
    use serde_json::{Value, json};

    fn read(body: &Value) -> CheckKind {
        let kind: CheckKind = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(serde_json::to_value(&kind).unwrap(), *body);
        kind
    }

    #[test]
    fn what_was_journaled_before_there_were_journeys_is_read_as_it_was_meant() {
        let old = json!({"check": "http", "url": "http://shop/health", "status": 200,
                         "expect": [{"text": "ok"}, {"json": {"pointer": "/status", "equals": "up"}}]});
        let CheckKind::Outside(Probe::Http(http)) = read(&old) else { panic!("{old}") };
        assert_eq!((http.wanted.status, http.wanted.expect.len()), (Statuses::from(200), 2));
        assert_eq!(http.timeout_secs, 5.0);
        assert_eq!(read(&json!({"check": "pods_ready"})), CheckKind::PodsReady);
        assert!(serde_json::from_value::<CheckKind>(json!({"check": "telepathy"})).is_err());
    }

    #[test]
    fn a_journey_is_journaled_with_the_names_of_its_secrets() {
        let journey = json!({"check": "journey", "timeout_secs": 10.0, "every_secs": 30.0, "steps": [
            {"method": "POST", "url": "https://shop/login", "body": {"json": {"password": "${password}"}},
             "headers": {"x-tenant": "shop"}, "status": [200, "3xx"], "expect": [{"matches": "^ok"}],
             "within_secs": 2.0, "capture": {"token": {"json": "/token"}, "id": {"regex": "id=(\\d+)"}}},
            {"method": "GET", "url": "https://shop/orders/${id}", "status": "2xx",
             "expect": [{"header": {"name": "x-order", "equals": "${id}"}}]}]});
        let kind = read(&journey);
        assert_eq!(kind.rest(), Duration::from_secs(30));
        let CheckKind::Outside(Probe::Journey(journey)) = kind else { panic!("{kind:?}") };
        let values = [("id".to_string(), json!(7))].into();
        let filled = journey.steps[1].wanted.fill(&values).unwrap().expect;
        assert_eq!(filled, [Expect::Header { name: "x-order".into(), equals: "7".into() }]);
    }
}
