//! A real Postgres that asks for its user's password, with a schema for each test.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rollguard::adapters::journal::{PostgresJournal, PostgresOptions, TlsMode};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

use super::process::{Process, free_port};
use super::{binary, until};

/// With something in it that a URL must percent-encode. It is worth nothing outside of the test.
pub(crate) const PASSWORD: &str = "open/sesame";

/// A running server; dropping it kills it.
pub(crate) struct Postgres {
    dir: TempDir,
    port: u16,
    settings: Vec<String>,
    process: Option<Process>,
}

impl Postgres {
    /// The one that all tests of this process share.
    pub(crate) async fn shared() -> &'static Self {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_init(|| Self::start(&[])).await
    }

    /// One of its own, for a test that stops it or sets it up in its own way (`name=value`).
    pub(crate) async fn start(settings: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("password"), PASSWORD).unwrap();
        let mut command = Command::new(binary("initdb"));
        command
            .args(["--pgdata=data", "--username=rollguard", "--pwfile=password", "--auth=password"])
            .args(["--encoding=UTF8", "--locale=C", "--no-sync"]);
        let output = command.current_dir(dir.path()).output().unwrap();
        assert!(output.status.success(), "initdb: {output:?}");
        let settings = settings.iter().map(|setting| (*setting).to_string()).collect();
        let mut server = Self { dir, port: free_port(), settings, process: None };
        server.restart().await;
        server
    }

    /// Starts it again, after [`Postgres::stop`], with what it stored.
    pub(crate) async fn restart(&mut self) {
        let mut command = Command::new(binary("postgres"));
        command.args(["-D", "data", "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        command.arg("-p").arg(self.port.to_string());
        for setting in &self.settings {
            command.arg("-c").arg(setting);
        }
        let process = Process::start(self.dir.path(), &command);
        let url = self.url();
        until("Postgres takes connections", Duration::from_secs(60), async || connect(&url).await.ok()).await;
        self.process = Some(process);
    }

    /// Stops it, sessions and all: `INT` as an administrator in a hurry would, `QUIT` as a crash does.
    pub(crate) async fn stop(&mut self, signal: &str) {
        if let Some(mut process) = self.process.take() {
            process.signal(signal);
            process.terminate().await;
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        self.url_through(self.port)
    }

    /// The URL of a database that no other test has.
    pub(crate) async fn database(&self) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("shop_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.client().await.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        self.url().replace("/postgres", &format!("/{name}"))
    }

    /// For what stands in between on loopback.
    pub(crate) fn url_through(&self, port: u16) -> String {
        format!("postgres://rollguard:{}@127.0.0.1:{port}/postgres", PASSWORD.replace('/', "%2F"))
    }

    /// For an administrator's look into the database.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.url()).await.unwrap()
    }

    /// Where a journal can be that no other test has.
    pub(crate) fn fresh(&self) -> PostgresOptions {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let schema = format!("journal_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        PostgresOptions { url: self.url().into(), schema, tls: TlsMode::Disable }
    }

    pub(crate) async fn edit(&self, options: &PostgresOptions, sql: &str) {
        let sql = format!("SET search_path = {}; {sql}", options.schema);
        self.client().await.batch_execute(&sql).await.unwrap();
    }
}

/// Another session, in any of its databases.
pub(crate) async fn session(url: &str) -> Client {
    connect(url).await.unwrap()
}

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

pub(crate) async fn open(options: &PostgresOptions) -> PostgresJournal {
    PostgresJournal::open(options).await.unwrap()
}
