use super::kernel_file::lines;
use super::{CollectError, KernelFile, Roots, words};
use crate::metrics::encode::Labels;
use hostwright_core::config::metrics::collectors::filesystem as options;
use hostwright_core::config::metrics::filter::Filter;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Mounts that are asked for their space, read anew when the kernel's list changed.
pub struct Mounts {
    of_init: KernelFile,
    own: KernelFile,
    filters: Filters,
    text: Vec<u8>,
    /// One for each set of labels, in the order of the kernel.
    pub table: Vec<Mount>,
    /// Each place once, in the order of first appearance.
    pub places: Arc<[Arc<Path>]>,
}

/// Which mounts are taken, and from where they are seen.
struct Filters {
    rootfs: PathBuf,
    points: Filter,
    types: Filter,
}

/// A mount as its samples show it.
pub struct Mount {
    /// `device`, `fstype`, `mountpoint`.
    pub labels: Labels,
    /// Whether its options say so.
    pub read_only: bool,
    /// Where it is among the places.
    pub place: usize,
}

impl Mounts {
    pub fn new(roots: &Roots, options: &options::Filesystem) -> Self {
        let filters = Filters {
            rootfs: roots.rootfs.clone(),
            points: options.mount_points.clone(),
            types: options.types.clone(),
        };
        Self {
            of_init: KernelFile::new(roots.procfs.join("1/mounts")),
            own: KernelFile::new(roots.procfs.join("mounts")),
            filters,
            text: Vec::new(),
            table: Vec::new(),
            places: Arc::new([]),
        }
    }

    /// Brings the table up to date.
    pub fn refresh(&mut self) -> Result<(), CollectError> {
        // A sandboxed service has mounts of its own; those of the first process are the host's.
        let text = match self.of_init.read() {
            Ok(text) => text,
            Err(_) => self.own.read()?,
        };
        if text.bytes != self.text {
            (self.table, self.places) =
                parse(text.bytes, &self.filters).map_err(|line| text.malformed("a mount", line))?;
            self.text.clear();
            self.text.extend_from_slice(text.bytes);
        }
        Ok(())
    }
}

type Parsed = (Vec<Mount>, Arc<[Arc<Path>]>);

/// Table and places, or the line that is no mount.
fn parse<'a>(text: &'a [u8], filters: &Filters) -> Result<Parsed, &'a [u8]> {
    let rootfs = &filters.rootfs;
    let (mut table, mut places) = (Vec::new(), Vec::new());
    let (mut seen, mut known) = (HashSet::new(), HashMap::new());
    for line in lines(text) {
        let mut words = words(line);
        let (Some(device), Some(point), Some(kind), Some(options)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(line);
        };
        let point = seen_from_root(unescape(point), rootfs);
        if !filters.points.admits(&point) || !filters.types.admits(kind) || !seen.insert((device, kind, point.clone()))
        {
            continue;
        }
        let labels = Labels::new(&[("device", device), ("fstype", kind), ("mountpoint", &point)]);
        let place = *known.entry(point).or_insert_with_key(|point| {
            let relative = point.strip_prefix(b"/").unwrap_or(point);
            places.push(Arc::from(rootfs.join(OsStr::from_bytes(relative))));
            places.len() - 1
        });
        let read_only = options.split(|byte| *byte == b',').any(|option| option == b"ro");
        table.push(Mount { labels, read_only, place });
    }
    Ok((table, places.into()))
}

/// The mount point as seen from the host's root, where that is mounted elsewhere.
fn seen_from_root(point: Vec<u8>, rootfs: &Path) -> Vec<u8> {
    let root = rootfs.as_os_str().as_bytes();
    match point.strip_prefix(root) {
        Some(b"") => b"/".to_vec(),
        Some(rest) if rest.starts_with(b"/") => rest.to_vec(),
        _ => point,
    }
}

/// fstab(5): space, tab, newline and backslash are written in octal.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let octal = |digits: &[u8]| std::str::from_utf8(digits).ok().and_then(|text| u8::from_str_radix(text, 8).ok());
        match after.get(..3).and_then(octal) {
            Some(byte) if *first == b'\\' => {
                out.push(byte);
                rest = &after[3..];
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn octal_escapes_are_undone_and_other_backslashes_stay() {
        assert_eq!(unescape(br"/mnt/a\040b\011c\134d"), b"/mnt/a b\tc\\d");
        assert_eq!(unescape(br"/a\9zz\04"), br"/a\9zz\04");
        assert_eq!(unescape(br"/a\777\400"), br"/a\777\400");
    }
}
