//! Stands between the AWS SDK and moto for S3 and CloudFront: adds what moto lacks, caches as a CDN does, and fails as asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};

use super::moto::Moto;
use super::workload::{Served, serve};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Refused with this status and code, and not carried out.
    Refuse(u16, &'static str),
    /// Carried out, but its answer never comes.
    LoseAnswer,
    /// Not carried out, though its status says so: the error is in the body.
    ErrorInBody,
    /// Neither carried out nor answered.
    HangBefore,
    /// Carried out, and the connection stays open without an answer.
    HangAfter,
}

struct Planned {
    operation: &'static str,
    fault: Fault,
    /// Requests that are spared before.
    after: usize,
    left: usize,
}

#[derive(Clone)]
struct Cached {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

struct Made {
    id: String,
    batch: String,
    /// Looks that still find it in progress.
    pending: usize,
}

struct Shared {
    moto: String,
    http: reqwest::Client,
    planned: Mutex<Vec<Planned>>,
    seen: Mutex<BTreeMap<&'static str, usize>>,
    /// By caller reference.
    invalidations: Mutex<BTreeMap<String, Made>>,
    cache: Mutex<BTreeMap<String, Cached>>,
    /// Conditions are looked at and obeyed one request at a time.
    conditional: tokio::sync::Mutex<()>,
}

/// S3 and CloudFront in front of a [`Moto`].
pub(crate) struct Cdn {
    shared: Arc<Shared>,
    served: Served,
}

/// Looks that an invalidation takes.
const LOOKS: usize = 2;
const AUTHORIZATION: &str =
    "AWS4-HMAC-SHA256 Credential=test/20261122/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=none";

impl Cdn {
    pub(crate) async fn start(moto: &Moto) -> Self {
        let shared = Arc::new(Shared {
            moto: moto.url().to_owned(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            planned: Mutex::default(),
            seen: Mutex::default(),
            invalidations: Mutex::default(),
            cache: Mutex::default(),
            conditional: tokio::sync::Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let served = serve(SocketAddr::from(([127, 0, 0, 1], 0)), router).await;
        Self { shared, served }
    }

    /// Where the AWS SDK finds it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.served.address())
    }

    /// Where the public finds a bucket.
    pub(crate) fn public(&self, bucket: &str) -> String {
        format!("{}/public/{bucket}/", self.url())
    }

    /// Plans a fault for `count` requests of `operation` after so many that are spared.
    pub(crate) fn plan(&self, fault: Fault, after: usize, count: usize, operation: &'static str) {
        self.shared.planned.lock().unwrap().push(Planned { operation, fault, after, left: count });
    }

    /// What it has cached, as a deploy lets it forget that.
    pub(crate) fn forget(&self) {
        self.shared.cache.lock().unwrap().clear();
    }

    pub(crate) fn calm(&self) {
        self.shared.planned.lock().unwrap().clear();
    }

    /// How many planned faults have not happened yet.
    pub(crate) fn still_planned(&self) -> usize {
        self.shared.planned.lock().unwrap().iter().map(|planned| planned.left).sum()
    }

    /// How many requests of this operation came so far.
    pub(crate) fn seen(&self, operation: &str) -> usize {
        self.shared.seen.lock().unwrap().get(operation).copied().unwrap_or(0)
    }

    /// How many invalidations there are.
    pub(crate) fn invalidations(&self) -> usize {
        self.shared.invalidations.lock().unwrap().len()
    }
}

fn operation(method: &Method, uri: &Uri, headers: &HeaderMap) -> &'static str {
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    let part = |name: &str| query.split('&').any(|part| part.split('=').next() == Some(name));
    match method.as_str() {
        "GET" if path.starts_with("/public/") => "Public",
        "POST" if path.ends_with("/invalidation") => "CreateInvalidation",
        "GET" if path.ends_with("/invalidation") => "ListInvalidations",
        "GET" if path.contains("/invalidation/") => "GetInvalidation",
        "PUT" if headers.contains_key("x-amz-copy-source") && !part("partNumber") => "CopyObject",
        "POST" if part("uploadId") => "CompleteMultipartUpload",
        "DELETE" if part("versionId") => "DeleteObjectVersion",
        "DELETE" if !part("uploadId") => "DeleteObject",
        "GET" if part("versioning") => "GetBucketVersioning",
        "GET" if part("versions") => "ListObjectVersions",
        "GET" if query.is_empty() || part("versionId") => "GetObject",
        "HEAD" => "HeadObject",
        _ => "Other",
    }
}

impl Shared {
    fn fault(&self, operation: &'static str) -> Option<Fault> {
        *self.seen.lock().unwrap().entry(operation).or_default() += 1;
        let mut planned = self.planned.lock().unwrap();
        let meant = planned.iter_mut().find(|p| p.left > 0 && p.operation == operation)?;
        if meant.after > 0 {
            meant.after -= 1;
            return None;
        }
        meant.left -= 1;
        Some(meant.fault)
    }

