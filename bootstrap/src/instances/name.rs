//! Names and ids of instances.

use anyhow::Context as _;
use std::fmt;
use std::str::FromStr;

/// An instance's name: a host name of one label, and so also safe as a folder's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstanceName(String);

impl InstanceName {
    /// A name that no other instance has, for CI runs.
    ///
    /// # Errors
    /// The kernel gives no random numbers.
    pub fn random() -> anyhow::Result<Self> {
        Ok(Self(format!("hw-{}", &random_hex()?[..8])))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for InstanceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let fits = (1..=63).contains(&text.len()) && text.chars().all(allowed);
        if fits && !text.starts_with('-') && !text.ends_with('-') {
            return Ok(Self(text.to_owned()));
        }
        Err("expected a host name: 1 to 63 lower-case letters, digits and hyphens, no hyphen at either end".to_owned())
    }
}

/// A new instance id. It decides what "once" means on the VM, so a VM made again under an old name gets another.
///
/// # Errors
/// The kernel gives no random numbers.
pub fn new_instance_id() -> anyhow::Result<String> {
    Ok(format!("i-{}", &random_hex()?[..16]))
}

fn random_hex() -> anyhow::Result<String> {
    let source = "/proc/sys/kernel/random/uuid";
    let uuid = std::fs::read_to_string(source).with_context(|| format!("cannot read a random number from {source}"))?;
    let hex: String = uuid.chars().filter(char::is_ascii_hexdigit).collect();
    anyhow::ensure!(hex.len() == 32, "{source} holds no UUID");
    Ok(hex)
}

#[cfg(test)]
mod tests {
    use super::{InstanceName, new_instance_id};

    #[test]
    fn a_name_is_a_host_name_of_one_label() {
        for good in ["a", "worker-1", "0", &"a".repeat(63)] {
            assert!(good.parse::<InstanceName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "..", "a/b", "a_b", &"a".repeat(64)] {
            assert!(bad.parse::<InstanceName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_random_name_and_every_id_is_new() {
        assert_ne!(InstanceName::random().expect("a name"), InstanceName::random().expect("a name"));
        assert_ne!(new_instance_id().expect("an id"), new_instance_id().expect("an id"));
        assert_eq!(new_instance_id().expect("an id").len(), 18);
    }
}
