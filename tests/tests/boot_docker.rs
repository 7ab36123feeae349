//! Docker Engine, Debian's own, installed, configured and started by the user-data on an image that has none.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use hostwright_tests::busybox_root::outcomes;
use hostwright_tests::debian_packages::{fetch_for, offer, purge};
use hostwright_tests::nspawn::Machine;
use hostwright_tests::wait::eventually;

const BOOT: Duration = Duration::from_secs(300);
const SETTINGS: &str = r#"{"data-root": "/srv/docker", "log-driver": "local"}"#;

#[test]
fn docker_engine_is_installed_configured_and_started_once() -> Result<()> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages/docker");
    let mut machine = Machine::new()?;
    purge(&machine, &["docker.io", "containerd", "runc"])?;
    fetch_for(&machine, "docker.io", &folder)?;
    offer(&machine, &folder)?;
    let user_data = format!(
        "#cloud-config\nusers: []\nhostwright: {{boot: {{engine: {{docker: {{daemon_json: '{SETTINGS}'}}}}}}}}\n"
    );
    machine.seed("i-docker", &user_data)?;

    let mut boot = machine.boot()?;
    boot.wait_for("instance i-docker is ", BOOT)?;
    let report = machine.report("i-docker")?;
    ensure!(report["result"] == "ok", "{report:#}\n{}", boot.console());
    let told = boot.shell("docker info --format '{{.DockerRootDir}} {{.LoggingDriver}}'")?;
    assert_eq!(told.trim(), "/srv/docker local");
    assert_eq!(boot.shell("systemctl is-enabled docker.service")?.trim(), "enabled");
    boot.power_off()?;

    let mut boot = machine.boot()?;
    boot.wait_for("instance i-docker is configured: ", BOOT)?;
    let report = machine.report("i-docker")?;
    ensure!(outcomes(&report).iter().any(|step| step.0 == "engine" && step.2 == 1), "{report:#}");
    // It is a service like others now, and nobody's boot waits for it.
    eventually("docker.service is active", BOOT, || boot.shell("systemctl is-active docker.service"))?;
    assert_eq!(machine.read("/etc/docker/daemon.json")?, SETTINGS);
    Ok(())
}
