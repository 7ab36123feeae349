use super::accounts::{self, Account};
use super::command::Run;
use super::folder::Folder;
use super::{Action, Context, Failure, Outcome, authorized_keys, each, groups, passwords};
use crate::boot::host::Host;
use crate::boot::userdata::users::User;
use hostwright_core::atomic_file;
use serde::Serialize;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, lchown};
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

/// The distribution's first user, as cloud-init has it there: may do everything by sudo, has no password.
pub fn default_user(host: &Host) -> User {
    let id = host.distribution();
    let (wheel, journal): (&[&str], &[&str]) = (&["wheel", "adm", "systemd-journal"], &["adm", "systemd-journal"]);
    let own = format!("{id} Cloud User");
    let (name, gecos, groups): (_, _, &[&str]) = match id.as_str() {
        "debian" => (
            "debian",
            "Debian",
            &["adm", "audio", "cdrom", "dialout", "dip", "floppy", "netdev", "plugdev", "sudo", "video"],
        ),
        "ubuntu" => ("ubuntu", "Ubuntu", &["adm", "cdrom", "dip", "lxd", "sudo"]),
        "amzn" => ("ec2-user", "EC2 Default User", wheel),
        "rhel" | "centos" => ("cloud-user", "Cloud User", journal),
        "almalinux" | "rocky" | "cloudlinux" | "eurolinux" | "miraclelinux" | "virtuozzo" => (&id, &own, journal),
        "fedora" => (&id, &own, wheel),
        "arch" => (&id, &own, &["wheel", "users"]),
        "alpine" => (&id, &own, &["adm", "wheel"]),
        _ => ("hostwright", "Default user", &["adm", "sudo", "wheel"]),
    };
    // Which of them there are is the image's choice.
    let there = |name: &&&str| accounts::group(host, name).is_ok_and(|group| group.is_some());
    User {
        name: name.to_owned(),
        gecos: Some(gecos.to_owned()),
        shell: Some(if id == "alpine" { "/bin/ash" } else { "/bin/bash" }.into()),
        groups: Some(groups.iter().filter(there).map(|name| (*name).to_owned()).collect()),
        sudo: Some(vec!["ALL=(ALL) NOPASSWD:ALL".to_owned()]),
        ..User::default()
    }
}

/// Makes the user, or makes him as he shall be.
pub fn ensure(context: &Context<'_>, user: &User) -> Result<(), Failure> {
    if user.create_groups != Some(false) {
        for group in user.groups.iter().flatten().chain(&user.primary_group) {
            groups::create(context, "users", group, user.system == Some(true))?;
        }
    }
    let [owed, made] = ["homes-owed", "accounts-made"].map(|folder| context.folder.join(folder).join(&user.name));
    match accounts::user(context.host, &user.name)? {
        None => {
            let notes = [(!user.is_homeless(), &owed), (user.first_password_hash.is_some(), &made)];
            for (_, path) in notes.into_iter().filter(|(wanted, _)| *wanted) {
                note(path).map_err(|e| Failure::io("note that an account is made", &e))?;
            }
            add(context, user)?;
        }
        Some(account) => modify(context, user, &account)?,
    }
    let account = accounts::user(context.host, &user.name)?.ok_or_else(|| {
        Failure::new("useradd succeeded, but the user is not in /etc/passwd", "see that /etc/passwd is writable")
    })?;
    // Also when an earlier try made the account and failed or was cut off before the folder was whole.
    if owed.exists() {
        furnish(context.host, &account)
            .and_then(|()| std::fs::remove_file(&owed))
            .map_err(|e| Failure::io(format!("make the home folder of {}", user.name), &e))?;
    }
    set_password(context, user, made.exists())?;
    authorized_keys::add(context.host, &account, user.keys.as_deref().unwrap_or_default())
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
        ("--inactive", option(&user.inactive)),
        ("--selinux-user", selinux_user(context.host, user)),
        (
            "--groups",
            Some(user.groups.iter().flatten().cloned().collect::<Vec<_>>().join(","))
                .filter(|groups| !groups.is_empty()),
        ),
    ];
    for (name, value) in values {
        if let Some(value) = value {
            command.args([name, &value]);
        }
    }
    let flags =
        [(user.no_user_group, "--no-user-group"), (user.no_log_init, "--no-log-init"), (user.system, "--system")];
    command.args(flags.into_iter().filter(|(flag, _)| *flag == Some(true)).map(|(_, option)| option));
    command.arg(&user.name);
    Run::new("users", command).succeed(context)
}

