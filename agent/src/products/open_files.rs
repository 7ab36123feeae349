use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Device and inode: the same for a file in every mount namespace, so that writers in containers are seen.
pub(super) type FileId = (u64, u64);

/// Who has which of some files open for writing.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    writers: HashMap<FileId, String>,
    /// Processes whose files cannot be seen.
    pub(super) hidden: usize,
}

impl OpenFiles {
    /// Looks through the open files of all processes.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub(super) fn find(wanted: &HashSet<FileId>) -> io::Result<Self> {
        let mut found = Self::default();
        if wanted.is_empty() {
            return Ok(found);
        }
        for entry in fs::read_dir("/proc")? {
            let process = entry?.path();
            let is_process =
                process.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.parse::<u32>().is_ok());
            if is_process && found.look_at(&process, wanted).is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied)
            {
                found.hidden += 1;
            }
        }
        Ok(found)
    }

    /// The process that has a file open for writing: "pid 4711 (convert)".
    pub(super) fn writer(&self, file: FileId) -> Option<&str> {
        self.writers.get(&file).map(String::as_str)
    }

    /// Errors other than a lack of rights mean that the process has ended meanwhile.
    fn look_at(&mut self, process: &Path, wanted: &HashSet<FileId>) -> io::Result<()> {
        for entry in fs::read_dir(process.join("fd"))? {
            let fd = entry?;
            // Sockets, pipes and the like have no path: most of all there is, told apart without a look at the file.
            let Ok(target) = fs::read_link(fd.path()) else { continue };
            if !target.is_absolute() {
                continue;
            }
            let Ok(metadata) = fs::metadata(fd.path()) else { continue };
            let file = (metadata.dev(), metadata.ino());
            if wanted.contains(&file) && is_writable(&process.join("fdinfo").join(fd.file_name())) {
                self.writers.insert(file, name(process));
            }
        }
        Ok(())
    }
}

/// Whether the access mode in an fdinfo is not O_RDONLY; if it cannot be told, it counts as written.
fn is_writable(fdinfo: &Path) -> bool {
    let Ok(text) = fs::read_to_string(fdinfo) else { return fdinfo.exists() };
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    // O_WRONLY is 1, O_RDWR is 2 (open(2)).
    flags.is_none_or(|flags| flags & 3 != 0)
}

fn name(process: &Path) -> String {
    let pid = process.file_name().unwrap_or_default().to_string_lossy();
    let command = fs::read_to_string(process.join("comm")).unwrap_or_default();
    format!("pid {pid} ({})", command.trim_end())
}

#[cfg(test)]
mod tests {
    use super::OpenFiles;
    use std::collections::HashSet;
    use std::fs::{File, OpenOptions};
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_file_open_for_writing_is_told_from_one_that_is_read() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("f");
        let writer = File::create(&path).expect("created");
        let metadata = writer.metadata().expect("metadata");
        let file = (metadata.dev(), metadata.ino());
        let wanted = HashSet::from([file]);
        let found = OpenFiles::find(&wanted).expect("found");
        assert!(found.writer(file).is_some_and(|who| who.contains(&std::process::id().to_string())), "{found:?}");
        drop(writer);
        let reader = File::open(&path).expect("opened");
        assert_eq!(OpenFiles::find(&wanted).expect("found").writer(file), None);
        let appender = OpenOptions::new().append(true).open(&path).expect("opened");
        assert!(OpenFiles::find(&wanted).expect("found").writer(file).is_some());
        drop((reader, appender));
    }
}
