use super::configure::{Then, execute};
use super::packages::install_for;
use super::place::File;
use super::{Action, Context, Failure, Outcome};
use crate::boot::host::Host;
use crate::boot::userdata::boot_section::{Engine, Hardening, Port};
use serde::Serialize;

/// Docker Engine or Podman, installed where it is missing, configured and started.
#[derive(Serialize)]
pub struct InstallEngine {
    engine: Engine,
}

impl InstallEngine {
    pub fn new(engine: &Engine) -> Self {
        Self { engine: engine.clone() }
    }
}

impl Action for InstallEngine {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let (program, package, unit) = match self.engine.is_docker {
            true => ("dockerd", docker_package(context.host), "docker.service"),
            false => ("podman", "podman", "podman.socket"),
        };
        if let Some(settings) = &self.engine.settings {
            let file = File::new("/etc/docker/daemon.json", settings.as_bytes(), 0o644);
            // One that is installed below starts with them.
            if file.place_if_changed(context)? && context.host.program(program).is_some() {
                execute(context, "engine", &Then::run(&["systemctl", "--no-block", "try-restart", unit]))?;
            }
        }
        install_for(context, program, &[package.to_owned()])?;
        execute(context, "engine", &Then::run(&["systemctl", "enable", "--now", unit]))?;
        Ok(Outcome::Done)
    }
}

/// What the distribution calls Docker Engine; where it has none, Docker's own repository has it by this name.
fn docker_package(host: &Host) -> &'static str {
    match host.distribution().as_str() {
        _ if !host.has_rpm() => "docker.io",
        "fedora" => "moby-engine",
        "amzn" | "opensuse-leap" | "opensuse-tumbleweed" | "sles" | "openEuler" | "mageia" => "docker",
        _ => "docker-ce",
    }
}

/// Switches that make the host harder to break into; the SSH server's is a step of its own.
#[derive(Serialize)]
pub struct Harden {
    hardening: Hardening,
}

const UPGRADES: &str = "APT::Periodic::Update-Package-Lists \"1\";\nAPT::Periodic::Unattended-Upgrade \"1\";\n";

/// By which apt fetches lists, and installs what UPGRADES wants.
const TIMERS: [&str; 2] = ["apt-daily.timer", "apt-daily-upgrade.timer"];

impl Harden {
    pub fn new(hardening: &Hardening) -> Self {
        Self { hardening: hardening.clone() }
    }
}

impl Action for Harden {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let Hardening { upgrades, firewall, .. } = &self.hardening;
        if let Some(ports) = firewall {
            install_for(context, "nft", &["nftables".to_owned()])?;
            File::new("/etc/nftables.conf", rules(ports).as_bytes(), 0o755).place_if_changed(context)?;
            execute(context, "hardening", &Then::run(&["systemctl", "enable", "nftables.service"]))?;
            execute(context, "hardening", &Then::run(&["systemctl", "--no-block", "restart", "nftables.service"]))?;
        }
        if *upgrades && context.host.program("apt-get").is_some() {
            install_for(context, "unattended-upgrade", &["unattended-upgrades".to_owned()])?;
            File::new("/etc/apt/apt.conf.d/20auto-upgrades", UPGRADES.as_bytes(), 0o644).place_if_changed(context)?;
            // Images whose packages shall not change by themselves mask them.
            for words in [["unmask", "--quiet"], ["enable", "--now"]] {
                let words = [&["systemctl"], &words[..], &TIMERS].concat();
                execute(context, "hardening", &Then::run(&words))?;
            }
        } else if *upgrades {
            install_for(context, "dnf-automatic", &["dnf-automatic".to_owned()])?;
            execute(
                context,
                "hardening",
                &Then::run(&["systemctl", "enable", "--now", "dnf-automatic-install.timer"]),
            )?;
        }
        Ok(Outcome::Done)
    }
}

/// What comes in by itself is dropped but for these ports; a table of its own, so that an engine's rules stay.
fn rules(ports: &[Port]) -> String {
    let of = |udp: bool| {
        let numbers: Vec<_> = ports.iter().filter(|port| port.udp == udp).map(|port| port.number.to_string()).collect();
        let protocol = if udp { "udp" } else { "tcp" };
        if numbers.is_empty() {
            String::new()
        } else {
            format!("    {protocol} dport {{ {} }} accept\n", numbers.join(", "))
        }
    };
    format!(
        "#!/usr/sbin/nft -f\n# Written by hostwright-bootstrap from the user-data.\ntable inet hostwright\ndelete table inet hostwright\ntable inet hostwright {{\n  chain input {{\n    type filter hook input priority filter; policy drop;\n    ct state established,related accept\n    iif lo accept\n    meta l4proto {{ icmp, ipv6-icmp }} accept\n    udp dport {{ 68, 546 }} accept\n{}{}  }}\n}}\n",
        of(false),
        of(true)
    )
}

#[cfg(test)]
mod tests {
    use super::rules;
    use crate::boot::userdata::boot_section::Port;

    #[test]
    fn the_firewall_lets_in_what_is_allowed_and_answers() {
        let text = rules(&[
            Port { number: 22, udp: false },
            Port { number: 9100, udp: false },
            Port { number: 53, udp: true },
        ]);
        assert!(text.contains("    tcp dport { 22, 9100 } accept\n    udp dport { 53 } accept\n"), "{text}");
        assert!(text.contains("policy drop"));
    }
}
