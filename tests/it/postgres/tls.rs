//! TLS to Postgres: who is believed, who is not, and the binding of the log-in to the certificate.
use std::fs;
use std::os::unix::fs::PermissionsExt;

use rollguard::adapters::journal::{PostgresOptions, TlsMode};
use rollguard::ports::Journal;

use super::{one, open, refusal};
use crate::outside::certificates::certificate;
use crate::support::postgres::Postgres;

#[tokio::test]
#[ignore = "tests/run postgres"]
async fn only_the_server_that_is_meant_is_believed() {
    let (shown, other) = (certificate("20200101", "20990101"), certificate("20200101", "20990101"));
    let key = shown.path().join("key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let cert = shown.path().join("own.pem");
    let scram = shown.path().join("hba.conf");
    fs::write(&scram, "host all all 127.0.0.1/32 scram-sha-256\n").unwrap();
    let settings = [
        "ssl=on".to_string(),
        format!("ssl_cert_file={}", cert.display()),
        format!("ssl_key_file={}", key.display()),
        format!("hba_file={}", scram.display()),
    ];
    let server = Postgres::start(&settings.each_ref().map(String::as_str)).await;
    let verify = |dir: &tempfile::TempDir| TlsMode::VerifyFull { ca_file: dir.path().join("own.pem") };
    let (by_name, by_number) = (server.url().replace("127.0.0.1", "localhost"), server.url());

    for (url, tls) in [(&by_name, verify(&shown)), (&by_number, TlsMode::Require)] {
        let options =
            PostgresOptions { url: format!("{url}?channel_binding=require").into(), tls, ..server.fresh() };
        let journal = open(&options).await;
        let epoch = journal.claim().await.unwrap();
        journal.commit(epoch, one("r", 1)).await.unwrap();
        let sql = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                   WHERE application_name = 'rollguard'";
        let encrypted: bool = server.client().await.query_one(sql, &[]).await.unwrap().get(0);
        assert!(encrypted);
    }
    for (url, tls) in [(&by_name, verify(&other)), (&by_number, verify(&shown))] {
        let options = PostgresOptions { url: url.clone().into(), tls, ..server.fresh() };
        let refused = refusal(&options).await.to_string();
        assert!(refused.contains("certificate"), "{refused}");
    }
    let plain =
        PostgresOptions { url: format!("{by_name}?channel_binding=require").into(), ..server.fresh() };
    let refused = refusal(&plain).await.to_string();
    assert!(refused.contains("channel binding"), "{refused}");
}
