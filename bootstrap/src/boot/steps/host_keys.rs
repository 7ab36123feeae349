use super::command::Run;
use super::place::File;
use super::{Action, Context, Failure, Outcome, ssh_key, sshd_config};
use crate::boot::host::Host;
use crate::boot::userdata::ssh::{self, key_file};
use hostwright_core::atomic_file;
use serde::Serialize;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const FOLDER: &str = "/etc/ssh";

/// The keys by which the SSH server is known. An instance that was cloned from another gets its own.
#[derive(Serialize)]
pub struct HostKeys {
    keys: ssh::HostKeys,
}

impl HostKeys {
    pub fn new(keys: &ssh::HostKeys) -> Self {
        Self { keys: keys.clone() }
    }
}

impl Action for HostKeys {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let host = context.host;
        if host.program("sshd").is_none() {
            return Ok(Outcome::Skipped("there is no SSH server".into()));
        }
        if !self.keys.keep {
            remove_keys(&host.path(FOLDER)).map_err(|e| Failure::io("remove the SSH host keys of the image", &e))?;
        }
        if self.keys.given.is_empty() {
            // RSA takes up to a second and every client of this decade takes the others: it comes later, unless the
            // server could not start without it.
            let is_needed = self.keys.types == ["rsa"] || sshd_config::has_rsa_alone(host);
            for kind in self.keys.types.iter().filter(|kind| is_needed || *kind != "rsa") {
                generate(context, kind)?;
            }
        } else {
            self.write_given(context)?;
        }
        restart_server(context);
        Ok(Outcome::Done)
    }
}

impl HostKeys {
    fn write_given(&self, context: &Context<'_>) -> Result<(), Failure> {
        let mut certificates = String::new();
        for (name, text) in &self.keys.given {
            let Some((file, is_secret)) = key_file(name) else { continue };
            let path = format!("{FOLDER}/{file}");
            let end = if text.ends_with('\n') { "" } else { "\n" };
            let mode = if is_secret { 0o600 } else { 0o644 };
            File::new(&path, format!("{text}{end}").as_bytes(), mode).place(context)?;
            if name.ends_with("_certificate") {
                certificates.push_str(&format!("HostCertificate {path}\n"));
            }
            let public = name.replace("_private", "_public");
            if is_secret && !self.keys.given.contains_key(&public) {
                derive_public(context, &path)?;
            }
        }
        if certificates.is_empty() {
            return Ok(());
        }
        let content = format!("# Written by hostwright-bootstrap from the user-data.\n{certificates}");
        File::new("/etc/ssh/sshd_config.d/50-hostwright-certificates.conf", content.as_bytes(), 0o644).place(context)
    }
}

fn derive_public(context: &Context<'_>, private: &str) -> Result<(), Failure> {
    let mut command = context.host.command("/bin/sh");
    let script = r#"set -e; ssh-keygen -y -f "$1" >"$1.pub.new"; mv "$1.pub.new" "$1.pub""#;
    command.args(["-c", script, "sh", private]);
    Run::new("ssh host keys", command).succeed(context).map_err(|failure| {
        Failure::new(
            failure.why,
            "correct the private key under ssh_keys: of the user-data; it must have no passphrase",
        )
    })
}

