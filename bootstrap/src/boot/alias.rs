use super::host::Host;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Where scripts find `cloud-init status --wait`, as long as there is no cloud-init.
const ALIAS: &str = "/usr/local/bin/cloud-init";
const PROGRAM: &str = "/usr/bin/hostwright-bootstrap";

/// Makes the alias where cloud-init is absent, and takes it away where it came.
pub fn keep(host: &Host) {
    let alias = host.path(ALIAS);
    let is_ours = std::fs::read_link(&alias).is_ok_and(|target| target == Path::new(PROGRAM));
    let has_cloud_init = ["/usr/bin/cloud-init", "/bin/cloud-init"].iter().any(|path| host.path(path).exists());
    let changed = match (has_cloud_init, is_ours) {
        (true, true) => std::fs::remove_file(&alias),
        (false, false) if alias.symlink_metadata().is_err() && host.path(PROGRAM).is_file() => {
            let made = alias.parent().map_or(Ok(()), std::fs::create_dir_all);
            made.and_then(|()| symlink(PROGRAM, &alias))
        }
        _ => Ok(()),
    };
    if let Err(error) = changed {
        log::warn!("{ALIAS} is not as it should be: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::keep;
    use crate::boot::host::Host;

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
}
