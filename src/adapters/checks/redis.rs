//! Whether a Redis answers PING, after AUTH where it asks for a password.
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::adapters::outbound::shorten;
use crate::adapters::tls::{self, TlsMode};
use crate::config::Secrets;
use crate::domain::verification::{RedisServer, Trust};

/// Connecting, TLS and both commands together.
const TIMEOUT: Duration = Duration::from_secs(5);
const REPLY_BYTES_MAX: u64 = 1024;

pub(super) async fn ping(server: &RedisServer, secrets: &Secrets) -> Result<String, String> {
    let late = || Err(format!("no answer within {} s", TIMEOUT.as_secs()));
    tokio::time::timeout(TIMEOUT, connect(server, secrets)).await.unwrap_or_else(|_| late())
}

async fn connect(server: &RedisServer, secrets: &Secrets) -> Result<String, String> {
    let stream = TcpStream::connect(&server.address).await.map_err(|e| e.to_string())?;
    let mode = match &server.tls {
        None => TlsMode::Disable,
        Some(Trust::Anybody) => TlsMode::Require,
        Some(Trust::Signed { ca_file }) => TlsMode::VerifyFull { ca_file: ca_file.clone() },
    };
    let Some(config) = tls::client(&mode)? else { return talk(stream, secrets).await };
    let host = server.address.rsplit_once(':').map_or(server.address.as_str(), |(host, _)| host);
    let name = ServerName::try_from(host.to_string()).map_err(|e| e.to_string())?;
    talk(TlsConnector::from(config).connect(name, stream).await.map_err(|e| e.to_string())?, secrets).await
}

async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin, secrets: &Secrets) -> Result<String, String> {
    let mut stream = BufReader::new(stream);
    let named = |wanted: &str| secrets.exposed().find(|(name, _)| *name == wanted).map(|(_, secret)| secret);
    if let Some(password) = named("password") {
        let words: Vec<&str> = ["AUTH"].into_iter().chain(named("user")).chain([password]).collect();
        let reply = ask(&mut stream, &words).await?;
        // Redis may repeat what it does not understand, and that is the password: its code is enough.
        if reply != "+OK" {
            return Err(format!("AUTH: {}", reply.split(' ').next().unwrap_or_default()));
        }
    }
    match ask(&mut stream, &["PING"]).await?.as_str() {
        "+PONG" => Ok("PONG".into()),
        reply => Err(shorten(reply)),
    }
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
    words: &[&str],
) -> Result<String, String> {
    let mut command = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| command.push_str(&format!("${}\r\n{word}\r\n", word.len())));
    let mut reply = String::new();
    let talked = async {
        stream.write_all(command.as_bytes()).await?;
        stream.flush().await?;
        stream.take(REPLY_BYTES_MAX).read_line(&mut reply).await
    };
    match talked.await {
        Ok(0) => Err("the connection was closed without an answer".into()),
        Ok(_) => Ok(reply.trim_end().to_string()),
        Err(error) => Err(error.to_string()),
    }
}
