use super::admission::Candidate;
use super::archives;
use super::family::{family_path, plain_name};
use super::following::Following;
use super::identity::{Attributes, Key};
use super::search::Search;
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a link led to last, as far as it is known.
struct Last {
    inode: u64,
    modified: i64,
    born: Option<i64>,
}

impl Last {
    /// Whether a file was begun after it and written to after it.
    fn is_before(&self, of: &Attributes) -> bool {
        let is_born_later = self.born.zip(of.born).is_none_or(|(last, born)| born > last);
        of.key.inode != self.inode && of.modified >= self.modified && is_born_later
    }
}

impl Following {
    /// The files that a link, or a link to their folder, led to between two looks or while the agent was away: `rotatelogs -L`
    /// and its like may switch it more than once. They are beside what it leads to now, have the same owner, the same name
    /// but for numbers, and came between what it led to last and what it leads to now.
    pub(super) fn between(&self, path: &Path, search: &Search) -> Vec<Candidate> {
        let is_link = |path: &Path| path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
        let Some(last) = self.last_behind(path, search) else { return Vec::new() };
        // Of the file itself, or of its folder.
        let Some((link, rest)) = [Some((path, None)), path.parent().zip(path.file_name().map(Some))]
            .into_iter()
            .flatten()
            .find(|(link, _)| is_link(link))
        else {
            return Vec::new();
        };
        let (Ok(target), Ok(now)) = (link.canonicalize(), path.metadata()) else { return Vec::new() };
        let newest = Attributes::of(&now);
        let Some(folder) = target.parent().filter(|_| is_numbered(&target) && newest.key.inode != last.inode) else {
            return Vec::new();
        };
        let entries = folder.read_dir().into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
        let alike = entries.filter(|entry| shape(&target) == shape(entry) && *entry != target);
        let files = alike.map(|entry| rest.map_or_else(|| entry.clone(), |rest| entry.join(rest)));
        let candidates = files.filter_map(|file| {
            let metadata = file.symlink_metadata().ok().filter(Metadata::is_file)?;
            let attributes = Attributes::of(&metadata);
            let (folder, name) = (file.parent()?, file.file_name()?.to_owned());
            let born = newest.born.zip(attributes.born);
            let is_earlier = born.map_or(attributes.modified <= newest.modified, |(now, born)| born <= now);
            let is_one = is_earlier && last.is_before(&attributes) && metadata.uid() == now.uid();
            let is_meant = !search.is_of_an_output(folder, &name.to_string_lossy())
                && self.source.takes(&file, &name.to_string_lossy());
            (is_one && is_meant && !self.is_followed(attributes.key)).then(|| Candidate {
                home: generation_of(path).into(),
                folder: folder.into(),
                name,
                inode: Key::of(&metadata).inode,
                attributes,
                wanted: false,
                is_link: false,
                held: None,
                is_gone: false,
                path: file.as_path().into(),
            })
        });
        candidates.collect()
    }

    /// The files that were written and renamed between two looks, to names that do not tell their log (`app-1.log`,
    /// `app@0006….log`). The one that was seen last has such a name now, and they have it but for numbers, beside it.
    pub(super) fn renamed_unseen(&self, candidates: &[Candidate], search: &Search) -> Vec<Candidate> {
        let logs = candidates.iter().filter(|candidate| candidate.wanted && !candidate.is_link && !search.is_first);
        logs.flat_map(|log| self.between_renames(log, search)).collect()
    }

    fn between_renames(&self, log: &Candidate, search: &Search) -> Vec<Candidate> {
        let last = self.newest.get(&*family_path(&log.home)).and_then(|sequence| self.file(*sequence));
        let Some((last, path)) =
            last.filter(|last| last.origin == log.path).and_then(|last| Some((last, last.path()?)))
        else {
            return Vec::new();
        };
        let Some((folder, name)) = path.parent().zip(path.file_name()) else { return Vec::new() };
        if path == log.path || *folder == *self.pins.folder || family_path(&path) == family_path(&log.path) {
            return Vec::new();
        }
        let (shape, owner) = (archives::shape(name), last.file.metadata().ok().map(|metadata| metadata.uid()));
        let entries = folder.read_dir().into_iter().flatten().filter_map(Result::ok);
        let alike = entries.filter(|entry| !shape.is_empty() && archives::shape(&entry.file_name()) == shape);
        let candidates = alike.filter_map(|entry| {
            let metadata = entry.metadata().ok().filter(Metadata::is_file)?;
            let (attributes, file) = (Attributes::of(&metadata), entry.path());
            let (born, name) = (attributes.born?, entry.file_name());
            let is_between =
                last.born.is_some_and(|last| born > last) && log.attributes.born.is_some_and(|now| born < now);
            let is_meant = Some(metadata.uid()) == owner
                && !search.is_of_an_output(folder, &name.to_string_lossy())
                && !self.source.patterns.exclude(&file, &name.to_string_lossy())
                && self.at(&family_path(&file)).is_none();
            (is_between && is_meant && !self.is_followed(attributes.key)).then(|| Candidate {
                home: generation_of(&log.path).into(),
                folder: folder.into(),
                name,
                inode: Key::of(&metadata).inode,
                attributes,
                wanted: false,
                is_link: false,
                held: None,
                is_gone: false,
                path: file.as_path().into(),
            })
        });
        candidates.collect()
    }

    fn last_behind(&self, link: &Path, search: &Search) -> Option<Last> {
        if let Some(file) = self.newest.get(&*family_path(link)).and_then(|sequence| self.file(*sequence)) {
            let _ = file.look();
            return Some(Last { inode: file.key.inode, modified: file.modified(), born: file.born });
        }
        let known = search.known.at(&self.source, link).map(|earlier| &earlier.position);
        let last = known.filter(|_| search.is_first).max_by_key(|position| position.modified)?;
        Some(Last { inode: last.inode, modified: last.modified, born: last.born })
    }
}

/// A name that is told for a generation of what is read by the link.
fn generation_of(link: &Path) -> PathBuf {
    let mut name = link.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// What is the same in all names of its generations: what is left without date or number, and its letters.
fn shape(path: &Path) -> Option<(OsString, String)> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let letters = plain_name(&name).chars().filter(|c| c.is_alphabetic()).collect();
    Some((family_path(path).file_name()?.to_owned(), letters))
}

/// Whether a number or a date in the name tells it from others.
fn is_numbered(path: &Path) -> bool {
    family_path(path) != path
}

#[cfg(test)]
mod tests {
    use super::{is_numbered, shape};
    use std::path::Path;

    #[test]
    fn names_are_alike_but_for_their_numbers() {
        let of = |name: &str| shape(Path::new(name));
        for (a, b) in [
            ("/l/app.1795100000.log", "/l/app.1795200001.log"),
            ("/l/app.2026-11-20-10_11_12.log", "/l/app.2026-11-21-00_00_00.log.gz"),
            ("/l/access.log.20261120", "/l/access.log.20261121"),
            ("/l/access.log.1795100000", "/l/access.log.1795100000.1"),
        ] {
            assert_eq!(of(a), of(b));
            assert!(is_numbered(Path::new(a)), "{a}");
        }
        for (a, b) in [
            ("/l/app.1795100000.log", "/l/other.1795100000.log"),
            ("/l/app.1795100000.log", "/l/app.1795100000.err"),
            ("/l/app.2026-11-20.log", "/l/app.log.err"),
        ] {
            assert_ne!(of(a), of(b));
        }
        assert!(!is_numbered(Path::new("/l/app.log")));
    }
}
