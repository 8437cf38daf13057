//! A purchase in three steps: what is sent, what a failure says, and that no secret is ever in it.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Json, Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jiff::{SignedDuration, Timestamp};
use rollguard::adapters::signals::http::{HttpRule, HttpSource};
use rollguard::config::RuleQuery;
use rollguard::domain::event::RunEvent;
use rollguard::domain::names::{TargetId, TargetName};
use rollguard::domain::run::{Effect, Next, Run, evolve, next};
use rollguard::domain::signal::Reading;
use rollguard::domain::verification::CheckResult;
use rollguard::ports::{Ask, AskTarget, SignalSource};
use serde_json::{Value, json};

use crate::http_world;

use super::{KEY, PASSWORD, checked, load};

/// What it hands out in confidence.
const TOKEN: &str = "tok/en +1";
const SESSION: &str = "sess-ion-9";

#[derive(Clone, Default)]
struct Shop {
    seen: Arc<Mutex<Vec<String>>>,
    fault: Arc<Mutex<&'static str>>,
}

impl Shop {
    async fn open(fault: &'static str) -> (Self, String) {
        let shop = Shop { fault: Arc::new(Mutex::new(fault)), ..Shop::default() };
        let router = Router::new()
            .route("/login", post(login))
            .route("/orders", post(order))
            .route("/orders/{id}", get(read).delete(|| async { StatusCode::NO_CONTENT }))
            .layer(from_fn_with_state(shop.clone(), note))
            .with_state(shop.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (shop, url)
    }

    fn fault(&self) -> &'static str {
        *self.fault.lock().unwrap()
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn note(State(shop): State<Shop>, request: Request, next: middleware::Next) -> Response {
    shop.seen.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
    if shop.fault() == "slow" && request.uri().path() == "/orders" {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    next.run(request).await
}

async fn login(State(shop): State<Shop>, form: String) -> Response {
    let form: Vec<_> = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    let right = [("password", PASSWORD), ("user", "ann")].map(|(n, v)| (n.to_string(), v.to_string()));
    if form != right {
        return (StatusCode::UNAUTHORIZED, format!("{form:?}")).into_response();
    }
    let body = match shop.fault() {
        "no token" => json!({"token": TOKEN}),
        "empty token" => json!({"access_token": ""}),
        "many tokens" => json!({"access_token": [TOKEN]}),
        "token is no header" => json!({"access_token": "a\r\nx: b"}),
        "not JSON" => return format!("welcome {TOKEN}").into_response(),
        _ => json!({"access_token": TOKEN, "echo": {"you": [PASSWORD, TOKEN, SESSION, 4711]}}),
    };
    let echo = if shop.fault() == "echo" { "wrong" } else { "fine" };
    let cookie = format!("sid={SESSION}; Path=/; HttpOnly");
    ([("set-cookie", cookie), ("x-state", format!("{echo} {PASSWORD} {TOKEN} {SESSION}"))], Json(body))
        .into_response()
}

fn allowed(headers: &HeaderMap) -> bool {
    let is =
        |name: &str, value: &str| headers.get(name).is_some_and(|found| found.as_bytes() == value.as_bytes());
    is("authorization", &format!("Bearer {TOKEN}"))
        && is("cookie", &format!("sid={SESSION}"))
        && is("x-key", KEY)
}

async fn order(State(shop): State<Shop>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if !allowed(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    if body != json!({"article": "test", "amount": 1, "note": format!("for {PASSWORD}")}) {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    }
    match shop.fault() {
        "error" => (StatusCode::INTERNAL_SERVER_ERROR, format!("{PASSWORD} {TOKEN}")).into_response(),
        "login again" => (StatusCode::FOUND, [("location", "/login")]).into_response(),
        "state" => (StatusCode::CREATED, Json(json!({"id": 7, "state": [PASSWORD, TOKEN]}))).into_response(),
        "climbing" => (StatusCode::CREATED, Json(json!({"id": "..", "state": "accepted"}))).into_response(),
        "huge" => (StatusCode::CREATED, "x".repeat(2 << 20)).into_response(),
        _ => (StatusCode::CREATED, Json(json!({"id": 7, "state": "accepted"}))).into_response(),
    }
}

async fn read(State(shop): State<Shop>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let id = if shop.fault() == "other order" { json!(TOKEN) } else { json!(id.parse::<u64>().unwrap()) };
    if allowed(&headers) {
        Json(json!({ "id": id })).into_response()
    } else {
        StatusCode::FORBIDDEN.into_response()
    }
}

fn purchase(url: &str) -> String {
    format!(
        r#"        journey:
          secrets: {{password_env: SHOP_PASSWORD, key_env: SHOP_KEY}}
          timeout: 20s
          steps:
            - method: POST
              url: {url}/login
              body: {{form: {{user: ann, password: "${{password}}"}}}}
              header: {{name: x-state, matches: ^fine}}
              capture: {{token: {{json: /access_token}}}}
            - method: POST
              url: {url}/orders?via=${{token}}&key=literal
              headers: {{Authorization: "Bearer ${{token}}", X-Key: "${{key}}"}}
              body: {{json: {{article: test, amount: 1, note: "for ${{password}}"}}}}
              status: 201
              json: {{pointer: /state, equals: accepted}}
              capture: {{order: {{json: /id}}}}
            - url: {url}/orders/${{order}}
              headers: {{Authorization: "Bearer ${{token}}", X-Key: "${{key}}"}}
              json: {{pointer: /id, equals: "${{order}}"}}
"#
    )
}

#[tokio::test]
async fn a_purchase_uses_what_it_was_answered() {
    let (shop, url) = Shop::open("").await;
    assert_eq!(checked(&purchase(&url)).await.unwrap(), "3 steps answered as expected");
    let sent = ["POST /login", "POST /orders?via=tok%2Fen%20%2B1&key=literal", "GET /orders/7"];
    assert_eq!(shop.seen(), sent);
}

#[tokio::test]
async fn a_failure_says_at_which_step_and_keeps_every_secret() {
    let faults = [
        "echo",
        "no token",
        "empty token",
        "many tokens",
        "token is no header",
        "not JSON",
        "error",
        "login again",
        "state",
        "climbing",
        "huge",
        "slow",
        "other order",
    ];
    let mut transcript = String::new();
    for fault in faults {
        let (shop, url) = Shop::open(fault).await;
        // Long enough for a busy machine, but for the one that is to be too slow.
        let timeout = if fault == "slow" { "timeout: 3s" } else { "timeout: 20s" };
        let journey = purchase(&url).replace("timeout: 20s", timeout);
        let why = checked(&journey).await.unwrap_err().replace(&url, "http://shop");
        let requests = shop.seen().len();
        transcript += &format!("{fault}, after {requests} requests:\n  {why}\n");
        assert!(requests < 3 || fault == "other order", "{fault}: {:?}", shop.seen());
    }
    let nowhere = checked(&purchase("http://127.0.0.1:1")).await.unwrap_err();
    transcript += &format!("nobody there:\n  {nowhere}\n");
    for secret in [PASSWORD, "sesame", TOKEN, "tok/en", "tok%2Fen", SESSION, KEY, "literal"] {
        assert!(!transcript.contains(secret), "{secret} is told:\n{transcript}");
    }
    insta::assert_snapshot!(transcript);
}

#[tokio::test]
async fn a_wrong_password_fails_at_the_login() {
    let (shop, url) = Shop::open("").await;
    let wrong = purchase(&url).replace("SHOP_PASSWORD", "SHOP_KEY");
    let why = checked(&wrong).await.unwrap_err();
    assert_eq!(why, format!("step 1 of 3, POST {url}/login: HTTP 401 instead of 2xx"));
    assert_eq!(shop.seen(), ["POST /login"], "nothing is tried again");
}

/// The same purchase as a rule: one reading for its target, and not more often than it says.
#[tokio::test]
async fn a_rule_sends_the_same_journey_at_its_own_pace() {
    let (shop, url) = Shop::open("").await;
    let loaded = load("rules", &purchase(&url));
    let config = &loaded.config.services[0];
    let RuleQuery::Http(check) = &config.rules[0].query else { panic!("{config:?}") };
    assert_eq!((check.every, check.at_rest), (Duration::from_secs(30), Duration::from_secs(300)));
    let rule = HttpRule {
        service: config.name.clone(),
        rule: config.rules[0].rule.name.clone(),
        probe: check.probe.clone(),
        secrets: check.secrets.clone(),
        every: check.every,
    };
    assert!(!format!("{rule:?} {config:?}").contains("sesame"));
    let source = HttpSource::new("journeys", vec![rule], check.at_rest).unwrap();
    assert_eq!(source.intervals(), (check.every, Some(check.at_rest)));
    let target = TargetId { service: config.name.clone(), target: TargetName::parse("api").unwrap() };
    let mut told = Vec::new();
    for second in [0, 5, 14, 30] {
        if second == 30 {
            *shop.fault.lock().unwrap() = "error";
        }
        let at = Timestamp::from_second(1_700_000_000).unwrap() + SignedDuration::from_secs(second);
        let targets = vec![AskTarget { target: target.clone(), pods: vec![] }];
        for sample in source.read(&Ask { at, targets }).await {
            let Reading::Check { ok, detail, .. } = sample.reading else { panic!("{sample:?}") };
            told.push((second, ok, detail.replace(&url, "http://shop")));
        }
    }
    let failed = "step 2 of 3, POST http://shop/orders: HTTP 500 instead of 201".to_string();
    assert_eq!(told, [(0, true, "3 steps answered as expected".to_string()), (30, false, failed)]);
}

#[test]
fn after_a_rollback_a_failed_journey_waits_for_its_turn() {
    let at = |second: i64| Timestamp::from_second(1_795_341_600 + second).unwrap();
    let next_looks = |check: &str| {
        let RunEvent::Opened(mut opened) = http_world::opened("shop-1", false) else { panic!("no opening") };
        opened.checks = load("checks", check).config.services[0].checks.clone();
        let done = RunEvent::StepDone { step: opened.plan.steps.len() - 1 };
        let failed = RunEvent::Checked { check: 0, result: CheckResult::failed("HTTP 500 instead of 201") };
        let events = [RunEvent::Opened(opened), RunEvent::Adopted { epoch: 1 }, done, failed];
        let run = events.iter().fold(Run::default(), |run, event| evolve(run, event, at(0)));
        [1, 2, 29, 30].map(|second| next(&run, at(second), 1))
    };
    let again = || Next::Do(Effect::Check(0));
    let wait = |second| Next::WaitUntil(at(second));
    assert_eq!(next_looks(&purchase("http://shop")), [wait(30), wait(30), wait(30), again()]);
    let health = "        http: {url: \"http://shop/health\"}\n";
    assert_eq!(next_looks(health), [wait(2), again(), again(), again()]);
}
