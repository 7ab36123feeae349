use super::Findings;
use super::findings::refuse;
use super::ssh::{keys_in, warn_of_odd_keys};
use super::values::{AccountName, Flag, NameList, Text, is_account_name, said};
use hostwright_core::config::section::Section;
use hostwright_core::config::values::{AbsolutePath, FromNode, mismatch};
use hostwright_core::yaml::{Entry as YamlEntry, Node, Scalar};
use serde::Serialize;
use std::path::PathBuf;

/// An entry of `users:`.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub enum Entry {
    /// `default`: the distribution's first user, with what is said of it beside.
    Default(Box<User>),
    /// A user by its keys.
    User(Box<User>),
}

/// A user who shall exist. No `Debug`: it may hold a password. What was not said is nothing, so that two entries of one
/// user can be put together.
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
    pub groups: Option<Vec<String>>,
    /// `sudo:`, each a rule without the user's name.
    pub sudo: Option<Vec<String>>,
    /// `doas:`, whole rules.
    pub doas: Option<Vec<String>>,
    /// `system:`
    pub system: Option<bool>,
    /// `no_create_home:`
    pub no_create_home: Option<bool>,
    /// `no_user_group:`
    pub no_user_group: Option<bool>,
    /// `no_log_init:`
    pub no_log_init: Option<bool>,
    /// `create_groups:`
    pub create_groups: Option<bool>,
    /// `lock_passwd:`
    pub lock_password: Option<bool>,
    /// `passwd:`, a hash, which counts for a user who is new.
    pub first_password_hash: Option<String>,
    /// `hashed_passwd:`
    pub password_hash: Option<String>,
    /// `plain_text_passwd:`
    pub clear_password: Option<String>,
    /// `expiredate:`
    pub expires: Option<String>,
    /// `inactive:`, days after the password's end.
    pub inactive: Option<String>,
    /// `selinux_user:`
    pub selinux_user: Option<String>,
    /// `ssh_redirect_user:`
    pub redirected: Option<bool>,
    /// `ssh_authorized_keys:`
    pub keys: Option<Vec<String>>,
}

impl User {
    /// Takes from another entry of the same user what this one does not say.
    pub fn or(self, other: Self) -> Self {
        Self {
            name: self.name,
            gecos: self.gecos.or(other.gecos),
            home: self.home.or(other.home),
            shell: self.shell.or(other.shell),
            uid: self.uid.or(other.uid),
            primary_group: self.primary_group.or(other.primary_group),
            groups: self.groups.or(other.groups),
            sudo: self.sudo.or(other.sudo),
            doas: self.doas.or(other.doas),
            system: self.system.or(other.system),
            no_create_home: self.no_create_home.or(other.no_create_home),
            no_user_group: self.no_user_group.or(other.no_user_group),
            no_log_init: self.no_log_init.or(other.no_log_init),
            create_groups: self.create_groups.or(other.create_groups),
            lock_password: self.lock_password.or(other.lock_password),
            first_password_hash: self.first_password_hash.or(other.first_password_hash),
            password_hash: self.password_hash.or(other.password_hash),
            clear_password: self.clear_password.or(other.clear_password),
            expires: self.expires.or(other.expires),
            inactive: self.inactive.or(other.inactive),
            selinux_user: self.selinux_user.or(other.selinux_user),
            redirected: self.redirected.or(other.redirected),
            keys: self.keys.or(other.keys),
        }
    }

    /// Whether it has no home folder.
    pub fn is_homeless(&self) -> bool {
        self.no_create_home == Some(true) || self.system == Some(true)
    }
}

/// A password's hash as crypt(5) writes it.
struct PasswordHash(String);

impl FromNode for PasswordHash {
    const EXPECTED: &'static str = "a password's hash as mkpasswd prints it: $y$… or $6$…";

    fn from_node(node: &Node) -> Result<Self, String> {
        // The value is never shown: it may be the password itself.
        let fits = |text: &&str| !text.is_empty() && !text.contains([':', '\n']);
        node.text()
            .map(str::trim_end)
            .filter(fits)
            .map(|text| Self(text.to_owned()))
            .ok_or_else(|| format!("expected {}", Self::EXPECTED))
    }
}

