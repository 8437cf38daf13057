//! Alerts that are durable per second, through the real webhook: sockets, parsing, matching, the journal and the answer.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::try_join_all;
use metrics_exporter_prometheus::PrometheusBuilder;
use rollguard::adapters::journal::SqliteJournal;
use rollguard::domain::event::Record;
use rollguard::domain::names::{ServiceName, TargetId};
use rollguard::domain::plan::{Destination, Plan};
use rollguard::engine::clock::SystemClock;
use rollguard::engine::commands::Desk;
use rollguard::engine::reload::Reloads;
use rollguard::engine::snapshot::Picture;
use rollguard::http::auth::People;
use rollguard::http::webhook::AlertRoute;
use rollguard::http::{HttpParts, HttpState, Inquiries, InquiryError, Story, serve};
use rollguard::ports::{Clock, Journal};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::{Outcome, millis, quantile};

/// Alertmanagers that send at the same time, each the next request when the last is answered.
const SENDERS: usize = 32;
const ALERTS: usize = 40_000;
/// What must be kept up with, when alerts come as they come and nobody waits for answers.
const GOAL_PER_SECOND: f64 = 5000.0;

/// At the pace of the goal, or each sender as fast as it is answered.
pub(crate) async fn measure(dir: &Path, per_request: usize, paced: bool) -> Outcome<()> {
    let journal = Arc::new(SqliteJournal::open(dir)?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(serve(listener, state(journal.clone())?, std::future::pending()));
    let began = Instant::now();
    let requests = ALERTS / SENDERS / per_request;
    let every = Duration::from_secs_f64((SENDERS * per_request) as f64 / GOAL_PER_SECOND);
    let every = if paced { every } else { Duration::ZERO };
    let sending = (0..SENDERS).map(|n| {
        let first = began + every.mul_f64(n as f64 / SENDERS as f64);
        tokio::spawn(send(address, n, requests, per_request, (first, every)))
    });
    let mut times = Vec::new();
    for sent in try_join_all(sending).await? {
        times.extend(sent?);
    }
    let took = began.elapsed().as_secs_f64();
    server.abort();
    let sent = SENDERS * requests * per_request;
    assert_eq!(journal.inbox(usize::MAX).await?.len(), sent, "each alert that was answered is durable");
    times.sort_unstable();
    println!(
        "alerts, {per_request} in a request, {}: {:.0} per second; half of the answers within {}, 99 % within {}",
        if paced { "5000 sent per second" } else { "32 senders that wait for each answer" },
        sent as f64 / took,
        millis(quantile(&times, 0.5)),
        millis(quantile(&times, 0.99))
    );
    Ok(())
}

fn state(journal: Arc<dyn Journal>) -> Outcome<HttpState> {
    let (clock, picture): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), Picture::default());
    let route = |service: ServiceName| AlertRoute {
        match_labels: BTreeMap::from([("service".into(), service.as_str().into())]),
        service,
        severities: vec!["critical".into()],
    };
    let services = (0..50).map(|n| ServiceName::parse(format!("shop-{n}")));
    let routes = services.map(|service| service.map(route)).collect::<Result<_, _>>()?;
    Ok(HttpState::new(HttpParts {
        desk: Desk::new(journal, clock.clone(), picture.viewer()),
        viewer: picture.viewer(),
        inquiries: Arc::new(NobodyAsks),
        people: People::new(vec![]),
        webhook_token: Some("token-of-the-alertmanager".into()),
        routes,
        open_reads: true,
        reloads: Reloads::new().0,
        metrics: PrometheusBuilder::new().build_recorder().handle(),
        now: Arc::new(move || clock.now()),
    }))
}

async fn send(
    address: SocketAddr,
    n: usize,
    requests: usize,
    per_request: usize,
    (first, every): (Instant, Duration),
) -> Outcome<Vec<Duration>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut times = Vec::new();
    for request in 0..requests {
        let alerts = (0..per_request).map(|i| alert(n, request * per_request + i)).collect::<Vec<_>>();
        let body = json!({ "version": "4", "status": "firing", "alerts": alerts }).to_string();
        let head = format!(
            "POST /webhook/alertmanager HTTP/1.1\r\nhost: rollguard\r\ncontent-type: application/json\r\nauthorization: Bearer token-of-the-alertmanager\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let due = first + every * u32::try_from(request)?;
        tokio::time::sleep_until(due.into()).await;
        // Who is late because of the answer before has waited, too.
        let began = if every.is_zero() { Instant::now() } else { due };
        stream.write_all((head + &body).as_bytes()).await?;
        answered(&mut stream).await?;
        times.push(began.elapsed());
    }
    Ok(times)
}

fn alert(sender: usize, n: usize) -> Value {
    json!({
        "status": "firing",
        "labels": {
            "alertname": "HighErrorRate", "service": format!("shop-{}", n % 50), "severity": "critical",
            "namespace": "prod", "pod": format!("backend-{sender}-{n}"), "prometheus": "monitoring/k8s",
        },
        "annotations": { "summary": "More than 5 % of the requests fail", "runbook_url": "https://runbooks.example/errors" },
        "startsAt": "2026-11-23T10:00:00.123Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example/graph?g0.expr=up",
        "fingerprint": format!("{sender:08x}{n:08x}"),
    })
}

/// Reads one answer, which must be 200.
async fn answered(stream: &mut BufReader<TcpStream>) -> Outcome<()> {
    let (mut line, mut length) = (String::new(), 0);
    stream.read_line(&mut line).await?;
    if !line.starts_with("HTTP/1.1 200") {
        return Err(format!("not taken: {line}").into());
    }
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(())
}

struct NobodyAsks;

#[async_trait]
impl Inquiries for NobodyAsks {
    async fn plan(&self, target: &TargetId, _: Destination) -> Result<Plan, InquiryError> {
        Err(InquiryError::NoSuchTarget { target: target.clone() })
    }
    async fn story(&self, target: &TargetId) -> Result<Story, InquiryError> {
        Err(InquiryError::NoSuchTarget { target: target.clone() })
    }
    async fn history(&self, _: &str) -> Result<Option<Vec<Record>>, InquiryError> {
        Ok(None)
    }
}
