//! What the Prometheus source makes of good, partial, strange and missing answers.
mod values;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use jiff::Timestamp;
use reqwest::Url;
use rollguard::adapters::signals::SourceRule;
use rollguard::adapters::signals::prometheus::{Place, PrometheusOptions, PrometheusSource};
use rollguard::domain::detect::errors::Counts;
use rollguard::domain::names::RuleName;
use rollguard::ports::{AskTarget, SignalSource};
use serde_json::{Value, json};

use super::{ask, errors, latency, lines, pod, serve, soon, target};

/// What was asked: path, form fields, headers.
#[derive(Clone, Debug)]
struct Asked {
    path: String,
    form: Vec<(String, String)>,
    headers: HeaderMap,
}

impl Asked {
    fn field(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
    fn query(&self) -> &str {
        self.field("query").unwrap_or_default()
    }
}

/// An answer with this status takes longer than anybody waits.
const HANGS: StatusCode = StatusCode::GATEWAY_TIMEOUT;

struct Fake {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    async fn answering(
        answer: impl Fn(&Asked) -> (StatusCode, String) + Clone + Send + Sync + 'static,
    ) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let handler = move |uri: Uri, headers: HeaderMap, body: String| async move {
            let form = Url::parse(&format!("http://form/?{body}")).unwrap();
            let form = form.query_pairs().into_owned().collect();
            let one = Asked { path: uri.path().into(), form, headers };
            let (status, text) = answer(&one);
            seen.lock().unwrap().push(one);
            if status == HANGS {
                tokio::time::sleep(Duration::from_secs(30)).await;
            }
            (status, [("location", "http://127.0.0.1:1/elsewhere")], text).into_response()
        };
        let address = serve(Router::new().fallback(handler)).await;
        Self { url: format!("http://{address}/prom/"), asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn vector(series: Value) -> (StatusCode, String) {
    let answer = json!({"status": "success", "data": {"resultType": "vector", "result": series}});
    (StatusCode::OK, answer.to_string())
}

fn series(namespace: &str, pod: &str, label: (&str, &str), value: &str) -> Value {
    json!({"metric": {"namespace": namespace, "pod": pod, label.0: label.1}, "value": [1700000001.5, value]})
}

fn options(url: &str, rules: Vec<SourceRule>) -> PrometheusOptions {
    let place = |workload: &str| Place { namespace: "shop".into(), workload: workload.into() };
    PrometheusOptions {
        name: "main".into(),
        url: url.into(),
        interval: Duration::from_secs(5),
        timeout: Duration::from_millis(300),
        bearer: Some("hush".into()),
        headers: vec![("X-Scope-OrgID".into(), "tenant".into())],
        namespace_label: "namespace".into(),
        pod_label: "pod".into(),
        rules,
        places: [
            (target("shop/web"), place("web")),
            (target("shop/api"), place("api")),
            (target("pay/pay"), place("pay")),
        ]
        .into(),
    }
}

fn source(url: &str, rules: Vec<SourceRule>) -> PrometheusSource {
    PrometheusSource::new(options(url, rules)).unwrap()
}

#[tokio::test]
async fn one_query_reads_a_rule_of_all_services() {
    let fake = Fake::answering(|_| {
        let (total, bad) = (("rg", "total"), ("rg", "bad"));
        vector(json!([
            series("shop", "web-1", total, "100"),
            series("shop", "web-1", bad, "7"),
            series("shop", "web-2", total, "5e+01"),
            series("shop", "web-3", total, "NaN"),
            series("shop", "web-4", total, "10"),
            series("shop", "web-4", bad, "NaN"),
            series("shop", "web-admin-1", total, "999"),
            series("other", "web-2", total, "999"),
            series("shop", "pay-1", total, "8"),
        ]))
    })
    .await;
    let rules = vec![errors("shop", "error-rate"), errors("pay", "failures"), errors("idle", "error-rate")];
    let source = source(&fake.url, rules);
    let web = ["web-1", "web-2", "web-3", "web-4", "web-5"].map(|name| pod(name, None)).to_vec();
    let asking = ask(vec![
        ("shop/web", web),
        ("shop/api", vec![pod("api-1", None)]),
        ("pay/pay", vec![pod("pay-1", None)]),
        ("shop/unplaced", vec![pod("x-1", None)]),
        ("unknown/x", vec![pod("x-1", None)]),
    ]);
    let samples = soon(source.read(&asking)).await;
    assert_eq!(
        lines(&samples),
        [
            "pay/pay pay-1 failures 0 of 8",
            "shop/api - error-rate: no series",
            "shop/unplaced - error-rate: the namespace and workload of the target are not configured",
            "shop/web web-1 error-rate 7 of 100",
            "shop/web web-2 error-rate 0 of 50",
        ]
    );
    let asked = fake.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, "/prom/api/v1/query");
    assert!(asked[0].query().contains(r#"pod=~"(?:api-|pay-|web-).*""#), "{}", asked[0].query());
    assert_eq!((asked[0].field("time"), asked[0].field("timeout")), (None, Some("300ms")));
    assert_eq!(asked[0].headers["authorization"], "Bearer hush");
    assert_eq!(asked[0].headers["x-scope-orgid"], "tenant");
    assert!(asked[0].headers["user-agent"].to_str().unwrap().starts_with("rollguard/"));
}

#[tokio::test]
async fn histograms_are_read_per_pod() {
    let fake = Fake::answering(|_| {
        vector(json!([
            series("shop", "web-1", ("le", "+Inf"), "12"),
            series("shop", "web-1", ("le", "0.25"), "10"),
            series("shop", "web-2", ("le", "0.25"), "10"),
        ]))
    })
    .await;
    let source = source(&fake.url, vec![latency("shop")]);
    let asking = ask(vec![("shop/web", vec![pod("web-1", None), pod("web-2", None)])]);
    let samples = soon(source.read(&asking)).await;
    assert_eq!(lines(&samples), ["shop/web web-1 latency [(0.25, 10.0), (inf, 12.0)]"]);
}

#[tokio::test]
async fn what_is_no_whole_answer_is_no_data() {
    let good = vector(json!([series("shop", "web-1", ("rg", "total"), "100")])).1;
    let partial = good.replacen('{', r#"{"warnings":["a store is down"],"#, 1);
    let native = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"namespace":"shop","pod":"web-1","rg":"total"},"histogram":[1,{}]}]}}"#;
    let failed = r#"{"status":"error","errorType":"execution","error":"too many samples"}"#;
    for (status, body, reason) in [
        (200, partial.as_str(), "partial answer, not used: a store is down"),
        (200, native, "the result is not made of numbers: name counters, or a histogram in a latency rule"),
        (200, "{\"a\":1}", "the answer is not one of Prometheus' query API: check the url"),
        (200, &good[..40], "the answer is not one of Prometheus' query API: check the url"),
        (422, failed, "Prometheus answered execution: too many samples"),
        (
            503,
            "Service Unavailable",
            "Prometheus answered HTTP 503 without JSON (starting, stopping, or not Prometheus?)",
        ),
        (302, "moved", "Prometheus answered HTTP 302 without JSON (starting, stopping, or not Prometheus?)"),
        (401, "token hush is wrong", "Prometheus refuses our credentials (HTTP 401)"),
    ] {
        let answer = (StatusCode::from_u16(status).unwrap(), body.to_string());
        let fake = Fake::answering(move |_| answer.clone()).await;
        let source = source(&fake.url, vec![errors("shop", "error-rate")]);
        let asking =
            ask(vec![("shop/web", vec![pod("web-1", None)]), ("shop/api", vec![pod("api-1", None)])]);
        let expected = ["api", "web"].map(|target| format!("shop/{target} - error-rate: {reason}"));
        assert_eq!(lines(&soon(source.read(&asking)).await), expected);
    }
}

