use super::Failure;
use crate::boot::host::Host;
use std::path::PathBuf;

/// A line of `/etc/passwd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub gecos: String,
    pub home: PathBuf,
    pub shell: PathBuf,
}

/// The user of this name in the host's own files: what directories and remote services know is not there yet at boot.
pub fn user(host: &Host, name: &str) -> Result<Option<Account>, Failure> {
    Ok(read(host, "/etc/passwd")?.lines().filter_map(account).find(|account| account.name == name))
}

/// The id and members of the group of this name.
pub fn group(host: &Host, name: &str) -> Result<Option<(u32, Vec<String>)>, Failure> {
    let text = read(host, "/etc/group")?;
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(name);
        let gid = fields.nth(1)?.parse().ok()?;
        let members = fields.next().unwrap_or_default().split(',').filter(|name| !name.is_empty());
        is_it.then(|| (gid, members.map(str::to_owned).collect()))
    });
    Ok(found)
}

/// Whether nobody can log in by a password of this user.
pub fn is_locked(host: &Host, name: &str) -> bool {
    let text = read(host, "/etc/shadow").unwrap_or_default();
    let field = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.split(':').next());
    field.is_some_and(|field| field.starts_with(['!', '*']))
}

/// The ids of `user:group`, `user` or `:group`, by name or number; nothing for a part that is not said.
pub fn owner(host: &Host, text: &str) -> Result<(Option<u32>, Option<u32>), Failure> {
    let (user_name, group_name) = text.split_once(':').unwrap_or((text, ""));
    let missing = |kind: &str, name: &str| {
        Failure::new(
            format!("there is no {kind} {name}"),
            format!("name the {kind} in the user-data, or use defer: true if a package brings it"),
        )
    };
    let uid = match (user_name, user_name.parse()) {
        ("" | "-1" | "None", _) => None,
        (_, Ok(number)) => Some(number),
        // Root is there whatever the files say.
        ("root", _) => Some(0),
        (name, _) => Some(user(host, name)?.ok_or_else(|| missing("user", name))?.uid),
    };
    let gid = match (group_name, group_name.parse()) {
        ("" | "-1" | "None", _) => None,
        (_, Ok(number)) => Some(number),
        ("root", _) => Some(0),
        (name, _) => Some(group(host, name)?.ok_or_else(|| missing("group", name))?.0),
    };
    Ok((uid, gid))
}

fn account(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    let gecos = fields.next()?.to_owned();
    Some(Account { name, uid, gid, gecos, home: fields.next()?.into(), shell: fields.next()?.into() })
}

fn read(host: &Host, path: &str) -> Result<String, Failure> {
    match std::fs::read(host.path(path)) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Failure::io(format!("read {path}"), &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::{group, owner, user};
    use crate::boot::host::Host;

    #[test]
    fn owners_are_found_by_name_and_number_in_the_hosts_files() {
        let tree = tempfile::tempdir().expect("temporary folder");
        std::fs::create_dir(tree.path().join("etc")).expect("folder");
        std::fs::write(
            tree.path().join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001:Bob:/home/bob:/bin/sh\n",
        )
        .expect("written");
        std::fs::write(tree.path().join("etc/group"), "root:x:0:\nadm:x:4:bob,syslog\n").expect("written");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        assert_eq!(owner(&host, "bob:adm"), Ok((Some(1000), Some(4))));
        assert_eq!(owner(&host, "7"), Ok((Some(7), None)));
        assert_eq!(owner(&host, ":adm"), Ok((None, Some(4))));
        assert!(owner(&host, "carol").is_err_and(|failure| failure.why.contains("no user carol")));
        assert_eq!(user(&host, "bob").expect("read").expect("bob").gid, 1001);
        assert_eq!(group(&host, "adm").expect("read").expect("adm").1, ["bob", "syslog"]);
    }
}
