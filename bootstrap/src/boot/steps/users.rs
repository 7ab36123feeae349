use super::accounts::{self, Account};
use super::command::Run;
use super::{Action, Context, Failure, Outcome, authorized_keys, each, groups};
use crate::boot::host::Host;
use crate::boot::userdata::users::User;
use serde::Serialize;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, lchown};
use std::path::Path;

/// Users who shall exist, with their groups, passwords and keys.
#[derive(Serialize)]
pub struct CreateUsers {
    users: Vec<User>,
}

impl CreateUsers {
    pub fn new(users: &[User]) -> Self {
        Self { users: users.to_vec() }
    }
}

impl Action for CreateUsers {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        each(&self.users, |user| user.name.clone(), |user| ensure(context, user))?;
        Ok(Outcome::Done)
    }
}

/// The distribution's first user, as cloud images have it: may do everything by sudo, has no password.
pub fn default_user(host: &Host) -> User {
    let text = std::fs::read_to_string(host.path("/etc/os-release")).unwrap_or_default();
    let id = text.lines().find_map(|line| line.strip_prefix("ID=")).map_or("debian", |id| id.trim_matches('"'));
    let (name, groups): (_, &[&str]) = match id {
        "debian" => {
            ("debian", &["adm", "audio", "cdrom", "dialout", "dip", "floppy", "netdev", "plugdev", "sudo", "video"])
        }
        "ubuntu" => ("ubuntu", &["adm", "cdrom", "dip", "lxd", "sudo"]),
        "fedora" => ("fedora", &["wheel", "adm", "systemd-journal"]),
        "rhel" | "centos" | "rocky" | "almalinux" => ("cloud-user", &["wheel", "adm", "systemd-journal"]),
        _ => ("hostwright", &["adm", "sudo", "wheel"]),
    };
    // Which of them there are is the image's choice.
    let there = |name: &&&str| accounts::group(host, name).is_ok_and(|group| group.is_some());
    User {
        name: name.to_owned(),
        gecos: Some("Default user".to_owned()),
        shell: Some("/bin/bash".into()),
        groups: groups.iter().filter(there).map(|name| (*name).to_owned()).collect(),
        sudo: vec!["ALL=(ALL) NOPASSWD:ALL".to_owned()],
        ..User::default()
    }
}

fn ensure(context: &Context<'_>, user: &User) -> Result<(), Failure> {
    for group in user.groups.iter().chain(&user.primary_group) {
        groups::create(context, "users", group, user.system)?;
    }
    let is_new = match accounts::user(context.host, &user.name)? {
        None => {
            add(context, user)?;
            true
        }
        Some(account) => {
            modify(context, user, &account)?;
            // An interrupted useradd may have come no further than the account.
            context.resumed
        }
    };
    let account = accounts::user(context.host, &user.name)?.ok_or_else(|| {
        Failure::new("useradd succeeded, but the user is not in /etc/passwd", "see that /etc/passwd is writable")
    })?;
    let wants_home = !(user.no_create_home || user.system);
    if is_new && wants_home {
        furnish(context.host, &account)
            .map_err(|e| Failure::io(format!("make the home folder of {}", user.name), &e))?;
    }
    set_password(context, user)?;
    authorized_keys::add(context.host, &account, &user.keys)
}

fn add(context: &Context<'_>, user: &User) -> Result<(), Failure> {
    let mut command = context.host.command("useradd");
    // The home folder is made here, in a way that can be resumed.
    command.arg("--no-create-home");
    let option = |value: &Option<String>| value.clone();
    let path = |value: &Option<std::path::PathBuf>| value.as_ref().map(|path| path.display().to_string());
    let own_group = accounts::group(context.host, &user.name)?.map(|_| user.name.clone());
    let values = [
        ("--comment", option(&user.gecos)),
        ("--home-dir", path(&user.home)),
        ("--shell", path(&user.shell)),
        ("--uid", user.uid.map(|uid| uid.to_string())),
        // A group of the user's name that is there already (from an interrupted try, say) is taken.
        ("--gid", option(&user.primary_group).or(own_group)),
        ("--expiredate", option(&user.expires)),
        ("--groups", Some(user.groups.join(",")).filter(|groups| !groups.is_empty())),
    ];
    for (name, value) in values {
        if let Some(value) = value {
            command.args([name, &value]);
        }
    }
    if user.no_user_group {
        command.arg("--no-user-group");
    }
    if user.system {
        command.arg("--system");
    }
    command.arg(&user.name);
    Run::new("users", command).succeed(context)
}