#[tokio::test]
async fn a_server_that_hangs_or_is_gone_is_no_data() {
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs = format!("http://{}", hanging.local_addr().unwrap());
    let asking = ask(vec![("shop/web", vec![pod("web-1", None)])]);
    for (url, reason) in
        [(hangs.as_str(), "timed out"), ("http://127.0.0.1:1", "cannot connect: Connection refused")]
    {
        let samples = soon(source(url, vec![errors("shop", "error-rate")]).read(&asking)).await;
        let lines = lines(&samples);
        assert!(lines[0].starts_with(&format!("shop/web - error-rate: Prometheus: {reason}")), "{lines:?}");
        assert!(!lines[0].contains("127.0.0.1") && !lines[0].contains("hush"));
        let past = soon(past_of(&source(url, vec![errors("shop", "error-rate")]))).await;
        assert!(past.batches.is_empty() && past.missing.is_some_and(|why| why.contains(reason)));
    }
}

async fn past_of(source: &PrometheusSource) -> rollguard::ports::History {
    let about = AskTarget { target: target("shop/web"), pods: vec![] };
    let at = |seconds| Timestamp::from_second(seconds).unwrap();
    source.history(&about, at(1_700_000_000), at(1_700_000_060)).await
}

fn matrix(result: Value) -> (StatusCode, String) {
    let answer = json!({"status": "success", "data": {"resultType": "matrix", "result": result}});
    (StatusCode::OK, answer.to_string())
}

