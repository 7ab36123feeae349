//! Files replaced as a whole: a reader sees the old content or the new, and after a power cut one of the two.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Replaces `path` with `content` under the permission bits `mode` (octal, as in chmod(2)).
///
/// The content goes to a temporary file in the same folder, is fsynced and renamed into place, and the folder is
/// fsynced, so that the rename itself survives a power cut.
///
/// # Errors
/// The operating system's, from creating, writing, syncing or renaming.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    replace_with(path, content, mode, |_| Ok(()))
}

/// As [`replace`], and lets `prepare` work on the open temporary file (its owner, say) before it takes the name.
///
/// # Errors
/// As [`replace`], and those of `prepare`.
pub fn replace_with(
    path: &Path,
    content: &[u8],
    mode: u32,
    prepare: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    replace_one_of_many(path, content, mode, prepare)?;
    sync_parent(path)
}

/// As [`replace_with`] for one of many files: who calls it fsyncs their folder when all are there. After a power cut
/// before that, the file is the old one or the new one.
///
/// # Errors
/// As [`replace_with`].
pub fn replace_one_of_many(
    path: &Path,
    content: &[u8],
    mode: u32,
    prepare: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = temporary_beside(path)?;
    let result = write_new(&temporary, content, mode, prepare).and_then(|()| std::fs::rename(&temporary, path));
    if result.is_err() {
        // What counts is the first error; a leftover is in nobody's way.
        let _ = std::fs::remove_file(&temporary);
    }
    result
}

/// Fsyncs the folder that holds `path`, which makes a rename, creation or removal in it durable.
///
/// # Errors
/// The operating system's.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(parent(path))?.sync_all()
}

/// Removes what replacements of `path` left beside it that were cut off by a power cut or SIGKILL. Nobody may be
/// replacing it meanwhile.
///
/// # Errors
/// The operating system's.
pub fn remove_unfinished(path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    for entry in std::fs::read_dir(parent(path))? {
        let entry = entry?;
        let found = entry.file_name();
        let between = found.as_encoded_bytes().strip_prefix(b".").and_then(|rest| rest.strip_prefix(name));
        let digits = between.and_then(|rest| rest.strip_prefix(b".")?.strip_suffix(b".tmp"));
        if digits.is_some_and(|digits| digits.len() == 8 && digits.iter().all(u8::is_ascii_hexdigit)) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn write_new(path: &Path, content: &[u8], mode: u32, prepare: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    // 0600 until everything is right: no moment in which a secret is readable by others.
    // Nothing that somebody else has put there is written to, nor what a link of his leads to.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    prepare(&file)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{:08x}.tmp", fastrand::u32(..)));
    Ok(parent(path).join(temporary))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::{remove_unfinished, replace, write_new};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_replaced_with_its_mode_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("f");
        replace(&path, b"one", 0o644).expect("written");
        assert_eq!(path.metadata().expect("metadata").permissions().mode() & 0o777, 0o644);
        replace(&path, b"two", 0o600).expect("replaced");
        assert_eq!(std::fs::read(&path).expect("read"), b"two");
        assert_eq!(path.metadata().expect("metadata").permissions().mode() & 0o777, 0o600);
        assert_eq!(folder.path().read_dir().expect("list").count(), 1);
    }

    #[test]
    fn what_a_power_cut_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for name in ["f", ".f.0123abcd.tmp", ".f.tmp", ".g.0123abcd.tmp"] {
            std::fs::write(folder.path().join(name), "").expect("written");
        }
        remove_unfinished(&folder.path().join("f")).expect("removed");
        assert!(!folder.path().join(".f.0123abcd.tmp").exists());
        assert_eq!(folder.path().read_dir().expect("list").count(), 3);
    }

    #[test]
    fn what_somebody_put_under_the_temporary_name_is_not_written_to() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (victim, link) = (folder.path().join("victim"), folder.path().join("link"));
        std::fs::write(&victim, "kept").expect("written");
        std::os::unix::fs::symlink(&victim, &link).expect("linked");
        for path in [&victim, &link] {
            write_new(path, b"other", 0o644, |_| Ok(())).expect_err("refused");
        }
        assert_eq!(std::fs::read(&victim).expect("read"), b"kept");
    }
}
