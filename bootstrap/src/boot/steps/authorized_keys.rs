use super::Failure;
use super::accounts::Account;
use super::folder::Folder;
use crate::boot::host::Host;
use hostwright_core::atomic_file;
use nix::fcntl::OFlag;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, fchown, lchown};
use std::path::Path;

const NAME: &str = "authorized_keys";
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
    let home = Folder::open_or_make(host, &account.home)?;
    let ssh = home.path(".ssh");
    if ssh.symlink_metadata().is_err() {
        make_folder(&home, &ssh, account)?;
    }
    // The folder is the user's, who may be at work already: it is held open, and never reached through a link.
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let folder = File::options().read(true).custom_flags(flags.bits()).open(&ssh)?;
    let held = Folder::from(folder);
    let path = held.path(NAME);
    let before = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => held.read(NAME.as_ref(), MAX_FILE)?.unwrap_or_default(),
        _ => Vec::new(),
    };
    let before = String::from_utf8_lossy(&before).into_owned();
    let after = merged(&before, keys);
    atomic_file::remove_unfinished(&path)?;
    atomic_file::replace_with(&path, after.as_bytes(), 0o600, |file| fchown(file, Some(account.uid), Some(account.gid)))
}

/// Takes keys away that shall not be there, wherever somebody put them in the file.
pub fn remove(host: &Host, account: &Account, keys: &[String]) -> Result<(), Failure> {
    let path = host.path(&account.home).join(".ssh");
    let removed = || -> io::Result<()> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let folder = match File::options().read(true).custom_flags(flags.bits()).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => Folder::from(opened?),
        };
        let Some(before) = folder.read(NAME.as_ref(), MAX_FILE)? else { return Ok(()) };
        let before = String::from_utf8_lossy(&before).into_owned();
        let blob = |line: &str| line.split_whitespace().find(|word| word.starts_with("AAAA")).map(str::to_owned);
        let gone: Vec<_> = keys.iter().filter_map(|key| blob(key)).collect();
        let stays = |line: &&str| blob(line).is_none_or(|blob| !gone.contains(&blob));
        let after: String = before.lines().filter(stays).map(|line| format!("{line}\n")).collect();
        let path = folder.path(NAME);
        let owner = (Some(account.uid), Some(account.gid));
        atomic_file::replace_with(&path, after.as_bytes(), 0o600, |file| fchown(file, owner.0, owner.1))
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

fn merged(before: &str, keys: &[String]) -> String {
    let mut after = before.to_owned();
    if !after.is_empty() && !after.ends_with('\n') {
        after.push('\n');
    }
    for key in keys.iter().map(|key| key.trim()) {
        if !after.lines().any(|line| line.trim() == key) {
            after.push_str(key);
            after.push('\n');
        }
    }
    after
}

#[cfg(test)]
mod tests {
    use super::super::accounts::Account;
    use super::add;
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