/// Three readings, so many seconds apart.
fn row(pod: &str, part: &str, (from, step): (i64, i64), values: [i64; 3]) -> Value {
    let moments = [from, from + step, from + 2 * step];
    let values: Vec<Value> = moments.iter().zip(values).map(|(t, v)| json!([t, v.to_string()])).collect();
    json!({"metric": {"namespace": "shop", "pod": pod, "rg": part}, "values": values})
}

/// Counts from raw counters, times as the server adds them up; and only yesterday is stored.
fn past(asked: &Asked) -> (StatusCode, String) {
    let yesterday = 1_700_000_060 - 86_400;
    let counters = asked.query().contains("rg");
    match (asked.field("start"), asked.field("time")) {
        (Some("1700000000"), _) if counters => matrix(json!([
            row("web-a", "total", (1_700_000_000, 15), [10, 20, 40]),
            row("web-a", "bad", (1_700_000_000, 15), [0, 1, 1]),
            row("web-b", "total", (1_700_000_000, 15), [5, 6, 2])
        ])),
        (Some(start), _) if counters && start == yesterday.to_string() => matrix(json!([
            row("web-x", "total", (yesterday, 60), [0, 500, 1500]),
            row("web-x", "bad", (yesterday, 60), [0, 2, 5])
        ])),
        (Some("1700000060"), _) => {
            let bucket =
                |le: &str, count: &str| json!({"metric": {"le": le}, "values": [[1_700_000_060, count]]});
            matrix(json!([bucket("0.1", "50"), bucket("0.2", "100"), bucket("+Inf", "100")]))
        }
        (_, Some(end)) if end == (yesterday + 1800).to_string() => {
            let native = json!({"count": "7", "sum": "1", "buckets": [[0, "0.5", "1", "7"]]});
            vector(json!([{"metric": {}, "histogram": [0, native]}]))
        }
        (Some(_), _) => matrix(json!([])),
        (None, _) => vector(json!([])),
    }
}

