//! The HTTP client of the API, as the command line uses it.
mod error;

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, RequestBuilder, Url, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::names::TargetId;
use crate::domain::plan::{Destination, PlanDigest};
use crate::domain::report::Report;
pub use crate::http::dto;
use dto::{
    ApproveRequest, DoctorAnswer, ErrorAnswer, ErrorBody, KillRequest, OrderAnswer, PlanAnswer,
    ReasonRequest, ReleaseRequest, Reloaded, RollbackRequest, RunAnswer, RunsAnswer, ServicesAnswer,
    TargetHistoryAnswer,
};
pub use error::ClientError;

const ANSWER_TIME: Duration = Duration::from_secs(15);
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Talks to one running daemon.
pub struct Client {
    http: reqwest::Client,
    server: Url,
    token: Option<HeaderValue>,
}

impl Client {
    /// `server` is a base URL such as `http://127.0.0.1:9095`.
    ///
    /// # Errors
    /// A URL that is none, or a token that no header can carry.
    pub fn new(server: &str, token: Option<&SecretString>) -> Result<Self, ClientError> {
        let server = base_url(server)?;
        let mut http = reqwest::Client::builder()
            .timeout(ANSWER_TIME)
            .connect_timeout(CONNECT_TIME)
            // A redirect would carry the token to a place that nobody configured.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("rollguard/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&server) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|e| ClientError::Setup { why: error::root_cause(&e) })?;
        Ok(Self { http, server, token: token.map(bearer).transpose()? })
    }

    pub async fn services(&self) -> Result<ServicesAnswer, ClientError> {
        self.get(&["services"], &[]).await
    }

    pub async fn runs(&self) -> Result<RunsAnswer, ClientError> {
        self.get(&["runs"], &[]).await
    }

    pub async fn run(&self, run: &str) -> Result<RunAnswer, ClientError> {
        self.get(&["runs", run], &[]).await
    }

    pub async fn report(&self, run: &str) -> Result<Report, ClientError> {
        self.get(&["runs", run, "report"], &[]).await
    }

    pub async fn plan(&self, target: &TargetId, to: &Destination) -> Result<PlanAnswer, ClientError> {
        let query: Vec<_> = match to {
            Destination::KnownGood => vec![],
            Destination::Revision(number) => vec![("revision", number.to_string())],
            Destination::Image(image) => vec![("image", image.to_string())],
        };
        self.get(&["targets", target.service.as_str(), target.target.as_str(), "plan"], &query).await
    }

    /// Of one target, or of all.
    pub async fn doctor(&self, target: Option<&TargetId>) -> Result<DoctorAnswer, ClientError> {
        let target = target.iter().flat_map(|t| [t.service.as_str(), t.target.as_str()]);
        self.get(&["doctor"].into_iter().chain(target).collect::<Vec<_>>(), &[]).await
    }

    pub async fn history(&self, target: &TargetId) -> Result<TargetHistoryAnswer, ClientError> {
        self.get(&["targets", target.service.as_str(), target.target.as_str(), "history"], &[]).await
    }

    pub async fn release(&self, request: &ReleaseRequest) -> Result<OrderAnswer, ClientError> {
        self.post(&["releases"], request).await
    }

    pub async fn rollback(&self, request: &RollbackRequest) -> Result<OrderAnswer, ClientError> {
        self.post(&["rollbacks"], request).await
    }

    pub async fn kill(&self, request: &KillRequest) -> Result<OrderAnswer, ClientError> {
        self.post(&["kill"], request).await
    }

    /// With a reason if this approval alone must be enough.
    pub async fn approve(
        &self,
        run: &str,
        digest: &PlanDigest,
        break_glass: Option<String>,
    ) -> Result<OrderAnswer, ClientError> {
        let request = ApproveRequest { digest: digest.clone(), break_glass };
        self.post(&["runs", run, "approve"], &request).await
    }

