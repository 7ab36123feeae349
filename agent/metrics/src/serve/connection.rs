use super::Service;
use super::connections::{Connection, Connections};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use nix::sys::socket::{setsockopt, sockopt};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// Also how long a connection may idle between scrapes: more than the usual interval of a minute.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
/// For a handshake, which takes a few milliseconds and the way there and back.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// After this a client that takes nothing of its answer is gone.
const SEND_TIMEOUT_MILLISECONDS: u32 = 30_000;
/// A Prometheus asks for one at a time.
const MOST_STREAMS: u32 = 16;
/// How every TLS record of a handshake begins (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;
/// What Go's servers answer there.
const NO_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Answers what comes in on a connection until it ends or is told to stop.
pub async fn converse(stream: TcpStream, service: Arc<Service>, all: Arc<Connections>, stop: CancellationToken) {
    // Neither is needed for a right answer.
    let _ = stream.set_nodelay(true);
    let _ = setsockopt(&stream, sockopt::TcpUserTimeout, &SEND_TIMEOUT_MILLISECONDS);
    let client = stream.peer_addr().map_or_else(|_| "a client".to_owned(), |address| address.to_string());
    let acceptor = service.web.current().acceptor.clone();
    let connection = all.open(&stream, acceptor.is_none());
    match acceptor {
        None => speak((stream, false), service, connection, stop).await,
        Some(acceptor) => {
            let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake(stream, acceptor));
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = handshake => accepted,
            };
            match accepted {
                Ok(Ok(stream)) => {
                    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    speak((stream, http2), service, connection, stop).await;
                }
                Ok(Err(error)) => log::info!("metrics: {client} was refused before it could ask: {error}"),
                Err(_) => log::debug!("metrics: {client} did not finish its TLS handshake"),
            }
        }
    }
}

async fn handshake(mut stream: TcpStream, acceptor: TlsAcceptor) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
        stream.write_all(NO_TLS).await?;
        stream.shutdown().await?;
        return Err(io::Error::other("it speaks no TLS; Prometheus needs scheme: https"));
    }
    acceptor.accept(stream).await
}

async fn speak<S>((stream, http2): (S, bool), service: Arc<Service>, connection: Connection, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let kept = Arc::new(connection);
    let respond = service_fn(move |request| {
        let (service, kept) = (service.clone(), kept.clone());
        async move {
            kept.waits(true);
            let response = service.respond(&request).await;
            kept.waits(false);
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let builder_of_2 = &mut builder.http2();
    builder_of_2.timer(TokioTimer::new()).max_concurrent_streams(MOST_STREAMS);
    // A client that is gone without a word is found out by pings.
    builder_of_2.keep_alive_interval(HEADER_TIMEOUT).keep_alive_timeout(HANDSHAKE_TIMEOUT);
    let builder = if http2 { builder.http2_only() } else { builder.http1_only() };
    let connection = builder.serve_connection(TokioIo::new(stream), respond);
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
