//! The API: how operators, and bootstrap, ask the agent how it is.
//!
//! In come HTTP requests, on the local socket `agent.sock` (plain, for root and the group `hostwright`) and, where
//! `api:` is configured, on a TCP port over TLS. `/livez` and `/readyz` answer everyone; all else over TCP needs a
//! client certificate. Out go the supervisor's statuses; the API only reads them. Nothing survives a restart but the
//! self-signed certificate that is made where none is configured.

mod connection;
mod local;
mod page;
mod routes;

use crate::supervisor::Context;
use anyhow::Context as _;
use connection::Connections;
use hostwright_core::config::api::{Api, Certificate};
use hostwright_core::tls;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Serves until it is told to stop.
///
/// # Errors
/// A socket or port cannot be had, or TLS cannot be set up.
pub async fn run(settings: Option<Api>, context: Context) -> anyhow::Result<()> {
    let socket = local::Socket::bind(&context.environment.runtime)?;
    let routes = routes::routes(context.statuses.clone(), context.environment.host_name.clone(), context.desk.clone());
    let mut connections = Connections::new(routes);
    let remote = match &settings {
        Some(api) => Some(Remote::bind(api, &context).await?),
        None => None,
    };
    context.status.ok(match &remote {
        Some(remote) => format!("answers on {} and {} (TLS)", socket.path().display(), remote.address),
        None => format!("answers on {}", socket.path().display()),
    });
    loop {
        // Accepting is cancel-safe on both listeners: a connection not yet accepted stays in the kernel's queue.
        tokio::select! {
            () = context.stop.cancelled() => break,
            accepted = socket.accept() => match accepted {
                Ok(stream) => connections.serve_local(stream),
                Err(error) => connections.refused(&error).await,
            },
            accepted = accept(remote.as_ref()) => match accepted {
                Ok((stream, acceptor)) => connections.serve_tls(stream, acceptor),
                Err(error) => connections.refused(&error).await,
            },
        }
    }
    connections.finish().await;
    Ok(())
}

struct Remote {
    listener: TcpListener,
    address: std::net::SocketAddr,
    acceptor: TlsAcceptor,
}

impl Remote {
    async fn bind(api: &Api, context: &Context) -> anyhow::Result<Self> {
        let own = || tls::self_signed(&context.state, &context.environment.host_name);
        let (certificate, key) = match &api.certificate {
            Some(Certificate { certificate, key }) => (certificate.clone(), key.clone()),
            None => own()?,
        };
        let config = tls::server(&certificate, &key, api.client_ca.as_deref())?;
        let listener = TcpListener::bind(api.listen).await.with_context(|| {
            format!("cannot listen on {}; see who holds the port with `ss -ltnp`, or change api.listen", api.listen)
        })?;
        let address = listener.local_addr().context("cannot tell the address it listens on")?;
        Ok(Self { listener, address, acceptor: TlsAcceptor::from(Arc::clone(&config)) })
    }
}

/// The next TCP connection, or never where no port is configured.
async fn accept(remote: Option<&Remote>) -> std::io::Result<(tokio::net::TcpStream, TlsAcceptor)> {
    match remote {
        Some(remote) => remote.listener.accept().await.map(|(stream, _)| (stream, remote.acceptor.clone())),
        None => std::future::pending().await,
    }
}
