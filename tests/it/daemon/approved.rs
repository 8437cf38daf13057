//! A rollback that waits for a person, who looks at it and approves it on the command line.
use std::time::Duration;

use serde_json::{Value, json};

use super::{EVIDENCE, SOON, Stage, firing, in_phase};

#[tokio::test]
#[ignore = "tests/run daemon"]
async fn a_person_is_asked_looks_and_approves() {
    let stage = Stage::set("approved", Duration::from_millis(300)).await;
    let mut config = stage.config();
    config["services"][0]["policy"] = json!("approval");
    let daemon = stage.serve(config).await;
    stage.release_over_known_good(&daemon, "v2-crashloop").await;
    let run = daemon.await_run("somebody is asked", EVIDENCE, |_| true).await;
    assert_eq!(run.phase, "awaiting approval");
    let asked = stage.paged("the question reaches the pager", SOON, firing).await;
    assert!(asked["annotations"]["summary"].as_str().unwrap().starts_with("[ASK] Approve"), "{asked:#}");
    assert!(asked.to_string().contains(&format!("rollguard approve {}", run.run)), "{asked:#}");

    let status = daemon.cli_ok("status").await;
    assert!(status.contains(&run.run) && status.contains("awaiting approval"), "{status}");
    let shown = daemon.cli_ok(&format!("show {}", run.run)).await;
    assert!(shown.contains("crash loop") && shown.contains(&run.digest.as_str()[..12]), "{shown}");
    let status: Value = serde_json::from_str(&daemon.cli_ok("status -o json").await).unwrap();
    assert!(status.to_string().contains(&run.run), "{status}");

    let approve = format!("approve {}", run.run);
    let stranger = daemon.cli_as("token-of-a-stranger-01", &approve).await;
    let refused = String::from_utf8_lossy(&stranger.stderr).into_owned();
    assert!(!stranger.status.success() && refused.contains("nobody has this token"), "{stranger:?}");
    let other_plan = daemon.cli(&format!("{approve} --digest 0123456789ab")).await;
    assert_eq!(other_plan.status.code(), Some(3), "{other_plan:?}");
    assert_eq!(stage.changes().await, "2", "nothing may change before it is approved");

    daemon.cli_ok(&format!("{approve} --digest {}", &run.digest.as_str()[..12])).await;
    daemon.await_run("it is carried out", EVIDENCE, in_phase(&run.run, "watching")).await;
    assert_eq!((stage.image().await.as_str(), stage.changes().await.as_str()), ("app:v1", "3"));
    let told = daemon.run(&run.run).await;
    assert_eq!((told.approved_by.as_deref(), told.verified), (Some("ann"), Some(true)));
    stage.paged("the question is over", SOON, |alert| alert["status"] == "resolved").await;
    let messages = stage.messages();
    let action = messages.iter().find(|message| message["kind"] == "action").unwrap().to_string();
    assert!(action.contains("approved by ann"), "{action}");
    let late = daemon.cli(&approve).await;
    assert!(!late.status.success(), "approved twice: {late:?}");
}