struct Uid(u32);

impl FromNode for Uid {
    const EXPECTED: &'static str = "a user id such as 1001";

    fn from_node(node: &Node) -> Result<Self, String> {
        node.text().and_then(|text| text.trim().parse().ok()).map(Self).ok_or_else(|| mismatch::<Self>(node))
    }
}

/// A list of sudoers rules, one, or `false` for none.
struct SudoRules(Vec<String>);

impl FromNode for SudoRules {
    const EXPECTED: &'static str = "sudo rules such as ALL=(ALL) NOPASSWD:ALL, or false";

    fn from_node(node: &Node) -> Result<Self, String> {
        if node.scalar() == Some(Scalar::Bool(false)) || node.text() == Some("") {
            return Ok(Self(Vec::new()));
        }
        let items = node.sequence().unwrap_or(std::slice::from_ref(node));
        let fits = |text: &&str| text.contains('=') && !text.contains('\n');
        let said = items.iter().filter(|item| !item.is_null());
        let rule = |item: &Node| item.text().map(str::trim_end).filter(fits).map(str::to_owned);
        let rules: Option<Vec<_>> = said.map(rule).collect();
        rules.map(Self).ok_or_else(|| mismatch::<Self>(node))
    }
}

/// Groups: a list, names with commas, or a mapping whose values say nothing.
struct GroupNames(Vec<String>);

impl FromNode for GroupNames {
    const EXPECTED: &'static str = NameList::EXPECTED;

    fn from_node(node: &Node) -> Result<Self, String> {
        let Some(mapping) = node.mapping() else { return NameList::from_node(node).map(|names| Self(names.0)) };
        let names: Vec<_> = mapping.entries.iter().map(|entry| entry.key.clone()).collect();
        match names.iter().find(|name| !is_account_name(name)) {
            Some(wrong) => Err(format!("{wrong:?} cannot be the name of a group")),
            None => Ok(Self(names)),
        }
    }
}

/// Reads `users:`: a list of names, of lists of names, of `default` and of users by their keys; a mapping of names to
/// the latter; or names with commas.
pub fn read(node: &Node, findings: &mut Findings) -> Vec<Entry> {
    if let Some(mapping) = node.mapping() {
        return mapping.entries.iter().flat_map(|entry| named(entry, findings)).collect();
    }
    match (node.sequence(), node.text()) {
        (Some(items), _) => items.iter().flat_map(|item| entries(item, findings)).collect(),
        (None, Some(_)) => entries(node, findings),
        (None, None) => {
            let found = node.kind();
            findings.error(node.place, "users", format!("expected a list of users, found {found}"));
            Vec::new()
        }
    }
}

/// Reads `user:`, by which the default user is another: a name or keys.
pub fn read_default(node: &Node, findings: &mut Findings) -> Option<User> {
    match node.text() {
        Some("") => None,
        Some(name) if is_account_name(name) => Some(User { name: name.to_owned(), ..User::default() }),
        Some(name) => {
            findings.error(node.place, "user", format!("{name:?} cannot be the name of a user"));
            None
        }
        None => findings.whole(node, "user", |section, findings| user(section, None, findings)),
    }
}

fn named(entry: &YamlEntry, findings: &mut Findings) -> Vec<Entry> {
    if !is_account_name(&entry.key) {
        findings.error(entry.place, "users", format!("{:?} cannot be the name of a user", entry.key));
        return Vec::new();
    }
    match entry.value.scalar() {
        Some(_) => match Flag::from_node(&entry.value) {
            Ok(Flag(true)) => vec![of_name(&entry.key)],
            _ => Vec::new(),
        },
        None => {
            let whole =
                findings.whole(&entry.value, "users", |section, findings| user(section, Some(&entry.key), findings));
            whole.map(of_keys).into_iter().collect()
        }
    }
}