fn modify(context: &Context<'_>, user: &User, account: &Account) -> Result<(), Failure> {
    if user.uid.is_some_and(|uid| uid != account.uid) {
        return Err(Failure::new(
            format!("the user has the id {} already", account.uid),
            "give this id in the user-data, or another name: files of the user would lose their owner",
        ));
    }
    let mut command = context.host.command("usermod");
    if let Some(gecos) = user.gecos.as_ref().filter(|gecos| **gecos != account.gecos) {
        command.args(["--comment", gecos]);
    }
    if let Some(shell) = user.shell.as_ref().filter(|shell| **shell != account.shell) {
        command.arg("--shell").arg(shell);
    }
    let is_missing = |name: &&String| {
        accounts::group(context.host, name).ok().flatten().is_none_or(|(_, members)| !members.contains(&user.name))
    };
    let missing: Vec<_> = user.groups.iter().filter(is_missing).cloned().collect();
    if !missing.is_empty() {
        command.args(["--append", "--groups", &missing.join(",")]);
    }
    let changes = command.as_std().get_args().any(|argument| argument.to_string_lossy().starts_with("--"));
    if !changes {
        return Ok(());
    }
    command.arg(&user.name);
    Run::new("users", command).succeed(context)
}

fn set_password(context: &Context<'_>, user: &User) -> Result<(), Failure> {
    if let Some(hash) = &user.password_hash {
        let mut command = context.host.command("chpasswd");
        command.arg("--encrypted");
        // By standard input: arguments can be read by everyone.
        let input = format!("{}:{hash}\n", user.name).into_bytes();
        Run { input: Some(input), ..Run::new("users", command) }.succeed(context)?;
    }
    // As cloud-init has it: a password counts only where it is said that it shall not be locked.
    let lock = user.lock_password.unwrap_or(user.password_hash.is_some());
    if lock {
        let mut command = context.host.command("usermod");
        command.args(["--lock", &user.name]);
        Run::new("users", command).succeed(context)?;
    }
    Ok(())
}

/// Makes the home folder from `/etc/skel`; what is there already stays as it is.
fn furnish(host: &Host, account: &Account) -> io::Result<()> {
    let home = host.path(&account.home);
    if let Some(parent) = home.parent() {
        std::fs::create_dir_all(parent)?;
    }
    make_folder(&home, account)?;
    let skeleton = host.path("/etc/skel");
    if skeleton.is_dir() {
        copy_missing(&skeleton, &home, account)?;
    }
    Ok(())
}

fn make_folder(path: &Path, account: &Account) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    lchown(path, Some(account.uid), Some(account.gid))
}

fn copy_missing(from: &Path, to: &Path, account: &Account) -> io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            make_folder(&target, account)?;
            copy_missing(&source, &target, account)?;
        } else if target.symlink_metadata().is_err() {
            // A link's target is not copied in its place; a file cut off in the middle is not left behind.
            if entry.file_type()?.is_symlink() {
                std::os::unix::fs::symlink(std::fs::read_link(&source)?, &target)?;
            } else {
                let unfinished = to.join(format!(".{}.hostwright", entry.file_name().to_string_lossy()));
                std::fs::copy(&source, &unfinished)?;
                std::fs::rename(&unfinished, &target)?;
            }
            lchown(&target, Some(account.uid), Some(account.gid))?;
        }
    }
    Ok(())
}
