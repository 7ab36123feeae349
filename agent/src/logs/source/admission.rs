use super::Source;
use super::compressed::Compressed;
use super::entry::LINGER;
use super::family::{family_path, is_complete_label, is_compressed, is_later, plain_name, unprocessed};
use super::followed::{FollowedFile, Found, Opened};
use super::following::Following;
use super::identity::{Attributes, Content, Digest, HEAD, Key, Point, WINDOW, modified};
use super::known::{Earlier, Identified};
use super::links;
use super::search::Search;
use super::wide::Order;
use crate::logs::positions::{MISSING_SECONDS, Position};
use hostwright_core::config::logs::Encoding;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The last line's beginning is looked for in so many bytes.
const LAST_LINE: u64 = 64 << 10;

/// A regular file in one of the folders, which may be one to follow.
#[derive(Debug)]
pub struct Candidate {
    pub path: Arc<Path>,
    /// The same, unless its folder is an archive: then where it would be if it had stayed with its log.
    pub home: Arc<Path>,
    pub folder: Arc<Path>,
    pub name: OsString,
    /// As the folder lists it.
    pub inode: u64,
    pub attributes: Attributes,
    /// Its name is asked for.
    pub wanted: bool,
    pub is_link: bool,
    /// Opened before; its path may be another file's by now.
    pub held: Option<File>,
    /// It has no name any more.
    pub is_gone: bool,
}

/// What is to be done about it.
#[derive(Debug)]
pub enum Verdict {
    Follow(Box<Found>),
    /// The same of one that was written after this time, whatever its own says.
    FollowAfter(i64, Box<Found>),
    /// Not yet, or not to be told yet.
    Later,
    Never,
    Failed(io::Error),
}

/// Whether a file that is not followed is to be, and what it was called when it was written.
pub fn admit(candidate: &Candidate, following: &Following, search: &Search) -> Verdict {
    let opened = match open(candidate) {
        Ok(Some(opened)) => opened,
        Ok(None) => return Verdict::Later,
        Err(error) => return Verdict::Failed(error),
    };
    let base = family_path(&candidate.home);
    let judgement = judge(candidate, &opened, following, search);
    let after = if let Judgement::After(time) = judgement { Some(time) } else { None };
    let origin = match judgement {
        Judgement::Known(path) => candidate.shared(&path),
        Judgement::Generation | Judgement::After(_) => candidate.shared(&base),
        Judgement::Wanted => candidate.path.clone(),
        Judgement::Later => return Verdict::Later,
        Judgement::Never => return Verdict::Never,
    };
    let family = family_path(if *origin == *candidate.path { &candidate.home } else { &origin });
    let family = if *family == *origin { origin.clone() } else { candidate.shared(&family) };
    let start = search
        .from_end
        .contains(&following.source.name)
        .then(|| end_of(&opened, candidate.attributes.size, following.source.recipe.encoding))
        .flatten()
        .map(Box::new);
    let found = Box::new(Found {
        opened,
        path: candidate.path.clone(),
        origin,
        family,
        attributes: candidate.attributes,
        start,
        former: None,
        heritage: None,
    });
    match after {
        Some(time) => Verdict::FollowAfter(time, found),
        None => Verdict::Follow(found),
    }
}

enum Judgement {
    /// It was followed in an earlier run, when it had this path.
    Known(PathBuf),
    /// It is a generation, or the copy of one, of a log whose name is asked for.
    Generation,
    /// It is one that was never followed, and was written after this time, as its name tells.
    After(i64),
    Wanted,
    Later,
    Never,
}

fn judge(candidate: &Candidate, opened: &Opened, following: &Following, search: &Search) -> Judgement {
    if following.products.contains(&*candidate.path) {
        return Judgement::Never;
    }
    // It is there already, and what it was made of is not gone yet.
    let unprocessed = unprocessed(&candidate.name.to_string_lossy());
    if unprocessed.is_some_and(|name| candidate.path.with_file_name(name).exists()) {
        return Judgement::Later;
    }
    let source = &following.source;
    let base = family_path(&candidate.home);
    let identified =
        Identified { inode: candidate.attributes.key.inode, born: candidate.attributes.born, content: opened };
    if let Some(known) = search.known.recognise(source, &identified) {
        return Judgement::Known(known.path.clone().into());
    }
    if *base != *candidate.home && is_copy_of_known(&base, candidate, opened, (source, search)) {
        return Judgement::Later;
    }
    // Both came up just now.
    let is_unseen = || *base != *candidate.home && !search.is_first && following.is_unseen(&base, search);
    if is_unseen() && original_at(&base, candidate, opened).is_some() {
        return Judgement::Later;
    }
    // It was made before the configuration was loaded anew, of one that is still read.
    let size = || opened.stated_size().unwrap_or(candidate.attributes.size);
    if search.is_first
        && *base != *candidate.home
        && following.gone(&base).any(|original| is_copy_of(original, opened, size()))
    {
        return Judgement::Later;
    }
    if let Opened::Compressed(compressed) = opened {
        return judge_compressed(candidate, (opened, compressed), following, search);
    }
    // Other formats, and what is being compressed.
    if is_compressed(&candidate.name.to_string_lossy()) {
        return Judgement::Later;
    }
    let is_copy = |original: &FollowedFile| is_copy_of(original, opened, candidate.attributes.size);
    if *base != *candidate.home
        && (following.at(&base).is_some_and(|log| is_copy(log)) || following.gone(&base).any(is_copy))
    {
        return Judgement::Later;
    }
    if candidate.wanted {
        return wanted(candidate, &base);
    }
    let modified = candidate.attributes.modified;
    let came = || *base != *candidate.home && search.came_after_start(modified) && is_remembered(modified);
    match search.is_first {
        true if search.known.copied(source, &base, opened).next().is_some() => Judgement::Generation,
        true => missed(candidate, &base, following, search).unwrap_or(Judgement::Never),
        false if came() => Judgement::Generation,
        false => Judgement::Never,
    }
}