fn entries(node: &Node, findings: &mut Findings) -> Vec<Entry> {
    if node.is_null() {
        return Vec::new();
    }
    if let Some(items) = node.sequence() {
        return items.iter().flat_map(|item| names(item, findings)).collect();
    }
    if node.text().is_some() {
        return names(node, findings);
    }
    // Without a name it is the default user.
    let name = if node.get("name").is_none() { Some("default") } else { None };
    if name.is_some() {
        findings.tolerated(node.place, "users", "a user without a name is the default user: say name: default");
    }
    let whole = findings.whole(node, "users", |section, findings| user(section, name, findings));
    whole.map(of_keys).into_iter().collect()
}

fn names(node: &Node, findings: &mut Findings) -> Vec<Entry> {
    let split = node.text().unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    let mut entries = Vec::new();
    for name in split {
        if is_account_name(name) {
            entries.push(of_name(name));
        } else {
            findings.error(node.place, "users", format!("{name:?} cannot be the name of a user"));
        }
    }
    entries
}

fn of_name(name: &str) -> Entry {
    of_keys(User { name: name.to_owned(), ..User::default() })
}

fn of_keys(user: User) -> Entry {
    if user.name == "default" { Entry::Default(Box::new(user)) } else { Entry::User(Box::new(user)) }
}

/// A value under its key or under the key's older form with hyphens.
fn either<T: FromNode>(section: &mut Section<'_>, keys: [&'static str; 2]) -> Option<T> {
    let [newer, older] = keys.map(|key| said::<T>(section, key));
    newer.or(older)
}

fn flag(section: &mut Section<'_>, keys: [&'static str; 2]) -> Option<bool> {
    let [newer, older] = keys.map(|key| section.optional::<Flag>(key));
    newer.or(older).map(|flag| flag.0)
}

fn text(section: &mut Section<'_>, keys: [&'static str; 2]) -> Option<String> {
    either::<Text>(section, keys).map(|text| text.0)
}

fn user(mut section: Section<'_>, name: Option<&str>, findings: &mut Findings) -> Option<User> {
    let own_name = match name {
        None => section.required::<AccountName>("name").map(|name| name.0),
        Some(name) => section.optional::<AccountName>("name").map(|name| name.0).or(Some(name.to_owned())),
    };
    let user = User {
        name: own_name.unwrap_or_default(),
        gecos: section.optional::<Text>("gecos").map(|text| text.0.replace([':', '\n'], " ")),
        home: said::<AbsolutePath>(&mut section, "homedir").map(|path| path.0),
        shell: said::<AbsolutePath>(&mut section, "shell").map(|path| path.0),
        uid: said::<Uid>(&mut section, "uid").map(|uid| uid.0),
        primary_group: either::<AccountName>(&mut section, ["primary_group", "primary-group"]).map(|name| name.0),
        groups: section.optional::<GroupNames>("groups").map(|names| names.0),
        sudo: sudo(&mut section, findings),
        doas: section.list("doas"),
        system: section.optional::<Flag>("system").map(|flag| flag.0),
        no_create_home: flag(&mut section, ["no_create_home", "no-create-home"]),
        no_user_group: flag(&mut section, ["no_user_group", "no-user-group"]),
        no_log_init: flag(&mut section, ["no_log_init", "no-log-init"]),
        create_groups: flag(&mut section, ["create_groups", "create-groups"]),
        lock_password: flag(&mut section, ["lock_passwd", "lock-passwd"]),
        first_password_hash: said::<PasswordHash>(&mut section, "passwd").map(|hash| hash.0),
        password_hash: either::<PasswordHash>(&mut section, ["hashed_passwd", "hashed-passwd"]).map(|hash| hash.0),
        clear_password: text(&mut section, ["plain_text_passwd", "plain-text-passwd"]),
        expires: expiry(&mut section),
        inactive: days(&mut section),
        selinux_user: text(&mut section, ["selinux_user", "selinux-user"]),
        redirected: redirection(&mut section),
        keys: keys(&mut section, findings),
    };
    refuse_what_is_not_done(&mut section);
    conflicts(&section, &user);
    section.finish();
    (!user.name.is_empty()).then_some(user)
}

