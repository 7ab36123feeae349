//! The unit that holds published ports, under systemd: killed, it refuses nobody; after a power cut it is there again.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use hostwright_tests::nspawn::{Boot, Machine};
use hostwright_tests::wait::eventually;

const BOOT: Duration = Duration::from_secs(120);
const START: Duration = Duration::from_secs(60);
/// One port with one server behind it, as the agent tells it.
const TABLE: &str = r#"{"web":[{"listen":{"protocol":"tcp","address":"127.0.0.1:8080"},"targets":[{"id":"c","address":"127.0.0.1:8081"}]}]}"#;
/// The machine has no client of HTTP but its shell.
const ASK: &str = "bash /srv/ask";
const ASK_SCRIPT: &str =
    "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && timeout 5 cat <&3\n";

fn property(boot: &Boot, name: &str) -> Result<u32> {
    Ok(boot.shell(&format!("systemctl show --property {name} --value hostwright-ports"))?.trim().parse()?)
}

fn is_active(boot: &Boot, unit: &str) -> bool {
    boot.shell(&format!("systemctl is-active {unit}")).is_ok()
}

/// Runs first in the agent's own sandbox; the agent is not started where one of them fails.
const FILTER: &str = "[Service]
ExecStartPre=/usr/sbin/nft add table ip of-the-agent
ExecStartPre=-/usr/sbin/iptables -w 3 -N OF-THE-AGENT
";

#[test]
fn a_killed_process_leaves_its_sockets_with_systemd_and_no_client_is_refused() -> Result<()> {
    let mut machine = Machine::new()?;
    fs::copy("/bin/busybox", machine.path("/srv/busybox"))?;
    machine.write("/srv/ask", ASK_SCRIPT)?;
    machine.seed("i-ports", "#cloud-config\nhostwright: {metrics: {listen: '127.0.0.1:9100'}}\n")?;
    machine.write("/etc/systemd/system/hostwright-agent.service.d/filter.conf", FILTER)?;
    let mut boot = machine.boot()?;
    boot.wait_for("instance i-ports is configured: ", BOOT)?;
    boot.shell("nft list table ip of-the-agent && iptables -S OF-THE-AGENT")?;
    boot.shell(
        "mkdir -p /srv/www && echo hello >/srv/www/index.html && /srv/busybox httpd -p 127.0.0.1:8081 -h /srv/www",
    )?;
    // What the process before it held is where a new one begins.
    boot.shell(&format!(
        "echo '{TABLE}' >/run/hostwright-ports/ports.json && chmod 644 /run/hostwright-ports/ports.json"
    ))?;
    boot.shell("systemctl restart hostwright-ports")?;
    eventually("the port is held", START, || boot.shell(ASK).is_ok_and(|text| text.contains("hello")))?;
    ensure!(property(&boot, "NFileDescriptorStore")? == 1, "systemd does not keep the socket");
    for round in 0..3 {
        let pid = property(&boot, "MainPID")?;
        let asked = boot.shell(&format!("kill -9 {pid}; for i in 1 2 3 4 5 6 7 8; do {ASK} || exit 1; done"));
        ensure!(asked.as_ref().is_ok_and(|text| text.matches("hello").count() == 8), "round {round}: {asked:?}");
        ensure!(property(&boot, "MainPID")? != pid);
    }
    let pid = property(&boot, "MainPID")?;
    boot.shell("systemctl kill --signal=KILL hostwright-agent")?;
    ensure!(
        boot.shell(ASK)?.contains("hello") && property(&boot, "MainPID")? == pid,
        "the agent's end touches nothing"
    );

    boot.power_cut()?;
    let boot = machine.boot()?;
    eventually("both are there again", BOOT, || {
        is_active(&boot, "hostwright-agent") && is_active(&boot, "hostwright-ports")
    })?;
    boot.power_off()
}
