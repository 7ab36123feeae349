use anyhow::Context as _;
use hostwright_core::yaml::{self, Duplicates, Node};

/// What the cloud says of the instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Metadata {
    /// Decides what "once" means.
    pub instance_id: Option<String>,
    /// The name that the cloud gave it.
    pub local_hostname: Option<String>,
    /// SSH keys for the default user.
    pub public_keys: Vec<String>,
}

impl Metadata {
    /// Reads NoCloud's `meta-data`, which is YAML or JSON.
    ///
    /// # Errors
    /// It is neither, or no mapping.
    pub fn parse(content: &[u8]) -> anyhow::Result<Self> {
        let text = std::str::from_utf8(content).context("meta-data is not UTF-8")?;
        let root = yaml::load(text, Duplicates::LastWins).context("meta-data cannot be read")?.root;
        if root.mapping().is_none() && !root.is_null() {
            anyhow::bail!("meta-data is {}, not a mapping with instance-id and local-hostname", root.kind());
        }
        let text = |key: &str| {
            let node = root.get(key).filter(|node| !node.is_null())?;
            node.text().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        Ok(Self {
            instance_id: text("instance-id").or_else(|| text("instance_id")),
            local_hostname: text("local-hostname").or_else(|| text("hostname")),
            public_keys: root.get("public-keys").or_else(|| root.get("public_keys")).map(keys).unwrap_or_default(),
        })
    }
}

/// A text with a key a line, a list, or names with one of either: all of them are in use.
fn keys(node: &Node) -> Vec<String> {
    if let Some(text) = node.text() {
        return text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    }
    let items = node.sequence().unwrap_or_default().iter();
    let values =
        node.mapping().map(|mapping| &mapping.entries[..]).unwrap_or_default().iter().map(|entry| &entry.value);
    items.chain(values).flat_map(keys).collect()
}

#[cfg(test)]
mod tests {
    use super::Metadata;

    #[test]
    fn metadata_comes_as_yaml_or_json_with_keys_in_any_of_their_forms() {
        let yaml = "instance-id: i-1\nlocal-hostname: web\npublic-keys:\n  - ssh-ed25519 A\n";
        let json =
            r#"{"instance-id": "i-1", "hostname": "web", "public-keys": {"mine": {"openssh-key": "ssh-ed25519 A\n"}}}"#;
        let expected = Metadata {
            instance_id: Some("i-1".into()),
            local_hostname: Some("web".into()),
            public_keys: vec!["ssh-ed25519 A".into()],
        };
        assert_eq!(Metadata::parse(yaml.as_bytes()).expect("yaml"), expected);
        assert_eq!(Metadata::parse(json.as_bytes()).expect("json"), expected);
        assert_eq!(Metadata::parse(b"").expect("empty"), Metadata::default());
    }

    #[test]
    fn what_is_no_mapping_is_refused() {
        for wrong in [&b"<html>404</html>"[..], b"- a", b"\xff\xfe", b"a: [b"] {
            assert!(Metadata::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
