//! Beside an installed cloud-init, Debian's own: the five lines of user-data for a stock image.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use hostwright_tests::busybox_root::outcomes;
use hostwright_tests::debian_packages::{fetch, install, offer};
use hostwright_tests::nspawn::Machine;

const BOOT: Duration = Duration::from_secs(300);
const USER_DATA: &str = "#cloud-config
locale: false
users: [default, alice]
write_files: [{path: /var/by-cloud-init, content: x}]
runcmd:
- hostwright-bootstrap boot --companion
- echo once >> /var/ran
hostwright: {boot: {engine: podman, hardening: {ssh: true}}, metrics: {listen: '127.0.0.1:9100'}}
";

#[test]
fn only_our_section_is_carried_out_and_the_engine_that_it_wants_is_installed() -> Result<()> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
    for package in ["cloud-init", "podman"] {
        fetch(package, &folder.join(package))?;
    }
    let mut machine = Machine::new()?;
    install(&machine, &folder.join("cloud-init"))?;
    offer(&machine, &folder.join("podman"))?;
    machine.write("/etc/cloud/cloud.cfg.d/90_test.cfg", "datasource_list: [NoCloud, None]\n")?;
    machine.seed("i-stock", USER_DATA)?;

    let mut boot = machine.boot()?;
    boot.wait_for("instance i-stock is configured: ", BOOT)?;
    let report = machine.report("i-stock")?;
    ensure!(report["result"] == "ok" && report["datasource"] == "cloud-init", "{report:#}\n{}", boot.console());
    let steps: Vec<_> = outcomes(&report).into_iter().map(|step| step.0).collect();
    let ours = ["user-data", "ssh hardening", "engine", "agent unit", "agent config", "agent start", "agent ready"];
    assert_eq!(steps, ours, "{report:#}");
    boot.shell("podman --version && systemctl is-active podman.socket hostwright-agent.service")?;
    ensure!(boot.shell("cloud-init status --wait")?.trim_start_matches('.').trim() == "status: done");
    boot.power_off()?;
    assert_eq!(machine.read("/var/by-cloud-init")?, "x");
    assert_eq!(machine.read("/var/ran")?, "once\n");
    assert!(machine.read("/etc/passwd")?.contains("\nalice:"), "cloud-init made the user");

    let mut boot = machine.boot()?;
    boot.wait_for("instance i-stock is configured: ", BOOT)?;
    let report = machine.report("i-stock")?;
    boot.power_off()?;
    let again: Vec<_> = outcomes(&report).into_iter().filter(|step| step.2 != 1).map(|step| step.0).collect();
    assert_eq!(again, ["user-data", "agent ready"], "its unit does at a later boot what each boot does: {report:#}");
    assert_eq!(machine.read("/var/ran")?, "once\n");
    Ok(())
}
