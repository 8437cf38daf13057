//! A real server with its own folder, which a test can stop and start again on the same port.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::process::Process;

/// A server that listens on loopback and keeps its files in a folder of its own.
pub(crate) struct Server {
    dir: TempDir,
    command: Command,
    url: String,
    process: Option<Process>,
}

impl Server {
    /// Starts `command` (which finds its files in `dir`) and waits until `/-/ready` below `url` answers.
    pub(crate) async fn start(dir: TempDir, command: Command, url: String) -> Self {
        let mut server = Self { dir, command, url, process: None };
        server.restart().await;
        server
    }

    /// Starts the server again, after [`Server::stop`], with the files that it left.
    pub(crate) async fn restart(&mut self) {
        let mut process = Process::start(self.dir.path(), &self.command);
        process.ready(&format!("{}/-/ready", self.url)).await;
        self.process = Some(process);
    }

    /// Stops the server as an administrator would, with SIGTERM.
    pub(crate) async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.terminate().await;
        }
    }

    /// Where the server listens: `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}
