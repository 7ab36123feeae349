use super::accounts::Account;
use crate::boot::host::Host;
use std::path::{Path, PathBuf};

/// The SSH server's main file.
pub const MAIN: &str = "/etc/ssh/sshd_config";
const DROP_INS: &str = "/etc/ssh/sshd_config.d";

/// Whether the main file takes in what lies in the folder beside it.
pub fn includes_drop_ins(host: &Host) -> bool {
    let text = std::fs::read_to_string(host.path(MAIN)).unwrap_or_default();
    settings(&text).any(|(key, value)| key.eq_ignore_ascii_case("include") && value.contains(DROP_INS))
}

/// The main file with a setting for everybody: of several the server takes the first.
pub fn with(text: &str, key: &str, value: &str) -> String {
    let is_it = |line: &&str| settings(line).any(|(other, _)| other.eq_ignore_ascii_case(key));
    let (global, matches) = text.split_at(start_of_matches(text));
    let kept: String = global.split_inclusive('\n').filter(|line| !is_it(line)).collect();
    format!("{key} {value}\n{kept}{matches}")
}

/// Where the server looks for the keys of a user: the first place of `AuthorizedKeysFile` that is his alone.
pub fn authorized_keys_file(host: &Host, account: &Account) -> PathBuf {
    let default = account.home.join(".ssh/authorized_keys");
    let Some(places) = first(host, "AuthorizedKeysFile") else { return default };
    let candidates = places.split_whitespace().filter_map(|place| {
        let filled = place.replace("%h", &account.home.display().to_string()).replace("%u", &account.name);
        let path = account.home.join(filled.replace("%%", "%"));
        let is_his = place.contains("%u") || path.starts_with(&account.home);
        // Below his home only `.ssh` is reached without anybody's links.
        let is_safe = !path.starts_with(&account.home) || path.parent() == default.parent();
        (is_his && is_safe).then_some(path)
    });
    candidates.into_iter().next().unwrap_or(default)
}

/// Whether the server is told to have no host key but an RSA one.
pub fn has_rsa_alone(host: &Host) -> bool {
    let texts = texts(host);
    let mut named = texts.iter().flat_map(|text| settings(text)).filter(|(key, _)| key.eq_ignore_ascii_case("hostkey"));
    let is_rsa = |(_, file): (&str, &str)| file.contains("rsa");
    named.next().is_some_and(is_rsa) && named.all(is_rsa)
}

/// What the server takes a setting for: the first one counts, outside of `Match`.
fn first(host: &Host, key: &str) -> Option<String> {
    let found = texts(host).iter().find_map(|text| {
        let global = &text[..start_of_matches(text)];
        settings(global).find(|(other, _)| other.eq_ignore_ascii_case(key)).map(|(_, value)| value.to_owned())
    });
    found.filter(|value| !value.eq_ignore_ascii_case("none"))
}

/// The server's files in the order in which it reads them: what is included comes first.
fn texts(host: &Host) -> Vec<String> {
    let main = std::fs::read_to_string(host.path(MAIN)).unwrap_or_default();
    let mut texts = Vec::new();
    if includes_drop_ins(host) {
        let listed = std::fs::read_dir(host.path(DROP_INS)).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_read = |path: &PathBuf| path.extension().is_some_and(|end| end == "conf");
        let mut files: Vec<PathBuf> = listed.filter(is_read).collect();
        files.sort();
        texts.extend(files.iter().filter_map(|file| std::fs::read_to_string(Path::new(file)).ok()));
    }
    texts.push(main);
    texts
}

fn start_of_matches(text: &str) -> usize {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if settings(line).any(|(key, _)| key.eq_ignore_ascii_case("match")) {
            return at;
        }
        at += line.len();
    }
    at
}

/// Keys with their values; between them are blanks or one `=`.
fn settings(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let (key, value) = line.split_once(|c: char| c.is_whitespace() || c == '=')?;
        Some((key, value.trim_start_matches(|c: char| c.is_whitespace() || c == '=')))
    })
}

#[cfg(test)]
mod tests {
    use super::super::accounts::Account;
    use super::{authorized_keys_file, has_rsa_alone, includes_drop_ins, with};
    use crate::boot::host::Host;
    use std::path::Path;

    #[test]
    fn keys_go_where_the_server_looks_for_those_of_the_user() {
        let tree = tempfile::tempdir().expect("temporary folder");
        std::fs::create_dir_all(tree.path().join("etc/ssh/sshd_config.d")).expect("folder");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        let (home, shell) = ("/home/bob".into(), "/bin/sh".into());
        let bob = Account { name: "bob".into(), uid: 1000, gid: 1000, gecos: String::new(), home, shell };
        let main = tree.path().join("etc/ssh/sshd_config");
        for (text, expected) in [
            ("", "/home/bob/.ssh/authorized_keys"),
            ("#AuthorizedKeysFile /x/%u\n", "/home/bob/.ssh/authorized_keys"),
            ("AuthorizedKeysFile .ssh/authorized_keys2 .ssh/authorized_keys\n", "/home/bob/.ssh/authorized_keys2"),
            ("authorizedkeysfile=/etc/ssh/all /etc/ssh/keys/%u\n", "/etc/ssh/keys/bob"),
            ("AuthorizedKeysFile %h/keys\n", "/home/bob/.ssh/authorized_keys"),
            ("Match User bob\n AuthorizedKeysFile /x/%u\n", "/home/bob/.ssh/authorized_keys"),
        ] {
            std::fs::write(&main, text).expect("written");
            assert_eq!(authorized_keys_file(&host, &bob), Path::new(expected), "{text}");
        }
        assert!(!includes_drop_ins(&host));
        std::fs::write(&main, "Include /etc/ssh/sshd_config.d/*.conf\nAuthorizedKeysFile /y/%u\n").expect("written");
        std::fs::write(tree.path().join("etc/ssh/sshd_config.d/20-x.conf"), "AuthorizedKeysFile /x/%u\n")
            .expect("written");
        assert_eq!(authorized_keys_file(&host, &bob), Path::new("/x/bob"));
        assert!(includes_drop_ins(&host));
        assert!(!has_rsa_alone(&host));
        std::fs::write(tree.path().join("etc/ssh/sshd_config.d/20-x.conf"), "HostKey /etc/ssh/ssh_host_rsa_key\n")
            .expect("written");
        assert!(has_rsa_alone(&host));
        std::fs::write(&main, "Include /etc/ssh/sshd_config.d/*.conf\nHostKey /etc/ssh/ssh_host_ed25519_key\n")
            .expect("written");
        assert!(!has_rsa_alone(&host));
    }

    #[test]
    fn a_setting_for_everybody_takes_the_place_of_the_old_one_and_of_no_ones_own() {
        let text = "Port 22\nPasswordAuthentication no\nMatch User x\n  PasswordAuthentication no\n";
        let wanted = "PasswordAuthentication yes\nPort 22\nMatch User x\n  PasswordAuthentication no\n";
        assert_eq!(with(text, "PasswordAuthentication", "yes"), wanted);
        assert_eq!(with(wanted, "PasswordAuthentication", "yes"), wanted);
    }
}
