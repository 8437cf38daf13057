//! Stands between the AWS SDK and moto: speaks the SDK's protocol, adds what moto lacks, and does what a busy AWS does.

// The SDK speaks Smithy RPC v2 in CBOR, moto the older JSON of CloudWatch; both say the same things.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use axum::routing::post;
use ciborium::Value as Cbor;
use serde_json::{Map, Value, json};

use super::moto::{Moto, headers};
use super::workload::{Served, serve};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Refused for being one too many.
    Throttle,
    /// Answered with this status.
    Refuse(u16),
    /// Answered after so long.
    Delay(Duration),
    /// Every metric of the answer has this `StatusCode`.
    Status(&'static str),
    /// The answer as a whole comes with a message.
    Message(&'static str),
    /// Half of the datapoints now, and a token for the rest; for two requests in a row.
    HalfAPage,
}

struct Planned {
    operation: String,
    fault: Fault,
    left: usize,
}

struct Shared {
    moto: String,
    http: reqwest::Client,
    planned: Mutex<Vec<Planned>>,
    seen: Mutex<Vec<(String, Value)>>,
    composite: Mutex<Vec<Value>>,
}

/// A CloudWatch in front of a [`Moto`]; without a planned fault it answers as moto does.
pub(crate) struct CloudWatch {
    shared: Arc<Shared>,
    served: Served,
}

const TOKEN: &str = "the-rest";

impl CloudWatch {
    pub(crate) async fn start(moto: &Moto) -> Self {
        let shared = Arc::new(Shared {
            moto: moto.url().to_owned(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            planned: Mutex::default(),
            seen: Mutex::default(),
            composite: Mutex::default(),
        });
        let path = "/service/GraniteServiceVersion20100801/operation/{operation}";
        let router = Router::new().route(path, post(answer)).with_state(shared.clone());
        let served = serve(SocketAddr::from(([127, 0, 0, 1], 0)), router).await;
        Self { shared, served }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.served.address())
    }

    /// Plans a fault for the next `count` requests of `operation`.
    pub(crate) fn plan(&self, fault: Fault, count: usize, operation: &str) {
        let operation = operation.to_owned();
        self.shared.planned.lock().unwrap().push(Planned { operation, fault, left: count });
    }

    /// Faults that nobody came for are forgotten.
    pub(crate) fn calm(&self) {
        self.shared.planned.lock().unwrap().clear();
    }

    /// The requests of this operation so far.
    pub(crate) fn seen(&self, operation: &str) -> Vec<Value> {
        let seen = self.shared.seen.lock().unwrap();
        seen.iter().filter(|(name, _)| name == operation).map(|(_, body)| body.clone()).collect()
    }

    /// Adds a composite alarm, which moto does not have.
    pub(crate) fn add_composite(&self, name: &str, state: &str) {
        self.shared.composite.lock().unwrap().push(json!({ "AlarmName": name, "StateValue": state }));
    }
}

impl Shared {
    fn fault(&self, operation: &str) -> Option<Fault> {
        let mut planned = self.planned.lock().unwrap();
        let meant = planned.iter_mut().find(|p| p.left > 0 && p.operation == operation)?;
        meant.left -= 1;
        Some(meant.fault)
    }

    async fn ask(&self, operation: &str, body: &Value) -> (StatusCode, Value) {
        let request = self.http.post(&self.moto).headers(headers(operation)).body(body.to_string());
        let Ok(answer) = request.send().await else {
            return (
                StatusCode::BAD_GATEWAY,
                json!({ "__type": "InternalFailure", "message": "moto is gone" }),
            );
        };
        let status = answer.status();
        let text = answer.text().await.unwrap();
        let body = serde_json::from_str(&text);
        (status, body.unwrap_or_else(|_| json!({ "__type": "InternalFailure", "message": text })))
    }

    /// The composite alarms that a request is about, if it asks for any.
    fn composite(&self, request: &Value) -> Vec<Value> {
        let lists = |key: &str, text: &Value| request[key].as_array().is_some_and(|list| list.contains(text));
        let prefix = request["AlarmNamePrefix"].as_str();
        let asked = lists("AlarmTypes", &json!("CompositeAlarm"));
        let all = self.composite.lock().unwrap();
        let ours = all.iter().filter(|alarm| {
            let name = &alarm["AlarmName"];
            let begins = prefix.is_some_and(|prefix| name.as_str().unwrap().starts_with(prefix));
            asked && (begins || lists("AlarmNames", name))
        });
        ours.cloned().collect()
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    Path(operation): Path<String>,
    body: Bytes,
) -> Response<Body> {
    let request = to_json(ciborium::from_reader(body.as_ref()).unwrap());
    shared.seen.lock().unwrap().push((operation.clone(), request.clone()));
    let fault = shared.fault(&operation);
    match fault {
        Some(Fault::Throttle) => return refusal(400, "ThrottlingException", "Rate exceeded"),
        Some(Fault::Refuse(code)) => return refusal(code, "InternalServiceFault", "planned by the test"),
        Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
        Some(Fault::Status(_) | Fault::Message(_) | Fault::HalfAPage) | None => {}
    }
    let (status, mut answer) = shared.ask(&operation, &for_moto(request.clone())).await;
    match fault {
        Some(Fault::Status(code)) => {
            each_result(&mut answer, |result| result["StatusCode"] = json!(code));
        }
        Some(Fault::Message(code)) => {
            answer["Messages"] = json!([{ "Code": code, "Value": "planned by the test" }]);
        }
        Some(Fault::HalfAPage) => half(&mut answer, request["NextToken"] == TOKEN),
        Some(Fault::Throttle | Fault::Refuse(_) | Fault::Delay(_)) | None => {}
    }
    if operation == "DescribeAlarms" {
        answer["CompositeAlarms"] = json!(shared.composite(&request));
    }
    reply(status, answer)
}

/// moto has no percentiles; of one datapoint a minute, every percentile is the greatest.
fn for_moto(mut request: Value) -> Value {
    if let Some(map) = request.as_object_mut() {
        map.remove("NextToken");
    }
    for query in request["MetricDataQueries"].as_array_mut().into_iter().flatten() {
        let stat = &mut query["MetricStat"]["Stat"];
        if stat.as_str().is_some_and(|stat| stat.starts_with('p')) {
            *stat = json!("Maximum");
        }
    }
    request
}

fn each_result(answer: &mut Value, change: impl FnMut(&mut Value)) {
    answer["MetricDataResults"].as_array_mut().into_iter().flatten().for_each(change);
}

fn half(answer: &mut Value, second: bool) {
    each_result(answer, |result| {
        for key in ["Timestamps", "Values"] {
            let all = result[key].as_array().unwrap();
            let (former, latter) = all.split_at(all.len() / 2);
            result[key] = json!(if second { latter } else { former });
        }
        result["StatusCode"] = json!(if second { "Complete" } else { "PartialData" });
    });
    if !second {
        answer["NextToken"] = json!(TOKEN);
    }
}

fn refusal(status: u16, code: &str, message: &str) -> Response<Body> {
    reply(StatusCode::from_u16(status).unwrap(), json!({ "__type": code, "message": message }))
}

fn reply(status: StatusCode, answer: Value) -> Response<Body> {
    let mut body = Vec::new();
    ciborium::into_writer(&to_cbor(answer, ""), &mut body).unwrap();
    let response = Response::builder().status(status).header("smithy-protocol", "rpc-v2-cbor");
    response.header("content-type", "application/cbor").body(Body::from(body)).unwrap()
}

fn to_json(value: Cbor) -> Value {
    match value {
        Cbor::Integer(number) => json!(i64::try_from(number).unwrap()),
        Cbor::Float(number) => json!(number),
        Cbor::Text(text) => json!(text),
        Cbor::Bool(value) => json!(value),
        Cbor::Null => Value::Null,
        Cbor::Tag(_, inner) => to_json(*inner),
        Cbor::Array(items) => items.into_iter().map(to_json).collect(),
        Cbor::Map(pairs) => {
            let pair = |(key, value): (Cbor, Cbor)| (key.into_text().unwrap(), to_json(value));
            Value::Object(pairs.into_iter().map(pair).collect::<Map<_, _>>())
        }
        other => panic!("{other:?} has no place in a request"),
    }
}

/// Times are seconds in both, but tagged as times in CBOR: `key` says which numbers are times.
fn to_cbor(value: Value, key: &str) -> Cbor {
    match value {
        Value::Null => Cbor::Null,
        Value::Bool(value) => Cbor::Bool(value),
        Value::String(text) => Cbor::Text(text),
        Value::Number(number) if key.ends_with("Timestamp") || key == "Timestamps" => {
            Cbor::Tag(1, Box::new(Cbor::Float(number.as_f64().unwrap())))
        }
        Value::Number(number) => match number.as_i64().filter(|_| key != "Values") {
            Some(whole) => Cbor::Integer(whole.into()),
            None => Cbor::Float(number.as_f64().unwrap()),
        },
        Value::Array(items) => Cbor::Array(items.into_iter().map(|item| to_cbor(item, key)).collect()),
        Value::Object(map) => {
            let pair = |(key, value): (String, Value)| (Cbor::Text(key.clone()), to_cbor(value, &key));
            Cbor::Map(map.into_iter().map(pair).collect())
        }
    }
}
