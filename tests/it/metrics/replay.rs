//! `rollguard backtest --prometheus`: releases that a real Prometheus remembers, with kube-state-metrics' series and without.
use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

use jiff::Timestamp;
use rollguard::adapters::signals::prometheus::replay::{GivenRelease, PastOrder};
use rollguard::domain::names::ServiceName;
use rollguard::domain::signal::Reading;
use serde_json::Value;

use super::{errors, source, target};
use crate::recorder::{Answer, Recorder};
use crate::support::prometheus::{Prometheus, Setup};

const STEP_SECS: i64 = 15;
const BEFORE_SECS: i64 = 3600;
const AFTER_SECS: i64 = 1900;
/// Requests of each pod per step.
const REQUESTS: i64 = 150;
const OLD: (&str, [&str; 2]) = ("5d8f7c9b4", ["bbbbb", "ccccc"]);
const NEW: (&str, [&str; 2]) = ("7f6b5c4d8", ["ddddd", "fffff"]);
/// The new pods begin to serve, and the old ones stop, so many seconds after the release.
const NEW_FROM: i64 = 15;
const OLD_UNTIL: i64 = 60;

const CONFIG: &str = "\
api: {people: [{name: ann, token_env: A_TOKEN_THAT_IS_NOT_HERE}]}
notify: {webhook: {url_env: A_URL_THAT_IS_NOT_HERE, secret_env: A_SECRET_THAT_IS_NOT_HERE}}
sources:
  prometheus: {url: 'http://127.0.0.1:1', bearer_token_env: A_SECRET_THAT_IS_NOT_HERE}
services:
  - name: shop
    policy: auto
    targets: [{name: web, kubernetes: {namespace: shop, deployment: shop-web}}]
    rules:
      - name: error-rate
        errors: {above: ABOVE, source: prometheus, total: http_requests_total, bad: 'http_requests_total{code=\"500\"}'}
";

/// The value for a version at a second after the release.
type Gauge<'a> = &'a dyn Fn(&str, i64) -> i64;

/// Series by metric, since the format wants each metric's lines together.
struct Past {
    released_at: i64,
    text: String,
}

impl Past {
    fn new(released_at: i64) -> Self {
        Self { released_at, text: String::new() }
    }

    fn series(&mut self, name: &str, labels: &str, (from, until): (i64, i64), value: impl Fn(i64) -> i64) {
        for second in (from..until).step_by(STEP_SECS as usize) {
            let at = self.released_at + second;
            writeln!(self.text, "{name}{{namespace=\"shop\",{labels}}} {} {at}", value(second)).unwrap();
        }
    }

    /// Two pods of a version serve all the while; of the new version, some requests fail.
    fn traffic(mut self, failed: i64) -> Self {
        self.text += "# TYPE http_requests counter\n";
        for (code, of_old, of_new) in [("200", REQUESTS, REQUESTS - failed), ("500", 0, failed)] {
            for (pod, (from, until)) in pods() {
                let each = if from < 0 { of_old } else { of_new };
                let labels = format!("pod=\"{pod}\",code=\"{code}\"");
                let served = |second: i64| ((second - from) / STEP_SECS + 1) * each;
                self.series("http_requests_total", &labels, (from, until), served);
            }
        }
        self
    }