/// A name that is asked for may be that of a generation, which has another one at the next rotation.
fn wanted(candidate: &Candidate, base: &Path) -> Judgement {
    let is_log = *base != *candidate.home && base.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
    if is_log { Judgement::Generation } else { Judgement::Wanted }
}

/// A compressed generation is of use where its plain file was not read to its end, or never seen.
fn judge_compressed(
    candidate: &Candidate,
    (opened, compressed): (&Opened, &Compressed),
    following: &Following,
    search: &Search,
) -> Judgement {
    let name = candidate.name.to_string_lossy();
    let plain = candidate.path.with_file_name(plain_name(&name));
    if plain_name(&name) != name && plain.exists() && may_be_made_of(&plain, compressed) {
        return Judgement::Later;
    }
    if !search.is_first {
        return judge_new_compressed(candidate, (opened, compressed), following, search);
    }
    let base = family_path(&candidate.home);
    let Ok(content) = compressed.in_order() else { return Judgement::Later };
    let source = &following.source;
    let plain = candidate.home.with_file_name(plain_name(&name));
    // A log with a date in the name under which it was written is its own base.
    let own = search.known.at(source, &plain).filter(|_| *plain != *base);
    let mut own: Vec<_> = own.filter(|known| known.position.begins(&content)).collect();
    own.sort_by_key(|known| known.position.point.offset);
    let is_unread = |known: &Earlier| !compressed.may_end_at(known.position.point.offset);
    if own.iter().any(|known| is_unread(known))
        && let Ok(content) = compressed.in_order()
        && own.iter().any(|known| is_unread(known) && known.position.is_in(&content))
    {
        return Judgement::Known(plain);
    }
    let mut known: Vec<_> = search.known.at(source, &base).filter(|known| known.position.begins(&content)).collect();
    known.extend(own);
    known.sort_by_key(|known| known.position.point.offset);
    let second = |modified: i64| modified.div_euclid(1_000_000_000);
    let is_read = |known: &Position| compressed.may_end_at(known.point.offset);
    // Without decompressing all of it: the programs that compress keep the time.
    let now = compressed.metadata().map_or(candidate.attributes.modified, |metadata| modified(&metadata));
    let is_certain = |known: &Position| second(known.modified) == second(now);
    let read_by = |of: &dyn Fn(&Position) -> bool| -> BTreeSet<&str> {
        known.iter().filter(|known| of(&known.position)).map(|known| &*known.output).collect()
    };
    let read_for_certain = read_by(&|known| is_certain(known) && is_read(known));
    if !read_for_certain.is_empty() && search.known.is_every_output(source, &read_for_certain) {
        return Judgement::Never;
    }
    if known.iter().any(|Earlier { position, .. }| !is_read(position) && position.is_in(&content)) {
        return Judgement::Generation;
    }
    let read_by = read_by(&is_read);
    match () {
        () if read_by.is_empty() => {}
        () if search.known.is_every_output(source, &read_by) => return Judgement::Never,
        // Another output had not even seen it.
        () => return Judgement::Generation,
    }
    if let Some(judgement) = missed(candidate, &base, following, search) {
        return judgement;
    }
    match () {
        () if is_later_by_time(candidate, search.known.dated(source, &plain)) => Judgement::Wanted,
        () if candidate.wanted => wanted(candidate, &base),
        () => Judgement::Never,
    }
}

