use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// `/dev/null`, which people name where they want nothing to be read.
const NULL: u64 = 0x0103;
/// `O_NONBLOCK`, on all machines that are built for.
const WITHOUT_WAITING: i32 = 0o4000;

/// Reads a file that another one names, up to `most` bytes and one more, which tells that there are more. A pipe would be
/// waited for, a device might never end.
///
/// # Errors
/// It cannot be read, or is no regular file.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut options = File::options();
    let file = options.read(true).custom_flags(WITHOUT_WAITING).open(path)?;
    let found = file.metadata()?;
    let kind = found.file_type();
    let what = if kind.is_dir() {
        "it is a folder"
    } else if kind.is_file() || kind.is_char_device() && found.rdev() == NULL {
        ""
    } else if kind.is_fifo() {
        "it is a pipe, and only files are read"
    } else {
        "it is no regular file"
    };
    if !what.is_empty() {
        return Err(io::Error::other(what));
    }
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::read;
    use std::path::Path;

    #[test]
    fn only_regular_files_are_read_and_only_so_much_of_them() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("file"), "12345").expect("written");
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("made");
        assert_eq!(read(&path("file"), 5).expect("read"), b"12345");
        assert_eq!(read(&path("file"), 2).expect("read"), b"123");
        assert_eq!(read(Path::new("/dev/null"), 2).expect("read"), b"");
        for (wrong, why) in
            [(path("pipe"), "a pipe"), (folder.path().into(), "a folder"), ("/dev/zero".into(), "regular")]
        {
            let error = read(&wrong, 5).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
