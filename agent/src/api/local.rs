use super::connection::Connections;
use anyhow::{Context as _, bail};
use hostwright_core::local_api::SOCKET_NAME;
use hostwright_duty::refusals::Refusals;
use nix::errno::Errno;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

/// The group whose members may ask the agent; the package creates it.
const GROUP: &str = "hostwright";

/// The local socket. Its file goes with it.
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

/// Descriptors that are held for callers on the host, who are answered when all others are in use. Several: another
/// listener that waits for one may be quicker.
#[derive(Default)]
struct Reserve(Vec<File>);

const RESERVED: usize = 8;

impl Socket {
    /// Binds the socket in the runtime folder; a leftover of an agent that was killed is replaced.
    pub(super) fn bind(runtime: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(runtime)
            .with_context(|| format!("cannot create the runtime folder {}", runtime.display()))?;
        let path = runtime.join(SOCKET_NAME);
        if std::os::unix::net::UnixStream::connect(&path).is_ok() {
            bail!("another agent answers on {}; stop it first (`systemctl stop hostwright-agent`)", path.display());
        }
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove the old socket {}", path.display()));
            }
            _ => {}
        }
        let listener =
            UnixListener::bind(&path).with_context(|| format!("cannot bind the socket {}", path.display()))?;
        admit_group(&path).with_context(|| format!("cannot set who may use the socket {}", path.display()))?;
        Ok(Self { listener, path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Answers until told to stop.
    pub(super) async fn serve(self, mut connections: Connections, stop: &CancellationToken) {
        let (mut refusals, mut reserve) = (Refusals::of("api"), Reserve::default());
        loop {
            reserve.fill();
            // Cancel-safe: a connection that is not accepted yet stays in the kernel's queue.
            match stop.run_until_cancelled(self.accept(&mut reserve)).await {
                None => break,
                Some(Ok(stream)) => connections.serve_local(stream),
                Some(Err(error)) => refusals.wait_after(&error).await,
            }
        }
        connections.finish().await;
    }

    async fn accept(&self, reserve: &mut Reserve) -> std::io::Result<UnixStream> {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return Ok(stream),
                Err(error) if is_out_of_descriptors(&error) && reserve.0.pop().is_some() => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Reserve {
    /// As far as there are free ones.
    fn fill(&mut self) {
        while self.0.len() < RESERVED {
            match File::open("/dev/null") {
                Ok(file) => self.0.push(file),
                Err(_) => return,
            }
        }
    }
}

fn is_out_of_descriptors(error: &std::io::Error) -> bool {
    [Errno::EMFILE, Errno::ENFILE].iter().any(|errno| error.raw_os_error() == Some(*errno as i32))
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The next agent replaces a leftover.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn admit_group(path: &Path) -> anyhow::Result<()> {
    let group = nix::unistd::Group::from_name(GROUP)?;
    if let Some(group) = group.filter(|_| nix::unistd::geteuid().is_root()) {
        nix::unistd::chown(path, None, Some(group.gid))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    } else {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}