/// Whether a compressed file, which may not be complete yet, begins as a plain one does. Two that rotate, one by numbers and one
/// that keeps what is compressed, may have others under these names.
fn may_be_made_of(plain: &Path, compressed: &Compressed) -> bool {
    let begins_alike = || -> io::Result<bool> {
        let (mut of_plain, mut of_compressed) = ([0; HEAD], [0; HEAD]);
        let length = File::open(plain)?.fill_at(&mut of_plain, 0)?;
        let length = compressed.in_order()?.fill_at(&mut of_compressed[..length], 0)?;
        Ok(of_plain[..length] == of_compressed[..length])
    };
    begins_alike().unwrap_or(true)
}

/// Whether it is what svlogd and its like have just made of a generation. By then the next log may have been written to;
/// but each generation that was followed is remembered for longer than that.
fn is_just_processed(name: &str, modified: i64) -> bool {
    let since = Timestamp::now().as_second() - LINGER.as_secs().cast_signed() / 2;
    is_complete_label(name) && modified / 1_000_000_000 >= since
}

/// Of one that came while we looked.
fn judge_new_compressed(
    candidate: &Candidate,
    (opened, compressed): (&Opened, &Compressed),
    following: &Following,
    search: &Search,
) -> Judgement {
    let (base, name) = (family_path(&candidate.home), candidate.name.to_string_lossy());
    let stated = compressed.stated_size();
    let size = stated.unwrap_or(candidate.attributes.size);
    // As it is now that the plain file is gone: while it was being compressed, its time was another.
    let now = compressed.metadata().map_or(candidate.attributes.modified, |metadata| modified(&metadata));
    let is_unseen = || following.is_unseen(&base, search) && search.came_after_start(now);
    let is_later = || is_just_processed(&name, now) || following.is_newer(&base, (now, stated), opened);
    // It was there when its folder was listed, and is gone only now.
    let plain = candidate.path.with_file_name(plain_name(&name));
    if *plain != *candidate.path && following.at(&plain).is_some_and(|original| is_copy_of(original, opened, size)) {
        return Judgement::Later;
    }
    match () {
        () if candidate.wanted && !following.gone(&base).any(|original| is_copy_of(original, opened, size)) => {
            wanted(candidate, &base)
        }
        () if !is_later() && !is_unseen() => Judgement::Never,
        () if following.at(&base).is_some_and(|original| is_copy_of(original, opened, size)) => Judgement::Later,
        // What it was made of is gone, and is still read.
        () if following.gone(&base).any(|original| is_copy_of(original, opened, size)) => Judgement::Later,
        // It came, was rotated and compressed between two looks.
        () => Judgement::Generation,
    }
}

/// What a file is that was written after something that is known of its log: then it came and was rotated while nobody
/// looked, or before more than later files was stored; if it had been read, its position would be known.
fn missed(candidate: &Candidate, base: &Path, following: &Following, search: &Search) -> Option<Judgement> {
    let known = || search.known.at(&following.source, base);
    match is_later_by_time(candidate, known()) {
        true => Some(Judgement::Generation),
        false => later_by_name(candidate, known(), following).map(Judgement::After),
    }
}

/// When what was the log at the agent's end was last written, if that has a name by which this one came after it. Then it was
/// never seen, whatever time somebody gave it.
fn later_by_name<'a>(
    candidate: &Candidate,
    known: impl Iterator<Item = &'a Earlier>,
    following: &Following,
) -> Option<i64> {
    // The one that was being written is the last that was followed.
    let there = known.map(|known| &known.position).filter(|position| position.was_there());
    let last = there.max_by_key(|position| (position.born, position.modified))?;
    let path = following.coming.get(&last.inode)?;
    let is_beside = path.parent() == candidate.path.parent() && family_path(path) == family_path(&candidate.path);
    let other = path.file_name()?.to_string_lossy();
    if !is_beside || is_later(&candidate.name.to_string_lossy(), &other) != Some(true) {
        return None;
    }
    let opened = File::open(path).and_then(Opened::of).ok().filter(|opened| last.is_in(opened))?;
    opened.metadata().ok().map(|metadata| modified(&metadata))
}

/// Whether it is later than one of these, and what it would have been read of it could not be forgotten yet, or than all.
fn is_later_by_time<'a>(candidate: &Candidate, known: impl Iterator<Item = &'a Earlier>) -> bool {
    let modified = candidate.attributes.modified;
    let known: Vec<i64> = known.map(|known| known.position.modified).collect();
    let is_newest = !known.is_empty() && known.iter().all(|known| modified > *known);
    is_newest || (is_remembered(modified) && known.iter().any(|known| modified > *known))
}

/// Whether the position in a file that was last written then cannot be forgotten yet.
fn is_remembered(modified: i64) -> bool {
    // Less a day, for clocks that are set.
    const SECONDS: i64 = MISSING_SECONDS - 86_400;
    modified / 1_000_000_000 >= Timestamp::now().as_second() - SECONDS
}