    fn kube_state_metrics(mut self) -> Self {
        let all = (-BEFORE_SECS, AFTER_SECS);
        let sets = [(OLD.0, all, -90_000), (NEW.0, (15, AFTER_SECS), 5)];
        let wanted = |hash: &str, second: i64| match (hash == OLD.0, second < OLD_UNTIL) {
            (true, true) | (false, false) => 2,
            (true, false) => 0,
            (false, true) => 1,
        };
        let released_at = self.released_at;
        let gauges: [(&str, &str, Gauge<'_>); 3] = [
            ("kube_replicaset_spec_replicas", "", &|hash, second| wanted(hash, second)),
            ("kube_replicaset_status_ready_replicas", "", &|hash, second| wanted(hash, second)),
            ("kube_replicaset_owner", ",owner_kind=\"Deployment\",owner_name=\"shop-web\"", &|_, _| 1),
        ];
        for (name, more, value) in gauges {
            writeln!(self.text, "# TYPE {name} gauge").unwrap();
            for (hash, span, _) in sets {
                self.series(name, &format!("replicaset=\"shop-web-{hash}\"{more}"), span, |second| {
                    value(hash, second)
                });
            }
        }
        self.text += "# TYPE kube_replicaset_created gauge\n";
        for (hash, span, made) in sets {
            self.series("kube_replicaset_created", &format!("replicaset=\"shop-web-{hash}\""), span, |_| {
                released_at + made
            });
        }
        for (name, more) in [("kube_pod_status_ready", ",condition=\"true\""), ("kube_pod_created", "")] {
            writeln!(self.text, "# TYPE {name} gauge").unwrap();
            for (pod, span) in pods() {
                let value = if more.is_empty() { released_at + span.0 } else { 1 };
                self.series(name, &format!("pod=\"{pod}\"{more}"), span, |_| value);
            }
        }
        self
    }

    async fn start(mut self) -> Prometheus {
        self.text += "# EOF\n";
        Prometheus::start_with_past(&Setup::default(), &self.text).await
    }
}

/// Each pod's name, and when it serves.
fn pods() -> Vec<(String, (i64, i64))> {
    let of = |(hash, pods): (&str, [&str; 2]), span: (i64, i64)| {
        pods.map(|pod| (format!("shop-web-{hash}-{pod}"), span)).to_vec()
    };
    [of(OLD, (-BEFORE_SECS, OLD_UNTIL)), of(NEW, (NEW_FROM, AFTER_SECS))].concat()
}

/// A release whose watch is over.
fn some_time_ago() -> i64 {
    (Timestamp::now().as_second() - AFTER_SECS - 60) / STEP_SECS * STEP_SECS
}

fn time(second: i64) -> String {
    Timestamp::from_second(second).unwrap().to_string()
}

/// The lines on stdout, what is on stderr, and the exit code.
async fn backtest(args: &[&str]) -> (Vec<Value>, String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollguard"));
    let output = command.args(["backtest", "-o", "json"]).args(args).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (lines, String::from_utf8(output.stderr).unwrap(), output.status.code())
}

fn config(dir: &tempfile::TempDir, above: &str) -> String {
    let path = dir.path().join(format!("{above}.yaml"));
    std::fs::write(&path, CONFIG.replace("ABOVE", above)).unwrap();
    path.to_str().unwrap().to_string()
}

#[tokio::test]
#[ignore = "tests/run metrics"]
async fn a_bad_release_is_found_and_would_have_been_rolled_back() {
    let at = some_time_ago();
    let prometheus = Past::new(at).traffic(22).kube_state_metrics().start().await;
    let dir = tempfile::tempdir().unwrap();
    let (strict, lax, charts) = (config(&dir, "5%"), config(&dir, "60%"), dir.path().join("charts"));
    let (from, to) = (time(at - 1800), time(at + 1800));
    let (lines, stderr, exit) = backtest(&[
        "--prometheus",
        prometheus.url(),
        "--from",
        &from,
        "--to",
        &to,
        "--config",
        &strict,
        "--compare",
        &lax,
        "--chart",
        charts.to_str().unwrap(),
    ])
    .await;
    assert_eq!((exit, lines.len()), (Some(0), 1), "{stderr}{lines:?}");
    let line = &lines[0];
    assert_eq!((&line["service"], &line["target"]), (&"shop".into(), &"web".into()));
    assert_eq!((&line["release"], &line["released_at"]), (&NEW.0.into(), &time(at + 5).into()));
    assert_eq!((&line["decision"], &line["cause"]), (&"rollback".into(), &"release".into()), "{line}");
    assert!(line["delay_seconds"].as_f64().unwrap() <= 90.0, "{line}");
    assert_eq!(std::fs::read_dir(&charts).unwrap().count(), 1);
    assert_eq!((&line["compare"]["release"], stderr.as_str()), (&NEW.0.into(), ""));

    let fleet = ["--prometheus", prometheus.url(), "--from", &from, "--config", &strict, "--fleet"];
    assert_eq!(backtest(&fleet).await.0[0]["decision"], "rollback");
    let early = ["--prometheus", prometheus.url(), "--from", &from, "--to", &time(at), "--config", &strict];
    assert_eq!((backtest(&early).await.0.len(), backtest(&early).await.2), (0, Some(4)));
}

#[tokio::test]
#[ignore = "tests/run metrics"]
async fn a_healthy_release_would_have_been_left_alone() {
    let at = some_time_ago();
    let prometheus = Past::new(at).traffic(0).kube_state_metrics().start().await;
    let dir = tempfile::tempdir().unwrap();
    let from = time(at - 1800);
    let (lines, stderr, exit) =
        backtest(&["--prometheus", prometheus.url(), "--from", &from, "--config", &config(&dir, "5%")]).await;
    assert_eq!((exit, lines.len()), (Some(0), 1), "{stderr}");
    assert_eq!((&lines[0]["decision"], &lines[0]["cause"]), (&"hold".into(), &Value::Null), "{}", lines[0]);
    assert_eq!(lines[0]["verdict"], "healthy", "{}", lines[0]);
}

#[tokio::test]
#[ignore = "tests/run metrics"]
async fn without_kube_state_metrics_releases_are_given() {
    let at = some_time_ago();
    let prometheus = Past::new(at).traffic(22).start().await;
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir, "5%");
    let from = time(at - 1800);
    let asked = ["--prometheus", prometheus.url(), "--config", &config];
    let (lines, stderr, exit) = backtest(&[&asked[..], &["--from", &from]].concat()).await;
    assert_eq!((lines.len(), exit), (0, Some(4)));
    assert!(stderr.contains("kube-state-metrics tells nothing of shop/web"), "{stderr}");

