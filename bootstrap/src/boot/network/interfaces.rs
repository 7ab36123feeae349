use crate::boot::host::Host;

/// This machine's interfaces: names with their permanent addresses.
#[derive(Debug, Default)]
pub struct Interfaces(pub Vec<(String, String)>);

impl Interfaces {
    /// Reads them below `/sys`; virtual ones (bonds, bridges, tunnels) are none of the machine's.
    pub fn read(host: &Host) -> Self {
        let entries = std::fs::read_dir(host.sys("class/net")).into_iter().flatten().flatten();
        let mut found = Vec::new();
        for entry in entries {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let is_virtual = ["bridge", "bonding", "tun_flags"].iter().any(|file| entry.path().join(file).exists());
            let address = std::fs::read_to_string(entry.path().join("address")).unwrap_or_default();
            let address = address.trim().to_ascii_lowercase();
            if name != "lo" && !is_virtual && !address.is_empty() {
                found.push((name, address));
            }
        }
        found.sort();
        Self(found)
    }

    /// The name of the interface with this address.
    pub fn name_of(&self, mac: &str) -> Option<&str> {
        self.0.iter().find(|(_, address)| address.eq_ignore_ascii_case(mac)).map(|(name, _)| name.as_str())
    }
}
