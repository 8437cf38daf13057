//! How far the TLS of a server is trusted, for what is no HTTP: Postgres and Redis.
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::probe::Witness;

/// How far the server's TLS is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// None: what is sent can be read on the way.
    Disable,
    /// Encrypted, but to whoever answers.
    Require,
    /// Encrypted, to a server whose certificate is signed by one of these and is for its host.
    VerifyFull { ca_file: PathBuf },
}

/// `None` where no TLS is wanted.
///
/// # Errors
/// Certificates that cannot be used.
pub fn client(mode: &TlsMode) -> Result<Option<Arc<ClientConfig>>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let config = match mode {
        TlsMode::Disable => return Ok(None),
        TlsMode::Require => {
            let any = Arc::new(Witness::new(provider));
            config.dangerous().with_custom_certificate_verifier(any)
        }
        TlsMode::VerifyFull { ca_file } => {
            let roots = read_roots(ca_file)
                .map_err(|why| format!("the certificates in {} cannot be used: {why}", ca_file.display()))?;
            config.with_root_certificates(roots)
        }
    };
    Ok(Some(Arc::new(config.with_no_client_auth())))
}

fn read_roots(ca_file: &PathBuf) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file).map_err(|e| e.to_string())? {
        roots.add(certificate.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    }
    if roots.is_empty() { Err("it holds none in PEM form".into()) } else { Ok(roots) }
}
