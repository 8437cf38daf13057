//! Certificates as servers show them: valid, ending, over, for another host, or none at all.
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::checked;
use crate::recorder::{Answer, Recorder, nobody};

const CA: &str = "[ca]\ndefault_ca=own\n[own]\ndatabase=index\nnew_certs_dir=.\ndefault_md=sha256\npolicy=any\n\
                  x509_extensions=ext\nrand_serial=yes\n[any]\ncommonName=supplied\norganizationName=optional\n\
                  [ext]\nsubjectAltName=DNS:localhost\n[req]\ndistinguished_name=dn\n[dn]\n";

fn openssl(dir: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    let output = command.args(arguments.split(' ')).current_dir(dir).output();
    let output = output.expect("this test makes its certificates with the program openssl, which is missing");
    assert!(output.status.success(), "openssl {arguments}: {output:?}");
}

/// A certificate for localhost that signs itself, valid from one day (`20200101`) to another.
pub(crate) fn certificate(from: &str, to: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ca.cnf"), CA).unwrap();
    std::fs::write(dir.path().join("index"), "").unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem";
    openssl(dir.path(), &format!("req -config ca.cnf -new {key} -out own.csr -subj /O=Shop/CN=localhost"));
    let dates = format!("-startdate {from}000000Z -enddate {to}000000Z");
    openssl(
        dir.path(),
        &format!(
            "ca -config ca.cnf -batch -selfsign -keyfile key.pem -in own.csr -out own.pem -notext {dates}"
        ),
    );
    dir
}

/// Shows the certificate to whoever connects; answers the port.
async fn serve(dir: &Path) -> u16 {
    let chain = vec![CertificateDer::from_pem_file(dir.join("own.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(dir.join("key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(acceptor.clone().accept(stream));
        }
    });
    port
}

async fn look(url: &str, valid_for: &str) -> Result<String, String> {
    checked(&format!("        tls: {{url: \"{url}\", valid_for: {valid_for}, timeout: 2s}}\n")).await
}

const WHOSE: &str = "(O=Shop,CN=localhost, issued by O=Shop,CN=localhost)";

#[tokio::test]
async fn a_certificate_that_is_valid_says_for_how_long() {
    let port = serve(certificate("20200101", "20491231").path()).await;
    let found = look(&format!("https://localhost:{port}/any"), "14d").await.unwrap();
    let days: u64 = found.split(' ').nth(4).unwrap().parse().unwrap();
    assert!(days > 1000, "{found}");
    assert_eq!(found, format!("its certificate expires in {days} days, on 2049-12-31 {WHOSE}"));
    let soon = look(&format!("https://localhost:{port}"), "400d").await.unwrap();
    assert_eq!(soon, found);
    let other = look(&format!("https://127.0.0.1:{port}"), "14d").await.unwrap_err();
    assert_eq!(other, format!("its certificate is not for 127.0.0.1 {WHOSE}"));
}

#[tokio::test]
async fn a_certificate_that_ends_or_has_ended_fails() {
    let in_nine_days = jiff::Timestamp::now().as_second() + 9 * 86_400 + 86_399;
    let day = jiff::Timestamp::from_second(in_nine_days).unwrap();
    let port = serve(certificate("20200101", &day.strftime("%Y%m%d").to_string()).path()).await;
    let soon = look(&format!("https://localhost:{port}"), "14d").await.unwrap_err();
    let shown = day.strftime("%Y-%m-%d");
    // The day ends at midnight, so there are nine days and something, or a little less.
    assert!(
        soon == format!("its certificate expires in 9 days, on {shown} {WHOSE}; that is less than 14 days"),
        "{soon}"
    );
    assert!(look(&format!("https://localhost:{port}"), "8d").await.is_ok());

    let port = serve(certificate("20200101", "20210101").path()).await;
    let over = look(&format!("https://localhost:{port}"), "14d").await.unwrap_err();
    let (begin, end) = ("its certificate expired ", format!(" days ago, on 2021-01-01 {WHOSE}"));
    assert!(over.starts_with(begin) && over.ends_with(&end), "{over}");

    let port = serve(certificate("20400101", "20410101").path()).await;
    let early = look(&format!("https://localhost:{port}"), "14d").await.unwrap_err();
    assert_eq!(early, format!("its certificate is not valid before 2040-01-01 {WHOSE}"));
}

#[tokio::test]
async fn where_no_certificate_is_shown_it_fails() {
    let plain = Recorder::start(Answer::new(200, "")).await;
    let why = look(&plain.url.replace("http:", "https:"), "14d").await.unwrap_err();
    assert!(why.starts_with("no TLS there: "), "{why}");
    let why = look(&nobody().replace("http:", "https:"), "14d").await.unwrap_err();
    assert!(why.starts_with("cannot connect: Connection refused"), "{why}");
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    assert_eq!(look(&url, "14d").await.unwrap_err(), "timed out");
}