    async fn pass_on(
        &self,
        method: Method,
        uri: &Uri,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Response<Body> {
        for hop in ["host", "content-length", "transfer-encoding", "if-match", "if-none-match"] {
            headers.remove(hop);
        }
        let request = self.http.request(method, format!("{}{uri}", self.moto)).headers(headers).body(body);
        let answer = request.send().await.unwrap();
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            if !["connection", "transfer-encoding"].contains(&name.as_str()) {
                response = response.header(name, value);
            }
        }
        response.body(Body::from(answer.bytes().await.unwrap())).unwrap()
    }

    /// The ETag of what is there now.
    async fn etag(&self, uri: &Uri) -> Option<String> {
        let url = format!("{}{}", self.moto, uri.path());
        let answer = self.http.head(url).header("authorization", AUTHORIZATION).send().await.unwrap();
        answer.status().is_success().then(|| answer.headers()["etag"].to_str().unwrap().to_owned())
    }

    /// Whether the condition of the request is met, of which moto knows less than S3.
    async fn meets(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        match (header("if-match"), header("if-none-match")) {
            (None, None) => true,
            (Some(wanted), _) => self.etag(uri).await.as_ref() == Some(&wanted),
            (None, Some(_)) => self.etag(uri).await.is_none(),
        }
    }

    /// The same reference with the same paths is the same invalidation.
    async fn create_invalidation(&self, uri: &Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
        let text = String::from_utf8(body.to_vec()).unwrap();
        let reference = between(&text, "<CallerReference>", "</CallerReference>").to_owned();
        let known = self
            .invalidations
            .lock()
            .unwrap()
            .get(&reference)
            .map(|made| (made.id.clone(), made.batch.clone()));
        if let Some((id, batch)) = known {
            if batch != text {
                return refusal(400, "InvalidationBatchAlreadyExists");
            }
            let found: Uri = format!("{}/{id}", uri.path()).parse().unwrap();
            let mut answer = self.pass_on(Method::GET, &found, headers, Bytes::new()).await;
            *answer.status_mut() = StatusCode::CREATED;
            return answer;
        }
        let (answer, made) = read(self.pass_on(Method::POST, uri, headers, body).await).await;
        let id = between(&made, "<Id>", "</Id>").to_owned();
        let made = Made { id, batch: text, pending: LOOKS };
        self.invalidations.lock().unwrap().insert(reference, made);
        answer
    }

    /// moto has completed it at once, and says so in capitals.
    async fn get_invalidation(&self, uri: &Uri, headers: HeaderMap) -> Response<Body> {
        let (answer, text) = read(self.pass_on(Method::GET, uri, headers, Bytes::new()).await).await;
        let mut invalidations = self.invalidations.lock().unwrap();
        let Some(made) = invalidations.values_mut().find(|made| uri.path().ends_with(&made.id)) else {
            return answer;
        };
        let status = if made.pending > 0 { "InProgress" } else { "Completed" };
        made.pending = made.pending.saturating_sub(1);
        if status == "Completed" {
            self.cache.lock().unwrap().clear();
        }
        let old = between(&text, "<Status>", "</Status>");
        let text = text.replace(&format!("<Status>{old}</Status>"), &format!("<Status>{status}</Status>"));
        with_body(answer, text)
    }

