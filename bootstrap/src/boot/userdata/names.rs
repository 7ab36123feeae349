use super::values::{Flag, said};
use hostwright_core::config::section::Section;
use hostwright_core::config::values::{FromNode, mismatch};
use hostwright_core::yaml::{Node, Scalar};

/// `hostname:`, `fqdn:`, `prefer_fqdn_over_hostname:`, `preserve_hostname:`, `manage_etc_hosts:`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The host's name.
    pub hostname: Option<String>,
    /// With its domain.
    pub fqdn: Option<String>,
    /// Whether the kernel's host name shall have the domain.
    pub prefer_fqdn: Option<bool>,
    /// Whether the name stays as the image has it.
    pub preserve: bool,
    /// Whether `/etc/hostname` is left alone where it is not there.
    pub keep_away_from_the_file: bool,
    /// What is to be done with `/etc/hosts`.
    pub manage_hosts: ManageHosts,
}

/// `manage_etc_hosts:`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ManageHosts {
    /// `false`: left alone.
    #[default]
    No,
    /// `localhost`: only the line of 127.0.1.1 is kept up to date.
    Localhost,
    /// `true`: the file is ours.
    Whole,
}

/// A host name that the kernel, DNS and a file name can carry.
struct HostName(String);

impl FromNode for HostName {
    const EXPECTED: &'static str = "a host name of letters, digits, '-' and '.'";

    fn from_node(node: &Node) -> Result<Self, String> {
        node.text().filter(|text| is_host_name(text)).map(|t| Self(t.to_owned())).ok_or_else(|| mismatch::<Self>(node))
    }
}

impl FromNode for ManageHosts {
    const EXPECTED: &'static str = "true, false or localhost";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.scalar() {
            Some(Scalar::Bool(true)) => Ok(Self::Whole),
            Some(Scalar::Bool(false)) => Ok(Self::No),
            Some(Scalar::String(text)) if text == "localhost" => Ok(Self::Localhost),
            // cloud-init's older word for true.
            Some(Scalar::String(text)) if text == "template" => Ok(Self::Whole),
            _ => match Flag::from_node(node) {
                Ok(Flag(true)) => Ok(Self::Whole),
                Ok(Flag(false)) => Ok(Self::No),
                Err(_) => Err(mismatch::<Self>(node)),
            },
        }
    }
}

impl Names {
    /// Reads the top-level keys.
    pub fn read(root: &mut Section<'_>) -> Self {
        Self {
            hostname: said::<HostName>(root, "hostname").map(|name| name.0),
            fqdn: said::<HostName>(root, "fqdn").map(|name| name.0),
            prefer_fqdn: root.optional::<Flag>("prefer_fqdn_over_hostname").map(|flag| flag.0),
            preserve: root.or("preserve_hostname", Flag(false)).0,
            keep_away_from_the_file: !root.or("create_hostname_file", Flag(true)).0,
            manage_hosts: root.or("manage_etc_hosts", ManageHosts::No),
        }
    }
}

/// Whether a text can be a host name, with or without a domain.
pub fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        let inner = label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        !label.is_empty() && label.len() <= 63 && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 253 && text.trim_end_matches('.').split('.').all(label)
}
