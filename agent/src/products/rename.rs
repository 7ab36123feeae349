use nix::errno::Errno;
use nix::fcntl::{AtFlags, RenameFlags, renameat, renameat2};
use nix::sys::stat::{FileStat, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// A name in a folder.
pub(super) type Name<'n> = (BorrowedFd<'n>, &'n Path);

/// Gives something another name, unless there is something of that name: then the error is `AlreadyExists`.
///
/// Not every file system can do that in one step (NFS, many of FUSE). There a file gets the other name beside its own first,
/// which overwrites nothing either. A folder cannot have two; but a rename of a folder replaces an empty one at most.
///
/// # Errors
/// As renameat2(2); where files cannot have two names either, linkat(2) says so.
pub(super) fn rename_new((above, from): Name<'_>, (to_above, to): Name<'_>) -> io::Result<()> {
    match renameat2(above, from, to_above, to, RenameFlags::RENAME_NOREPLACE) {
        // ENOSYS: the kernel's own words for it.
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => in_steps((above, from), (to_above, to)),
        done => Ok(done?),
    }
}

fn in_steps((above, from): Name<'_>, (to_above, to): Name<'_>) -> io::Result<()> {
    let stat = fstatat(above, from, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let there = match fstatat(to_above, to, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(there) => Some(there),
        Err(Errno::ENOENT) => None,
        Err(error) => return Err(error.into()),
    };
    let is_folder = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR;
    match there {
        // A process was killed between the two steps.
        Some(there) if !is_folder && id(&there) == id(&stat) => {}
        Some(_) => return Err(io::ErrorKind::AlreadyExists.into()),
        None if is_folder => {
            return match renameat(above, from, to_above, to) {
                Err(Errno::ENOTEMPTY | Errno::ENOTDIR | Errno::EEXIST) => Err(io::ErrorKind::AlreadyExists.into()),
                done => Ok(done?),
            };
        }
        None => linkat(above, from, to_above, to, AtFlags::empty())?,
    }
    Ok(unlinkat(above, from, UnlinkatFlags::NoRemoveDir)?)
}

fn id(stat: &FileStat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests {
    use super::{in_steps, rename_new};
    use nix::fcntl::AT_FDCWD;
    use std::fs;
    use std::io::{self, ErrorKind};
    use std::path::Path;

    #[test]
    fn nothing_is_overwritten_by_a_rename_in_one_step_or_several() {
        for rename in [rename_new, in_steps] {
            let folder = tempfile::tempdir().expect("temporary folder");
            let at = |name: &str| folder.path().join(name);
            let go = |from: &str, to: &str| rename((AT_FDCWD, &at(from)), (AT_FDCWD, &at(to)));
            let refused = |result: io::Result<()>| result.expect_err("refused").kind();
            for path in ["a", "b", "folder/in", "full/in", "empty"] {
                fs::create_dir_all(at(path).parent().unwrap_or(Path::new("/"))).expect("made");
                fs::write(at(path), path).expect("written");
            }
            fs::remove_file(at("empty")).expect("removed");
            fs::create_dir(at("empty")).expect("made");
            for (from, to) in [("a", "b"), ("a", "full"), ("folder", "b"), ("folder", "full"), ("folder", "empty")] {
                assert_eq!(refused(go(from, to)), ErrorKind::AlreadyExists, "{from} {to}");
            }
            assert_eq!(refused(go("none", "new")), ErrorKind::NotFound);
            go("a", "new").expect("renamed");
            go("folder", "other").expect("renamed");
            assert_eq!(fs::read_to_string(at("b")).expect("there"), "b");
            assert_eq!(fs::read_to_string(at("new")).expect("there"), "a");
            assert_eq!(fs::read_to_string(at("other/in")).expect("there"), "folder/in");
            assert!(!at("a").exists() && !at("folder").exists());
        }
    }

    #[test]
    fn what_was_cut_off_between_two_steps_goes_on() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "x").expect("written");
        fs::hard_link(&from, &to).expect("linked");
        in_steps((AT_FDCWD, &from), (AT_FDCWD, &to)).expect("gone on");
        assert!(!from.exists() && to.exists());
    }
}
