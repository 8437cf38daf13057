//! The part of a kubelet's HTTPS server that `kubectl logs` ends at, with lines made up from when a pod started and what its tag asks for.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path as FilePath;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::serve::Listener;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

/// What a container writes: one line of information each second, and error lines in between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writes {
    pub(crate) since: Timestamp,
    /// Of one kind, which comes from any version.
    pub(crate) errors_per_minute: u32,
    /// Whether they are of another kind.
    pub(crate) odd: bool,
}

/// Containers by namespace and pod.
pub(crate) type Containers = Arc<Mutex<HashMap<(String, String), Writes>>>;

impl Writes {
    /// Every line until `now`, with its time.
    fn lines(self, now: Timestamp) -> Vec<(Timestamp, String)> {
        let lived = now.duration_since(self.since).as_millis().max(0);
        let info = (0..=lived / 1000).map(|n| (n * 1000, format!("INFO served {} requests", n + 7)));
        let every = 60_000 / i128::from(self.errors_per_minute.max(1));
        let errors = (0..lived / every).filter(|_| self.errors_per_minute > 0).map(|n| {
            let text = if self.odd {
                format!("ERROR cannot read cart {}: no such column \"total\"", n + 1)
            } else {
                format!("ERROR request {} timed out after {} ms", n + 1, 100 + n)
            };
            (n * every + 500, text)
        });
        let mut lines: Vec<_> = info.chain(errors).filter(|(millis, _)| *millis <= lived).collect();
        lines.sort();
        let at = |millis: i128| self.since + SignedDuration::from_millis(i64::try_from(millis).unwrap());
        lines.into_iter().map(|(millis, text)| (at(millis), text)).collect()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    since_time: Option<Timestamp>,
    #[serde(default)]
    timestamps: bool,
    limit_bytes: Option<usize>,
}

async fn logs(
    State(containers): State<Containers>,
    Path((namespace, pod, _container)): Path<(String, String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Vec<u8>, StatusCode> {
    let writes = containers.lock().unwrap().get(&(namespace, pod)).copied().ok_or(StatusCode::NOT_FOUND)?;
    let mut text = String::new();
    for (at, line) in writes.lines(Timestamp::now()) {
        if asked.since_time.is_some_and(|since| at < since) {
            continue;
        }
        if asked.timestamps {
            text += &format!("{at} ");
        }
        text += &format!("{line}\n");
    }
    let mut bytes = text.into_bytes();
    bytes.truncate(asked.limit_bytes.unwrap_or(usize::MAX));
    Ok(bytes)
}

/// Answers the API server, which does not check the certificate unless it is told to; gives the port.
pub(crate) async fn serve(containers: Containers) -> u16 {
    let dir = tempfile::tempdir().unwrap();
    let acceptor = acceptor(dir.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new().route("/containerLogs/{namespace}/{pod}/{container}", get(logs));
    let router = router.with_state(containers);
    tokio::spawn(async move { axum::serve(Tls { listener, acceptor }, router).await });
    port
}

fn acceptor(dir: &FilePath) -> TlsAcceptor {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    command.args(["-days", "2", "-subj", "/CN=fake-0", "-keyout", "key.pem", "-out", "cert.pem"]);
    let output = command.current_dir(dir).output().unwrap();
    assert!(output.status.success(), "openssl: {output:?}");
    let certificate = CertificateDer::from_pem_file(dir.join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join("key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, from)) = self.listener.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
