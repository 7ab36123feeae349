//! `up`, `show` and `down` with a real QEMU and a real kernel.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hostwright_tests::http;
use hostwright_tests::process::binary;
use hostwright_tests::tiny_guest::TinyGuest;
use hostwright_tests::vm::{Forwards, SshKey, Vm};
use hostwright_tests::wait::eventually;
use serde_json::Value;
use tempfile::TempDir;

const BOOT: &str = "120s";
/// Under emulation, beside other work.
const IMAGE_BOOT: Duration = Duration::from_secs(400);
const SOON: Duration = Duration::from_secs(20);
const USER_DATA: &str = "#cloud-config\nhostname: tiny\nwrite_files:\n  - path: /etc/motd\n    content: welcome\n";

/// A state folder of its own; what still runs in it ends with this value.
struct Operator {
    folder: TempDir,
    guest: TinyGuest,
}

impl Operator {
    fn new() -> Result<Self> {
        let operator = Self { folder: tempfile::tempdir()?, guest: TinyGuest::build()? };
        fs::write(operator.folder.path().join("user-data.yaml"), USER_DATA)?;
        Ok(operator)
    }

    fn command(&self, words: &[&str]) -> Result<Command> {
        let mut command = Command::new(binary("hostwright-bootstrap")?);
        // A folder whose name needs care, and too long for a socket's address.
        let state = self.folder.path().join(format!("instances, of: {}", "long".repeat(25)));
        command.args(words).arg("--state-dir").arg(state).stdin(Stdio::null());
        Ok(command)
    }

    fn run(&self, words: &[&str]) -> Result<Outcome> {
        Ok(Outcome(self.command(words)?.output()?))
    }

    fn up_command(&self, word: &str, words: &[&str]) -> Result<Command> {
        let mut command = self.command(&["up"])?;
        command.args(self.guest.options(word)).arg("--user-data").arg(self.folder.path().join("user-data.yaml"));
        command.args(words);
        Ok(command)
    }

    /// `up` with the tiny guest; `word` tells it how to end.
    fn up(&self, word: &str, words: &[&str]) -> Result<Outcome> {
        Ok(Outcome(self.up_command(word, words)?.output()?))
    }

    fn spawn_up(&self, words: &[&str]) -> Result<Child> {
        Ok(self.up_command("", words)?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    }

    fn show(&self) -> Result<Vec<Value>> {
        let shown = self.run(&["show", "--format", "json"])?.succeeded()?;
        Ok(serde_json::from_slice(&shown.0.stdout)?)
    }

    fn state(&self) -> Result<String> {
        Ok(self.show()?[0]["state"].as_str().context("a state")?.to_owned())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.run(&["down", "--all", "--now"]);
    }
}

#[derive(Debug)]
struct Outcome(Output);

impl Outcome {
    fn succeeded(self) -> Result<Self> {
        self.ended_with(0)
    }

    fn ended_with(self, code: i32) -> Result<Self> {
        ensure!(self.0.status.code() == Some(code), "not the exit code {code}: {self:?}");
        Ok(self)
    }

    fn out(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }
}

#[test]
fn a_vm_reads_its_seed_is_reached_through_its_port_is_shown_and_powers_down() -> Result<()> {
    let operator = Operator::new()?;
    let up = operator.up("", &["--name", "tiny", "--forward", "0:80", "--wait", "--console", "--timeout", BOOT])?;
    let said = up.succeeded()?.out();
    ensure!(said.contains("local-hostname: tiny") && said.contains("content: welcome"), "{said}");
    ensure!(said.contains("tiny is configured after"), "{said}");

    let shown = operator.show()?.remove(0);
    ensure!(shown["state"] == "running" && shown["name"] == "tiny", "{shown}");
    let port = u16::try_from(shown["forwards"][0]["host"].as_u64().context("a port")?)?;
    let meta_data = http::get(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), "/meta-data")?.success()?.text();
    let id = shown["instance_id"].as_str().context("an id")?;
    ensure!(meta_data == format!("instance-id: {id}\nlocal-hostname: tiny\n"), "{meta_data}");
    let table = operator.run(&["show", "tiny"])?.succeeded()?.out();
    ensure!(table.starts_with("NAME") && table.contains("running"), "{table}");

