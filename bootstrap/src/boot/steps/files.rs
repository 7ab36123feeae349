use super::folder::Folder;
use super::request::Request;
use super::{Action, Context, Failure, Outcome, accounts, each, place};
use crate::boot::host::read_bounded;
use crate::boot::userdata::files::WriteFile;
use crate::boot::web::shown;
use hostwright_core::hex::hex;
use hostwright_core::state::{StateError, StateFile};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A file to whose end something is added is read and written as a whole.
const MAX_APPENDED: u64 = 64 << 20;

/// Files that shall be there.
#[derive(Serialize)]
pub struct WriteFiles {
    name: &'static str,
    files: Vec<WriteFile>,
}

impl WriteFiles {
    /// `name` is the step's.
    pub fn new<'f>(name: &'static str, files: impl Iterator<Item = &'f WriteFile>) -> Self {
        Self { name, files: files.cloned().collect() }
    }
}

/// How far a file came, by its place in the list and a digest of all that is said of it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Progress {
    Begun,
    Done,
}

/// What is done of a step's files survives a restart: a file that is done is not written over while another one fails,
/// and what is appended is so once.
struct Notes {
    state: StateFile<BTreeMap<String, Progress>>,
    files: BTreeMap<String, Progress>,
}

impl Notes {
    /// What was noted of these files; what the list no longer has is forgotten.
    fn load(context: &Context<'_>, name: &str, keys: &[String]) -> Result<Self, StateError> {
        let mut state = StateFile::new(context.folder.join(format!("{}.json", name.replace(' ', "-"))), 1);
        let mut files: BTreeMap<String, Progress> = state.load()?.unwrap_or_default();
        files.retain(|key, _| keys.contains(key));
        Ok(Self { state, files })
    }

    fn note(&mut self, key: &str, progress: Progress) -> Result<(), Failure> {
        self.files.insert(key.to_owned(), progress);
        self.store()
    }

    fn store(&mut self) -> Result<(), Failure> {
        self.state.store(&self.files).map_err(|error| told(&error))
    }
}

fn told(error: &StateError) -> Failure {
    let why = format!("{error}: {}", std::error::Error::source(error).map(ToString::to_string).unwrap_or_default());
    Failure::new(why, "see that the disk is writable and has space; the next boot tries again")
}

impl Action for WriteFiles {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let keys: Vec<_> = self.files.iter().enumerate().map(|(index, file)| key(index, file)).collect();
        let notes = RefCell::new(Notes::load(context, self.name, &keys).map_err(|error| told(&error))?);
        let items: Vec<_> = self.files.iter().zip(&keys).enumerate().collect();
        let name = |(_, (file, _)): &(usize, (&WriteFile, _))| file.path.display().to_string();
        let all = each(&items, name, |(index, (file, key))| {
            let mut notes = notes.borrow_mut();
            let progress = notes.files.get(*key).copied();
            if progress == Some(Progress::Done) {
                return Ok(());
            }
            if file.append {
                notes.note(key, Progress::Begun)?;
                write(context, file, progress.is_some())?;
                return notes.note(key, Progress::Done);
            }
            // What was appended to it before is gone with it.
            let later = items[index + 1..].iter().filter(|(_, (later, _))| later.path == file.path);
            for (_, (_, key)) in later {
                notes.files.remove(*key);
            }
            // Written as a whole, it may be written again after a cut: the note is on disk with those of the others.
            write(context, file, false)?;
            notes.files.insert((*key).clone(), Progress::Done);
            Ok(())
        });
        let folders: BTreeSet<_> = self.files.iter().filter_map(|file| file.path.parent()).collect();
        let there = folders.into_iter().filter(|folder| context.host.path(folder).is_dir());
        let synced = there.map(|folder| place::sync(context, folder)).find(Result::is_err).unwrap_or(Ok(()));
        all.and(synced.and_then(|()| notes.into_inner().store())).map(|()| Outcome::Done)
    }
}

fn key(index: usize, file: &WriteFile) -> String {
    // Nothing in it has keys that are no strings, so there is no error to lose.
    format!("{index} {}", hex(&Sha256::digest(serde_json::to_vec(file).unwrap_or_default())))
}

/// `was_begun`: it may be there already.
fn write(context: &Context<'_>, file: &WriteFile, was_begun: bool) -> Result<(), Failure> {
    let owner = accounts::owner(context.host, &file.owner)?;
    let wanted = wanted(context, file)?;
    let mut content = Vec::new();
    if file.append {
        let folder = Folder::open_or_make(context.host, file.path.parent().unwrap_or(Path::new("/")));
        let read = folder.and_then(|folder| folder.read(file.path.file_name().unwrap_or_default(), MAX_APPENDED));
        content = read.map_err(|error| Failure::io("read what it shall be added to", &error))?.unwrap_or_default();
    }
    if !(file.append && was_begun && content.ends_with(&wanted)) {
        content.extend_from_slice(&wanted);
    }
    let place = place::File { path: &file.path, content: &content, mode: file.mode, owner };
    if file.append { place.place(context) } else { place.place_one_of_many(context) }
}

