use super::Failure;
use super::accounts::Account;
use super::folder::Folder;
use super::sshd_config::authorized_keys_file;
use crate::boot::host::Host;
use hostwright_core::atomic_file;
use nix::fcntl::OFlag;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, fchown, lchown};
use std::path::Path;

/// Far more than anybody's keys.
const MAX_FILE: u64 = 1 << 20;

/// Adds the keys that are missing in the user's `~/.ssh/authorized_keys`; what is there stays.
pub fn add(host: &Host, account: &Account, keys: &[String]) -> Result<(), Failure> {
    if keys.is_empty() {
        return Ok(());
    }
    let told = |error: io::Error| {
        let failure = Failure::io(format!("write the SSH keys of {}", account.name), &error);
        match error.raw_os_error() {
            Some(code) if [nix::libc::ELOOP, nix::libc::ENOTDIR].contains(&code) => Failure::new(
                failure.why,
                "the user's .ssh is a link or a file: remove it, keys are written into a real folder only",
            ),
            _ => failure,
        }
    };
    write(host, account, keys).map_err(told)
}

fn write(host: &Host, account: &Account, keys: &[String]) -> io::Result<()> {
    let file = authorized_keys_file(host, account);
    let name = file.file_name().unwrap_or_default();
    let folder = folder(host, account, &file)?;
    let path = folder.path(name);
    let before = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => folder.read(name, MAX_FILE)?.unwrap_or_default(),
        _ => Vec::new(),
    };
    let after = merged(&String::from_utf8_lossy(&before), keys);
    atomic_file::remove_unfinished(&path)?;
    atomic_file::replace_with(&path, after.as_bytes(), 0o600, |file| fchown(file, Some(account.uid), Some(account.gid)))
}

/// The folder of the file, made where it is missing.
fn folder(host: &Host, account: &Account, file: &Path) -> io::Result<Folder> {
    let parent = file.parent().unwrap_or(Path::new("/"));
    if !parent.starts_with(&account.home) {
        return Folder::open_or_make(host, parent); // an administrator's
    }
    let home = Folder::open_or_make(host, &account.home)?;
    let ssh = home.path(".ssh");
    if ssh.symlink_metadata().is_err() {
        make_folder(&home, &ssh, account)?;
    }
    open_users(&ssh)
}

/// The folder is the user's, who may be at work already: it is held open, and never reached through a link.
fn open_users(path: &Path) -> io::Result<Folder> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    File::options().read(true).custom_flags(flags.bits()).open(path).map(Folder::from)
}

