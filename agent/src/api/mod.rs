//! The API: how operators, and bootstrap, ask the agent how it is.
//!
//! In come HTTP requests, on the local socket `agent.sock` (plain, for root and the group `hostwright`) and, where
//! `api:` is configured, on a TCP port over TLS. `/livez` and `/readyz` answer everyone; all else over TCP needs a
//! client certificate. Out go the supervisor's statuses; the API only reads them. The socket answers whatever becomes of the
//! port. Nothing survives a restart but the self-signed certificate that is made where none is configured.

/// What is asked on a connection is answered.
mod connection;
/// The local socket.
mod local;
/// The status as a page.
mod page;
/// The port.
mod remote;
/// What can be asked.
mod routes;

use connection::Connections;
use hostwright_core::config::api::Api;
use hostwright_duty::supervisor::Context;

/// Serves until it is told to stop.
///
/// # Errors
/// The local socket cannot be had.
pub async fn run(settings: Option<Api>, context: Context) -> anyhow::Result<()> {
    let socket = local::Socket::bind(&context.environment.runtime)?;
    let routes = routes::routes(context.statuses.clone(), context.environment.host_name.clone(), context.desk.clone());
    if settings.is_none() {
        context.status.ok(format!("answers on {}", socket.path().display()));
    }
    let port = async {
        if let Some(api) = &settings {
            remote::serve(api, routes.clone(), &context).await;
        }
    };
    tokio::join!(socket.serve(Connections::new(routes.clone()), &context.stop), port);
    Ok(())
}