/// Its content: from its source, or what is given for when that cannot be had.
fn wanted<'f>(context: &Context<'_>, file: &'f WriteFile) -> Result<Cow<'f, [u8]>, Failure> {
    let Some(source) = &file.source else { return Ok(Cow::Borrowed(&file.content)) };
    let fetched = match source.path() {
        Some(path) => read_bounded(&context.host.path(path), MAX_APPENDED)
            .map_err(|e| Failure::io(format!("read {}", shown(&source.uri)), &e)),
        None => Request::get(&source.uri, &source.headers, MAX_APPENDED).send(context.host),
    };
    let decoded = fetched.and_then(|content| {
        let remedy = "correct its encoding in the user-data";
        source.encoding.decode(content).map_err(|why| Failure::new(format!("{}: {why}", shown(&source.uri)), remedy))
    });
    match decoded {
        Ok(content) => Ok(Cow::Owned(content)),
        Err(failure) if file.content.is_empty() => Err(failure),
        Err(failure) => {
            log::warn!("{}; the content that the user-data gives is taken", failure.why);
            Ok(Cow::Borrowed(&file.content))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Action as _, Context, Failure};
    use super::WriteFiles;
    use crate::boot::host::Host;
    use crate::boot::userdata::files::WriteFile;
    use std::os::unix::fs::PermissionsExt as _;

    fn file(path: &str, content: &str) -> WriteFile {
        let (owner, content) = ("root:root".into(), content.into());
        WriteFile { path: path.into(), content, owner, mode: 0o640, ..WriteFile::default() }
    }

    fn write_in(tree: &std::path::Path, file: &WriteFile) -> Result<(), Failure> {
        write_all(tree, &[file])
    }

    fn write_all(tree: &std::path::Path, files: &[&WriteFile]) -> Result<(), Failure> {
        let host = Host::new(tree.to_owned(), "/proc".into(), "/sys".into()).expect("host");
        let context = Context { host: &host, instance_id: "i-1", folder: tree.to_owned(), resumed: true };
        WriteFiles::new("files", files.iter().copied()).run(&context).map(drop)
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
    fn while_one_file_fails_the_others_are_not_touched_again() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let whole = file("/whole", "one\n");
        let more = WriteFile { append: true, ..file("/more", "b\n") };
        let failing = WriteFile { owner: "app:app".into(), ..file("/app", "x") };
        let path = |name: &str| tree.path().join(name);
        for _ in 0..2 {
            write_all(tree.path(), &[&whole, &more, &more, &failing]).expect_err("no user app");
            assert_eq!(std::fs::read_to_string(path("more")).expect("read").matches('b').count(), 2);
            std::fs::write(path("whole"), "an operator's\n").expect("written");
            std::fs::write(path("more"), "b\nb\nan operator's\n").expect("written");
        }
        assert_eq!(std::fs::read_to_string(path("whole")).expect("read"), "an operator's\n");
        // The user-data changed: what is appended to a file that is written anew is appended anew.
        let [new, end] = [file("/more", "new\n"), WriteFile { append: true, ..file("/more", "end\n") }];
        write_all(tree.path(), &[&new, &end]).expect("written");
        let newer = file("/more", "newer\n");
        write_all(tree.path(), &[&newer, &end]).expect("written");
        assert_eq!(std::fs::read_to_string(path("more")).expect("read"), "newer\nend\n");
    }

    #[test]
    fn nothing_is_appended_to_what_a_link_names() {
        let tree = tempfile::tempdir().expect("temporary folder");
        std::fs::write(tree.path().join("secret"), "s\n").expect("written");
        std::os::unix::fs::symlink("secret", tree.path().join("log")).expect("linked");
        let failure = write_in(tree.path(), &WriteFile { append: true, ..file("/log", "b\n") }).expect_err("refused");
        assert!(failure.why.contains("it is a link"), "{failure:?}");
    }

    #[test]
    fn a_source_that_cannot_be_had_leaves_the_content_that_is_given() {
        let tree = tempfile::tempdir().expect("temporary folder");
        std::fs::write(tree.path().join("source"), "aGk=").expect("written");
        let source = |uri: &str| {
            let text = format!(
                "#cloud-config\nwrite_files: [{{path: /a, encoding: b64, content: {}, source: {{uri: '{uri}'}}}}]\n",
                "b3I="
            );
            crate::boot::userdata::read(text.as_bytes()).config.files.remove(0)
        };
        write_in(tree.path(), &source("file:///source")).expect("written");
        assert_eq!(std::fs::read_to_string(tree.path().join("a")).expect("read"), "hi");
        write_in(tree.path(), &source("file:///none")).expect("written");
        assert_eq!(std::fs::read_to_string(tree.path().join("a")).expect("read"), "or");
        write_in(tree.path(), &WriteFile { content: Vec::new(), ..source("file:///none") })
            .expect_err("nothing to write");
    }

    #[test]
    fn a_missing_owner_is_told() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let failure =
            write_in(tree.path(), &WriteFile { owner: "app:app".into(), ..file("/a", "x") }).expect_err("refused");
        assert!(failure.why.contains("no user app") && !tree.path().join("a").exists());
    }
}