/// Takes keys away that shall not be there, wherever somebody put them in the file.
pub fn remove(host: &Host, account: &Account, keys: &[String]) -> Result<(), Failure> {
    let file = authorized_keys_file(host, account);
    let name = file.file_name().unwrap_or_default();
    let removed = || -> io::Result<()> {
        let folder = match open_users(&host.path(file.parent().unwrap_or(Path::new("/")))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        let Some(before) = folder.read(name, MAX_FILE)? else { return Ok(()) };
        let before = String::from_utf8_lossy(&before).into_owned();
        let gone: Vec<_> = keys.iter().filter_map(|key| blob(key)).collect();
        let stays = |line: &&str| blob(line).is_none_or(|blob| !gone.contains(&blob));
        let after: String = before.lines().filter(stays).map(|line| format!("{line}\n")).collect();
        let owner = (Some(account.uid), Some(account.gid));
        atomic_file::replace_with(&folder.path(name), after.as_bytes(), 0o600, |file| fchown(file, owner.0, owner.1))
    };
    removed().map_err(|error| Failure::io(format!("take keys of {} away", account.name), &error))
}

/// It is the user's before it has its name: a folder that was there is left to whom it belongs.
fn make_folder(home: &Folder, ssh: &Path, account: &Account) -> io::Result<()> {
    let unfinished = home.path(".ssh.hostwright");
    match std::fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(&unfinished)?;
    lchown(&unfinished, Some(account.uid), Some(account.gid))?;
    std::fs::rename(&unfinished, ssh)
}

/// The key itself, without its options and comment.
fn blob(line: &str) -> Option<&str> {
    line.split_whitespace().find(|word| word.starts_with("AAAA"))
}

/// A key that is there gets the options that it shall have: root's own key in the image would else let in where root
/// shall not log in.
fn merged(before: &str, keys: &[String]) -> String {
    let mut missing: Vec<&str> = Vec::new();
    for key in keys.iter().map(|key| key.trim()) {
        if !missing.contains(&key) && !before.lines().any(|line| line.trim() == key) {
            missing.push(key);
        }
    }
    let mut after = String::new();
    for line in before.lines() {
        let is_wanted = keys.iter().any(|key| key.trim() == line.trim());
        let same = |key: &&str| blob(line).is_some() && blob(key) == blob(line);
        let is_superseded = !line.starts_with('#') && keys.iter().map(String::as_str).any(|key| same(&key));
        match missing.iter().position(same) {
            _ if is_wanted || !is_superseded => after.push_str(line),
            Some(at) => after.push_str(missing.remove(at)),
            None => continue,
        }
        after.push('\n');
    }
    missing.iter().for_each(|key| after.push_str(&format!("{key}\n")));
    after
}

#[cfg(test)]
mod tests {
    use super::super::accounts::Account;
    use super::{add, merged};
    use crate::boot::host::Host;
    use std::os::unix::fs::PermissionsExt as _;

    fn account() -> Account {
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        let (home, shell) = ("/home/bob".into(), "/bin/sh".into());
        Account { name: "bob".into(), uid, gid, gecos: String::new(), home, shell }
    }

    #[test]
    fn keys_are_added_once_beside_what_is_there_and_are_the_users_alone() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        std::fs::create_dir_all(tree.path().join("home/bob/.ssh")).expect("folder");
        let path = tree.path().join("home/bob/.ssh/authorized_keys");
        std::fs::write(&path, "ssh-rsa OLD").expect("written");
        for _ in 0..2 {
            add(&host, &account(), &["ssh-ed25519 A bob".into()]).expect("added");
        }
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "ssh-rsa OLD\nssh-ed25519 A bob\n");
        assert_eq!(path.metadata().expect("metadata").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_folder_that_was_there_keeps_its_owner_and_a_new_one_is_the_users() {
        use std::os::unix::fs::MetadataExt as _;
        if !nix::unistd::geteuid().is_root() {
            return; // nobody else can give folders away
        }
        let tree = tempfile::tempdir().expect("temporary folder");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        std::fs::create_dir_all(tree.path().join("home/bob/.ssh")).expect("folder");
        let bob = Account { uid: 1000, gid: 1000, ..account() };
        let carol = Account { home: "/home/carol".into(), ..bob.clone() };
        for (account, owner) in [(bob, 0), (carol, 1000)] {
            add(&host, &account, &["ssh-ed25519 A".into()]).expect("added");
            let ssh = host.path(&account.home).join(".ssh");
            assert_eq!(ssh.metadata().expect("metadata").uid(), owner, "{}", ssh.display());
            assert_eq!(ssh.join("authorized_keys").metadata().expect("metadata").uid(), 1000);
        }
    }

    #[test]
    fn a_key_that_is_there_gets_the_options_that_it_shall_have() {
        let before = "# ssh-rsa AAAAB\nssh-rsa AAAAB mine\nssh-rsa AAAAC\nssh-rsa AAAAB again";
        let keys = [r#"command="echo no" ssh-rsa AAAAB mine"#, "ssh-rsa AAAAD"].map(str::to_owned);
        let after = "# ssh-rsa AAAAB\ncommand=\"echo no\" ssh-rsa AAAAB mine\nssh-rsa AAAAC\nssh-rsa AAAAD\n";
        assert_eq!(merged(before, &keys), after);
        assert_eq!(merged(after, &keys), after);
        // One key twice, with and without options, is what the operator says.
        let both = ["ssh-rsa AAAAD", "restrict ssh-rsa AAAAD"].map(str::to_owned);
        let after = merged("", &both);
        assert_eq!((after.as_str(), merged(&after, &both)), ("ssh-rsa AAAAD\nrestrict ssh-rsa AAAAD\n", after.clone()));
    }

    #[test]
    fn a_link_in_place_of_the_folder_is_refused() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        std::fs::create_dir_all(tree.path().join("home/bob")).expect("folder");
        std::fs::create_dir_all(tree.path().join("root/.ssh")).expect("folder");
        std::os::unix::fs::symlink("../../root/.ssh", tree.path().join("home/bob/.ssh")).expect("linked");
        let failure = add(&host, &account(), &["ssh-ed25519 A".into()]).expect_err("refused");
        assert!(failure.remedy.contains("link"), "{failure:?}");
        assert!(!tree.path().join("root/.ssh/authorized_keys").exists());
    }
}
