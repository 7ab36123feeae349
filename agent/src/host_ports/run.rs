use super::control;
use super::forwarder::Forwarder;
use super::listening;
use super::moved;
use super::table::Route;
use anyhow::Context as _;
use hostwright_duty::refusals::Refusals;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;

/// The socket's name in the process's folder.
pub const SOCKET_NAME: &str = "ports.sock";
const TABLE_NAME: &str = "ports.json";
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What no process has.
const MOST_FILES: usize = 1 << 30;
/// Nearly all of the work is the kernel's; each thread moves gigabytes a second.
const MOST_THREADS: usize = 4;

/// Holds ports until SIGTERM, or until its folder or socket is gone.
///
/// # Errors
/// The folder cannot be used, or another such process serves it.
pub fn run(folder: &Path) -> anyhow::Result<()> {
    let control = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    control.block_on(serve(folder))
}

/// Threads with a runtime each: a connection stays with the thread that took it. One runtime for all threads moves
/// connections between them, which cost a third of the requests per second where it was measured. On two cores a second
/// thread brought 30 to 70 % more requests per second and less latency, for the same work: a busy host lets a lone thread wait.
fn workers() -> anyhow::Result<Vec<Handle>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).clamp(1, MOST_THREADS);
    let worker = |number| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let name = format!("carry-{number}");
        std::thread::Builder::new().name(name).spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok(handle)
    };
    (0..threads).map(worker).collect()
}

async fn serve(folder: &Path) -> anyhow::Result<()> {
    let path = folder.join(SOCKET_NAME);
    // The lock is held until the end: of two that are started at once, one goes.
    let lock = std::fs::File::create(folder.join("ports.lock"))
        .with_context(|| format!("cannot use the folder {}", folder.display()))?;
    if lock.try_lock().is_err() {
        anyhow::bail!("another process holds the ports of {}", folder.display());
    }
    let most = file_limit() / 8 * 3;
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let table: Arc<Path> = folder.join(TABLE_NAME).into();
    let mut forwarder = Forwarder::new(workers()?, most, listening::left_with_systemd());
    for (owner, routes) in kept(&table) {
        forwarder.set(owner, routes);
    }
    let forwarder = Arc::new(Mutex::new(forwarder));
    let _ = std::fs::remove_file(&path);
    match moved::open(folder) {
        Ok(socket) => drop(tokio::spawn(moved::serve(socket, forwarder.clone()))),
        Err(error) => log::warn!("connections cannot be moved here: {error}"),
    }
    let listener = UnixListener::bind(&path).with_context(|| format!("cannot bind the socket {}", path.display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let own = path.metadata()?.ino();
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let (mut ticks, mut refusals) = (tokio::time::interval(LOOK_EVERY), Refusals::of("control"));
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = ticks.tick() => {
                if path.metadata().map(|found| found.ino()).ok() != Some(own) {
                    log::info!("{} is gone, and so are its ports", path.display());
                    return Ok(());
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(tokio::spawn(control::answer(stream, forwarder.clone(), table.clone()))),
                Err(error) => refusals.wait_after(&error).await,
            },
        }
    }
}

/// The table of the process before this one; none where it cannot be read: the agent says it anew.
fn kept(table: &Path) -> BTreeMap<String, Vec<Route>> {
    std::fs::read(table).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// The limit of open files, as high as it may be: the usual one is 1,024, and each connection takes two, so three eighths
/// as many connections leave a quarter.
fn file_limit() -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| hard));
    let limit = raised.unwrap_or_else(|error| {
        log::warn!("cannot raise the limit of open files: {error}");
        1024
    });
    usize::try_from(limit).unwrap_or(usize::MAX).min(MOST_FILES)
}
