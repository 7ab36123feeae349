use crate::boot::host::Host;
use std::path::Path;

/// Who sets up the network of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// systemd-networkd, which is taken where nobody else is there.
    Networkd,
    /// Debian's ifupdown.
    Ifupdown,
    /// NetworkManager.
    NetworkManager,
    /// SUSE's wicked, for which nothing is written.
    Wicked,
}

impl Manager {
    /// By what is installed, and enabled where several are.
    pub fn of(host: &Host) -> Self {
        let is_enabled = |units: &[&str]| {
            let folders = ["/etc/systemd/system", "/usr/lib/systemd/system"];
            let mut all = folders.iter().flat_map(|folder| units.iter().map(move |unit| format!("{folder}/{unit}")));
            all.any(|path| host.path(path).symlink_metadata().is_ok())
        };
        let has_networkd = host.path("/usr/lib/systemd/systemd-networkd").exists();
        if is_enabled(&[
            "multi-user.target.wants/systemd-networkd.service",
            "sockets.target.wants/systemd-networkd.socket",
            "network-online.target.wants/systemd-networkd-wait-online.service",
        ]) || host.program("netplan").is_some() && has_networkd
        {
            return Self::Networkd;
        }
        let managers = [("NetworkManager", Self::NetworkManager), ("ifup", Self::Ifupdown), ("wicked", Self::Wicked)];
        let found = managers.into_iter().find(|(program, _)| host.program(program).is_some());
        found.map_or(Self::Networkd, |(_, manager)| manager)
    }

    /// Where a file of it goes, and its permission bits.
    pub fn place(self, name: &str) -> (&'static str, u32) {
        match Path::new(name).extension().and_then(|end| end.to_str()) {
            // udev and systemd-networkd, which runs as a user of its own.
            Some("network" | "netdev" | "link") => ("/etc/systemd/network", 0o644),
            // It takes no file that others can read.
            Some("nmconnection") => ("/etc/NetworkManager/system-connections", 0o600),
            _ => ("/etc/network/interfaces.d", 0o644),
        }
    }
}
