//! The Debian package through its life on a host: upgraded, removed, purged.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use hostwright_tests::nspawn::{Boot, Machine};
use hostwright_tests::process::binary;
use hostwright_tests::wait::eventually;

const BOOT: Duration = Duration::from_secs(120);
const START: Duration = Duration::from_secs(60);

/// What `make image` has packed.
fn package() -> Result<PathBuf> {
    let target = binary("hostwright-agent")?.ancestors().nth(2).map(PathBuf::from);
    let folder = target.context("the binaries have no target folder")?.join("packages");
    let entries = fs::read_dir(&folder).with_context(|| format!("{}: run `make deb` first", folder.display()))?;
    let packages = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let newest = packages.filter(|path| path.extension().is_some_and(|extension| extension == "deb")).max();
    newest.with_context(|| format!("no package in {}: run `make deb` first", folder.display()))
}

fn main_pid(boot: &Boot, unit: &str) -> Result<u32> {
    let text = boot.shell(&format!("systemctl show --property MainPID --value {unit}"))?;
    Ok(text.trim().parse()?)
}

fn state(boot: &Boot, question: &str, unit: &str) -> Result<String> {
    Ok(boot.shell(&format!("systemctl {question} {unit} || true"))?.trim().to_owned())
}

#[test]
fn an_upgrade_replaces_the_agent_and_no_connection_and_a_purge_leaves_what_is_the_operator_s() -> Result<()> {
    let mut machine = Machine::new()?;
    fs::copy(package()?, machine.path("/srv/hostwright.deb"))?;
    machine.seed("i-package", "#cloud-config\nhostwright: {metrics: {listen: '127.0.0.1:9100'}}\n")?;
    let mut boot = machine.boot()?;
    boot.wait_for("instance i-package is configured: ", BOOT)?;
    let (agent, ports) = (main_pid(&boot, "hostwright-agent")?, main_pid(&boot, "hostwright-ports")?);
    assert!(agent > 0 && ports > 0, "agent {agent}, ports {ports}");

    boot.shell("systemctl disable --quiet hostwright-bootstrap.service && dpkg --install /srv/hostwright.deb")?;
    eventually("another agent is ready", START, || {
        main_pid(&boot, "hostwright-agent").is_ok_and(|pid| pid != agent)
            && state(&boot, "is-active", "hostwright-agent").is_ok_and(|state| state == "active")
    })?;
    assert_eq!(main_pid(&boot, "hostwright-ports")?, ports, "connections of containers are carried on");
    assert_eq!(state(&boot, "is-enabled", "hostwright-bootstrap")?, "disabled", "as the administrator left it");
    eventually("the new agent is well", START, || boot.shell("hostwright-agent status"))?;

    fs::write(machine.path("/etc/hostwright/agent.yaml"), "metrics: {lisen: '127.0.0.1:9100'}\n")?;
    assert!(boot.shell("systemctl reload hostwright-agent").is_err(), "whoever asks for it is told");
    boot.shell("journalctl --unit hostwright-agent | grep 'did you mean \"listen\"'")?;
    fs::write(machine.path("/etc/hostwright/agent.yaml"), "metrics: {listen: '127.0.0.1:9100'}\n")?;
    boot.shell("systemctl reload hostwright-agent && hostwright-agent status")?;

    boot.shell("dpkg --remove hostwright")?;
    for unit in ["hostwright-agent", "hostwright-ports"] {
        assert_eq!(state(&boot, "is-active", unit)?, "inactive", "{unit}");
    }
    assert!(machine.path("/var/lib/hostwright/bootstrap/i-package").is_dir(), "a removal keeps the state");
    boot.shell("dpkg --install /srv/hostwright.deb && systemctl start hostwright-agent")?;
    eventually("the agent is well again", START, || boot.shell("hostwright-agent status"))?;

    fs::write(machine.path("/etc/hostwright/credentials/mine"), "secret")?;
    boot.shell("dpkg --purge hostwright")?;
    assert!(!machine.path("/var/lib/hostwright").exists());
    assert!(machine.path("/etc/hostwright/credentials/mine").is_file(), "the operator's own files stay");
    boot.power_off()
}