fn keys(section: &mut Section<'_>, findings: &mut Findings) -> Option<Vec<String>> {
    let nodes = ["ssh_authorized_keys", "ssh-authorized-keys"].map(|key| section.node(key));
    let node = nodes.into_iter().flatten().next()?;
    let keys = keys_in(node);
    warn_of_odd_keys(&keys, node.place, "users.ssh_authorized_keys", findings);
    Some(keys)
}

/// Wrong rules are no reason to lose the user, who gets none then.
fn sudo(section: &mut Section<'_>, findings: &mut Findings) -> Option<Vec<String>> {
    let node = section.node("sudo").filter(|node| !node.is_null())?;
    match SudoRules::from_node(node) {
        Ok(rules) => Some(rules.0),
        Err(why) => {
            findings.error(node.place, "users.sudo", format!("{why}; the user gets none"));
            None
        }
    }
}

fn expiry(section: &mut Section<'_>) -> Option<String> {
    let text: String = said(section, "expiredate")?;
    let is_date = text.parse::<jiff::civil::Date>().is_ok();
    if !is_date {
        section.problem_with("expiredate", &format!("expected a date such as 2032-09-01, found {text:?}"));
    }
    is_date.then_some(text)
}

fn days(section: &mut Section<'_>) -> Option<String> {
    let text = said::<Text>(section, "inactive")?.0;
    let is_number = text.parse::<i64>().is_ok();
    if !is_number {
        section.problem_with("inactive", &format!("expected a number of days such as '5', found {text:?}"));
    }
    is_number.then_some(text)
}

fn redirection(section: &mut Section<'_>) -> Option<bool> {
    let nodes = ["ssh_redirect_user", "ssh-redirect-user"].map(|key| section.node(key));
    let node = nodes.into_iter().flatten().next()?;
    if node.text() == Some("default") {
        return Some(true);
    }
    section.value::<Flag>("ssh_redirect_user", node).map(|flag| flag.0)
}

fn refuse_what_is_not_done(section: &mut Section<'_>) {
    let import =
        "whoever holds an account elsewhere would decide who gets in here: put the keys into ssh_authorized_keys";
    refuse(section, "ssh_import_id", import);
    refuse(section, "ssh-import-id", import);
    refuse(section, "snapuser", "snaps are not supported: name the user and give its keys");
}

