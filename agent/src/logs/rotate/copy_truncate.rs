use super::generations::unfinished;
use super::rename::{create_unfinished, rename_new};
use crate::logs::source::identity::{Content, WINDOW};
use hostwright_core::atomic_file::sync_parent;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

const PIECE: usize = 256 << 10;
/// So many looks for more, and so long a wait for the end of a line that is being written.
const LINE_END: (usize, Duration) = (50, Duration::from_millis(1));

/// Copies a log under its rotated name and empties it, or goes on with that; false when it was emptied already.
///
/// The copy is complete under its name before the log is emptied: from then on a look at both tells how far it came.
/// What the writer writes while the copy is made is copied too. Between the last look for more and the truncation are two
/// system calls: a line that is written there is lost, as with any program that does this.
pub(super) fn copy_truncate(log: &Path, copy: &Path) -> io::Result<bool> {
    let file = File::options().read(true).write(true).custom_flags(nix::libc::O_NOFOLLOW).open(log)?;
    let copied = match File::options().read(true).write(true).custom_flags(nix::libc::O_NOFOLLOW).open(copy) {
        Ok(copied) => {
            if !is_beginning(&copied, &file)? {
                return Ok(false);
            }
            copied
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let copied = create_unfinished(copy, &file.metadata()?)?;
            append_rest(&file, &copied)?;
            copied.sync_all()?;
            rename_new(&unfinished(copy), copy)?;
            sync_parent(copy)?;
            copied
        }
        Err(error) => return Err(error),
    };
    append_rest(&file, &copied)?;
    copied.sync_data()?;
    let modified = file.metadata()?.modified()?;
    for _ in 0..LINE_END.0 {
        // To write takes time in which the writer goes on: the last look is one that found nothing more.
        let before = copied.metadata()?.len();
        let is_at_line_end = append_rest(&file, &copied)?;
        if is_at_line_end && copied.metadata()?.len() == before {
            break;
        }
        if !is_at_line_end {
            sleep(LINE_END.1);
        }
    }
    file.set_len(0)?;
    copied.set_modified(modified)?;
    copied.sync_all()?;
    file.sync_all()?;
    Ok(true)
}

/// Whether the copy is how the log begins: else the log was emptied since.
fn is_beginning(copy: &File, log: &File) -> io::Result<bool> {
    let size = copy.metadata()?.len();
    if log.metadata()?.len() < size {
        return Ok(false);
    }
    let window = usize::try_from(size).unwrap_or(WINDOW).min(WINDOW);
    for offset in [0, size - window as u64] {
        let (mut a, mut b) = (vec![0; window], vec![0; window]);
        copy.fill_at(&mut a, offset)?;
        log.fill_at(&mut b, offset)?;
        if a != b {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Copies what the log has more than the copy; whether it ends with a line's end.
fn append_rest(log: &File, copy: &File) -> io::Result<bool> {
    let mut offset = copy.metadata()?.len();
    let mut last = [b'\n'];
    if offset > 0 {
        copy.fill_at(&mut last, offset - 1)?;
    }
    let mut buffer = vec![0; PIECE];
    loop {
        let length = log.fill_at(&mut buffer, offset)?;
        copy.write_all_at(&buffer[..length], offset)?;
        offset += length as u64;
        last[0] = *buffer[..length].last().unwrap_or(&last[0]);
        if length < PIECE {
            return Ok(last == *b"\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::copy_truncate;
    use std::fs;

    #[test]
    fn a_copy_that_was_cut_off_at_any_step_is_gone_on_with() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (log, copy) = (folder.path().join("a.log"), folder.path().join("a.log.1"));
        let content = "a line\n".repeat(100_000);
        // Not begun; the copy has its name but not all lines; the log was emptied and has new lines.
        for (begun, later, is_done) in
            [(None, "", true), (Some(&content[..7000]), "", true), (Some(&content[..]), "new\n", false)]
        {
            let _ = fs::remove_file(&copy);
            fs::write(&log, if later.is_empty() { &content } else { later }).expect("written");
            if let Some(begun) = begun {
                fs::write(&copy, begun).expect("written");
            }
            assert_eq!(copy_truncate(&log, &copy).expect("copied"), is_done);
            assert!(fs::read_to_string(&copy).expect("read") == content);
            assert_eq!(fs::read_to_string(&log).expect("read"), later);
        }
        assert_eq!(folder.path().read_dir().expect("listed").count(), 2);
    }

    #[test]
    fn a_log_that_was_emptied_and_has_grown_longer_than_its_copy_is_not_emptied_again() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (log, copy) = (folder.path().join("a.log"), folder.path().join("a.log.1"));
        fs::write(&copy, "an old line\n").expect("written");
        fs::write(&log, "new line 1\nnew line 2\n").expect("written");
        assert!(!copy_truncate(&log, &copy).expect("looked"));
        assert_eq!(fs::read_to_string(&log).expect("read"), "new line 1\nnew line 2\n");
        assert_eq!(fs::read_to_string(&copy).expect("read"), "an old line\n");
    }
}
