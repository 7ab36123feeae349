use super::connection::{Caller, PATIENCE};
use super::page;
use axum::extract::{FromRequest as _, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use hostwright_core::status::AgentStatus;
use hostwright_duty::orders::{Desk, Unanswered};
use hostwright_duty::supervisor::Statuses;
use std::collections::HashMap;
use std::fmt::Write as _;
use tokio::sync::watch;

#[derive(Clone)]
struct Shared {
    statuses: watch::Receiver<Statuses>,
    host: String,
    desk: Desk,
}

/// What can be asked.
pub(super) fn routes(statuses: watch::Receiver<Statuses>, host: String, desk: Desk) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/v1/status", get(status))
        .route("/v1/duties/{duty}/{verb}", post(order))
        .route("/", get(status_page))
        .fallback(async || (StatusCode::NOT_FOUND, "not found; try /livez, /readyz?verbose, /v1/status or /\n"))
        .with_state(Shared { statuses, host, desk })
}

/// Ready is a latch: every duty has been ok since the start, and the agent does not drain. `?verbose` tells each.
async fn readyz(State(shared): State<Shared>, Query(query): Query<HashMap<String, String>>) -> Response {
    let statuses = shared.statuses.borrow().clone();
    let code = if statuses.ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let verdict = if statuses.ready() { "ok\n" } else { "not ready\n" };
    if !query.contains_key("verbose") {
        return (code, verdict).into_response();
    }
    let mut body = String::new();
    for (name, row) in &statuses.duties {
        let mark = if statuses.not_yet_ok.contains(name) { '-' } else { '+' };
        let _ = writeln!(body, "[{mark}]{name} {}", row.status.name());
    }
    if statuses.draining {
        body.push_str("[-]agent draining\n");
    }
    (code, body + verdict).into_response()
}

async fn status(State(shared): State<Shared>, Extension(caller): Extension<Caller>) -> Response {
    match admit(caller) {
        Ok(()) => Json(shared.agent_status()).into_response(),
        Err(refusal) => refusal,
    }
}

/// An order for a duty. Only on the host itself: a certificate is for those who read.
async fn order(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path((duty, verb)): Path<(String, String)>,
    request: Request,
) -> Response {
    if !matches!(caller, Caller::Local) {
        let why = "forbidden: orders are taken on the host's own socket alone\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    // Read after the question who asks, and not for ever.
    let Ok(read) = tokio::time::timeout(PATIENCE, Json::<serde_json::Value>::from_request(request, &())).await else {
        return (StatusCode::REQUEST_TIMEOUT, "the order did not arrive as a whole\n").into_response();
    };
    let arguments = match read {
        Ok(Json(arguments)) => arguments,
        Err(wrong) => return wrong.into_response(),
    };
    match shared.desk.order(&duty, &verb, arguments).await {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => {
            let code = match error {
                Unanswered::NoDuty(_) => StatusCode::NOT_FOUND,
                Unanswered::Silent(_) => StatusCode::SERVICE_UNAVAILABLE,
                Unanswered::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            };
            (code, format!("{error}\n")).into_response()
        }
    }
}

async fn status_page(State(shared): State<Shared>, Extension(caller): Extension<Caller>) -> Response {
    match admit(caller) {
        Ok(()) => Html(page::render(&shared.agent_status())).into_response(),
        Err(refusal) => refusal,
    }
}

#[expect(clippy::result_large_err, reason = "the refusal is the response itself, made once per refused request")]
fn admit(caller: Caller) -> Result<(), Response> {
    match caller {
        Caller::Local | Caller::Certified => Ok(()),
        Caller::Anonymous => {
            let why = "forbidden: show a client certificate of the authority in api.tls.client_ca, or ask on the host with `hostwright-agent status`\n";
            Err((StatusCode::FORBIDDEN, why).into_response())
        }
    }
}

impl Shared {
    fn agent_status(&self) -> AgentStatus {
        let statuses = self.statuses.borrow();
        AgentStatus {
            version: env!("CARGO_PKG_VERSION").into(),
            host: self.host.clone(),
            started: statuses.started,
            ready: statuses.ready(),
            duties: statuses.duties.iter().map(|(name, row)| ((*name).to_owned(), row.clone())).collect(),
        }
    }
}