    let given = format!("shop/web=v2@{}", time(at));
    let (lines, stderr, exit) = backtest(&[&asked[..], &["--release", &given]].concat()).await;
    assert_eq!((exit, lines.len()), (Some(0), 1), "{stderr}");
    assert_eq!(
        (&lines[0]["release"], &lines[0]["decision"]),
        (&"v2".into(), &"rollback".into()),
        "{}",
        lines[0]
    );

    for (given, why) in [
        (
            format!("shop/web=v3@{}", time(at - 1800)),
            "no pods of another version of shop/web began to report",
        ),
        (format!("shop/api=v2@{}", time(at)), "shop/api is not in the configuration"),
    ] {
        let (_, stderr, exit) = backtest(&[&asked[..], &["--release", &given]].concat()).await;
        assert_eq!(exit, Some(1));
        assert!(stderr.contains(why), "{stderr}");
    }
}

#[tokio::test]
#[ignore = "tests/run metrics"]
async fn a_prometheus_that_does_not_answer_is_a_failure_with_a_sentence() {
    let mut prometheus = Prometheus::start(&Setup::default()).await;
    prometheus.stop().await;
    let dir = tempfile::tempdir().unwrap();
    let (config, from) = (config(&dir, "5%"), time(some_time_ago()));
    let asked = ["--prometheus", prometheus.url(), "--from", &from, "--config", &config];
    let (_, stderr, exit) = backtest(&asked).await;
    assert_eq!(exit, Some(1));
    assert!(stderr.contains("the past of shop/web cannot be read: Prometheus: cannot connect"), "{stderr}");
    let (_, stderr, exit) = backtest(&asked[..4]).await;
    assert_eq!(exit, Some(2));
    assert!(stderr.contains("--prometheus needs --config"), "{stderr}");
}

/// A store goes down after the releases were found: what is read from then on is partial, and no evidence.
#[tokio::test]
#[ignore = "tests/run metrics"]
async fn an_answer_in_part_is_no_data() {
    let at = some_time_ago();
    let prometheus = Past::new(at).traffic(22).start().await;
    let source = source(prometheus.url(), vec![errors("shop", "http_requests_total{code=\"500\"}")]);
    let given =
        GivenRelease { target: target("shop"), label: "v2".into(), at: Timestamp::from_second(at).unwrap() };
    let order = PastOrder {
        from: given.at,
        to: given.at,
        now: Timestamp::now(),
        given: vec![given],
        watches: [(ServiceName::parse("shop").unwrap(), Duration::from_secs(1800))].into(),
        together: false,
    };
    let mut found = source.past_releases(&order).await.unwrap();
    let whole = found.replays[0].next().await.unwrap().unwrap();
    assert!(whole.iter().all(|sample| matches!(sample.reading, Reading::Counts { .. })), "{whole:?}");

    let store = Recorder::start(Answer::new(503, "down")).await;
    let partial = Setup { remote_read: Some(format!("{}/read", store.url)), ..Setup::default() };
    prometheus.reload(&partial).await;
    let partial = found.replays[0].next().await.unwrap().unwrap();
    let warned =
        |reading: &Reading| matches!(reading, Reading::NoData { reason, .. } if reason.contains("503"));
    assert!(!partial.is_empty() && partial.iter().all(|sample| warned(&sample.reading)), "{partial:?}");
}