fn remove_keys(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("ssh_host_") && name.contains("key") {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Unless it is there. Under another name first: half a key must never stand under its own.
fn generate(context: &Context<'_>, kind: &str) -> Result<(), Failure> {
    let key = context.host.path(FOLDER).join(format!("ssh_host_{kind}_key"));
    // An empty file is what a power cut leaves of a key that was being written.
    if key.metadata().is_ok_and(|metadata| metadata.len() > 0) {
        return Ok(());
    }
    let unfinished = context.host.path(FOLDER).join(format!(".hostwright_unfinished_{kind}_key"));
    let public = |path: &Path| path.with_extension("pub");
    for path in [&unfinished, &public(&unfinished)] {
        let _ = std::fs::remove_file(path); // what matters is that ssh-keygen does not ask, and it says if it cannot
    }
    match ssh_key::make(kind) {
        Some(made) => {
            let made = made.map_err(|e| Failure::io("make an SSH host key", &e))?;
            atomic_file::replace(&unfinished, made.private.as_bytes(), 0o600)
                .and_then(|()| atomic_file::replace(&public(&unfinished), made.public.as_bytes(), 0o644))
                .map_err(|e| Failure::io("write an SSH host key", &e))?;
        }
        None => {
            let mut command = context.host.command("ssh-keygen");
            command.args(["-q", "-t", kind, "-N", "", "-C", "", "-f"]).arg(context.host.inside(&unfinished));
            Run::new("ssh host keys", command).succeed(context)?;
        }
    }
    let placed = || {
        std::fs::rename(public(&unfinished), public(&key))?;
        std::fs::rename(&unfinished, &key)?;
        atomic_file::sync_parent(&key)
    };
    placed().map_err(|e| Failure::io("put an SSH host key in place", &e))
}

/// The RSA key, for clients of the last decade: made when the host is up, by a unit of its own, and never waited for. The
/// server takes it with its next start: a reload would turn people away for a moment.
#[derive(Serialize)]
pub struct RsaKey {}

const LATER: &str = r#"set -e; cd /etc/ssh; test ! -s ssh_host_rsa_key; rm -f .hostwright_rsa .hostwright_rsa.pub
ssh-keygen -q -t rsa -N '' -C '' -f .hostwright_rsa
mv .hostwright_rsa.pub ssh_host_rsa_key.pub; mv .hostwright_rsa ssh_host_rsa_key"#;

impl Action for RsaKey {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        if context.host.program("sshd").is_none() {
            return Ok(Outcome::Skipped("there is no SSH server".into()));
        }
        if !context.host.has_systemd() || context.host.program("systemd-run").is_none() {
            return generate(context, "rsa").map(|()| Outcome::Done);
        }
        let mut command = context.host.command("systemd-run");
        command.args(["--no-block", "--quiet", "--collect", "--unit=hostwright-ssh-rsa-key", "--nice=19"]);
        command.args(["/bin/sh", "-c", LATER]);
        Run::new("ssh rsa key", command).succeed(context)?;
        Ok(Outcome::Done)
    }
}

/// A server that runs already (the seed came over the network) would go on with what it knows, and one that found no key
/// has given up.
fn restart_server(context: &Context<'_>) {
    let systemctl = |words: &[&str]| {
        let mut command = context.host.command("systemctl");
        command.args(words);
        Run::new("ssh host keys", command).succeed(context)
    };
    let is_late = runs(context.host, "hostwright-bootstrap-final.service");
    for unit in SERVERS {
        let done = if runs(context.host, unit) {
            systemctl(&["--no-block", "try-restart", unit])
        } else if is_late && is_installed(context.host, unit) && systemctl(&["is-failed", "--quiet", unit]).is_ok() {
            systemctl(&["reset-failed", unit]).and_then(|_| systemctl(&["--no-block", "restart", unit]))
        } else {
            continue;
        };
        if let Err(failure) = done {
            log::debug!("{unit} is not restarted: {}", failure.why);
        }
    }
}

/// By the package: the other name is an alias.
fn is_installed(host: &Host, unit: &str) -> bool {
    ["/lib", "/usr/lib"].into_iter().any(|folder| host.path(format!("{folder}/systemd/system/{unit}")).is_file())
}

/// The server's unit, as distributions call it.
const SERVERS: [&str; 2] = ["ssh.service", "sshd.service"];

/// Keys alone, and few tries.
#[derive(Serialize)]
pub struct HardenServer {
    content: &'static str,
}

const HARDENED: &str = "# Written by hostwright-bootstrap: hardening of the SSH server.
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PermitEmptyPasswords no
MaxAuthTries 4
X11Forwarding no
";

impl HardenServer {
    pub fn new() -> Self {
        Self { content: HARDENED }
    }
}

impl Action for HardenServer {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        // Before others of its folder: of each setting the first one counts.
        let file = File::new("/etc/ssh/sshd_config.d/10-hostwright-hardening.conf", self.content.as_bytes(), 0o600);
        if !file.place_if_changed(context)? {
            return Ok(Outcome::Done);
        }
        for unit in SERVERS.into_iter().filter(|unit| runs(context.host, unit)) {
            // Waited for: when the boot is told to be over, nobody is turned away any more.
            let mut command = context.host.command("systemctl");
            command.args(["try-reload-or-restart", unit]);
            Run::new("ssh hardening", command).succeed(context)?;
        }
        Ok(Outcome::Done)
    }
}

/// A unit that runs has a control group; asking systemd would cost a process.
fn runs(host: &Host, unit: &str) -> bool {
    host.has_systemd() && host.sys(&format!("fs/cgroup/system.slice/{unit}")).is_dir()
}

/// `ssh_pwauth:`, as a file that the server includes.
#[derive(Serialize)]
pub struct ServerSwitches {
    password_authentication: &'static str,
}

/// cloud-init's own: commands of user-data change it or take it away, and one that an image brings must not win.
const SWITCHES: &str = "/etc/ssh/sshd_config.d/50-cloud-init.conf";

impl ServerSwitches {
    /// Nothing where the user-data says nothing of them; on RPM distributions cloud-init's own package says no.
    pub fn new(host: &Host, ssh: &ssh::Ssh) -> Option<Self> {
        let on = ssh.password_authentication.or_else(|| host.has_rpm().then_some(false))?;
        Some(Self { password_authentication: if on { "yes" } else { "no" } })
    }
}

impl Action for ServerSwitches {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let (key, value) = ("PasswordAuthentication", self.password_authentication);
        if sshd_config::includes_drop_ins(context.host) {
            let before = std::fs::read_to_string(context.host.path(SWITCHES)).unwrap_or_default();
            let content = sshd_config::with(&before, key, value);
            File::new(SWITCHES, content.as_bytes(), 0o600).place(context)?;
        } else {
            let main = context.host.path(sshd_config::MAIN);
            let before = match std::fs::read_to_string(&main) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
                read => read.map_err(|e| Failure::io("read the SSH server's configuration", &e))?,
            };
            let mode = main.metadata().map_or(0o644, |metadata| metadata.permissions().mode() & 0o777);
            let after = sshd_config::with(&before, key, value);
            File::new(sshd_config::MAIN, after.as_bytes(), mode).place_if_changed(context)?;
        }
        restart_server(context);
        Ok(Outcome::Done)
    }
}