/// useradd makes no user at all where it is told of SELinux and the kernel has none.
fn selinux_user(host: &Host, user: &User) -> Option<String> {
    let name = user.selinux_user.clone()?;
    if host.sys("fs/selinux/enforce").exists() {
        return Some(name);
    }
    log::warn!("{}: selinux_user {name} is left out, since this kernel has no SELinux", user.name);
    None
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
    let missing: Vec<_> = user.groups.iter().flatten().filter(is_missing).cloned().collect();
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

/// As cloud-init has it: `passwd:` counts for a new user, the others always, and each only as long as it is said that
/// the password shall not be locked.
fn set_password(context: &Context<'_>, user: &User, is_new: bool) -> Result<(), Failure> {
    if let Some(hash) = user.first_password_hash.as_ref().filter(|_| is_new) {
        passwords::set(context, &user.name, hash, true)?;
    }
    if let Some(text) = &user.clear_password {
        passwords::set(context, &user.name, text, false)?;
    }
    if let Some(hash) = &user.password_hash {
        passwords::set(context, &user.name, hash, true)?;
    }
    if user.lock_password != Some(false) && !accounts::is_locked(context.host, &user.name) {
        let mut command = context.host.command("usermod");
        command.args(["--lock", &user.name]);
        Run::new("users", command).succeed(context)?;
    }
    Ok(())
}

/// Durable: it is there after a power cut that follows.
fn note(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    atomic_file::replace(path, b"", 0o600)
}

/// Makes the home folder from `/etc/skel`, as a whole; a folder that is there already stays as it is.
fn furnish(host: &Host, account: &Account) -> io::Result<()> {
    let (Some(parent), Some(name)) = (account.home.parent(), account.home.file_name()) else { return Ok(()) };
    let parent = Folder::open_or_make(host, parent)?;
    let home = parent.path(name);
    if home.symlink_metadata().is_ok() {
        return Ok(());
    }
    let unfinished = parent.path(format!(".{}.hostwright", name.display()));
    match std::fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Root's alone until everything in it is the user's.
    std::fs::DirBuilder::new().mode(0o700).create(&unfinished)?;
    let skeleton = host.path("/etc/skel");
    if skeleton.is_dir() {
        copy(&skeleton, &unfinished, account)?;
    }
    lchown(&unfinished, Some(account.uid), Some(account.gid))?;
    std::fs::set_permissions(&unfinished, Permissions::from_mode(home_mode(host)))?;
    std::fs::rename(&unfinished, &home)?;
    atomic_file::sync_parent(&home)
}

/// useradd's own rule: `HOME_MODE` of login.defs(5), else what its `UMASK` leaves.
fn home_mode(host: &Host) -> u32 {
    const UMASK: u32 = 0o022;
    let text = std::fs::read_to_string(host.path("/etc/login.defs")).unwrap_or_default();
    let value = |wanted: &str| {
        let mut words = text.lines().map(str::split_whitespace);
        let digits = words.find_map(|mut words| (words.next() == Some(wanted)).then(|| words.next()).flatten())?;
        u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777)
    };
    value("HOME_MODE").unwrap_or_else(|| 0o777 & !value("UMASK").unwrap_or(UMASK))
}

