use anyhow::{Context as _, bail};
use hostwright_core::local_api::SOCKET_NAME;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};

/// The group whose members may ask the agent; the package creates it.
const GROUP: &str = "hostwright";

/// The local socket. Its file goes with it.
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

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

    pub(super) async fn accept(&self) -> std::io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
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
