use super::command::Run;
use super::place::File;
use super::{Action, Context, Failure, Outcome};
use crate::boot::userdata::ssh::Ssh;
use hostwright_core::atomic_file;
use serde::Serialize;
use std::io;
use std::path::Path;

/// No RSA: generating it takes up to a second, and every client of this decade takes these two.
const TYPES: [&str; 2] = ["ed25519", "ecdsa"];
const FOLDER: &str = "/etc/ssh";

/// The keys by which the SSH server is known. An instance that was cloned from another gets its own.
#[derive(Serialize)]
pub struct HostKeys {
    keep: bool,
}

impl HostKeys {
    pub fn new(keep: bool) -> Self {
        Self { keep }
    }
}

impl Action for HostKeys {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let host = context.host;
        if host.program("sshd").is_none() {
            return Ok(Outcome::Skipped("there is no SSH server".into()));
        }
        if !self.keep {
            remove_keys(&host.path(FOLDER)).map_err(|e| Failure::io("remove the SSH host keys of the image", &e))?;
        }
        let mut changed = false;
        for kind in TYPES {
            let key = host.path(FOLDER).join(format!("ssh_host_{kind}_key"));
            // An empty file is what a power cut leaves of a key that was being written.
            if !key.metadata().is_ok_and(|metadata| metadata.len() > 0) {
                generate(context, kind, &key)?;
                changed = true;
            }
        }
        if changed {
            restart_server(context);
        }
        Ok(Outcome::Done)
    }
}

fn remove_keys(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("ssh_host_") && (name.ends_with("_key") || name.ends_with("_key.pub")) {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Under another name first: half a key must never stand under its own.
fn generate(context: &Context<'_>, kind: &str, key: &Path) -> Result<(), Failure> {
    let unfinished = context.host.path(FOLDER).join(".hostwright_unfinished_key");
    let public = |path: &Path| path.with_extension("pub");
    for path in [&unfinished, &public(&unfinished)] {
        let _ = std::fs::remove_file(path); // what matters is that ssh-keygen does not ask, and it says if it cannot
    }
    let mut command = context.host.command("ssh-keygen");
    command.args(["-q", "-t", kind, "-N", "", "-C", "", "-f"]).arg(context.host.inside(&unfinished));
    Run::new("ssh host keys", command).succeed(context)?;
    let placed = || {
        std::fs::rename(public(&unfinished), public(key))?;
        std::fs::rename(&unfinished, key)?;
        atomic_file::sync_parent(key)
    };
    placed().map_err(|e| Failure::io("put an SSH host key in place", &e))
}

/// A server that runs already (the seed came over the network) would go on with the keys that it knows.
fn restart_server(context: &Context<'_>) {
    if !context.host.has_systemd() {
        return;
    }
    for unit in ["ssh.service", "sshd.service"] {
        let mut command = context.host.command("systemctl");
        command.args(["--no-block", "try-restart", unit]);
        if let Err(failure) = Run::new("ssh host keys", command).succeed(context) {
            log::debug!("{unit} is not restarted: {}", failure.why);
        }
    }
}

/// `ssh_pwauth:` and `disable_root:`, as a file that the server includes.
#[derive(Serialize)]
pub struct ServerSwitches {
    content: String,
}

impl ServerSwitches {
    /// Nothing where the user-data says nothing of them.
    pub fn new(ssh: &Ssh) -> Option<Self> {
        let mut content = String::new();
        if let Some(on) = ssh.password_authentication {
            content.push_str(if on { "PasswordAuthentication yes\n" } else { "PasswordAuthentication no\n" });
        }
        if let Some(out) = ssh.disable_root {
            content.push_str(if out { "PermitRootLogin no\n" } else { "PermitRootLogin prohibit-password\n" });
        }
        let header = "# Written by hostwright-bootstrap from the user-data.\n";
        (!content.is_empty()).then(|| Self { content: format!("{header}{content}") })
    }
}

impl Action for ServerSwitches {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        File::new("/etc/ssh/sshd_config.d/50-hostwright.conf", self.content.as_bytes(), 0o644).place(context)?;
        restart_server(context);
        Ok(Outcome::Done)
    }
}
