//! Reads the certificate that a server shows, whatever is wrong with it, and says until when it is valid and for whom.
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Host, Url};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::adapters::outbound::shorten;
use crate::domain::evidence::count_of;
use crate::domain::probe::CertificateProbe;

const DAY_SECS: u64 = 86_400;

pub(super) async fn look(probe: &CertificateProbe, timeout: Duration) -> Result<String, String> {
    let url = Url::parse(&probe.url).map_err(|_| "this is no URL".to_string())?;
    let seen = tokio::time::timeout(timeout, show(&url)).await;
    let (name, seen) = seen.map_err(|_| "timed out".to_string())??;
    judge(&seen, &name, probe.valid_for_secs)
}

/// Connects until the server has shown its certificate. What comes after that does not matter here: a server may go on
/// to ask for a certificate of ours.
async fn show(url: &Url) -> Result<(ServerName<'static>, Seen), String> {
    let (host, name) = match url.host() {
        Some(Host::Domain(name)) => (name.to_string(), ServerName::try_from(name.to_string()).ok()),
        Some(Host::Ipv4(ip)) => (ip.to_string(), Some(ServerName::from(std::net::IpAddr::from(ip)))),
        Some(Host::Ipv6(ip)) => (ip.to_string(), Some(ServerName::from(std::net::IpAddr::from(ip)))),
        None => (String::new(), None),
    };
    let name = name.ok_or("the host has no name that a certificate could be for")?;
    let port = url.port_or_known_default().unwrap_or(443);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let witness = Arc::new(Witness::new(provider.clone()));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(witness.clone())
        .with_no_client_auth();
    let connected = TcpStream::connect((host.as_str(), port)).await;
    let stream = connected.map_err(|e| format!("cannot connect: {}", shorten(&e.to_string())))?;
    let shaken = TlsConnector::from(Arc::new(config)).connect(name.clone(), stream).await;
    let seen = witness.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (seen, shaken) {
        (Some(seen), _) => Ok((name, seen)),
        (None, Err(e)) => Err(format!("no TLS there: {}", shorten(&e.to_string()))),
        (None, Ok(_)) => Err("the server shows no certificate".into()),
    }
}

/// A certificate, and when it was shown.
#[derive(Debug)]
struct Seen {
    certificate: CertificateDer<'static>,
    at: UnixTime,
}

/// Takes any certificate and keeps it. A probe sends nothing to a server that was believed so.
#[derive(Debug)]
pub(in crate::adapters) struct Witness {
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Seen>>,
}

impl Witness {
    pub(in crate::adapters) fn new(provider: Arc<CryptoProvider>) -> Self {
        Self { provider, seen: Mutex::default() }
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let seen = Seen { certificate: end_entity.clone().into_owned(), at: now };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn judge(seen: &Seen, host: &ServerName<'_>, valid_for_secs: f64) -> Result<String, String> {
    let read = Certificate::from_der(&seen.certificate);
    let read = read.map_err(|e| format!("its certificate cannot be read: {}", shorten(&e.to_string())))?;
    let tbs = read.tbs_certificate();
    let whose = shorten(&format!("{}, issued by {}", tbs.subject(), tbs.issuer()));
    let (begins, ends) = (tbs.validity().not_before, tbs.validity().not_after);
    let (begins, ends) = (begins.to_unix_duration().as_secs(), ends.to_unix_duration().as_secs());
    let now = seen.at.as_secs();
    if now < begins {
        return Err(format!("its certificate is not valid before {} ({whose})", day(begins)));
    }
    if now > ends {
        let ago = days(now - ends);
        return Err(format!("its certificate expired {ago} ago, on {} ({whose})", day(ends)));
    }
    let parsed = ParsedCertificate::try_from(&seen.certificate);
    if parsed.and_then(|parsed| verify_server_name(&parsed, host)).is_err() {
        return Err(format!("its certificate is not for {} ({whose})", host.to_str()));
    }
    let left = ends - now;
    let until = format!("{}, on {} ({whose})", days(left), day(ends));
    if (left as f64) < valid_for_secs {
        let wanted = days(valid_for_secs as u64);
        return Err(format!("its certificate expires in {until}; that is less than {wanted}"));
    }
    Ok(format!("its certificate expires in {until}"))
}

fn days(secs: u64) -> String {
    count_of(usize::try_from(secs / DAY_SECS).unwrap_or(usize::MAX), "day")
}

fn day(secs: u64) -> String {
    let at = i64::try_from(secs).ok().and_then(|secs| Timestamp::from_second(secs).ok());
    at.map_or_else(|| "a day far away".into(), |at| at.strftime("%Y-%m-%d").to_string())
}
