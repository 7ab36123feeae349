use super::sample::Selection;
use super::scraper::{Refusal, Scraper};
use hostwright_core::config::metrics::Metrics;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::{setsockopt, sockopt};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Also how long a connection may idle between scrapes: more than the usual interval of a minute.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
/// After this a client that takes nothing of its answer is gone.
const SEND_TIMEOUT_MILLISECONDS: u32 = 30_000;
/// Each costs two buffers of some kilobytes.
const MOST_CONNECTIONS: usize = 256;
const BACKLOG: u32 = 128;
/// Scrapes under way when the duty is to stop get this long.
const GRACE: Duration = Duration::from_secs(5);
/// Out of descriptors: until some are closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

const TEXT_FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

const LANDING_PAGE: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Hostwright metrics</title></head>\n\
    <body>\n<h1>Hostwright metrics</h1>\n<p><a href=\"/metrics\">/metrics</a>: this host's metrics for Prometheus, \
    under node_exporter's names.</p>\n</body>\n</html>\n";

/// What answers requests.
pub struct Service {
    /// Where samples come from.
    pub scraper: Arc<Scraper>,
    /// As the operator wrote them.
    pub settings: Metrics,
}

/// Binds every address.
///
/// # Errors
/// One cannot be bound: which one, why, and what to do.
pub fn bind(addresses: &[SocketAddr]) -> anyhow::Result<Vec<TcpListener>> {
    let any4 = |port| addresses.iter().any(|other| other.port() == port && other.ip().is_ipv4());
    let bind = |address: &SocketAddr| {
        // [::] takes IPv4 too, unless that is listened on by itself.
        let only6 = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && any4(address.port());
        bind_one(*address, only6).map_err(|error| {
            let text = refused(*address, &error);
            anyhow::Error::new(error).context(text)
        })
    };
    addresses.iter().map(bind).collect()
}

fn bind_one(address: SocketAddr, only6: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if only6 {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn refused(address: SocketAddr, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another program holds the port, and `ss -ltnp 'sport = :{}'` names it; stop that one (often \
             `systemctl disable --now prometheus-node-exporter`) or set metrics.listen to another port",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => {
            "the host has no such address (`ip address` lists those it has); set metrics.listen to one of them"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 are not for this service; set metrics.listen to a higher one".to_owned()
        }
        _ => "set metrics.listen to another address".to_owned(),
    };
    format!("cannot listen on {address}: {remedy}")
}

/// Answers on a listener until told to stop.
pub async fn serve(listener: TcpListener, service: Arc<Service>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            // Both are cancel-safe: a connection that is not accepted yet stays in the backlog.
            accepted = async { (places.clone().acquire_owned().await, listener.accept().await) } => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            (Ok(place), Ok((stream, _))) => {
                let (service, stop) = (service.clone(), stop.clone());
                connections.spawn(async move {
                    converse(stream, service, stop).await;
                    drop(place);
                });
            }
            (_, Ok(_)) => {}
            (_, Err(error)) => {
                log::warn!("metrics: cannot accept a connection: {error}; see the limit of open files");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let ended = tokio::time::timeout(GRACE, async { while connections.join_next().await.is_some() {} });
    // What is left then is cut off with the set.
    let _ = ended.await;
}

async fn converse(stream: TcpStream, service: Arc<Service>, stop: CancellationToken) {
    // Neither is needed for a right answer.
    let _ = stream.set_nodelay(true);
    let _ = setsockopt(&stream, sockopt::TcpUserTimeout, &SEND_TIMEOUT_MILLISECONDS);
    let service = service_fn(move |request| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.respond(&request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        log::debug!("metrics: a connection ended early: {error}");
    }
}

impl Service {
    async fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET and HEAD are answered here\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            path if path == self.settings.path => self.metrics(request).await,
            "/" => answer(StatusCode::OK, HTML, LANDING_PAGE),
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
        match self.scraper.scrape(selection).await {
            Ok(text) => answer(StatusCode::OK, TEXT_FORMAT, text),
            Err(Refusal::Busy) => {
                let most = self.settings.max_requests.unwrap_or_default();
                let text = format!("Limit of concurrent requests reached ({most}), try again later.\n");
                answer(StatusCode::SERVICE_UNAVAILABLE, PLAIN, text)
            }
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

#[cfg(test)]
mod tests {
    use super::bind;

    fn refusal(addresses: &[&str]) -> String {
        let addresses: Vec<_> = addresses.iter().map(|address| address.parse().expect("address")).collect();
        format!("{:#}", bind(&addresses).expect_err("refused"))
    }

    #[tokio::test]
    async fn a_refused_address_is_named_with_what_to_do() {
        let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = holder.local_addr().expect("address");
        let text = refusal(&["127.0.0.1:0", &address.to_string()]);
        let want = format!(
            "cannot listen on {address}: another program holds the port, and `ss -ltnp 'sport = :{}'`",
            address.port()
        );
        assert!(text.starts_with(&want) && text.ends_with("(os error 98)"), "{text}");
        let text = refusal(&["203.0.113.1:9100"]);
        assert!(text.contains("203.0.113.1:9100: the host has no such address"), "{text}");
    }

    #[tokio::test]
    async fn ipv4_and_ipv6_can_be_listened_on_side_by_side() {
        if std::net::TcpListener::bind("[::1]:0").is_err() {
            eprintln!("skipped: this host has no IPv6");
            return;
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("free").port();
        let both = [format!("0.0.0.0:{port}"), format!("[::]:{port}")].map(|address| address.parse().expect("address"));
        assert_eq!(bind(&both).expect("bound").len(), 2);
    }
}
