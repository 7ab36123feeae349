//! The network that a datasource describes, on images where ifupdown or NetworkManager sets it up: Debian's own programs
//! bring an interface up by what was written for them.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hostwright_tests::debian_packages::{fetch, install};
use hostwright_tests::metadata_service::in_a_network;
use hostwright_tests::nspawn::{Boot, Machine};
use hostwright_tests::wait::eventually;

const BOOT: Duration = Duration::from_secs(120);
const DESCRIBED: &str = r#"
version: 2
ethernets:
  first:
    match: {name: 'hos*'}
    addresses: [192.0.2.10/24, '2001:db8::10/64']
    gateway4: 192.0.2.1
    mtu: 1400
    nameservers: {addresses: [192.0.2.53], search: [a.example]}
    routes:
    - {to: 198.51.100.0/24, via: 192.0.2.2, metric: 7}
    - {to: '2001:db8:1::/48', via: '2001:db8::1'}
    - {to: 203.0.113.0/24, via: 192.0.2.3, table: 9}
    routing-policy: [{from: 192.0.2.10/32, table: 9, priority: 99}]
"#;

/// An interface that has nobody at its other end is never quite up.
fn connect() -> Result<()> {
    let output = Command::new("ip").args(["-o", "link", "show", "type", "veth"]).output().context("starting ip")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let name = text.split(['@', ':']).nth(1).context("the other end is not there yet")?.trim().to_owned();
    let status = Command::new("ip").args(["link", "set", "dev", &name, "up"]).status()?;
    ensure!(status.success(), "{name} is not up");
    Ok(())
}

/// An image whose network another program sets up.
fn machine(packages: &[&str]) -> Result<Machine> {
    let machine = Machine::new()?;
    for package in packages {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("packages").join(package);
        fetch(package, &folder)?;
        install(&machine, &folder)?;
    }
    for folder in ["/etc/systemd/system", "/usr/lib/systemd/system"] {
        let found = Command::new("find")
            .arg(machine.path(folder))
            .args(["-name", "systemd-networkd*", "-not", "-type", "d", "-delete"])
            .status()?;
        ensure!(found.success());
    }
    Ok(machine)
}

fn booted(machine: &mut Machine) -> Result<Boot> {
    machine.seed("i-network", "#cloud-config\nusers: []\n")?;
    machine.write("/var/lib/cloud/seed/nocloud/network-config", DESCRIBED)?;
    let mut boot = machine.boot_with_interface()?;
    eventually("the other end of the interface", BOOT, connect)?;
    boot.wait_for("instance i-network is configured: ", BOOT)?;
    Ok(boot)
}

/// All that was described, as the kernel has it.
fn is_up(boot: &Boot) -> Result<()> {
    let all =
        "ip -o addr show dev host0; ip link show dev host0; ip route; ip -6 route; ip route show table 9; ip rule";
    eventually("the network is as described", BOOT, || {
        let text = boot.shell(all)?;
        let wanted = [
            "inet 192.0.2.10/24",
            "inet6 2001:db8::10/64",
            "mtu 1400",
            "default via 192.0.2.1 dev host0",
            "198.51.100.0/24 via 192.0.2.2 dev host0",
            "2001:db8:1::/48 via 2001:db8::1 dev host0",
            "203.0.113.0/24 via 192.0.2.3 dev host0",
            "from 192.0.2.10 lookup 9",
        ];
        for words in wanted {
            ensure!(text.contains(words), "{words:?} is missing in\n{text}");
        }
        Ok(())
    })
}

#[test]
fn ifupdown_brings_up_what_the_datasource_describes() -> Result<()> {
    let mut machine = machine(&["ifupdown"])?;
    in_a_network(move || {
        let boot = booted(&mut machine)?;
        is_up(&boot)?;
        assert_eq!(boot.shell("ifquery --state host0")?.trim(), "host0=host0");
        boot.power_off()
    })
}

#[test]
fn networkmanager_brings_up_what_the_datasource_describes() -> Result<()> {
    let mut machine = machine(&["network-manager"])?;
    in_a_network(move || {
        let boot = booted(&mut machine)?;
        is_up(&boot)?;
        let told = boot.shell("nmcli --terse --fields NAME,DEVICE connection show --active")?;
        ensure!(told.contains("hostwright first:host0"), "{told}");
        ensure!(boot.shell("nmcli --terse --fields IP4.DNS,IP4.DOMAIN device show host0")?.contains("192.0.2.53"));
        boot.power_off()
    })
}