    let again = operator.up("", &["--name", "tiny"])?.ended_with(1)?.complaint();
    ensure!(again.contains("there is an instance tiny already (running)"), "{again}");

    let down = operator.run(&["down", "tiny"])?.succeeded()?;
    ensure!(down.complaint().is_empty() && down.out().contains("is asked to power down"), "it does so: {down:?}");
    ensure!(operator.show()?.is_empty());
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).context("its port is free as soon as down has ended")?;
    Ok(())
}

#[test]
fn a_vm_outlives_the_shell_and_every_vm_gets_an_id_of_its_own() -> Result<()> {
    let operator = Operator::new()?;
    for _ in 0..2 {
        operator.up("", &["--random-name"])?.succeeded()?;
    }
    let shown = operator.show()?;
    ensure!(shown.len() == 2 && shown[0]["instance_id"] != shown[1]["instance_id"], "{shown:?}");
    let session = |pid: &str| -> Result<String> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // After the name, which may hold anything: state, parent, group, session.
        Ok(stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(3)).context("a session")?.to_owned())
    };
    ensure!(session(&shown[0]["pid"].to_string())? != session("self")?, "QEMU has left this session");
    operator.run(&["down", "--all", "--now"])?.succeeded()?;
    ensure!(operator.show()?.is_empty());
    Ok(())
}

#[test]
fn a_failed_or_late_configuration_fails_up_and_leaves_the_vm_to_look_at() -> Result<()> {
    let operator = Operator::new()?;
    let failed = operator.up("tiny=fails", &["--name", "a", "--wait", "--timeout", BOOT])?.ended_with(1)?;
    ensure!(failed.complaint().contains("a runs, but its configuration failed"), "{failed:?}");
    ensure!(failed.complaint().contains("console.log"), "{failed:?}");
    ensure!(failed.out().contains("is NOT configured as wanted"), "the bootstrap's lines are shown: {failed:?}");
    let late = operator.up("tiny=silent", &["--name", "b", "--wait", "--timeout", "1s"])?.ended_with(1)?;
    ensure!(late.complaint().contains("b was not configured within 1 s"), "{late:?}");
    ensure!(operator.show()?.iter().all(|row| row["state"] == "running"));
    Ok(())
}

#[test]
fn a_vm_that_powered_off_is_stopped_and_one_that_was_killed_is_gone() -> Result<()> {
    let operator = Operator::new()?;
    let ended = operator.up("tiny=off", &["--name", "a", "--wait", "--timeout", BOOT])?.ended_with(1)?;
    ensure!(ended.complaint().contains("a ended before it was configured"), "{ended:?}");
    ensure!(operator.state()? == "stopped");
    operator.run(&["down", "a"])?.succeeded()?;

    operator.up("", &["--name", "a"])?.succeeded()?;
    let pid = i32::try_from(operator.show()?[0]["pid"].as_i64().context("a pid")?)?;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)?;
    eventually("QEMU is gone", SOON, || operator.state().is_ok_and(|state| state == "gone"))?;
    let refused = operator.up("", &["--name", "a"])?.ended_with(1)?;
    ensure!(refused.complaint().contains("already (gone)"), "its disk is not thrown away unasked: {refused:?}");
    operator.run(&["down", "a"])?.succeeded()?;
    Ok(())
}

