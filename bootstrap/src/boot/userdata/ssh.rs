use super::Findings;
use super::values::{Flag, Text};
use hostwright_core::config::section::Section;
use hostwright_core::yaml::{Node, Scalar};
use serde::Serialize;
use std::collections::BTreeMap;

/// The types of host keys, in cloud-init's order.
pub const KEY_TYPES: [&str; 3] = ["ed25519", "ecdsa", "rsa"];

/// What stands before the keys of those who shall not log in as this user; cloud-init's own words.
const DISABLED: &str = "no-port-forwarding,no-agent-forwarding,no-X11-forwarding,command=\"echo 'Please login as the user \\\"$USER\\\" rather than the user \\\"$DISABLE_USER\\\".';echo;sleep 10;exit 142\"";

/// The top-level keys that begin with `ssh_` and their kin. No `Debug`: there may be private keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Ssh {
    /// For the default user.
    pub authorized_keys: Vec<String>,
    /// Whether the cloud's keys are let in.
    pub clouds_keys: bool,
    /// Whether the server takes passwords; nothing where it was not said.
    pub password_authentication: Option<bool>,
    /// Whether root is told to log in as somebody else.
    pub disable_root: bool,
    /// What then stands before root's keys.
    pub disable_root_options: String,
    /// The server's keys.
    pub host_keys: HostKeys,
    /// What of the keys is told on the console.
    pub told: Told,
}

/// The server's own keys. No `Debug`.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct HostKeys {
    /// Whether the image's are kept, which several instances may then share.
    pub keep: bool,
    /// `ssh_keys:`, by names such as `rsa_private`; then none are generated.
    pub given: BTreeMap<String, String>,
    /// The types that are generated.
    pub types: Vec<String>,
}

/// What is told of keys on the console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// `ssh: {emit_keys_to_console: …}`
    pub host_keys: bool,
    /// `ssh_key_console_blacklist:`, such as `ssh-rsa`.
    pub without_keys: Vec<String>,
    /// `ssh_fp_console_blacklist:`, the same for fingerprints.
    pub without_fingerprints: Vec<String>,
    /// The opposite of `no_ssh_fingerprints:`.
    pub authorized_keys: bool,
}

impl Default for Ssh {
    fn default() -> Self {
        let told =
            Told { host_keys: true, without_keys: Vec::new(), without_fingerprints: Vec::new(), authorized_keys: true };
        Self {
            authorized_keys: Vec::new(),
            clouds_keys: true,
            password_authentication: None,
            disable_root: true,
            disable_root_options: DISABLED.to_owned(),
            host_keys: HostKeys { types: KEY_TYPES.map(str::to_owned).to_vec(), ..HostKeys::default() },
            told,
        }
    }
}

impl Ssh {
    /// Reads the top-level keys.
    pub fn read(root: &mut Section<'_>, findings: &mut Findings) -> Self {
        let default = Self::default();
        let keys: Vec<Text> = root.list("ssh_authorized_keys").unwrap_or_default();
        let keys: Vec<_> = keys.iter().map(|key| key.0.trim().to_owned()).filter(|key| !key.is_empty()).collect();
        if let Some(node) = root.node("ssh_authorized_keys") {
            warn_of_odd_keys(&keys, node.place, "ssh_authorized_keys", findings);
        }
        publishing(root, findings);
        root.or("ssh_quiet_keygen", Flag(true));
        Self {
            authorized_keys: keys,
            clouds_keys: root.or("allow_public_ssh_keys", Flag(true)).0,
            password_authentication: password_authentication(root, findings),
            disable_root: root.or("disable_root", Flag(true)).0,
            disable_root_options: root
                .optional::<Text>("disable_root_opts")
                .map_or(default.disable_root_options, |text| text.0),
            host_keys: HostKeys::read(root, findings),
            told: Told::read(root, findings),
        }
    }

    /// What stands before the keys with which nobody shall log in as `user`.
    pub fn disabled(options: &str, default_user: &str, user: &str) -> String {
        options.replace("$USER", default_user).replace("$DISABLE_USER", user)
    }

    /// cloud-init's own words for a user who is told to log in as another.
    pub fn redirected(default_user: &str, user: &str) -> String {
        Self::disabled(DISABLED, default_user, user)
    }
}

/// `ssh_pwauth:`, of which `unchanged` is the older word for nothing.
fn password_authentication(root: &mut Section<'_>, findings: &mut Findings) -> Option<bool> {
    let node = root.node("ssh_pwauth")?;
    match (node.scalar(), node.text().unwrap_or_default().to_ascii_lowercase().as_str()) {
        (Some(Scalar::Bool(on)), _) => Some(on),
        (_, "true" | "yes" | "on" | "1") => Some(true),
        (_, "false" | "no" | "off" | "0") => Some(false),
        (_, "unchanged" | "") => None,
        _ => {
            let message = "expected true or false; the server's switch stays as it is".to_owned();
            findings.warning(node.place, "ssh_pwauth", message);
            None
        }
    }
}

fn publishing(root: &mut Section<'_>, findings: &mut Findings) {
    let Some(node) = root.node("ssh_publish_hostkeys") else { return };
    findings.whole(node, "ssh_publish_hostkeys", |mut section, findings| {
        let _: Option<Vec<String>> = section.list("blacklist");
        if section.optional::<Flag>("enabled").is_some_and(|enabled| enabled.0) {
            let why = "the host's public keys are told on the console alone";
            findings.not_done(section.place(), "ssh_publish_hostkeys.enabled", why);
        }
        section.finish();
        Some(())
    });
}

