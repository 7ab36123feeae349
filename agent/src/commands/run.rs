use crate::{duties, memory, systemd};
use anyhow::Context as _;
use hostwright_core::config::Config;
use hostwright_duty::supervisor::{Environment, Supervisor};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

/// Below the unit's TimeoutStopSec (60 s), so that laggards are named before systemd kills the process.
const GRACE: Duration = Duration::from_secs(30);

/// What was needed once, to read the configuration and to start, is let go when the duties begin their work, when their
/// first work is done, and, such as after a reload, from time to time.
const TIDY: [Duration; 3] = [Duration::from_millis(250), Duration::from_secs(10), Duration::from_secs(600)];

/// Runs the duties until SIGTERM or SIGINT. SIGHUP reads the file again and touches only what changed; a file with
/// problems changes nothing.
///
/// # Errors
/// The configuration is not valid at the start, signals cannot be handled, or a duty did not drain in time.
pub async fn run(path: &Path) -> anyhow::Result<()> {
    let config = Config::read(path)?;
    raise_file_limit();
    let mut hang_up = signal(SignalKind::hangup()).context("cannot handle SIGHUP")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    let mut supervisor = Supervisor::new(environment(&config));
    let informed = tokio::spawn(systemd::keep_informed(supervisor.statuses()));
    supervisor.apply(environment(&config), duties(&config), GRACE).await;
    systemd::ready();
    log::info!("started with {}", path.display());
    let mut pauses = TIDY.into_iter().skip(1).chain(std::iter::repeat(TIDY[2]));
    let mut tidy = Box::pin(tokio::time::sleep(TIDY[0]));
    loop {
        tokio::select! {
            // Sleeping and signals are cancel-safe (tokio documents it so).
            () = &mut tidy => {
                tidy.as_mut().reset(Instant::now() + pauses.next().unwrap_or(TIDY[2]));
                if let Err(error) = memory::give_back_unused_code() {
                    log::debug!("pages that are not used stay in memory: {error}");
                }
            }
            _ = hang_up.recv() => reload(path, &mut supervisor).await,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    log::info!("draining");
    systemd::stopping();
    let laggards = supervisor.drain(GRACE).await;
    informed.abort();
    anyhow::ensure!(
        laggards.is_empty(),
        "stopped, but these duties did not finish within {} s: {}",
        GRACE.as_secs(),
        laggards.join(", ")
    );
    log::info!("stopped");
    Ok(())
}

/// Each followed log file is an open one, and the usual soft limit of 1,024 is there for programs that use select(2).
fn raise_file_limit() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        log::warn!("cannot raise the limit of open files ({error}); many log files need more than the usual 1,024");
    }
}

async fn reload(path: &Path, supervisor: &mut Supervisor) {
    systemd::reloading();
    match Config::read(path) {
        Ok(config) => {
            let touched = supervisor.apply(environment(&config), duties(&config), GRACE).await;
            let touched = if touched.is_empty() {
                "nothing changed".to_owned()
            } else {
                format!("changed: {}", touched.join(", "))
            };
            log::info!("reloaded {}; {touched}", path.display());
        }
        Err(error) => log::error!("not reloaded, and everything goes on as before: \n{error}"),
    }
    systemd::ready();
}

fn environment(config: &Config) -> Environment {
    let host_name = config.host.name.clone().unwrap_or_else(system_host_name);
    Environment {
        host_name,
        host: config.host.clone(),
        state: folder("STATE_DIRECTORY", "/var/lib/hostwright/agent"),
        runtime: folder("RUNTIME_DIRECTORY", crate::runtime_folder::RUNTIME_DIRECTORY),
    }
}

/// systemd names the unit's folders in the environment (systemd.exec(5), StateDirectory=).
fn folder(variable: &str, default: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| default.into(), PathBuf::from)
}

fn system_host_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "localhost".into())
}