#[tokio::test]
async fn the_past_comes_from_range_queries_and_yesterday_beside_it() {
    let fake = Fake::answering(past).await;
    let source = source(&fake.url, vec![errors("shop", "error-rate"), latency("shop"), errors("pay", "x")]);
    let past = soon(past_of(&source)).await;
    let rule = RuleName::parse("error-rate").unwrap();
    let slow = RuleName::parse("latency").unwrap();
    let expected = [Counts { bad: 1.0, total: 11.0 }, Counts { bad: 0.0, total: 22.0 }];
    assert_eq!(past.batches.keys().collect::<Vec<_>>(), [&rule]);
    assert_eq!(past.batches[&rule], expected);
    assert_eq!((past.step, past.times_step), (Duration::from_secs(15), Some(Duration::from_secs(60))));
    assert!((past.times[&slow][0].quantile(0.95).unwrap() - 0.19).abs() < 1e-9);
    assert_eq!(past.missing, None, "a day that is not stored is no reason for concern");
    assert_eq!((past.earlier[&rule].len(), past.earlier[&slow].len()), (1, 1));
    assert_eq!(past.earlier[&rule][0].counts, Counts { bad: 5.0, total: 1500.0 });
    assert_eq!(past.earlier[&slow][0].times.as_ref().map(|times| times.count()), Some(7.0));
    let asked = fake.asked();
    assert_eq!(asked.len(), 8, "one for each rule, and one for each of three days");
    let grown = asked.iter().find(|a| a.field("start") == Some("1700000060")).unwrap();
    assert!(
        grown.query().contains("[60s]") && grown.query().contains(" or sum(increase(seconds{"),
        "{grown:?}"
    );
}

#[tokio::test]
async fn earlier_days_that_hang_or_fail_hold_nothing_up() {
    for (status, why) in [
        (StatusCode::SERVICE_UNAVAILABLE, "of earlier days: Prometheus answered HTTP 503"),
        (HANGS, "of earlier days: Prometheus: timed out"),
    ] {
        let main = |asked: &Asked| asked.field("start") == Some("1700000000");
        let fake = Fake::answering(move |a| if main(a) { past(a) } else { (status, "busy".into()) }).await;
        let past = soon(past_of(&source(&fake.url, vec![errors("shop", "error-rate")]))).await;
        assert_eq!((past.batches.len(), past.earlier.len()), (1, 0));
        assert!(past.missing.as_deref().is_some_and(|missing| missing.starts_with(why)), "{past:?}");
    }
}

#[tokio::test]
async fn native_histograms_are_read_per_pod() {
    let fake = Fake::answering(|_| {
        let native =
            json!({"count": "9", "sum": "1", "buckets": [[3, "-0.001", "0.001", "2"], [0, "0.5", "1", "7"]]});
        vector(json!([
            series("shop", "web-1", ("le", "+Inf"), "12"),
            {"metric": {"namespace": "shop", "pod": "web-1"}, "histogram": [1700000001.5, native]},
            series("shop", "web-2", ("le", "+Inf"), "10"),
        ]))
    })
    .await;
    let source = source(&fake.url, vec![latency("shop")]);
    let asking = ask(vec![("shop/web", vec![pod("web-1", None), pod("web-2", None)])]);
    let samples = soon(source.read(&asking)).await;
    let expected = [
        "shop/web web-1 latency [(0.001, 2.0), (0.5, 2.0), (1.0, 9.0), (inf, 9.0)]",
        "shop/web web-2 latency [(inf, 10.0)]",
    ];
    assert_eq!(lines(&samples), expected);
    assert_eq!(fake.asked().len(), 1, "one query asks for both kinds");
}

#[test]
fn unusable_options_are_refused_without_their_secrets() {
    for url in ["", "prometheus:9090", "ftp://x", "http://"] {
        let error = PrometheusSource::new(options(url, vec![])).unwrap_err();
        assert!(error.to_string().contains("url of source main"), "{url}: {error}");
    }
    let secret = PrometheusOptions { bearer: Some("hush\n".into()), ..options("http://x", vec![]) };
    let error = PrometheusSource::new(secret).unwrap_err();
    assert!(error.to_string().contains("\"authorization\"") && !format!("{error:?}").contains("hush"));
    let label = PrometheusOptions { pod_label: "pod)".into(), ..options("http://x", vec![]) };
    assert!(PrometheusSource::new(label).is_err());
}
