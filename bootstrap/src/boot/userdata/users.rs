use super::Findings;
use super::findings::NOT_DONE;
use super::ssh::looks_like_a_key;
use super::values::{AccountName, Flag, NameList, Text, is_account_name};
use hostwright_core::config::section::Section;
use hostwright_core::config::values::{AbsolutePath, FromNode, mismatch};
use hostwright_core::yaml::{Node, Scalar};
use serde::Serialize;
use std::path::PathBuf;

/// An entry of `users:`.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub enum Entry {
    /// `default`: the distribution's first user.
    Default,
    /// A user by its keys.
    User(Box<User>),
}

/// A user who shall exist. No `Debug`: it may hold a password's hash.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct User {
    /// `name:`
    pub name: String,
    /// `gecos:`
    pub gecos: Option<String>,
    /// `homedir:`
    pub home: Option<PathBuf>,
    /// `shell:`
    pub shell: Option<PathBuf>,
    /// `uid:`
    pub uid: Option<u32>,
    /// `primary_group:`
    pub primary_group: Option<String>,
    /// `groups:`
    pub groups: Vec<String>,
    /// `sudo:`, each a rule without the user's name.
    pub sudo: Vec<String>,
    /// `system:`
    pub system: bool,
    /// `no_create_home:`
    pub no_create_home: bool,
    /// `no_user_group:`
    pub no_user_group: bool,
    /// `lock_passwd:`; nothing where it was not said.
    pub lock_password: Option<bool>,
    /// `passwd:` or `hashed_passwd:`
    pub password_hash: Option<String>,
    /// `expiredate:`
    pub expires: Option<String>,
    /// `ssh_authorized_keys:`
    pub keys: Vec<String>,
}

/// A password's hash as crypt(5) writes it.
struct PasswordHash(String);

impl FromNode for PasswordHash {
    const EXPECTED: &'static str = "a password's hash as mkpasswd prints it: $y$… or $6$…";

    fn from_node(node: &Node) -> Result<Self, String> {
        // The value is never shown: it may be the password itself.
        let fits =
            |text: &&str| (text.starts_with('$') || matches!(*text, "*" | "!" | "!!")) && !text.contains([':', '\n']);
        let refused = || format!("expected {}; a password in clear is not taken", Self::EXPECTED);
        node.text().filter(fits).map(|text| Self(text.to_owned())).ok_or_else(refused)
    }
}

struct Uid(u32);

impl FromNode for Uid {
    const EXPECTED: &'static str = "a user id such as 1001";

    fn from_node(node: &Node) -> Result<Self, String> {
        node.text().and_then(|text| text.parse().ok()).map(Self).ok_or_else(|| mismatch::<Self>(node))
    }
}

/// A list of sudoers rules, one, or `false` for none.
struct SudoRules(Vec<String>);

impl FromNode for SudoRules {
    const EXPECTED: &'static str = "sudo rules such as ALL=(ALL) NOPASSWD:ALL, or false";

    fn from_node(node: &Node) -> Result<Self, String> {
        if node.scalar() == Some(Scalar::Bool(false)) {
            return Ok(Self(Vec::new()));
        }
        let items = node.sequence().unwrap_or(std::slice::from_ref(node));
        let fits = |text: &&str| text.contains('=') && !text.contains('\n');
        let rules: Option<Vec<_>> = items.iter().map(|item| item.text().filter(fits).map(str::to_owned)).collect();
        rules.map(Self).ok_or_else(|| mismatch::<Self>(node))
    }
}

/// Keys of a user that cloud-init knows and we do not carry out.
const NOT_DONE_KEYS: [&str; 10] = [
    "plain_text_passwd",
    "inactive",
    "selinux_user",
    "create_groups",
    "no_log_init",
    "ssh_redirect_user",
    "doas",
    "snapuser",
    "ssh_import_id",
    "ssh-import-id",
];

/// Reads `users:`: a list of names, of `default` and of users by their keys.
pub fn read(node: &Node, findings: &mut Findings) -> Vec<Entry> {
    let items = match (node.sequence(), node.text()) {
        (Some(items), _) => items,
        (None, Some(_)) => std::slice::from_ref(node),
        (None, None) => {
            let found = node.kind();
            findings.error(node.place, "users", format!("expected a list of users, found {found}"));
            return Vec::new();
        }
    };
    items.iter().flat_map(|item| entries(item, findings)).collect()
}

