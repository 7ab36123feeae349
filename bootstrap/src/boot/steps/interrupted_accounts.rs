use crate::boot::host::Host;
use hostwright_core::atomic_file;
use jiff::Timestamp;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::Path;

/// Mends what useradd and its kin leave of a power cut: they write their files one after the other, and their locks stay.
pub fn mend(host: &Host) {
    remove_stale_locks(host);
    let days = Timestamp::now().as_second() / 86_400;
    let mended = add_own_groups(host).and_then(|()| {
        complete(host, ["/etc/group", "/etc/gshadow"], |fields| {
            format!("{}:!::{}", fields.first().unwrap_or(&""), fields.get(3).unwrap_or(&""))
        })
    });
    let mended = mended.and_then(|()| {
        complete(host, ["/etc/passwd", "/etc/shadow"], |fields| {
            format!("{}:!:{days}:0:99999:7:::", fields.first().unwrap_or(&""))
        })
    });
    let mended = mended.and_then(|()| add_ranges(host, "/etc/subuid")).and_then(|()| add_ranges(host, "/etc/subgid"));
    if let Err(error) = mended {
        log::warn!("what was cut off in the accounts' files is not mended: {error}");
    }
}

/// A user's own group is written after the user.
fn add_own_groups(host: &Host) -> io::Result<()> {
    let [users, groups] = ["/etc/passwd", "/etc/group"].map(|file| host.path(file));
    let (Ok(users), Ok(before)) = (std::fs::read_to_string(users), std::fs::read_to_string(&groups)) else {
        return Ok(());
    };
    let has = |at: usize, value: &str| before.lines().any(|line| line.split(':').nth(at) == Some(value));
    let own = users.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, gid) = (fields.next()?, fields.nth(2)?);
        (!has(2, gid) && !has(0, name)).then(|| format!("{name}:x:{gid}:\n"))
    });
    let added: String = own.collect();
    if added.is_empty() { Ok(()) } else { replace(&groups, &format!("{before}{added}")) }
}

/// Ranges of ids for the users that useradd gives one, where it was cut off before it wrote them: behind the others.
fn add_ranges(host: &Host, file: &str) -> io::Result<()> {
    const COUNT: u64 = 65_536;
    let [users, ranges] = ["/etc/passwd", file].map(|file| host.path(file));
    let (Ok(users), Ok(before)) = (std::fs::read_to_string(users), std::fs::read_to_string(&ranges)) else {
        return Ok(());
    };
    let number = |line: &str, at: usize| line.split(':').nth(at).and_then(|field| field.parse::<u64>().ok());
    let end = |line: &str| Some(number(line, 1)? + number(line, 2)?);
    let mut next = before.lines().filter_map(end).max().unwrap_or(100_000);
    let mut after = before.clone();
    for line in users.lines().filter(|line| number(line, 2).is_some_and(|uid| (1000..60_000).contains(&uid))) {
        let name = line.split(':').next().unwrap_or_default();
        if !before.lines().any(|range| range.split(':').next() == Some(name)) {
            after.push_str(&format!("{name}:{next}:{COUNT}\n"));
            next += COUNT;
        }
    }
    if after == before { Ok(()) } else { replace(&ranges, &after) }
}

/// Adds a line to the second file for each of the first that has none there.
fn complete(host: &Host, files: [&str; 2], line: impl Fn(&[&str]) -> String) -> io::Result<()> {
    let [named, secret] = files.map(|file| host.path(file));
    let (Ok(named), Ok(before)) = (std::fs::read_to_string(named), std::fs::read_to_string(&secret)) else {
        return Ok(());
    };
    let name = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
    let known: Vec<String> = before.lines().map(name).collect();
    let is_missing =
        |line: &&str| !line.is_empty() && !line.starts_with(['#', '+', '-']) && !known.contains(&name(line));
    let added: String = named
        .lines()
        .filter(is_missing)
        .map(|found| format!("{}\n", line(&found.split(':').collect::<Vec<_>>())))
        .collect();
    if added.is_empty() {
        return Ok(());
    }
    replace(&secret, &format!("{before}{added}"))
}

/// With the mode and owner that it has.
fn replace(path: &Path, content: &str) -> io::Result<()> {
    let metadata = path.metadata()?;
    let mode = metadata.permissions().mode() & 0o7777;
    atomic_file::replace_with(path, content.as_bytes(), mode, |file| {
        fchown(file, Some(metadata.uid()), Some(metadata.gid()))
    })
}

