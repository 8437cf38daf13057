//! The built daemon with its journal in Postgres: it remembers across lives, and keeps no journal on its own disk.
use serde_json::json;

use crate::reload::{config, sandbox};
use crate::support::daemon::Daemon;
use crate::support::postgres::Postgres;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run postgres"]
async fn a_daemon_remembers_in_postgres() {
    let server = Postgres::shared().await;
    let schema = server.fresh().schema;
    let sandbox = sandbox().await;
    let mut config = config(&sandbox, "shop");
    config["journal"] = json!({ "postgres": {
        "url": server.url(), "schema": schema, "tls": { "mode": "disable" },
    }});
    let mut daemon = Daemon::start(config.clone()).await;
    daemon.await_known_good("v1").await;
    daemon.kill();
    daemon.restart().await;
    daemon.await_known_good("v1").await;
    assert!(!daemon.state_dir().join("journal.db").exists());
    daemon.terminate().await;

    let sql = format!("SELECT epoch FROM {schema}.meta");
    let epoch: i64 = server.client().await.query_one(&sql, &[]).await.unwrap().get(0);
    assert_eq!(epoch, 2);
    assert!(!daemon.log().contains("sesame"), "no secret is logged");
}
