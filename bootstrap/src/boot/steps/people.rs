use super::accounts;
use super::authorized_keys;
use super::users::default_user;
use super::{Action, Context, Failure, Outcome};
use crate::boot::datasource::Metadata;
use crate::boot::host::Host;
use crate::boot::userdata::CloudConfig;
use crate::boot::userdata::passwords::Password;
use crate::boot::userdata::ssh::Ssh;
use crate::boot::userdata::users::{Entry, User};
use serde::Serialize;

/// Who shall be on the host, as cloud-init puts it together.
pub struct People {
    /// Each once.
    pub users: Vec<User>,
    /// New passwords.
    pub passwords: Vec<(String, Password)>,
    /// Lines for root's `authorized_keys`.
    pub roots_keys: Vec<String>,
}

/// The users of the user-data with the distribution's default user among them; without `users:` he is the only one.
pub fn people(host: &Host, metadata: &Metadata, config: &CloudConfig) -> People {
    let clouds_keys = if config.ssh.clouds_keys { &metadata.public_keys[..] } else { &[] };
    let mut loose: Vec<String> = clouds_keys.iter().chain(&config.ssh.authorized_keys).cloned().collect();
    loose.dedup();
    let (mut users, default) = merged(host, config);
    let default_name = default.as_deref().unwrap_or("NONE");
    for user in users.iter_mut().filter(|user| user.redirected == Some(true)) {
        let options = Ssh::redirected(default_name, &user.name);
        user.keys = Some(metadata.public_keys.iter().map(|key| format!("{options} {key}")).collect());
    }
    // Keys that are nobody's by name are the default user's; where he is not wanted, the first one's.
    let heir = users.iter().position(|user| Some(&user.name) == default.as_ref()).unwrap_or(0);
    if let Some(heir) = users.get_mut(heir).filter(|user| !user.is_homeless()) {
        heir.keys.get_or_insert_default().extend(loose.iter().cloned());
    }
    let options = Ssh::disabled(&config.ssh.disable_root_options, default_name, "root");
    let root_line = |key: &String| if config.ssh.disable_root { format!("{options} {key}") } else { key.clone() };
    let mut passwords = config.passwords.users.clone();
    if passwords.is_empty()
        && let (Some(password), Some(name)) = (&config.passwords.of_the_default_user, &default)
    {
        passwords.push((name.clone(), password.clone()));
    }
    People { users, passwords, roots_keys: loose.iter().map(root_line).collect() }
}

/// The names of the users of the user-data.
pub fn names(config: &CloudConfig) -> Vec<String> {
    let named = config.users.iter().flatten().filter_map(|entry| match entry {
        Entry::User(user) => Some(user.name.clone()),
        Entry::Default(_) => None,
    });
    named.collect()
}

/// Each user once, and the default user's name if he is among them.
fn merged(host: &Host, config: &CloudConfig) -> (Vec<User>, Option<String>) {
    let default = || {
        let own = default_user(host);
        match config.default_user.clone() {
            Some(user) if user.name == "default" => User { name: own.name.clone(), ..user }.or(own),
            Some(user) => user.or(own),
            None => own,
        }
    };
    let only_default = [Entry::Default(Box::default())];
    let mut entries: Vec<&Entry> = config.users.as_deref().unwrap_or(&only_default).iter().collect();
    if config.default_user.is_some() && !entries.iter().any(|entry| matches!(entry, Entry::Default(_))) {
        entries.push(&only_default[0]);
    }
    let mut users: Vec<User> = Vec::new();
    let mut default_name = None;
    for entry in entries {
        let user = match entry {
            Entry::Default(said) => {
                let user = default();
                default_name = Some(user.name.clone());
                User { name: user.name.clone(), ..user }.or((**said).clone())
            }
            Entry::User(user) => (**user).clone(),
        };
        match users.iter_mut().find(|other| other.name == user.name) {
            Some(other) => join(other, user),
            None => users.push(user),
        }
    }
    (users, default_name)
}