/// A lock is taken for held as long as there is any process with the number that it names.
fn remove_stale_locks(host: &Host) {
    const FILES: [&str; 6] = ["passwd", "group", "shadow", "gshadow", "subuid", "subgid"];
    const HOLDERS: [&str; 10] =
        ["useradd", "usermod", "userdel", "groupadd", "groupmod", "groupdel", "chpasswd", "passwd", "chage", "gpasswd"];
    let Ok(entries) = std::fs::read_dir(host.path("/etc")) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((file, end)) = name.split_once('.').filter(|(file, _)| FILES.contains(file)) else { continue };
        let is_number = !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit());
        let holder = match end {
            "lock" => {
                std::fs::read_to_string(entry.path()).unwrap_or_default().trim_matches(['\0', '\n', ' ']).to_owned()
            }
            number if is_number => number.to_owned(),
            _ => continue,
        };
        let comm = std::fs::read_to_string(host.proc(&format!("{holder}/comm"))).unwrap_or_default();
        if HOLDERS.contains(&comm.trim()) {
            continue;
        }
        log::info!("/etc/{name} is taken away: nobody holds the lock of /etc/{file}");
        if let Err(error) = std::fs::remove_file(entry.path()) {
            log::warn!("/etc/{name} cannot be taken away: {error}");
        }
    }
    // The new content that was to take the file's place.
    for file in FILES.into_iter().filter(|file| !host.path(format!("/etc/{file}.lock")).exists()) {
        let unfinished = host.path(format!("/etc/{file}+"));
        if unfinished.is_file()
            && let Err(error) = std::fs::remove_file(&unfinished)
        {
            log::warn!("/etc/{file}+ cannot be taken away: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{mend, remove_stale_locks};
    use crate::boot::host::Host;

    #[test]
    fn a_lock_that_a_power_cut_left_is_taken_away_and_one_that_is_held_is_not() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let write = |path: &str, text: &str| {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        let all = [
            "etc/group+",
            "etc/group.lock",
            "etc/group.15",
            "etc/passwd",
            "etc/passwd-",
            "etc/shadow.lock",
            "etc/group.conf",
        ];
        for (path, text) in all.into_iter().zip(["x", "15\0", "15\0", "x", "x", "16\0", "x"]) {
            write(path, text);
        }
        write("proc/15/comm", "kworker/0:1\n");
        write("proc/16/comm", "usermod\n");
        let host = Host::new(tree.path().to_owned(), tree.path().join("proc"), "/sys".into()).expect("host");
        remove_stale_locks(&host);
        let left: Vec<_> = all.into_iter().filter(|path| tree.path().join(path).exists()).collect();
        assert_eq!(left, ["etc/passwd", "etc/passwd-", "etc/shadow.lock", "etc/group.conf"]);
    }

    #[test]
    fn who_is_in_one_file_of_two_is_in_both_then() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let path = |name: &str| tree.path().join("etc").join(name);
        std::fs::create_dir(tree.path().join("etc")).expect("made");
        for (name, text) in [
            ("group", "root:x:0:\napp:x:1000:alice,bob\n"),
            ("gshadow", "root:*::\n"),
            ("passwd", "root:x:0:0::/root:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\n"),
            ("shadow", "root:*:1::::::\n"),
            ("subuid", "debian:100000:65536\n"),
        ] {
            std::fs::write(path(name), text).expect("written");
        }
        let host = Host::new(tree.path().to_owned(), tree.path().join("proc"), "/sys".into()).expect("host");
        for _ in 0..2 {
            mend(&host);
            let read = |name: &str| std::fs::read_to_string(path(name)).expect("read");
            assert_eq!(read("group"), "root:x:0:\napp:x:1000:alice,bob\nalice:x:1001:\n");
            assert_eq!(read("gshadow"), "root:*::\napp:!::alice,bob\nalice:!::\n");
            assert!(read("shadow").lines().nth(1).expect("a line").starts_with("alice:!:"));
            assert_eq!(read("shadow").lines().count(), 2);
            assert_eq!(read("subuid"), "debian:100000:65536\nalice:165536:65536\n");
        }
    }
}
