//! A real Kubernetes control plane on loopback, with a stand-in for its one node.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::binary;
use super::kubelet::Kubelet;
use super::process::{Process, free_port};

/// The bearer token of the administrator. It is worth nothing outside the test's own control plane.
const ADMIN: &str = "admin-token";

/// etcd, kube-apiserver, kube-controller-manager and kube-scheduler, and the kubelet's stand-in.
pub(crate) struct Cluster {
    kubelet: Kubelet,
    _processes: Vec<Process>,
    port: u16,
    dir: TempDir,
}

impl Cluster {
    /// The control plane that the tests of this process share; the first to ask waits about 8 s for it. Nothing ends it but the
    /// end of the process. Each test works in a [`Cluster::namespace`] of its own.
    pub(crate) async fn shared() -> &'static Cluster {
        static SHARED: OnceCell<Cluster> = OnceCell::const_new();
        SHARED.get_or_init(Cluster::start).await
    }

    /// A control plane of its own, for a test that changes what all namespaces share.
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (etcd, etcd_url) = start_etcd(dir.path());
        let port = free_port();
        let api_server = start_api_server(dir.path(), &etcd_url, port).await;
        let admin = write_kubeconfig(dir.path(), &url(port), ADMIN);
        let mut processes = vec![etcd, api_server];
        processes.extend(start_controllers(dir.path(), &admin).await);
        let kubelet = Kubelet::start(move || connect(admin)).await;
        Self { kubelet, _processes: processes, port, dir }
    }

    pub(crate) fn kubelet(&self) -> &Kubelet {
        &self.kubelet
    }

    /// Where the API server listens: `https://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        url(self.port)
    }

    /// The file with the certificates that the API server's own is to be checked against.
    pub(crate) fn ca(&self) -> PathBuf {
        ca(self.dir.path())
    }

    /// A client for the administrator. It belongs to the current runtime: make one in each test.
    pub(crate) async fn client(&self) -> Client {
        self.client_as(ADMIN).await
    }

    /// A client for whoever has `token`.
    pub(crate) async fn client_as(&self, token: &str) -> Client {
        connect(self.kubeconfig_as(token)).await
    }

    /// A kubeconfig file for the administrator.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_as(ADMIN)
    }

    /// A kubeconfig file for whoever has `token`.
    pub(crate) fn kubeconfig_as(&self, token: &str) -> PathBuf {
        self.kubeconfig_through(&self.url(), token)
    }

    /// The same through a proxy at the URL `server`.
    pub(crate) fn kubeconfig_through(&self, server: &str, token: &str) -> PathBuf {
        write_kubeconfig(self.dir.path(), server, token)
    }

    /// Makes a ServiceAccount, which has no rights before a Role is bound to it, and gives its token.
    pub(crate) async fn service_account(&self, namespace: &str, name: &str) -> String {
        let api: Api<ServiceAccount> = Api::namespaced(self.client().await, namespace);
        let account: ServiceAccount = named(name);
        api.create(&PostParams::default(), &account).await.unwrap();
        let request = TokenRequest::default();
        let issued = api.create_token_request(name, &PostParams::default(), &request).await.unwrap();
        issued.status.unwrap().token.unwrap()
    }

    /// Makes a namespace of its own for a test, named after `purpose`.
    pub(crate) async fn namespace(&self, purpose: &str) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{purpose}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let api: Api<Namespace> = Api::all(self.client().await);
        let namespace: Namespace = named(&name);
        api.create(&PostParams::default(), &namespace).await.unwrap();
        name
    }

    /// What the real kubectl prints, run as the administrator; panics when it fails. `line` is split at spaces.
    pub(crate) async fn kubectl(&self, namespace: &str, line: &str) -> String {
        let output = self.try_kubectl(namespace, line).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {line}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// How the real kubectl ended, run as the administrator.
    pub(crate) async fn try_kubectl(&self, namespace: &str, line: &str) -> Output {
        let mut command = Command::new(binary("kubectl"));
        command
            .arg(format!("--kubeconfig={}", self.kubeconfig().display()))
            .arg(format!("--namespace={namespace}"))
            .args(line.split_whitespace());
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// `kubectl apply` of one object or a List.
    pub(crate) async fn apply(&self, namespace: &str, object: &Value) {
        let file = tempfile::NamedTempFile::new_in(self.dir.path()).unwrap();
        std::fs::write(file.path(), object.to_string()).unwrap();
        let line = format!("apply -f {}", file.path().display());
        self.kubectl(namespace, &line).await;
    }
}

fn url(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

fn named<K: serde::de::DeserializeOwned>(name: &str) -> K {
    serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap()
}

fn start_etcd(dir: &Path) -> (Process, String) {
    let url = format!("http://127.0.0.1:{}", free_port());
    let peers = format!("http://127.0.0.1:{}", free_port());
    let mut command = Command::new(binary("etcd"));
    command
        .args(["--data-dir=etcd", "--unsafe-no-fsync"])
        .arg(format!("--listen-client-urls={url}"))
        .arg(format!("--advertise-client-urls={url}"))
        .arg(format!("--listen-peer-urls={peers}"))
        .arg(format!("--initial-advertise-peer-urls={peers}"))
        .arg(format!("--initial-cluster=default={peers}"));
    (Process::start(dir, &command), url)
}

async fn start_api_server(dir: &Path, etcd_url: &str, port: u16) -> Process {
    make_service_account_key(dir);
    let tokens = format!("{ADMIN},admin,1,system:masters\n");
    std::fs::write(dir.join("tokens.csv"), tokens).unwrap();
    let url = url(port);
    let mut command = Command::new(binary("kube-apiserver"));
    command
        .arg(format!("--etcd-servers={etcd_url}"))
        .arg(format!("--secure-port={port}"))
        .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
        .args(["--cert-dir=certs", "--token-auth-file=tokens.csv"])
        .arg(format!("--service-account-issuer={url}"))
        .args([
            "--service-account-key-file=accounts.key",
            "--service-account-signing-key-file=accounts.key",
            "--service-cluster-ip-range=10.96.0.0/24",
            "--authorization-mode=RBAC",
            "--endpoint-reconciler-type=none",
            "--enable-priority-and-fairness=false",
            "--kubelet-preferred-address-types=InternalIP",
            // Pods then need no token mounted, which only a real kubelet could do.
            "--disable-admission-plugins=ServiceAccount",
        ]);
    let mut process = Process::start(dir, &command);
    process.ready(&format!("{url}/readyz")).await;
    process
}

/// The key that signs the tokens of ServiceAccounts.
fn make_service_account_key(dir: &Path) {
    let mut command = Command::new("openssl");
    command.args(["ecparam", "-name", "prime256v1", "-genkey", "-noout"]).args(["-out", "accounts.key"]);
    let output = command.current_dir(dir).output().unwrap();
    assert!(output.status.success(), "openssl: {output:?}");
}

async fn start_controllers(dir: &Path, kubeconfig: &Path) -> [Process; 2] {
    let start = |name: &str, extra: &[&str]| {
        let port = free_port();
        let kubeconfig = kubeconfig.display();
        let mut command = Command::new(binary(name));
        command
            .arg(format!("--kubeconfig={kubeconfig}"))
            .arg(format!("--authentication-kubeconfig={kubeconfig}"))
            .arg(format!("--authorization-kubeconfig={kubeconfig}"))
            .arg(format!("--secure-port={port}"))
            .args(["--bind-address=127.0.0.1", "--leader-elect=false"])
            .args(extra);
        let process = Process::start(dir, &command);
        (process, format!("https://127.0.0.1:{port}/healthz"))
    };
    let (mut manager, manager_health) = start(
        "kube-controller-manager",
        &[
            "--cert-dir=manager-certs",
            "--service-account-private-key-file=accounts.key",
            // The node lifecycle controller would miss the heartbeats of a node that is none.
            "--controllers=*,-node-lifecycle-controller",
        ],
    );
    let (mut scheduler, scheduler_health) = start("kube-scheduler", &["--cert-dir=scheduler-certs"]);
    manager.ready(&manager_health).await;
    scheduler.ready(&scheduler_health).await;
    [manager, scheduler]
}

/// The API server signs its certificate itself at its first start and leaves the whole chain here.
fn ca(dir: &Path) -> PathBuf {
    dir.join("certs").join("apiserver.crt")
}

/// JSON is YAML. Written anew in a file of its own name each time, since a reader may have it open.
fn write_kubeconfig(dir: &Path, server: &str, token: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{ "name": "test", "cluster": {
            "server": server,
            "certificate-authority": ca(dir),
        }}],
        "users": [{ "name": "test", "user": { "token": token } }],
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
    });
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = dir.join(format!("kubeconfig-{count}.yaml"));
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

/// A client of the current runtime.
pub(crate) async fn connect(kubeconfig: PathBuf) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    Client::try_from(config).unwrap()
}