/// As cloud-init: such a user is not made.
fn conflicts(section: &Section<'_>, user: &User) {
    let has_keys = user.keys.as_ref().is_some_and(|keys| !keys.is_empty());
    if user.is_homeless() && (has_keys || user.redirected == Some(true)) {
        section.problem(
            section.place(),
            "a user without a home folder cannot have SSH keys: take system, no_create_home or the keys away",
        );
    }
    if user.redirected == Some(true) && user.keys.is_some() {
        section.problem(section.place(), "ssh_redirect_user and ssh_authorized_keys cannot be given together");
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::{Entry, User};

    fn users(text: &str) -> Vec<User> {
        let user_data = read(format!("#cloud-config\n{text}").as_bytes());
        assert!(user_data.findings.errors.is_empty(), "{:?}", user_data.findings.errors);
        let entries = user_data.config.users.expect("users");
        entries.into_iter().map(|(Entry::User(user) | Entry::Default(user))| *user).collect()
    }

    #[test]
    fn users_come_in_every_form() {
        let names = |text: &str| users(text).into_iter().map(|user| user.name).collect::<Vec<_>>();
        assert_eq!(names("users: default,bob\n"), ["default", "bob"]);
        assert_eq!(names("users: [default, [a, 'b,c'], {gecos: d}]\n"), ["default", "a", "b", "c", "default"]);
        assert_eq!(names("users: {bob: true, carol: no, alice: {gecos: A}}\n"), ["bob", "alice"]);
        assert_eq!(names("users: []\n"), [""; 0]);
    }

    #[test]
    fn every_key_is_read_in_either_spelling() {
        let all = users(
            "users:\n- name: alice\n  gecos: Alice A.\n  groups: adm, sudo\n  primary-group: staff\n  sudo: ALL=(ALL) NOPASSWD:ALL\n  uid: '1005'\n  lock-passwd: 'false'\n  passwd: $6$salt$hash\n  hashed-passwd: $6$a$b\n  plain-text-passwd: x\n  inactive: '5'\n  expiredate: 2032-09-01\n  selinux-user: staff_u\n  no-log-init: true\n  no-user-group: true\n  create-groups: false\n  homedir: /srv/alice\n  ssh-authorized-keys:\n  - ssh-ed25519 AAAAC3 alice\n",
        );
        let alice = &all[0];
        assert_eq!(
            (alice.uid, alice.lock_password, alice.groups.as_ref().map(Vec::len)),
            (Some(1005), Some(false), Some(2))
        );
        assert_eq!(alice.keys.as_deref(), Some(&["ssh-ed25519 AAAAC3 alice".to_owned()][..]));
        assert_eq!((alice.inactive.as_deref(), alice.expires.as_deref()), (Some("5"), Some("2032-09-01")));
        assert_eq!((alice.no_log_init, alice.create_groups), (Some(true), Some(false)));
        assert_eq!(alice.primary_group.as_deref(), Some("staff"));
        assert_eq!(users("users: [{name: a, sudo: }, {name: b, sudo: false}]\n")[1].sudo, Some(Vec::new()));
    }

    #[test]
    fn an_empty_value_says_nothing_and_a_block_of_text_ends_with_a_line_break() {
        let all = users(
            "users:\n- name: a\n  gecos: ''\n  shell: ''\n  homedir: ''\n  uid: ''\n  primary_group: ''\n  passwd: ''\n  hashed_passwd: ''\n  plain_text_passwd: ''\n  expiredate: ''\n  inactive: ''\n  groups: ''\n  sudo: ''\n  system: ''\n  ssh_authorized_keys: ['']\n- {name: b, system: true, ssh_authorized_keys: []}\n- name: c\n  sudo: |\n    ALL=(ALL) NOPASSWD:ALL\n  passwd: >\n    $6$a$b\n",
        );
        let empty = User {
            name: "a".into(),
            gecos: Some(String::new()),
            groups: Some(Vec::new()),
            sudo: Some(Vec::new()),
            system: Some(false),
            keys: Some(Vec::new()),
            ..User::default()
        };
        assert!(all[0] == empty, "{}", serde_json::to_string(&all[0]).expect("JSON"));
        assert_eq!((all[1].name.as_str(), all[1].system), ("b", Some(true)));
        assert_eq!(all[2].sudo.as_deref(), Some(&["ALL=(ALL) NOPASSWD:ALL".to_owned()][..]));
        assert_eq!(all[2].first_password_hash.as_deref(), Some("$6$a$b"));
        let user_data = read(b"#cloud-config\nuser: ''\n");
        assert!(user_data.findings.errors.is_empty() && user_data.config.default_user.is_none());
    }

    #[test]
    fn a_user_with_a_wrong_value_is_left_out_and_one_with_an_unknown_key_stays() {
        let user_data = read(
            b"#cloud-config\nusers:\n- name: a\n  uid: many\n- name: b\n  shel: /bin/sh\n  ssh_import_id: gh:b\n- name: -o\n- {name: d, system: true, ssh_authorized_keys: [x]}\n- {name: e, sudo: true}\n",
        );
        let told = |problems: &[hostwright_core::config::section::Problem]| {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let errors = told(&user_data.findings.errors);
        assert_eq!(errors.len(), 4, "{errors:?}");
        assert_eq!(errors[0], "4:8: users.uid: expected a user id such as 1001, found \"many\"");
        assert_eq!(errors[1], "8:9: users.name: expected the name of a user or group, found \"-o\"");
        assert!(errors[2].contains("without a home"), "{errors:?}");
        assert_eq!(
            errors[3],
            "10:19: users.sudo: expected sudo rules such as ALL=(ALL) NOPASSWD:ALL, or false, found \"true\"; the user gets none"
        );
        let ignored = told(&user_data.findings.ignored);
        assert_eq!(ignored[0], "6:3: users.shel: unknown key; did you mean \"shell\"?");
        assert!(ignored[1].starts_with("7:3: users.ssh_import_id: is not done here: "), "{ignored:?}");
        assert_eq!(user_data.config.users.expect("users").len(), 2);
    }
}