    /// As the public gets it: from the cache until that is invalidated.
    async fn public(&self, uri: &Uri) -> Response<Body> {
        let path = uri.path().trim_start_matches("/public").to_owned();
        let path = if path.ends_with('/') { format!("{path}index.html") } else { path };
        let known = self.cache.lock().unwrap().get(&path).cloned();
        let cached = match known {
            Some(cached) => cached,
            None => {
                let request = self.http.get(format!("{}{path}", self.moto));
                let answer = request.header("authorization", AUTHORIZATION).send().await.unwrap();
                let header = |name: &'static str| {
                    let value = answer.headers().get(name)?.to_str().unwrap().to_owned();
                    Some((name, if name == "etag" { format!("W/{value}") } else { value }))
                };
                let cached = Cached {
                    status: answer.status().as_u16(),
                    headers: ["etag", "content-type"].into_iter().filter_map(header).collect(),
                    body: answer.bytes().await.unwrap(),
                };
                self.cache.lock().unwrap().insert(path, cached.clone());
                cached
            }
        };
        let mut response = Response::builder().status(cached.status);
        for (name, value) in cached.headers {
            response = response.header(name, value);
        }
        response.body(Body::from(cached.body)).unwrap()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let operation = operation(&parts.method, &parts.uri, &parts.headers);
    let fault = shared.fault(operation);
    match fault {
        Some(Fault::Refuse(status, code)) => return refusal(status, code),
        Some(Fault::ErrorInBody) => return refusal(200, "InternalError"),
        Some(Fault::HangBefore) => std::future::pending().await,
        Some(Fault::LoseAnswer | Fault::HangAfter) | None => {}
    }
    let answer = match operation {
        "Public" => shared.public(&parts.uri).await,
        "CreateInvalidation" => shared.create_invalidation(&parts.uri, parts.headers, body).await,
        "ListInvalidations" => {
            let most = parts
                .uri
                .query()
                .and_then(|query| query.split_once("MaxItems="))
                .map(|(_, most)| most.to_owned());
            let most = most.and_then(|most| most.split('&').next().unwrap().parse().ok()).unwrap_or(100);
            newest_first(shared.pass_on(parts.method, &parts.uri, parts.headers, body).await, most).await
        }
        "GetInvalidation" => shared.get_invalidation(&parts.uri, parts.headers).await,
        "ListObjectVersions" => {
            let answer = shared.pass_on(parts.method, &parts.uri, parts.headers, body).await;
            let encode = parts.uri.query().unwrap_or_default().contains("encoding-type=url");
            if encode { with_encoded_keys(answer).await } else { answer }
        }
        "GetBucketVersioning" => {
            let answer = shared.pass_on(parts.method, &parts.uri, parts.headers, body).await;
            renamed(answer, "GetBucketVersioningResponse", "VersioningConfiguration").await
        }
        // Nobody here has the right to it.
        "DeleteObjectVersion" => refusal(403, "AccessDenied"),
        "CopyObject" | "DeleteObject" | "CompleteMultipartUpload" => {
            let _one = shared.conditional.lock().await;
            match shared.meets(&parts.uri, &parts.headers).await {
                true => shared.pass_on(parts.method, &parts.uri, parts.headers, body).await,
                false => refusal(412, "PreconditionFailed"),
            }
        }
        _ => shared.pass_on(parts.method, &parts.uri, parts.headers, body).await,
    };
    match fault {
        Some(Fault::LoseAnswer) => refusal(504, "GatewayTimeout"),
        Some(Fault::HangAfter) => std::future::pending().await,
        _ => answer,
    }
}

async fn read(answer: Response<Body>) -> (Response<Body>, String) {
    let (parts, body) = answer.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let text = String::from_utf8_lossy(&body).into_owned();
    (Response::from_parts(parts, Body::from(body)), text)
}

/// As `EncodingType=url` asks, which moto leaves to others.
async fn with_encoded_keys(answer: Response<Body>) -> Response<Body> {
    let (answer, mut text) = read(answer).await;
    for name in ["Key", "KeyMarker", "NextKeyMarker"] {
        let (start, end) = (format!("<{name}>"), format!("</{name}>"));
        let mut parts = text.split(&start);
        let mut encoded = parts.next().unwrap().to_owned();
        for part in parts {
            let (key, rest) = part.split_once(&end).unwrap();
            let key = key.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
            let key =
                url::form_urlencoded::byte_serialize(key.as_bytes()).collect::<String>().replace("%2F", "/");
            encoded += &format!("{start}{key}{end}{rest}");
        }
        text = encoded;
    }
    let text = text.replace("</ListVersionsResult>", "<EncodingType>url</EncodingType></ListVersionsResult>");
    with_body(answer, text)
}

/// moto lists the oldest first, and all of them.
async fn newest_first(answer: Response<Body>, most: usize) -> Response<Body> {
    const ITEM: &str = "<InvalidationSummary>";
    let (answer, text) = read(answer).await;
    let Some((head, items)) = text.split_once(ITEM) else { return answer };
    let (items, tail) = items.rsplit_once("</InvalidationSummary>").unwrap();
    let items: Vec<&str> = items.split(ITEM).collect();
    let newest = items.iter().rev().take(most).map(|item| item.trim_end_matches("</InvalidationSummary>"));
    let items: String = newest.map(|item| format!("{ITEM}{item}</InvalidationSummary>")).collect();
    let text = format!("{head}{items}{tail}");
    with_body(answer, text)
}

/// Where moto calls an element by another name.
async fn renamed(answer: Response<Body>, wrong: &str, right: &str) -> Response<Body> {
    let (answer, text) = read(answer).await;
    with_body(answer, text.replace(wrong, right))
}

fn with_body(answer: Response<Body>, text: String) -> Response<Body> {
    let (mut parts, _) = answer.into_parts();
    parts.headers.remove("content-length");
    Response::from_parts(parts, Body::from(text))
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    text.split_once(start).and_then(|(_, rest)| rest.split_once(end)).map_or("", |(inside, _)| inside)
}

fn refusal(status: u16, code: &str) -> Response<Body> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>planned by the test</Message></Error>"
    );
    let response = Response::builder().status(status).header("content-type", "application/xml");
    response.body(Body::from(body)).unwrap()
}