#[test]
fn what_cannot_be_made_says_why_and_leaves_nothing() -> Result<()> {
    let operator = Operator::new()?;
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let forward = format!("{}:22", taken.local_addr()?.port());
    let cases: [(&[&str], i32, &str); 5] = [
        (&["--forward", &forward], 1, "cannot start the VM"),
        (&["--forward", "22"], 2, "expected HOST:GUEST"),
        (&["--name", "Bad_Name"], 2, "expected a host name"),
        (&["--timeout", "5m"], 2, "--wait"),
        (&["--provider", "elsewhere"], 2, "local"),
    ];
    for (words, code, reason) in cases {
        let outcome = operator.up("", words)?.ended_with(code)?;
        ensure!(outcome.complaint().contains(reason), "{words:?} should say {reason:?}: {outcome:?}");
    }
    let image = operator.guest.image().display().to_string();
    let user_data = operator.folder.path().join("user-data.yaml").display().to_string();
    let cases: [(&[&str], &str); 3] = [
        (&["--image", "/nowhere.qcow2", "--user-data", &user_data], "/nowhere.qcow2"),
        (&["--image", &image, "--user-data", "/nowhere.yaml"], "/nowhere.yaml"),
        (&["--image", &image, "--user-data", &user_data, "--disk", "1M"], "needs 64 MiB"),
    ];
    for (words, reason) in cases {
        let outcome = operator.run(&[&["up"], words].concat())?.ended_with(1)?;
        ensure!(outcome.complaint().contains(reason), "{words:?} should say {reason:?}: {outcome:?}");
    }
    let wrong = operator.folder.path().join("wrong.yaml");
    fs::write(&wrong, "#cloud-config\nhostnam: tiny\n")?;
    let words = ["up", "--image", &image, "--user-data", &wrong.display().to_string()];
    let refused = operator.run(&words)?.ended_with(2)?.complaint();
    ensure!(refused.contains("wrong.yaml:2:1: hostnam: ") && refused.contains("hostname"), "{refused}");
    ensure!(operator.show()?.is_empty());
    let unknown = operator.run(&["down", "nobody"])?.ended_with(1)?;
    ensure!(unknown.complaint().contains("there is no instance nobody"), "{unknown:?}");
    Ok(())
}

#[test]
fn of_many_ups_of_one_name_one_succeeds() -> Result<()> {
    let operator = Operator::new()?;
    let ups = (0..4).map(|_| operator.spawn_up(&["--name", "a"])).collect::<Result<Vec<_>>>()?;
    let codes = ups.into_iter().map(|mut up| Ok(up.wait()?.code())).collect::<Result<Vec<_>>>()?;
    ensure!(codes.iter().filter(|code| **code == Some(0)).count() == 1, "{codes:?}");
    ensure!(operator.state()? == "running");
    Ok(())
}

#[test]
fn an_up_that_is_killed_at_any_moment_leaves_nothing_that_down_does_not_remove() -> Result<()> {
    let operator = Operator::new()?;
    for milliseconds in (0..400).step_by(40) {
        let mut up = operator.spawn_up(&["--name", "a"])?;
        eventually("the folder of the instance", SOON, || operator.show().is_ok_and(|shown| !shown.is_empty()))?;
        // The moment is what this test varies; there is no condition to wait for.
        std::thread::sleep(Duration::from_millis(milliseconds));
        up.kill()?;
        up.wait()?;
        let down = operator.run(&["down", "a", "--now"])?;
        down.succeeded().with_context(|| format!("killed after {milliseconds} ms"))?;
        ensure!(operator.show()?.is_empty());
        // A QEMU that was not even loaded yet ends by itself: its disk is gone.
        eventually("nothing of it runs", SOON, || {
            let left = Command::new("pgrep").args(["-a", "-f"]).arg(operator.folder.path()).output()?;
            ensure!(left.stdout.is_empty(), "after {milliseconds} ms: {}", String::from_utf8_lossy(&left.stdout));
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_vm_of_the_image_is_configured_is_reached_over_ssh_and_comes_back_from_a_power_cut() -> Result<()> {
    let key = SshKey::make()?;
    let user_data = format!(
        "#cloud-config\nhostname: plugged\nusers:\n  - name: basegun\n    sudo: ALL=(ALL) NOPASSWD:ALL\n    \
        ssh_authorized_keys: [{}]\nruncmd:\n  - echo once >> /root/once\n",
        key.public()
    );
    let vm = Vm::up(&user_data, key, Forwards::reserve(&[])?)?;
    vm.wait_configured(1, IMAGE_BOOT)?;
    ensure!(vm.ssh("hostname; cat /root/once")? == "plugged\nonce\n");
    vm.ssh("sync")?;
    vm.power_cut()?;
    vm.wait_configured(2, IMAGE_BOOT)?;
    ensure!(vm.ssh("hostname; cat /root/once")? == "plugged\nonce\n", "what is done once is not done again");
    Ok(())
}