/// What was said first counts, and groups are put together.
fn join(first: &mut User, second: User) {
    let mut groups = first.groups.clone().unwrap_or_default();
    let others: Vec<_> = second.groups.iter().flatten().filter(|group| !groups.contains(group)).cloned().collect();
    groups.extend(others);
    let joined = first.clone().or(second);
    *first = User { groups: joined.groups.is_some().then_some(groups), ..joined };
}

/// Root's `authorized_keys`, by which nobody logs in but is told who to be, unless that was said.
#[derive(Serialize)]
pub struct RootKeys {
    keys: Vec<String>,
}

impl RootKeys {
    pub fn new(keys: Vec<String>) -> Self {
        Self { keys }
    }
}

impl Action for RootKeys {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let Some(root) = accounts::user(context.host, "root")? else {
            return Ok(Outcome::Skipped("there is no root in /etc/passwd".into()));
        };
        authorized_keys::add(context.host, &root, &self.keys)?;
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::people;
    use crate::boot::datasource::Metadata;
    use crate::boot::host::Host;
    use crate::boot::userdata;

    fn of(text: &str) -> super::People {
        let tree = tempfile::tempdir().expect("temporary folder");
        std::fs::create_dir(tree.path().join("etc")).expect("folder");
        std::fs::write(tree.path().join("etc/os-release"), "ID=debian\n").expect("written");
        std::fs::write(tree.path().join("etc/group"), "sudo:x:27:\nadm:x:4:\n").expect("written");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        let metadata = Metadata { public_keys: vec!["ssh-rsa CLOUD".into()], ..Metadata::default() };
        people(&host, &metadata, &userdata::read(format!("#cloud-config\n{text}").as_bytes()).config)
    }

    fn names(text: &str) -> Vec<String> {
        of(text).users.into_iter().map(|user| user.name).collect()
    }

    #[test]
    fn the_default_user_is_there_unless_others_are_named_without_him() {
        assert_eq!(names(""), ["debian"]);
        assert_eq!(names("users: [bob]\n"), ["bob"]);
        assert_eq!(names("users: [default, bob]\n"), ["debian", "bob"]);
        assert_eq!(names("user: carol\n"), ["carol"]);
        assert_eq!(names("user: carol\nusers: [bob]\n"), ["bob", "carol"]);
        assert_eq!(names("users: []\n"), [""; 0]);
    }

    #[test]
    fn the_default_user_takes_what_is_said_of_him_and_the_loose_keys() {
        let people = of(
            "users: [default, {name: debian, groups: [docker], gecos: mine}, {name: bob, ssh_redirect_user: true}]\nssh_authorized_keys: [ssh-rsa LOOSE]\npassword: x\n",
        );
        let debian = &people.users[0];
        assert_eq!(debian.groups.as_deref(), Some(&["adm", "sudo", "docker"].map(str::to_owned)[..]));
        assert_eq!(debian.gecos.as_deref(), Some("Debian"));
        assert_eq!(debian.keys.as_deref(), Some(&["ssh-rsa CLOUD", "ssh-rsa LOOSE"].map(str::to_owned)[..]));
        let bob = people.users[1].keys.as_ref().expect("keys");
        assert!(
            bob[0].contains("login as the user \\\"debian\\\" rather than the user \\\"bob\\\"")
                && bob[0].ends_with("ssh-rsa CLOUD"),
            "{bob:?}"
        );
        assert!(people.roots_keys[0].contains("rather than the user \\\"root\\\"") && people.roots_keys.len() == 2);
        assert_eq!(people.passwords[0].0, "debian");
        assert_eq!(of("disable_root: false\n").roots_keys, ["ssh-rsa CLOUD"]);
        assert!(of("allow_public_ssh_keys: false\n").roots_keys.is_empty());
    }
}
