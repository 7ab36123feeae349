//! A full VM, created by our own `hostwright-bootstrap up`: its console, commands in it over SSH, reboots and power cuts.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::port::Port;
use crate::process::binary;
use crate::wait::eventually;

/// The user that scenarios create, with the key of `SshKey`.
const USER: &str = "basegun";
const NAME: &str = "vm";
/// One command in a guest under emulation takes more than a second to log in alone.
const SSH_TIMEOUT: Duration = Duration::from_secs(60);
/// QEMU answers at once, unless it hangs.
const QMP_TIMEOUT: Duration = Duration::from_secs(10);

/// The image that `packaging/build-image` bakes.
pub fn image() -> Result<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/image/hostwright-debian12.qcow2");
    path.canonicalize().with_context(|| format!("{} is not there: run `make image`", path.display()))
}

/// A key pair of this run, to log in with.
#[derive(Debug)]
pub struct SshKey {
    folder: TempDir,
    public: String,
}

impl SshKey {
    pub fn make() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("key");
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "tests", "-f"]).arg(&path))?;
        let public = fs::read_to_string(path.with_extension("pub"))?.trim().to_owned();
        Ok(Self { folder, public })
    }

    pub fn public(&self) -> &str {
        &self.public
    }

    fn private(&self) -> PathBuf {
        self.folder.path().join("key")
    }
}

/// Ports of this machine that lead to ports of the guest.
#[derive(Debug)]
pub struct Forwards(Vec<(Port, u16)>);

impl Forwards {
    /// Reserves a port of this machine for SSH and for each of `guest`.
    pub fn reserve(guest: &[u16]) -> Result<Self> {
        [22].iter().chain(guest).map(|guest| Ok((Port::reserve()?, *guest))).collect::<Result<_>>().map(Self)
    }

    /// Where the guest's port is reached from here.
    pub fn to(&self, guest: u16) -> SocketAddr {
        let port = self.0.iter().find(|(_, to)| *to == guest).map_or(0, |(port, _)| port.number());
        (Ipv4Addr::LOCALHOST, port).into()
    }
}

/// A running VM, gone with this value.
#[derive(Debug)]
pub struct Vm {
    folder: TempDir,
    key: SshKey,
    forwards: Forwards,
    said_at_start: String,
}

impl Vm {
    /// Creates it; does not wait for its boot.
    pub fn up(user_data: &str, key: SshKey, forwards: Forwards) -> Result<Self> {
        Self::up_with(user_data, key, forwards, &[])
    }

    /// Creates it with further arguments for `up`.
    pub fn up_with(user_data: &str, key: SshKey, forwards: Forwards, further: &[&str]) -> Result<Self> {
        // The disk lives there: not the temporary folder, which may be a tmpfs.
        let mut vm = Self { folder: tempfile::tempdir_in("/var/tmp")?, key, forwards, said_at_start: String::new() };
        let file = vm.folder.path().join("user-data.yaml");
        fs::write(&file, user_data)?;
        let mut up = vm.bootstrap("up")?;
        up.args(["--name", NAME, "--memory", "1536", "--cpus", "2", "--image"])
            .arg(image()?)
            .arg("--user-data")
            .arg(&file)
            .args(further);
        for (port, guest) in &vm.forwards.0 {
            up.arg("--forward").arg(format!("{}:{guest}", port.number()));
        }
        vm.said_at_start = run(&mut up)?;
        Ok(vm)
    }

    /// Waits until bootstrap has told `times` times on the console what became of a boot, well or not.
    pub fn wait_reported(&self, times: usize, timeout: Duration) -> Result<()> {
        eventually("bootstrap tells how a boot ended", timeout, || {
            let console = self.console();
            let told = ["is configured", "is NOT configured"].map(|words| console.matches(words).count());
            if told.iter().sum::<usize>() >= times { Ok(()) } else { bail!("the console ends: {}", tail(&console)) }
        })
    }

    /// What `up` printed.
    pub fn said_at_start(&self) -> &str {
        &self.said_at_start
    }

    /// Where the guest's port is reached from here.
    pub fn to(&self, guest: u16) -> SocketAddr {
        self.forwards.to(guest)
    }

