use super::connection::Connections;
use anyhow::Context as _;
use axum::Router;
use hostwright_core::backoff::Backoff;
use hostwright_core::config::api::{Api, Certificate};
use hostwright_core::tls;
use hostwright_duty::refusals::Refusals;
use hostwright_duty::reread::{Loaded, Reread, Seen};
use hostwright_duty::supervisor::Context;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Files are looked at for each connection; and this often, so that a renewal that went wrong is told before somebody
/// needs it.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Answers on the port until told to stop. As long as it cannot be had, that is tried again.
pub(super) async fn serve(api: &Api, routes: Router, context: &Context) {
    let Some(port) = context.stop.run_until_cancelled(open(api, context)).await else { return };
    port.serve(Connections::new(routes), context).await;
}

async fn open(api: &Api, context: &Context) -> Port {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    loop {
        match Port::open(api, context).await {
            Ok(port) => return port,
            Err(error) => context.status.degraded(format!("answers on its local socket alone: {error:#}")),
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// The port with what it shows.
struct Port {
    listener: TcpListener,
    address: SocketAddr,
    tls: Reread<TlsAcceptor>,
}

impl Port {
    async fn open(api: &Api, context: &Context) -> anyhow::Result<Self> {
        let (certificate, key) = match &api.certificate {
            Some(Certificate { certificate, key }) => (certificate.clone(), key.clone()),
            None => tls::self_signed(&context.state, &context.environment.host_name)?,
        };
        let files = Files { certificate, key, client_ca: api.client_ca.clone() };
        let tls = Reread::first("api", move |_| files.load())?;
        let listener = TcpListener::bind(api.listen).await.with_context(|| {
            format!("cannot listen on {}; see who holds the port with `ss -ltnp`, or change api.listen", api.listen)
        })?;
        let address = listener.local_addr().context("cannot tell the address it listens on")?;
        Ok(Self { listener, address, tls })
    }

    async fn serve(self, mut connections: Connections, context: &Context) {
        let (mut refusals, mut trouble) = (Refusals::of("api"), self.tls.trouble());
        let mut look = tokio::time::interval(LOOK_EVERY);
        self.tell(trouble.borrow_and_update().as_deref(), context);
        loop {
            // All are cancel-safe: a connection that is not accepted yet stays in the kernel's queue.
            tokio::select! {
                () = context.stop.cancelled() => break,
                Ok(()) = trouble.changed() => self.tell(trouble.borrow_and_update().as_deref(), context),
                _ = look.tick() => drop(self.tls.current()),
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => connections.serve_tls(stream, TlsAcceptor::clone(&self.tls.current())),
                    Err(error) => refusals.wait_after(&error).await,
                },
            }
        }
        connections.finish().await;
    }

    fn tell(&self, trouble: Option<&str>, context: &Context) {
        let answers = format!("answers on its local socket and {} (TLS)", self.address);
        match trouble {
            None => context.status.ok(answers),
            Some(why) => context.status.degraded(format!("{answers}; what was read before goes on: {why}")),
        }
    }
}

struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

impl Files {
    fn load(&self) -> Loaded<TlsAcceptor> {
        let files = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()];
        let seen = files.into_iter().flatten().map(|path| Seen::now(path)).collect();
        let made = tls::server(&self.certificate, &self.key, self.client_ca.as_deref());
        Loaded { seen, made: made.map(TlsAcceptor::from).map_err(anyhow::Error::from) }
    }
}
