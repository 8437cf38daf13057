//! How a Postgres is reached: address, login, TLS and time limits, the same for the journal and for databases of services.
mod tls;

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::error::Severity;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{CancelToken, Client, Config, Error, NoTls, SimpleQueryMessage, Socket};

use super::outbound::shorten;
use super::tls::TlsMode;
use tls::RustlsConnector;

/// One address of several.
const ADDRESS_MAX: Duration = Duration::from_secs(3);
/// Sent and not acknowledged by the other machine.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(7);
/// Name resolution, connecting, TLS and logging in, together.
pub const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Where a Postgres is, and how to log in.
#[derive(Clone)]
pub struct Access {
    config: Config,
    connector: Option<RustlsConnector>,
    tls: TlsMode,
}

/// What a program of the libpq family is told: an address without a password, and the password apart from it.
pub struct Address {
    pub url: url::Url,
    pub password: Option<SecretString>,
}

/// What is wrong is never quoted: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    #[error(
        "url cannot be read: write postgres://user:password@host:5432/database, with what is special in the password percent-encoded, and TLS under `tls`"
    )]
    Url,
    #[error("{0}")]
    Tls(String),
}

/// Without what may be secret in it.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("place", &self.place()).finish_non_exhaustive()
    }
}

impl Access {
    /// To a server that takes writes.
    ///
    /// # Errors
    /// A URL that is none, or certificates that cannot be used.
    pub fn new(url: &SecretString, tls: &TlsMode) -> Result<Self, AccessError> {
        let mut config = url.expose_secret().parse::<Config>().map_err(|_| AccessError::Url)?;
        let connector = RustlsConnector::new(tls).map_err(AccessError::Tls)?;
        config
            .application_name("rollguard")
            .connect_timeout(ADDRESS_MAX)
            .tcp_user_timeout(UNACKNOWLEDGED_MAX)
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(1))
            .keepalives_retries(2)
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .ssl_mode(if connector.is_some() { SslMode::Require } else { SslMode::Disable });
        Ok(Self { config, connector, tls: tls.clone() })
    }

    /// `shop on db.internal:5432`, for people.
    pub fn place(&self) -> String {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => "localhost".to_string(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        format!("{} on {host}:{port}", self.database())
    }

    pub fn database(&self) -> &str {
        self.config.get_dbname().or_else(|| self.config.get_user()).unwrap_or("postgres")
    }

    /// For other programs. `None` where it is reached by a socket in the file system.
    pub fn address(&self) -> Option<Address> {
        let host = match self.config.get_hosts().first()? {
            Host::Tcp(host) => host,
            Host::Unix(_) => return None,
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        let mut url = url::Url::parse(&format!("postgres://{host}:{port}")).ok()?;
        url.set_username(self.config.get_user().unwrap_or_default()).ok()?;
        url.path_segments_mut().ok()?.push(self.database());
        match &self.tls {
            TlsMode::Disable => url.query_pairs_mut().append_pair("sslmode", "disable"),
            TlsMode::Require => url.query_pairs_mut().append_pair("sslmode", "require"),
            TlsMode::VerifyFull { ca_file } => url
                .query_pairs_mut()
                .append_pair("sslmode", "verify-full")
                .append_pair("sslrootcert", &ca_file.to_string_lossy()),
        };
        let password = self.config.get_password().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Some(Address { url, password: password.map(SecretString::from) })
    }

    /// A new session. What ends it later is logged.
    ///
    /// # Errors
    /// Where Postgres cannot be reached, or does not let us in.
    pub async fn log_in(&self) -> Result<Client, Error> {
        match &self.connector {
            Some(connector) => self.log_in_by(connector.clone()).await,
            None => self.log_in_by(NoTls).await,
        }
    }

    async fn log_in_by<T>(&self, tls: T) -> Result<Client, Error>
    where
        T: MakeTlsConnect<Socket> + Send,
        T::Stream: Send + 'static,
        T::TlsConnect: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let (client, connection) = self.config.connect(tls).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(error = told(&error), "the connection to Postgres has ended");
            }
        });
        Ok(client)
    }

    /// Asks Postgres to give up what a session is doing. Nothing is known of whether it did.
    pub async fn cancel(&self, token: CancelToken) {
        let asked = match &self.connector {
            Some(connector) => token.cancel_query(connector.clone()).await,
            None => token.cancel_query(NoTls).await,
        };
        if let Err(error) = asked {
            tracing::warn!(error = told(&error), "a statement could not be cancelled");
        }
    }
}

/// Whether Postgres ends the session with it.
pub fn is_final(error: &Error) -> bool {
    let severity = error.as_db_error().map(|db| db.parsed_severity());
    matches!(severity, Some(Some(Severity::Fatal | Severity::Panic)))
}

/// What went wrong, in one short line: in Postgres' own words where it answered.
pub fn told(error: &Error) -> String {
    if let Some(db) = error.as_db_error() {
        return shorten(db.message());
    }
    let mut why = shorten(&error.to_string());
    let mut cause = error.source();
    while let Some(deeper) = cause {
        why = format!("{why}: {}", shorten(&deeper.to_string()));
        cause = deeper.source();
    }
    why
}

/// The first value of the first row; the outer `None` is no row.
pub fn first_value(messages: &[SimpleQueryMessage]) -> Option<Option<&str>> {
    messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0)),
        _ => None,
    })
}