impl HostKeys {
    fn read(root: &mut Section<'_>, findings: &mut Findings) -> Self {
        let mut given = BTreeMap::new();
        if let Some(node) = root.node("ssh_keys") {
            match node.mapping() {
                Some(mapping) => {
                    for entry in &mapping.entries {
                        match (key_file(&entry.key), entry.value.text()) {
                            (Some(_), Some(text)) => drop(given.insert(entry.key.clone(), text.to_owned())),
                            (Some(_), None) => {
                                findings.error(
                                    entry.value.place,
                                    "ssh_keys",
                                    format!("expected the text of {}", entry.key),
                                );
                            }
                            (None, _) => {
                                let why = "the server has keys of the types ed25519, ecdsa and rsa";
                                findings.not_done(entry.place, &format!("ssh_keys.{}", entry.key), why);
                            }
                        }
                    }
                }
                None => {
                    findings.error(
                        node.place,
                        "ssh_keys",
                        format!("expected a mapping of keys, found {}", node.kind()),
                    );
                }
            }
        }
        let types = root.list::<String>("ssh_genkeytypes").unwrap_or_else(|| KEY_TYPES.map(str::to_owned).to_vec());
        let (types, others): (Vec<_>, Vec<_>) = types.into_iter().partition(|kind| KEY_TYPES.contains(&kind.as_str()));
        if let Some(node) = root.node("ssh_genkeytypes").filter(|_| !others.is_empty()) {
            let why = format!("{} is no type of key that servers of today have", others.join(", "));
            findings.not_done(node.place, "ssh_genkeytypes", &why);
        }
        Self { keep: !root.or("ssh_deletekeys", Flag(true)).0, given, types }
    }
}

/// The file below `/etc/ssh` of a key of `ssh_keys:`, and whether it is secret.
pub fn key_file(name: &str) -> Option<(String, bool)> {
    let (kind, part) = name.split_once('_')?;
    if !KEY_TYPES.contains(&kind) {
        return None;
    }
    match part {
        "private" => Some((format!("ssh_host_{kind}_key"), true)),
        "public" => Some((format!("ssh_host_{kind}_key.pub"), false)),
        "certificate" => Some((format!("ssh_host_{kind}_key-cert.pub"), false)),
        _ => None,
    }
}

impl Told {
    fn read(root: &mut Section<'_>, findings: &mut Findings) -> Self {
        let host_keys = root.section("ssh", |mut section| {
            let emit = section.or("emit_keys_to_console", Flag(true)).0;
            section.finish();
            Some(emit)
        });
        if let Some(node) = root.node("authkey_hash").filter(|node| node.text() != Some("sha256")) {
            findings.not_done(node.place, "authkey_hash", "fingerprints are told as sha256, as ssh-keygen does");
        }
        Self {
            host_keys: host_keys.unwrap_or(true),
            without_keys: root.list("ssh_key_console_blacklist").unwrap_or_default(),
            without_fingerprints: root.list("ssh_fp_console_blacklist").unwrap_or_default(),
            authorized_keys: !root.or("no_ssh_fingerprints", Flag(false)).0,
        }
    }
}

/// Warns of lines that are no public keys.
pub fn warn_of_odd_keys(keys: &[String], place: hostwright_core::yaml::Place, path: &str, findings: &mut Findings) {
    for key in keys.iter().filter(|key| !looks_like_a_key(key)) {
        let start: String = key.chars().take(20).collect();
        findings.warning(place, path, format!("{start:?} does not look like an SSH public key"));
    }
}

/// Options may stand before the key's type, so the type is looked for as a word.
pub fn looks_like_a_key(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let is_type =
        |word: &str| ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|start| word.starts_with(start));
    let one_line = !line.trim().contains('\n');
    one_line && words.any(is_type) && words.next().is_some_and(|key| key.starts_with("AAAA"))
}

/// The keys in a node that is a list, or one of them.
pub fn keys_in(node: &Node) -> Vec<String> {
    let items = node.sequence().unwrap_or(std::slice::from_ref(node));
    let keys = items.iter().filter_map(Node::text).map(str::trim);
    keys.filter(|key| !key.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::super::read;

    #[test]
    fn the_servers_keys_and_switches_are_read_in_every_form() {
        let user_data = read(
            b"#cloud-config\nssh_pwauth: 'yes'\ndisable_root: 0\nssh_deletekeys: 'false'\nssh_genkeytypes: [ed25519, dsa]\nssh_keys: {rsa_private: x, dsa_private: y}\nssh: {emit_keys_to_console: false}\nallow_public_ssh_keys: no\nssh_publish_hostkeys: {enabled: true, blacklist: [rsa]}\n",
        );
        assert!(user_data.findings.errors.is_empty(), "{:?}", user_data.findings.errors);
        let told: Vec<_> = user_data.findings.ignored.iter().map(|problem| problem.path.as_str()).collect();
        let by_schema = ["disable_root", "ssh_deletekeys"];
        let by_us = ["ssh_genkeytypes", "ssh_keys.dsa_private", "ssh_publish_hostkeys.enabled"];
        assert_eq!(told, [&by_schema[..], &by_us].concat());
        let ssh = user_data.config.ssh;
        assert_eq!((ssh.password_authentication, ssh.disable_root, ssh.clouds_keys), (Some(true), false, false));
        assert!(ssh.host_keys.keep && ssh.host_keys.types == ["ed25519"] && ssh.host_keys.given.len() == 1);
        assert!(!ssh.told.host_keys);
        assert_eq!(read(b"#cloud-config\nssh_pwauth: unchanged\n").config.ssh.password_authentication, None);
    }
}
