use super::Findings;
use super::values::Flag;
use hostwright_core::config::section::Section;

/// `ssh_authorized_keys:`, `ssh_pwauth:`, `disable_root:`, `ssh_deletekeys:`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ssh {
    /// For the default user, or the first.
    pub authorized_keys: Vec<String>,
    /// Whether the server takes passwords; nothing where it was not said.
    pub password_authentication: Option<bool>,
    /// Whether root is kept out; nothing where it was not said.
    pub disable_root: Option<bool>,
    /// Whether the image's host keys are kept, which several instances may then share.
    pub keep_host_keys: bool,
}

impl Ssh {
    /// Reads the top-level keys.
    pub fn read(root: &mut Section<'_>, findings: &mut Findings) -> Self {
        let keys: Vec<String> = root.list("ssh_authorized_keys").unwrap_or_default();
        if let Some(node) = root.node("ssh_authorized_keys") {
            for key in keys.iter().filter(|key| !looks_like_a_key(key)) {
                let start: String = key.chars().take(20).collect();
                let message = format!("{start:?} does not look like an SSH public key");
                findings.warning(node.place, "ssh_authorized_keys", message);
            }
        }
        Self {
            authorized_keys: keys.iter().map(|key| key.trim().to_owned()).collect(),
            password_authentication: root.optional::<Flag>("ssh_pwauth").map(|flag| flag.0),
            disable_root: root.optional::<Flag>("disable_root").map(|flag| flag.0),
            keep_host_keys: !root.or("ssh_deletekeys", Flag(true)).0,
        }
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
