use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Connections at once of one listener: operators, probes and a page or two; more is somebody's mistake or attack.
const MAX_CONNECTIONS: usize = 64;
/// How long a connection of the network lasts. One that never ends, nor reads its answers, would keep its place.
const LONGEST: Duration = Duration::from_secs(120);
/// For the TLS handshake, for a request's head and for its body.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Somebody whom the local socket's permissions let in.
    Local,
    /// A client with a certificate of the configured authority.
    Certified,
    /// Anybody else.
    Anonymous,
}

/// The connections of a listener that are being served.
pub(super) struct Connections {
    routes: Router,
    slots: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

impl Connections {
    pub(super) fn new(routes: Router) -> Self {
        Self { routes, slots: Arc::new(Semaphore::new(MAX_CONNECTIONS)), tasks: JoinSet::new() }
    }

    /// Serves a connection of the local socket, for as long as an order takes.
    pub(super) fn serve_local(&mut self, stream: UnixStream) {
        if let Some(slot) = self.slot() {
            self.tasks.spawn(answer(stream, self.routes.clone(), Caller::Local, slot));
        }
    }

    /// Serves a TCP connection after its handshake, which waits in its own task and holds back nobody else.
    pub(super) fn serve_tls(&mut self, stream: TcpStream, acceptor: TlsAcceptor) {
        let Some(slot) = self.slot() else { return };
        let routes = self.routes.clone();
        self.tasks.spawn(async move {
            let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await else { return };
            let certified = stream.get_ref().1.peer_certificates().is_some();
            let caller = if certified { Caller::Certified } else { Caller::Anonymous };
            let _ = tokio::time::timeout(LONGEST, answer(stream, routes, caller, slot)).await;
        });
    }

    /// Lets answers that are under way end.
    pub(super) async fn finish(mut self) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        // Idle keep-alive connections would wait for their client; one second is enough for an answer.
        let _ = tokio::time::timeout(Duration::from_secs(1), all).await;
    }

    fn slot(&mut self) -> Option<OwnedSemaphorePermit> {
        while self.tasks.try_join_next().is_some() {}
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }
}

async fn answer<S>(stream: S, routes: Router, caller: Caller, _slot: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(routes.layer(axum::Extension(caller)));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        log::debug!("api: a connection ended early: {error}");
    }
}
