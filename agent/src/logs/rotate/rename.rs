use super::generations::{list, unfinished};
use hostwright_core::atomic_file::sync_parent;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

/// Gives a log its rotated name, and makes an empty one with the same owner and mode in its place.
pub(super) fn rename(log: &Path, target: &Path) -> io::Result<()> {
    let metadata = log.symlink_metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file; name the file itself"));
    }
    rename_new(log, target)?;
    create_like(log, &metadata)?;
    sync_parent(log)
}

/// Makes an empty log like its newest generation, where a rotation was cut off before it did.
pub(super) fn create_if_missing(log: &Path) -> io::Result<()> {
    if log.symlink_metadata().is_ok() {
        return Ok(());
    }
    let Some(folder) = log.parent() else { return Ok(()) };
    let all = list(folder, &BTreeSet::from([log.to_owned()]), false)?.remove(log).unwrap_or_default();
    match all.into_iter().rev().find(|generation| !generation.is_compressed) {
        Some(newest) => create_like(log, &newest.path.symlink_metadata()?),
        None => Ok(()),
    }
}

/// Renames, but never over another file.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        // A file system that does not know how (NFS, some overlays): then with a look before.
        Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOSYS) if to.symlink_metadata().is_err() => {
            fs::rename(from, to)
        }
        result => Ok(result?),
    }
}

/// A new file under a name that is written before it gets its own, with the owner and mode of another.
pub(super) fn create_unfinished(path: &Path, like: &Metadata) -> io::Result<File> {
    let path = unfinished(path);
    let _ = fs::remove_file(&path);
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    // Owner before mode: a change of owner takes set-id bits away, which a log has no use for anyway.
    fchown(&file, Some(like.uid()), Some(like.gid()))?;
    file.set_permissions(like.permissions())?;
    Ok(file)
}

fn create_like(log: &Path, like: &Metadata) -> io::Result<()> {
    create_unfinished(log, like)?;
    match rename_new(&unfinished(log), log) {
        // Its writer was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::remove_file(unfinished(log)),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::{create_if_missing, rename};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_new_file_has_the_mode_of_the_old_one_and_no_file_is_overwritten() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (log, target) = (folder.path().join("a.log"), folder.path().join("a.log.1"));
        fs::write(&log, "one").expect("written");
        fs::set_permissions(&log, Permissions::from_mode(0o640)).expect("set");
        rename(&log, &target).expect("renamed");
        assert_eq!(fs::read_to_string(&target).expect("read"), "one");
        assert_eq!(
            (log.metadata().expect("there").len(), log.metadata().expect("there").permissions().mode() & 0o777),
            (0, 0o640)
        );
        assert!(rename(&log, &target).is_err());
        fs::remove_file(&log).expect("removed");
        create_if_missing(&log).expect("created");
        assert_eq!(log.metadata().expect("there").permissions().mode() & 0o777, 0o640);
        assert_eq!(folder.path().read_dir().expect("listed").count(), 2);
    }
}