/// Whether a file has nothing that the log does not have: a copy that comes before a truncation. It is followed when the
/// log was truncated, from where the log was read to.
fn is_copy_of(original: &FollowedFile, copy: &Opened, size: u64) -> bool {
    !original.is_replaced() && size <= original.size() && is_copy(&original.file, copy, size)
}

/// The same before the log is followed again: it is still what an earlier run had read.
fn is_copy_of_known(base: &Path, copy: &Candidate, opened: &Opened, (source, search): (&Source, &Search)) -> bool {
    if !search.is_first || search.known.at(source, base).next().is_none() {
        return false;
    }
    original_at(base, copy, opened).is_some_and(|(now, log)| {
        let identified = Identified { inode: now.key.inode, born: now.born, content: &log };
        search.known.recognise(source, &identified).is_some()
    })
}

/// The log of a rotated file, if it has all that is in that.
fn original_at(base: &Path, copy: &Candidate, opened: &Opened) -> Option<(Attributes, Opened)> {
    let file = File::open(base).ok()?;
    let now = Attributes::of(&file.metadata().ok().filter(Metadata::is_file)?);
    let log = Opened::of(file).ok()?;
    let size = opened.stated_size().unwrap_or(copy.attributes.size);
    (size <= now.size && is_copy(&log, opened, size)).then_some((now, log))
}

/// Whether a content begins as another one of this size does and goes on as that one ends.
pub fn is_copy(original: &Opened, copy: &Opened, size: u64) -> bool {
    is_same((original, size), (copy, size), size).unwrap_or(false)
}

/// Whether two contents begin alike and end alike in so many bytes that end at a place in each.
pub fn is_same(a: (&impl Content, u64), b: (&impl Content, u64), size: u64) -> io::Result<bool> {
    let length = WINDOW.min(usize::try_from(size).unwrap_or(WINDOW));
    let same = |back: u64| -> io::Result<bool> {
        let (mut of_a, mut of_b) = ([0; WINDOW], [0; WINDOW]);
        let lengths = (a.0.fill_at(&mut of_a[..length], a.1 - back)?, b.0.fill_at(&mut of_b[..length], b.1 - back)?);
        Ok(lengths == (length, length) && of_a[..length] == of_b[..length])
    };
    Ok(same(size)? && same(length as u64)?)
}

/// None when another file has taken the path.
fn open(candidate: &Candidate) -> io::Result<Option<Opened>> {
    if let Some(held) = &candidate.held {
        return Opened::of(held.try_clone()?).map(Some);
    }
    let file = links::open(&candidate.path)?;
    let key = candidate.attributes.key;
    // On some overlays, the path and the open file have different devices.
    if Key::of(&file.metadata()?) != key && Key::of(&candidate.path.metadata()?) != key {
        return Ok(None);
    }
    Opened::of(file).map(Some)
}

/// Behind the last complete line.
pub fn end_of(opened: &Opened, size: u64, encoding: Encoding) -> Option<Point> {
    // Where a unit of UTF-16 begins.
    let start = size.saturating_sub(LAST_LINE).next_multiple_of(2).min(size);
    let mut bytes = vec![0; usize::try_from(size - start).ok()?];
    let length = opened.fill_at(&mut bytes, start).ok()?;
    bytes.truncate(length);
    let end = match Order::of_file(encoding, opened).ok()? {
        None => memchr::memrchr(b'\n', &bytes).map(|newline| newline + 1),
        Some(order) => order.behind_last_newline(&bytes),
    };
    bytes.truncate(end.unwrap_or(length));
    Some(Point {
        offset: start + bytes.len() as u64,
        window: Digest::of(&bytes),
        inside_cut_line: end.is_none() && !bytes.is_empty(),
    })
}

impl Candidate {
    /// Whether it is in no folder, and was kept open: see [`super::kept`].
    pub fn is_kept(&self) -> bool {
        self.name.is_empty()
    }

    /// The path, in the memory of the candidate's own if it is the same.
    fn shared(&self, path: &Path) -> Arc<Path> {
        if *path == *self.path { self.path.clone() } else { path.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::end_of;
    use crate::logs::source::followed::Opened;
    use hostwright_core::config::logs::Encoding;
    use std::fs::File;

    fn opened(content: &[u8]) -> Opened {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), content).expect("written");
        Opened::of(File::open(file.path()).expect("opened")).expect("read")
    }

    #[test]
    fn the_end_of_a_file_is_behind_its_last_complete_line() {
        let end = |content: &[u8]| end_of(&opened(content), content.len() as u64, Encoding::Utf8).expect("read");
        assert_eq!(end(b"one\ntwo\nthr").offset, 8);
        assert_eq!((end(b"").offset, end(b"").inside_cut_line), (0, false));
        let endless = end(&[b'x'; 100_000]);
        assert_eq!((endless.offset, endless.inside_cut_line), (100_000, true), "the rest of that line is skipped");
        assert_eq!(endless.window.length(), 1024);
    }
}
