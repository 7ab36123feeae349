//! HTTP: in come requests on every address, over TLS where `web-config.yml` says so, out go scrapes.
//!
//! [`Service`] answers; [`listen`] has the addresses, [`connection`] the protocols, [`web`] the file of who may ask and
//! over what, which is read again when it changes. Nothing survives a restart.

/// What a client takes: formats and codings.
mod accept;
/// One connection: TLS, HTTP/1.1, HTTP/2.
mod connection;
/// All of them, to be ended by another thread.
mod connections;
/// The page at `/`.
mod landing;
/// How often may be asked.
mod limiter;
/// Addresses, or the sockets that systemd hands over.
mod listen;
/// Who may ask.
mod users;
/// The web configuration as it is now.
mod web;

pub use connections::Connections;
pub use listen::{close, listen};
pub use web::Web;

use super::handled::Handled;
use super::sample::Selection;
use super::scraper::{Refusal, Scraper, Wanted, hung};
use accept::Accepted;
use connection::converse;
use hostwright_core::config::metrics::Metrics;
use hostwright_duty::refusals::Refusals;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use users::Credentials;
use web::Current;

/// Each costs two buffers of some kilobytes.
const MOST_CONNECTIONS: usize = 256;
/// Scrapes under way when the duty is to stop get this long.
const GRACE: Duration = Duration::from_secs(5);

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What answers requests.
pub struct Service {
    scraper: Arc<Scraper>,
    settings: Metrics,
    web: Arc<Web>,
    handled: Arc<Handled>,
    credentials: Credentials,
}

/// Answers on a listener until told to stop.
pub async fn serve(listener: TcpListener, service: Arc<Service>, all: Arc<Connections>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let (mut connections, mut refusals) = (JoinSet::new(), Refusals::of("metrics"));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            // Both are cancel-safe: a connection that is not accepted yet stays in the backlog.
            accepted = async { (places.clone().acquire_owned().await, listener.accept().await) } => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            (Ok(place), Ok((stream, _))) => {
                let (service, all, stop) = (service.clone(), all.clone(), stop.clone());
                connections.spawn(async move {
                    converse(stream, service, all, stop).await;
                    drop(place);
                });
            }
            (_, Ok(_)) => {}
            (_, Err(error)) => refusals.wait_after(&error).await,
        }
    }
    drop(listener);
    let ended = tokio::time::timeout(GRACE, async { while connections.join_next().await.is_some() {} });
    // What is left then is cut off with the set.
    let _ = ended.await;
}

impl Service {
    /// A service that asks the scraper for what the web configuration lets clients have.
    pub fn new(scraper: Arc<Scraper>, settings: Metrics, web: Arc<Web>, handled: Arc<Handled>) -> Self {
        Self { scraper, settings, web, handled, credentials: Credentials::default() }
    }

    /// In the order of the original: how often, who, what.
    async fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let current = self.web.current();
        if current.limiter.as_ref().is_some_and(|limiter| !limiter.admits(Instant::now())) {
            return answer(StatusCode::TOO_MANY_REQUESTS, PLAIN, "Too Many Requests\n");
        }
        let mut response = self.for_who_may_ask(request, &current).await;
        for (name, value) in &current.config.headers {
            // Both were found to be fit for it when the file was read.
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().insert(*name, value);
            }
        }
        response
    }

    async fn for_who_may_ask(&self, request: &Request<Incoming>, current: &Current) -> Response<Full<Bytes>> {
        let authorization = request.headers().get(AUTHORIZATION);
        if !self.credentials.admit(&current.config.users, authorization).await {
            let mut response = answer(StatusCode::UNAUTHORIZED, PLAIN, "Unauthorized\n");
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
            return response;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET and HEAD are answered here\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            path if path == self.settings.path => {
                let under_way = self.handled.begin();
                let response = self.metrics(request).await;
                under_way.end(response.status().as_u16());
                response
            }
            "/" => answer(StatusCode::OK, HTML, landing::page(&self.settings.path)),
            _ => {
                let text = format!("there is nothing here; metrics are at {}\n", self.settings.path);
                answer(StatusCode::NOT_FOUND, PLAIN, text)
            }
        }
    }

    async fn metrics(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let query = request.uri().query().unwrap_or_default();
        let selection = match Selection::of_query(query, &self.settings.collectors) {
            Ok(selection) => selection,
            Err(refusal) => return answer(StatusCode::BAD_REQUEST, PLAIN, refusal),
        };
        let accepted = Accepted::of(request.headers());
        match self.scraper.scrape(Wanted { selection, format: accepted.format, coding: accepted.coding }).await {
            Ok(text) => {
                let mut response = answer(StatusCode::OK, accepted.content_type, text);
                if let Some(coding) = accepted.content_encoding {
                    response.headers_mut().insert(CONTENT_ENCODING, coding);
                }
                response
            }
            Err(Refusal::Busy) => {
                let most = self.settings.max_requests.unwrap_or_default();
                let text = format!("Limit of concurrent requests reached ({most}), try again later.\n");
                answer(StatusCode::SERVICE_UNAVAILABLE, PLAIN, text)
            }
            Err(Refusal::Hung(stage)) => answer(StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("{}\n", hung(stage))),
            Err(Refusal::Gone) => {
                let text = "sampling has ended; the agent starts it again, see `hostwright-agent status`\n";
                answer(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, text)
            }
        }
    }
}

fn answer(status: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