fn copy(from: &Path, to: &Path, account: &Account) -> io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            std::fs::DirBuilder::new().mode(0o700).create(&target)?;
            copy(&source, &target, account)?;
            std::fs::set_permissions(&target, entry.metadata()?.permissions())?;
        } else if entry.file_type()?.is_symlink() {
            // A link's target is not copied in its place.
            std::os::unix::fs::symlink(std::fs::read_link(&source)?, &target)?;
        } else {
            std::fs::copy(&source, &target)?;
            std::fs::File::open(&target)?.sync_all()?;
        }
        lchown(&target, Some(account.uid), Some(account.gid))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Context;
    use super::{default_user, ensure, note};
    use crate::boot::host::Host;
    use crate::boot::userdata::users::User;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn each_distribution_has_the_first_user_that_it_has_with_cloud_init() {
        let tree = tempfile::tempdir().expect("temporary folder");
        std::fs::create_dir(tree.path().join("etc")).expect("made");
        let groups = ["adm", "cdrom", "dip", "lxd", "sudo", "systemd-journal", "video", "wheel"];
        let lines: String = groups.iter().enumerate().map(|(id, name)| format!("{name}:x:{id}:\n")).collect();
        std::fs::write(tree.path().join("etc/group"), lines).expect("written");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        for (release, expected) in [
            ("ID=debian\n", "debian (Debian): adm cdrom dip sudo video"),
            ("ID=ubuntu\n", "ubuntu (Ubuntu): adm cdrom dip lxd sudo"),
            ("ID=\"amzn\"\n", "ec2-user (EC2 Default User): wheel adm systemd-journal"),
            ("ID=\"rhel\"\n", "cloud-user (Cloud User): adm systemd-journal"),
            ("ID=rocky\n", "rocky (rocky Cloud User): adm systemd-journal"),
            ("ID=fedora\n", "fedora (fedora Cloud User): wheel adm systemd-journal"),
            ("ID=alpine\n", "alpine (alpine Cloud User): adm wheel"),
        ] {
            std::fs::write(tree.path().join("etc/os-release"), release).expect("written");
            let user = default_user(&host);
            let groups = user.groups.unwrap_or_default().join(" ");
            assert_eq!(format!("{} ({}): {groups}", user.name, user.gecos.unwrap_or_default()), expected);
        }
    }

    #[test]
    fn a_home_that_is_owed_is_made_and_one_that_was_there_is_left_alone() {
        let tree = tempfile::tempdir().expect("temporary folder");
        std::fs::create_dir_all(tree.path().join("etc/skel/.config")).expect("folder");
        std::fs::write(tree.path().join("etc/skel/.profile"), "p").expect("written");
        let (uid, gid) = if nix::unistd::geteuid().is_root() {
            (1000, 1000)
        } else {
            (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw())
        };
        let passwd = format!("bob:x:{uid}:{gid}::/home/bob:/bin/sh\nold:x:{uid}:{gid}::/srv/old:/bin/sh\n");
        std::fs::write(tree.path().join("etc/passwd"), passwd).expect("written");
        std::fs::write(tree.path().join("etc/login.defs"), "#HOME_MODE 0700\nUMASK\t027\n").expect("written");
        std::fs::write(tree.path().join("etc/shadow"), "bob:!:1::::::\nold:*:1::::::\n").expect("written");
        std::fs::create_dir_all(tree.path().join("srv/old")).expect("an image's own");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        let folder = tree.path().join("instance");
        let context = Context { host: &host, instance_id: "i-1", folder: folder.clone(), resumed: true };
        let user = |name: &str| User { name: name.into(), ..User::default() };

        ensure(&context, &user("old")).expect("nothing to do");
        let old = tree.path().join("srv/old");
        assert_eq!(old.read_dir().expect("listed").count(), 0, "no skeleton into what was there");
        assert_eq!(old.metadata().expect("metadata").uid(), nix::unistd::getuid().as_raw());

        // Where homes belong is a file at the first try.
        std::fs::write(tree.path().join("home"), "").expect("written");
        note(&folder.join("homes-owed/bob")).expect("noted");
        ensure(&context, &user("bob")).expect_err("no folder can be there");
        std::fs::remove_file(tree.path().join("home")).expect("removed");
        ensure(&Context { resumed: false, ..context }, &user("bob")).expect("made");
        let home = tree.path().join("home/bob");
        assert_eq!(std::fs::read_to_string(home.join(".profile")).expect("copied"), "p");
        assert_eq!(home.join(".config").metadata().expect("metadata").uid(), uid);
        assert_eq!(home.metadata().expect("metadata").mode() & 0o777, 0o750, "as login.defs says");
        assert!(!folder.join("homes-owed/bob").exists());
    }
}
