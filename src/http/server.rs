//! The server: routes, and the limits that every request meets.
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::connection::{BoundedListener, Peer};
use super::error::ApiError;
use super::{HttpState, api, chart, doctor, health, metrics, orders, reload, report, slack, webhook};

pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Requests at once. Further ones are told to come again, so that a flood costs no memory.
const REQUESTS_MAX: usize = 64;
/// Histograms are summed up so often, scraped or not.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

const INDEX: &str = "rollguard

GET  /api/v1/services                            targets, versions, watches
GET  /api/v1/runs                                rollbacks
GET  /api/v1/runs/RUN                            one rollback with its timeline
GET  /api/v1/runs/RUN/report                     its incident report (?format=json, markdown or html)
GET  /api/v1/runs/RUN/chart.svg                  what was measured until then, with deploy and threshold
GET  /api/v1/targets/SERVICE/TARGET/chart.svg    the same of its latest release
GET  /api/v1/doctor                              could each target be rolled back right now
GET  /api/v1/doctor/SERVICE/TARGET               one of them
GET  /api/v1/targets/SERVICE/TARGET/history      its versions, and what became of them
GET  /api/v1/targets/SERVICE/TARGET/plan         what a rollback would do now (?revision=N)
POST /api/v1/releases                            a deploy tool says what it released
POST /api/v1/rollbacks                           roll a target back
POST /api/v1/runs/RUN/{approve,deny,resume,skip,abort,acknowledge}
POST /api/v1/targets/SERVICE/TARGET/acknowledge   somebody has its page in hand
POST /slack/interactions                         buttons in Slack
POST /webhook/alertmanager                       alerts, payload version 4
POST /-/reload                                   read the configuration again
GET  /metrics /livez /readyz?verbose /-/healthy /-/ready
";

/// Serves until `shutdown` resolves, and then finishes the requests that have begun.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    state: HttpState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let handle = state.0.metrics.clone();
    let service = router(state).into_make_service_with_connect_info::<Peer>();
    let server = axum::serve(BoundedListener::new(listener), service).with_graceful_shutdown(shutdown);
    let upkeep = async {
        loop {
            tokio::time::sleep(UPKEEP_EVERY).await;
            handle.run_upkeep();
        }
    };
    tokio::select! {
        served = server.into_future() => served,
        () = upkeep => Ok(()),
    }
}

fn router(state: HttpState) -> Router {
    let open = Router::new()
        .route("/", get(async || INDEX))
        .route("/livez", get(health::live))
        .route("/-/healthy", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/-/ready", get(health::ready))
        .route("/metrics", get(metrics::show));
    let limited = Router::new()
        .route("/webhook/alertmanager", post(webhook::receive))
        .route("/-/reload", post(reload::reload))
        .route("/api/v1/services", get(api::services))
        .route("/api/v1/runs", get(api::runs))
        .route("/api/v1/runs/{run}", get(api::run))
        .route("/api/v1/runs/{run}/report", get(report::show))
        .route("/api/v1/runs/{run}/chart.svg", get(chart::of_run))
        .route("/api/v1/targets/{service}/{target}/chart.svg", get(chart::of_target))
        .route("/api/v1/doctor", get(doctor::all))
        .route("/api/v1/doctor/{service}/{target}", get(doctor::one))
        .route("/api/v1/targets/{service}/{target}/history", get(api::history))
        .route("/api/v1/targets/{service}/{target}/plan", get(api::plan))
        .route("/api/v1/targets/{service}/{target}/acknowledge", post(orders::acknowledge))
        .route("/slack/interactions", post(slack::interactions))
        .route("/api/v1/releases", post(orders::release))
        .route("/api/v1/rollbacks", post(orders::rollback))
        .route("/api/v1/kill", post(orders::kill))
        .route("/api/v1/runs/{run}/{order}", post(orders::about_run))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::new(Semaphore::new(REQUESTS_MAX)), bounded));
    open.merge(limited)
        .fallback(async || ApiError::not_found("there is nothing here: `GET /` lists the paths"))
        .method_not_allowed_fallback(async || {
            let message = "this path does not take that method: `GET /` lists the paths";
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        })
        .layer(middleware::map_response(cautious))
        .with_state(state)
}

async fn bounded(State(permits): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let Ok(_permit) = permits.try_acquire() else {
        return ApiError::unavailable("too many requests at once: send it again").into_response();
    };
    tokio::time::timeout(REQUEST_TIME, next.run(request)).await.unwrap_or_else(|_| {
        let secs = REQUEST_TIME.as_secs();
        let message =
            format!("not done within {secs} s, it may or may not have been accepted: send it again");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", message).into_response()
    })
}

/// Answers hold the state of a moment and are never to be guessed at by a browser.
async fn cautious(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
