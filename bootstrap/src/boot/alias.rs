use super::host::Host;
use super::instance;
use hostwright_core::atomic_file;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Where scripts find `cloud-init status --wait`, as long as there is no cloud-init.
const ALIAS: &str = "/usr/local/bin/cloud-init";
const PROGRAM: &str = "/usr/bin/hostwright-bootstrap";
/// By which `bootcmd` and boothooks have things done once.
const PER: &str = "/usr/local/bin/cloud-init-per";
const PER_TEXT: &str = r#"#!/bin/sh
# Written by hostwright-bootstrap as long as there is no cloud-init; its notes are where cloud-init has them.
told() {
    echo "$1; usage: cloud-init-per once|instance|always NAME COMMAND..." >&2
    exit 1
}
[ $# -ge 3 ] || told "a word is missing"
often=$1
name=$(printf %s "$2" | tr - _)
shift 2
case $name in */*) told "a name has no /" ;; esac
case $often in
once | always) folder=/var/lib/cloud/sem ;;
instance) folder=/var/lib/cloud/instance/sem ;;
*) told "$often is not known" ;;
esac
note=$folder/bootper.$name.$often
if [ "$often" != always ] && [ -e "$note" ]; then
    exit 0
fi
mkdir -p "$folder" || exit 1
"$@"
status=$?
printf '%s\t%s\n' "$status" "$(date +%s)" >"$note" || exit 1
exit "$status"
"#;
/// The folder of the instance that this host is.
const INSTANCE: &str = "/var/lib/cloud/instance";
/// For which scripts wait that know nothing of `cloud-init status`.
const FINISHED: &str = "/var/lib/cloud/instance/boot-finished";

/// Makes what scripts look for where cloud-init is absent, and takes it away where it came.
pub fn keep(host: &Host) {
    let alias = host.path(ALIAS);
    let is_ours = std::fs::read_link(&alias).is_ok_and(|target| target == Path::new(PROGRAM));
    let is_absent = is_absent(host);
    let changed = match (is_absent, is_ours) {
        (false, true) => std::fs::remove_file(&alias),
        (true, false) if alias.symlink_metadata().is_err() && host.path(PROGRAM).is_file() => {
            let made = alias.parent().map_or(Ok(()), std::fs::create_dir_all);
            made.and_then(|()| symlink(PROGRAM, &alias))
        }
        _ => Ok(()),
    };
    tell(ALIAS, changed);
    let per = host.path(PER);
    let before = std::fs::read_to_string(&per).ok();
    let is_ours = before.as_ref().is_some_and(|text| text.contains("Written by hostwright-bootstrap"));
    let changed = match before {
        _ if is_ours && !is_absent => std::fs::remove_file(&per),
        None if is_absent && host.path(PROGRAM).is_file() => atomic_file::replace(&per, PER_TEXT.as_bytes(), 0o755),
        Some(text) if is_ours && text != PER_TEXT => atomic_file::replace(&per, PER_TEXT.as_bytes(), 0o755),
        _ => Ok(()),
    };
    tell(PER, changed);
    // That of the boot before says nothing of this one.
    if is_absent && host.path(FINISHED).exists() {
        tell(FINISHED, std::fs::remove_file(host.path(FINISHED)));
    }
}

/// Makes the folder of an instance where scripts look for it and its user-data; `name` is that of its folder here.
pub fn of_instance(host: &Host, name: &OsStr) {
    let target = Path::new("instances").join(name);
    let link = host.path(INSTANCE);
    if !is_absent(host) || std::fs::read_link(&link).is_ok_and(|before| before.ends_with(&target)) {
        return;
    }
    let folder = host.path("/var/lib/cloud").join(&target);
    let user_data = Path::new(instance::FOLDER).join(name).join("user-data");
    let linked = || {
        std::fs::create_dir_all(&folder)?;
        let copy = folder.join("user-data.txt");
        if copy.symlink_metadata().is_err() {
            symlink(&user_data, &copy)?;
        }
        match std::fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => symlink(&target, &link),
        }
    };
    tell(INSTANCE, linked());
}

/// Notes that the boot is over, whether all went well or not.
pub fn finished(host: &Host, instance_id: &str) {
    if is_absent(host) {
        tell(FINISHED, std::fs::write(host.path(FINISHED), format!("{instance_id}\n")));
    }
}

fn is_absent(host: &Host) -> bool {
    !["/usr/bin/cloud-init", "/bin/cloud-init"].iter().any(|path| host.path(path).exists())
}

fn tell(path: &str, changed: io::Result<()>) {
    if let Err(error) = changed {
        log::warn!("{path} is not as it should be: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::{PER_TEXT, finished, keep, of_instance};
    use crate::boot::host::Host;
    use std::path::Path;

    #[test]
    fn the_alias_is_there_only_where_cloud_init_is_not() {
        let tree = tempfile::tempdir().expect("temporary folder");
        std::fs::create_dir_all(tree.path().join("usr/bin")).expect("folder");
        std::fs::write(tree.path().join("usr/bin/hostwright-bootstrap"), "").expect("written");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        let alias = tree.path().join("usr/local/bin/cloud-init");
        keep(&host);
        keep(&host);
        assert!(alias.symlink_metadata().is_ok());
        std::fs::write(tree.path().join("usr/bin/cloud-init"), "").expect("written");
        keep(&host);
        assert!(alias.symlink_metadata().is_err());
    }
    #[test]
    fn a_boot_that_is_over_is_seen_by_the_file_that_scripts_wait_for() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        let finished_file = tree.path().join("var/lib/cloud/instance/boot-finished");
        for id in ["i-1", "i-2", "i-2"] {
            keep(&host);
            of_instance(&host, id.as_ref());
            let copy = std::fs::read_link(tree.path().join("var/lib/cloud/instance/user-data.txt")).expect("a link");
            assert_eq!(copy, Path::new("/var/lib/hostwright/bootstrap").join(id).join("user-data"));
            assert!(!finished_file.exists(), "{id}: not over yet");
            finished(&host, id);
            assert_eq!(std::fs::read_to_string(&finished_file).expect("read"), format!("{id}\n"));
        }
        let other = tempfile::tempdir().expect("temporary folder");
        std::fs::create_dir_all(other.path().join("usr/bin")).expect("folder");
        std::fs::write(other.path().join("usr/bin/cloud-init"), "").expect("written");
        let host = Host::new(other.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        of_instance(&host, "i-1".as_ref());
        finished(&host, "i-1");
        assert!(!other.path().join("var").exists(), "cloud-init's own");
    }

    #[test]
    fn what_shall_be_done_once_is() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let folder = tree.path().display().to_string();
        std::fs::write(tree.path().join("per"), PER_TEXT.replace("/var/lib/cloud", &folder)).expect("written");
        let run = |words: &[&str]| {
            let mark = format!("{folder}/mark");
            let command = ["-c", "echo x >>\"$1\"; exit 3", "sh", &mark];
            let mut process = std::process::Command::new("/bin/sh");
            process.arg(tree.path().join("per")).args(words).arg("/bin/sh").args(command);
            let status = process.output().expect("run").status.code();
            let marks = std::fs::read_to_string(&mark).unwrap_or_default().lines().count();
            (status, marks)
        };
        assert_eq!((run(&["once", "a-b"]), run(&["once", "a-b"])), ((Some(3), 1), (Some(0), 1)));
        assert_eq!((run(&["instance", "a"]), run(&["instance", "a"])), ((Some(3), 2), (Some(0), 2)));
        assert_eq!((run(&["always", "a"]), run(&["always", "a"])), ((Some(3), 3), (Some(3), 4)));
        assert!(tree.path().join("sem/bootper.a_b.once").exists() && tree.path().join("instance/sem").is_dir());
        assert_eq!((run(&["never", "a"]).0, run(&["once", "a/b"]).0), (Some(1), Some(1)));
    }
}