    /// Everything that the guest has written to its serial console.
    pub fn console(&self) -> String {
        fs::read(self.console_file()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    pub fn console_file(&self) -> PathBuf {
        self.folder.path().join("instances").join(NAME).join("console.log")
    }

    /// Waits until bootstrap has reported `times` times on the console that it is done with this boot.
    pub fn wait_configured(&self, times: usize, timeout: Duration) -> Result<()> {
        let told = eventually("bootstrap reports on the console", timeout, || {
            let console = self.console();
            if console.matches("is configured").count() >= times {
                return Ok(Ok(()));
            }
            let ends = format!("the console ends: {}", tail(&console));
            // Nothing comes after that.
            if console.contains("is NOT configured") { Ok(Err(ends)) } else { bail!("{ends}") }
        })?;
        told.map_err(anyhow::Error::msg)
    }

    /// Runs a command as root in the guest; its standard output. At a boot the server may come up after what was waited
    /// for; until then nothing of the command has run.
    pub fn ssh(&self, command: &str) -> Result<String> {
        eventually("the guest's SSH server answers", SSH_TIMEOUT, || match self.ssh_once(command) {
            Err(error) if format!("{error:#}").contains("kex_exchange_identification") => Err(error),
            done => Ok(done),
        })?
    }

    fn ssh_once(&self, command: &str) -> Result<String> {
        let mut ssh = Command::new("timeout");
        ssh.arg(SSH_TIMEOUT.as_secs().to_string()).args(self.ssh_words());
        run(ssh.arg(format!("sudo sh -c {}", quote(command))))
    }

    /// The command that opens a shell in the guest.
    pub fn ssh_command(&self) -> String {
        self.ssh_words().join(" ")
    }

    fn ssh_words(&self) -> Vec<String> {
        let key = self.key.private().display().to_string();
        let port = self.to(22).port().to_string();
        let mut words = ["ssh", "-i", &key, "-p", &port].map(str::to_owned).to_vec();
        // The guest's host key is new each time, and it is on this machine's loopback.
        for option in [
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ConnectTimeout=20",
        ] {
            words.extend(["-o".to_owned(), option.to_owned()]);
        }
        words.push(format!("{USER}@127.0.0.1"));
        words
    }

    /// The agent's status, asked in the guest by the command that operators use.
    pub fn status(&self) -> Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.ssh("hostwright-agent status --format json || test $? = 3")?)?)
    }

    /// Waits until the agent's status is as `wanted` says.
    pub fn wait_status(
        &self,
        what: &str,
        timeout: Duration,
        wanted: impl Fn(&serde_json::Value) -> bool,
    ) -> Result<serde_json::Value> {
        eventually(what, timeout, || {
            let status = self.status()?;
            if wanted(&status) { Ok(status) } else { bail!("the status is {status}") }
        })
    }

    /// From the next reset on it has another TPM.
    pub fn forget_tpm(&self) -> Result<()> {
        let state = self.folder.path().join("instances").join(NAME).join("tpm");
        fs::remove_dir_all(&state)?;
        Ok(fs::create_dir(&state)?)
    }

    /// Pulls the plug and puts it in again: what the guest had not yet written to its disk is lost.
    pub fn power_cut(&self) -> Result<()> {
        let folder = self.folder.path().join("instances").join(NAME);
        let mut socket = UnixStream::connect(folder.join("qmp.sock")).context("connecting to the VM's QEMU")?;
        socket.set_read_timeout(Some(QMP_TIMEOUT))?;
        let mut answers = BufReader::new(socket.try_clone()?).lines();
        for command in ["qmp_capabilities", "system_reset"] {
            writeln!(socket, r#"{{"execute": "{command}"}}"#)?;
            // Greeting and events come in between.
            let mut answered = false;
            while !answered {
                let line = answers.next().context("QEMU has closed its control socket")??;
                answered = line.contains(r#""return""#);
            }
        }
        Ok(())
    }

    /// Stops and removes it.
    pub fn down(&self) -> Result<()> {
        run(self.bootstrap("down")?.args([NAME, "--now"])).map(drop)
    }

    fn bootstrap(&self, command: &str) -> Result<Command> {
        let mut bootstrap = Command::new(binary("hostwright-bootstrap")?);
        bootstrap.arg(command).arg("--state-dir").arg(self.folder.path().join("instances"));
        Ok(bootstrap)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _ = self.down();
    }
}

/// The command's output, or an error with what it complained of.
fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{:?}: {} {}", command, String::from_utf8_lossy(&output.stderr).trim(), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

/// One word of the shell, whatever is in it.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