fn entries(node: &Node, findings: &mut Findings) -> Vec<Entry> {
    let Some(text) = node.text() else {
        return findings.whole(node, "users", user).map(|user| Entry::User(Box::new(user))).into_iter().collect();
    };
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let mut entries = Vec::new();
    for name in names {
        match name {
            "default" => entries.push(Entry::Default),
            name if is_account_name(name) => {
                entries.push(Entry::User(Box::new(User { name: name.to_owned(), ..User::default() })));
            }
            name => findings.error(node.place, "users", format!("{name:?} cannot be the name of a user")),
        }
    }
    entries
}

fn user(mut section: Section<'_>, findings: &mut Findings) -> Option<User> {
    let name = section.required::<AccountName>("name").map(|name| name.0);
    let [keys, keys_older] = ["ssh_authorized_keys", "ssh-authorized-keys"].map(|key| section.list(key));
    let keys: Vec<String> = keys.or(keys_older).unwrap_or_default();
    for key in keys.iter().filter(|key| !looks_like_a_key(key)) {
        let start: String = key.chars().take(20).collect();
        findings.warning(
            section.place(),
            "users.ssh_authorized_keys",
            format!("{start:?} does not look like an SSH public key"),
        );
    }
    let hash = ["passwd", "hashed_passwd"].map(|key| section.optional::<PasswordHash>(key));
    let lock = ["lock_passwd", "lock-passwd"].map(|key| section.optional::<Flag>(key));
    let user = User {
        gecos: section.optional::<Text>("gecos").map(|text| text.0.replace([':', '\n'], " ")),
        home: section.optional::<AbsolutePath>("homedir").map(|path| path.0),
        shell: section.optional::<AbsolutePath>("shell").map(|path| path.0),
        uid: section.optional::<Uid>("uid").map(|uid| uid.0),
        primary_group: section.optional::<AccountName>("primary_group").map(|name| name.0),
        groups: section.optional::<NameList>("groups").map(|names| names.0).unwrap_or_default(),
        sudo: section.optional::<SudoRules>("sudo").map(|rules| rules.0).unwrap_or_default(),
        system: section.or("system", Flag(false)).0,
        no_create_home: section.or("no_create_home", Flag(false)).0,
        no_user_group: section.or("no_user_group", Flag(false)).0,
        lock_password: lock.into_iter().flatten().next().map(|flag| flag.0),
        password_hash: hash.into_iter().flatten().next().map(|hash| hash.0),
        expires: section.optional("expiredate"),
        keys: keys.into_iter().map(|key| key.trim().to_owned()).collect(),
        name: name?,
    };
    for key in NOT_DONE_KEYS {
        section.refuse(key, NOT_DONE);
    }
    section.finish();
    Some(user)
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::Entry;

    #[test]
    fn users_come_as_names_default_and_mappings() {
        let user_data = read(
            b"#cloud-config\nusers:\n- default\n- bob\n- name: alice\n  gecos: Alice A.\n  groups: adm, sudo\n  sudo: ALL=(ALL) NOPASSWD:ALL\n  uid: '1005'\n  lock_passwd: 'false'\n  passwd: $6$salt$hash\n  ssh_authorized_keys:\n  - ssh-ed25519 AAAAC3 alice\n",
        );
        assert!(user_data.findings.errors.is_empty(), "{:?}", user_data.findings.errors);
        let users = user_data.config.users.expect("users");
        assert!(matches!(users[0], Entry::Default));
        let Entry::User(alice) = &users[2] else { panic!("no user") };
        assert_eq!((alice.uid, alice.lock_password, alice.groups.len()), (Some(1005), Some(false), 2));
        assert_eq!(alice.keys, ["ssh-ed25519 AAAAC3 alice"]);
    }

    #[test]
    fn a_user_with_a_wrong_value_is_left_out_and_one_with_an_unknown_key_stays() {
        let user_data = read(
            b"#cloud-config\nusers:\n- name: a\n  uid: many\n- name: b\n  shel: /bin/sh\n  ssh_import_id: gh:b\n- name: c\n  passwd: hunter2\n- name: -o\n",
        );
        let told = |problems: &[hostwright_core::config::section::Problem]| {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(
            told(&user_data.findings.errors),
            "4:8: users.uid: expected a user id such as 1001, found \"many\"\n\
             9:11: users.passwd: expected a password's hash as mkpasswd prints it: $y$… or $6$…; a password in clear is not taken\n\
             10:9: users.name: expected the name of a user or group, found \"-o\""
        );
        assert_eq!(
            told(&user_data.findings.ignored),
            "6:3: users.shel: unknown key; did you mean \"shell\"?\n7:3: users.ssh_import_id: is not done yet"
        );
        assert_eq!(user_data.config.users.expect("users").len(), 1);
    }
}
