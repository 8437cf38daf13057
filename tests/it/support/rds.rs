//! Stands between the AWS SDK and moto for RDS: adds the time that things take, throttling, and answers that are lost.
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};

use super::moto::Moto;
use super::workload::{Served, serve};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Refused for being one too many.
    Throttle,
    /// It has its effect, but the client gets 503 instead of the answer.
    LoseAnswer,
    /// What moto calls available is in this state.
    Status(&'static str),
}

struct Planned {
    action: String,
    fault: Fault,
    left: usize,
}

struct Shared {
    moto: String,
    http: reqwest::Client,
    planned: Mutex<Vec<Planned>>,
    seen: Mutex<Vec<String>>,
}

/// An RDS in front of a [`Moto`]; without a planned fault it answers as moto does.
pub(crate) struct Rds {
    shared: Arc<Shared>,
    served: Served,
}

impl Rds {
    pub(crate) async fn start(moto: &Moto) -> Self {
        let shared = Arc::new(Shared {
            moto: moto.url().to_owned(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            planned: Mutex::default(),
            seen: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let served = serve(SocketAddr::from(([127, 0, 0, 1], 0)), router).await;
        Self { shared, served }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.served.address())
    }

    /// Plans a fault for the next `count` requests of this action.
    pub(crate) fn plan(&self, fault: Fault, count: usize, action: &str) {
        let action = action.to_owned();
        self.shared.planned.lock().unwrap().push(Planned { action, fault, left: count });
    }

    /// How many requests of this action came.
    pub(crate) fn seen(&self, action: &str) -> usize {
        self.shared.seen.lock().unwrap().iter().filter(|seen| *seen == action).count()
    }

    /// An action with its parameters, as an administrator sends it.
    pub(crate) async fn order(&self, parameters: &[(&str, &str)]) -> String {
        let scope = "Credential=test/20261122/eu-central-1/rds/aws4_request";
        let signed = format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=none");
        let body = [("Version", "2014-10-31")].iter().chain(parameters);
        let request = self.shared.http.post(&self.shared.moto).header("authorization", signed);
        let answer = request.form(&body.collect::<Vec<_>>()).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{parameters:?}: {text}");
        text
    }
}

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let text = String::from_utf8_lossy(&body).into_owned();
    let action = text.split('&').find_map(|pair| pair.strip_prefix("Action=")).unwrap_or_default();
    shared.seen.lock().unwrap().push(action.to_owned());
    let fault = {
        let mut planned = shared.planned.lock().unwrap();
        let meant = planned.iter_mut().find(|planned| planned.left > 0 && planned.action == action);
        meant.map(|planned| {
            planned.left -= 1;
            planned.fault
        })
    };
    if fault == Some(Fault::Throttle) {
        return refusal(400, "Throttling", "Rate exceeded");
    }
    let mut request = shared.http.post(&shared.moto).body(body);
    for name in ["authorization", "content-type", "x-amz-date"] {
        if let Some(value) = headers.get(name) {
            request = request.header(name, value);
        }
    }
    let answer = request.send().await.unwrap();
    let (status, mut text) = (answer.status(), answer.text().await.unwrap());
    match fault {
        Some(Fault::LoseAnswer) => return refusal(503, "ServiceUnavailable", "planned by the test"),
        Some(Fault::Status(state)) => {
            let progress = format!("<Status>{state}</Status><PercentProgress>40</PercentProgress>");
            text = text.replace("<Status>available</Status>", &progress);
        }
        Some(Fault::Throttle) | None => {}
    }
    Response::builder().status(status).header("content-type", "text/xml").body(Body::from(text)).unwrap()
}

fn refusal(status: u16, code: &str, message: &str) -> Response<Body> {
    let text = format!(
        "<ErrorResponse xmlns=\"http://rds.amazonaws.com/doc/2014-10-31/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>{message}</Message></Error><RequestId>r</RequestId></ErrorResponse>"
    );
    let status = StatusCode::from_u16(status).unwrap();
    Response::builder().status(status).header("content-type", "text/xml").body(Body::from(text)).unwrap()
}