    pub async fn acknowledge_run(&self, run: &str) -> Result<OrderAnswer, ClientError> {
        self.post(&["runs", run, "acknowledge"], &ReasonRequest::default()).await
    }

    pub async fn acknowledge_target(&self, target: &TargetId) -> Result<OrderAnswer, ClientError> {
        let path = ["targets", target.service.as_str(), target.target.as_str(), "acknowledge"];
        self.post(&path, &ReasonRequest::default()).await
    }

    pub async fn deny(&self, run: &str, reason: &str) -> Result<OrderAnswer, ClientError> {
        self.post(&["runs", run, "deny"], &ReasonRequest { reason: reason.to_string() }).await
    }

    pub async fn abort(&self, run: &str, reason: &str) -> Result<OrderAnswer, ClientError> {
        self.post(&["runs", run, "abort"], &ReasonRequest { reason: reason.to_string() }).await
    }

    pub async fn resume(&self, run: &str) -> Result<OrderAnswer, ClientError> {
        self.post(&["runs", run, "resume"], &ReasonRequest::default()).await
    }

    pub async fn skip(&self, run: &str) -> Result<OrderAnswer, ClientError> {
        self.post(&["runs", run, "skip"], &ReasonRequest::default()).await
    }

    pub async fn reload(&self) -> Result<Reloaded, ClientError> {
        let mut url = self.server.clone();
        let path = format!("{}/-/reload", url.path().trim_end_matches('/'));
        url.set_path(&path);
        self.send(self.http.request(Method::POST, url)).await
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, ClientError> {
        let mut url = self.url(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(self.http.request(Method::GET, url)).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.send(self.http.request(Method::POST, self.url(path)?).json(body)).await
    }

    fn url(&self, path: &[&str]) -> Result<Url, ClientError> {
        let mut url = self.server.clone();
        let server = || ClientError::BadServer { server: shown(&self.server), why: "it has no path".into() };
        url.path_segments_mut().map_err(|()| server())?.pop_if_empty().extend(["api", "v1"]).extend(path);
        Ok(url)
    }

    async fn send<T: DeserializeOwned>(&self, mut request: RequestBuilder) -> Result<T, ClientError> {
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        let lost = |e: reqwest::Error| ClientError::Unreachable {
            server: shown(&self.server),
            why: error::root_cause(&e),
        };
        let response = request.send().await.map_err(lost)?;
        let status = response.status().as_u16();
        let body = response.bytes().await.map_err(lost)?;
        let strange = || ClientError::Strange { server: shown(&self.server), status };
        if (200..300).contains(&status) {
            return serde_json::from_slice(&body).map_err(|_| strange());
        }
        let answer: ErrorAnswer = serde_json::from_slice(&body).map_err(|_| strange())?;
        let ErrorBody { code, message, problems, explain: _ } = answer.error;
        let message = std::iter::once(message).chain(problems).collect::<Vec<_>>().join("\n  ");
        Err(ClientError::Answered { status, code, message })
    }
}

fn base_url(server: &str) -> Result<Url, ClientError> {
    let bad = |why: &str| ClientError::BadServer { server: server.to_string(), why: why.to_string() };
    // The text is not repeated when it may hold a password.
    if server.contains('@') {
        let server = "the server's URL".to_string();
        let why = "it holds a user or password; use --token-file".to_string();
        return Err(ClientError::BadServer { server, why });
    }
    let url = Url::parse(server).map_err(|e| bad(&e.to_string()))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err(bad("write it as http://HOST:PORT")),
    }
}

fn shown(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_string()
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or("");
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|ip| ip.is_loopback())
}

fn bearer(token: &SecretString) -> Result<HeaderValue, ClientError> {
    let text = format!("Bearer {}", token.expose_secret().trim());
    let mut value = HeaderValue::from_str(&text).map_err(|_| ClientError::BadToken)?;
    value.set_sensitive(true);
    Ok(value)
}
