use super::connection::Caller;
use super::page;
use crate::supervisor::Statuses;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use hostwright_core::status::AgentStatus;
use std::collections::HashMap;
use std::fmt::Write as _;
use tokio::sync::watch;

#[derive(Clone)]
struct Shared {
    statuses: watch::Receiver<Statuses>,
    host: String,
}

/// What can be asked.
pub(super) fn routes(statuses: watch::Receiver<Statuses>, host: String) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/v1/status", get(status))
        .route("/", get(status_page))
        .fallback(async || (StatusCode::NOT_FOUND, "not found; try /livez, /readyz?verbose, /v1/status or /\n"))
        .with_state(Shared { statuses, host })
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
