use super::{Action, Context, Failure, Outcome, accounts, each, place};
use crate::boot::host::read_bounded;
use crate::boot::userdata::files::WriteFile;
use serde::Serialize;
use std::io;

/// A file to whose end something is added is read and written as a whole.
const MAX_APPENDED: u64 = 64 << 20;

/// Files that shall be there.
#[derive(Serialize)]
pub struct WriteFiles {
    files: Vec<WriteFile>,
}

impl WriteFiles {
    pub fn new<'f>(files: impl Iterator<Item = &'f WriteFile>) -> Self {
        Self { files: files.cloned().collect() }
    }
}

impl Action for WriteFiles {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        each(&self.files, |file| file.path.display().to_string(), |file| write(context, file))?;
        Ok(Outcome::Done)
    }
}

fn write(context: &Context<'_>, file: &WriteFile) -> Result<(), Failure> {
    let owner = accounts::owner(context.host, &file.owner)?;
    let mut content = Vec::new();
    if file.append {
        content = match read_bounded(&context.host.path(&file.path), MAX_APPENDED) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(|error| Failure::io("read what it shall be added to", &error))?,
        };
    }
    // Also when the step was cut off after this file: the end is added once.
    if !file.append || !content.ends_with(&file.content) {
        content.extend_from_slice(&file.content);
    }
    place::File { path: &file.path, content: &content, mode: file.mode, owner }.place(context)
}

#[cfg(test)]
mod tests {
    use super::super::{Context, Failure};
    use super::write;
    use crate::boot::host::Host;
    use crate::boot::userdata::files::WriteFile;
    use std::os::unix::fs::PermissionsExt as _;

    fn file(path: &str, content: &str) -> WriteFile {
        let (owner, content) = ("root:root".into(), content.into());
        WriteFile { path: path.into(), content, owner, mode: 0o640, append: false, defer: false }
    }

    fn write_in(tree: &std::path::Path, file: &WriteFile) -> Result<(), Failure> {
        let host = Host::new(tree.to_owned(), "/proc".into(), "/sys".into()).expect("host");
        let context = Context { host: &host, instance_id: "i-1", folder: tree.to_owned(), resumed: true };
        write(&context, file)
    }

    #[test]
    fn files_get_their_folders_and_mode_and_replace_a_link_in_the_last_place() {
        let tree = tempfile::tempdir().expect("temporary folder");
        write_in(tree.path(), &file("/etc/app/a.conf", "one")).expect("written");
        let path = tree.path().join("etc/app/a.conf");
        assert_eq!(path.metadata().expect("metadata").permissions().mode() & 0o777, 0o640);
        let link = tree.path().join("etc/app/link");
        std::os::unix::fs::symlink("a.conf", &link).expect("linked");
        write_in(tree.path(), &file("/etc/app/link", "two")).expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "one");
        assert_eq!(std::fs::read_to_string(&link).expect("read"), "two");
    }

    #[test]
    fn what_is_appended_is_appended_once() {
        let tree = tempfile::tempdir().expect("temporary folder");
        std::fs::write(tree.path().join("fstab"), "a\n").expect("written");
        let file = WriteFile { append: true, ..file("/fstab", "b\n") };
        for _ in 0..2 {
            write_in(tree.path(), &file).expect("written");
        }
        assert_eq!(std::fs::read_to_string(tree.path().join("fstab")).expect("read"), "a\nb\n");
    }

    #[test]
    fn a_missing_owner_is_told() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let failure =
            write_in(tree.path(), &WriteFile { owner: "app:app".into(), ..file("/a", "x") }).expect_err("refused");
        assert!(failure.why.contains("no user app") && !tree.path().join("a").exists());
    }
}
