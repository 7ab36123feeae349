use super::kernel_file::lines;
use super::{CollectError, KernelFile, Roots, words};
use crate::encode::Labels;
use hostwright_core::config::metrics::collectors::filesystem as options;
use hostwright_core::config::metrics::filter::Filter;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// File systems that answer from memory, whatever became of their disk.
const AT_ONCE: [&[u8]; 7] = [b"devtmpfs", b"ext2", b"ext3", b"ext4", b"ramfs", b"tmpfs", b"xfs"];

/// Mounts that are asked for their space, read anew when the kernel's list changed.
pub struct Mounts {
    /// The first that is there is read, each with the form of its lines.
    files: [(KernelFile, Form); 4],
    filters: Filters,
    text: Vec<u8>,
    /// One for each set of labels, in the order of the kernel.
    pub table: Vec<Mount>,
    pub places: Places,
}

/// Each place once, in the order of first appearance.
#[derive(Default)]
pub struct Places {
    /// Neither they nor what is on the way to them can hang.
    pub prompt: Vec<PathBuf>,
    /// The others.
    pub others: Arc<[Arc<Path>]>,
}

/// Which of the places a mount is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Prompt(usize),
    Other(usize),
}

/// What the kernel says of a mount.
struct Line<'a> {
    device: &'a [u8],
    point: &'a [u8],
    fstype: &'a [u8],
    /// Of the mount, and of its file system.
    options: [&'a [u8]; 2],
    /// Major and minor number.
    numbers: Option<(&'a [u8], &'a [u8])>,
}

type Form = fn(&[u8]) -> Option<Line<'_>>;

/// Which mounts are taken, and from where they are seen.
struct Filters {
    rootfs: PathBuf,
    points: Filter,
    types: Filter,
}

/// A mount as its samples show it.
pub struct Mount {
    pub device: Vec<u8>,
    pub fstype: Vec<u8>,
    pub point: Vec<u8>,
    /// `device`, `fstype`, `mountpoint`.
    pub labels: Labels,
    /// `device`, `major`, `minor`, `mountpoint`, where the numbers are known.
    pub info: Option<Labels>,
    /// Whether its options say so.
    pub read_only: bool,
    pub place: Place,
}

impl Mounts {
    pub fn new(roots: &Roots, options: &options::Filesystem) -> Self {
        let filters = Filters {
            rootfs: roots.rootfs.clone(),
            points: options.mount_points.clone(),
            types: options.types.clone(),
        };
        let file = |path, form: Form| (KernelFile::new(roots.procfs.join(path)), form);
        Self {
            // A sandboxed service has mounts of its own; those of the first process are the host's.
            files: [
                file("1/mountinfo", of_mountinfo),
                file("1/mounts", of_mounts),
                file("self/mountinfo", of_mountinfo),
                file("mounts", of_mounts),
            ],
            filters,
            text: Vec::new(),
            table: Vec::new(),
            places: Places::default(),
        }
    }

    /// Brings the table up to date.
    pub fn refresh(&mut self) -> Result<(), CollectError> {
        let mut found = None;
        for (file, form) in &mut self.files {
            let text = file.read();
            let is_readable = text.is_ok();
            found = Some((text, *form));
            if is_readable {
                break;
            }
        }
        let Some((text, form)) = found else { return Ok(()) };
        let text = text?;
        if text.bytes != self.text {
            (self.table, self.places) =
                parse(text.bytes, form, &self.filters).map_err(|line| text.malformed("a mount", line))?;
            self.text.clear();
            self.text.extend_from_slice(text.bytes);
        }
        Ok(())
    }
}

/// `/dev/vda / ext4 rw,relatime 0 0`.
fn of_mounts(line: &[u8]) -> Option<Line<'_>> {
    let mut words = words(line);
    let (device, point, fstype) = (words.next()?, words.next()?, words.next()?);
    Some(Line { device, point, fstype, options: [words.next()?, b""], numbers: None })
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`, where a device may be empty.
fn of_mountinfo(line: &[u8]) -> Option<Line<'_>> {
    let space = |byte: &u8| *byte == b' ';
    let mut last = line.rsplitn(5, space);
    let (of_system, device, fstype) = (last.next()?, last.next()?, last.next()?);
    last.next().filter(|hyphen| *hyphen == b"-")?;
    let mut first = last.next()?.split(space).skip(2);
    let (numbers, _root, point) = (first.next()?, first.next()?, first.next()?);
    let colon = memchr::memchr(b':', numbers)?;
    let numbers = Some((&numbers[..colon], &numbers[colon + 1..]));
    Some(Line { device, point, fstype, options: [first.next()?, of_system], numbers })
}

impl Mount {
    /// Labels that say as well what is wrong.
    pub fn labels_in_error(&self, error: &str) -> Labels {
        Labels::new(&[
            ("device", &self.device),
            ("device_error", error.as_bytes()),
            ("fstype", &self.fstype),
            ("mountpoint", &self.point),
        ])
    }
}

impl Line<'_> {
    fn is_read_only(&self) -> bool {
        self.options.into_iter().flat_map(|options| options.split(|byte| *byte == b',')).any(|option| option == b"ro")
    }

    /// The mount point, as seen from the host's root, and where it is.
    fn into_mount(self, point: Vec<u8>, place: Place) -> Mount {
        let (device, fstype) = (self.device, self.fstype);
        let info = |(major, minor)| {
            Labels::new(&[("device", device), ("major", major), ("minor", minor), ("mountpoint", &point)])
        };
        Mount {
            labels: Labels::new(&[("device", device), ("fstype", fstype), ("mountpoint", &point)]),
            info: self.numbers.map(info),
            read_only: self.is_read_only(),
            device: device.to_owned(),
            fstype: fstype.to_owned(),
            point,
            place,
        }
    }
}

type Parsed = (Vec<Mount>, Places);

/// Table and places, or the line that is no mount.
fn parse<'a>(text: &'a [u8], form: Form, filters: &Filters) -> Result<Parsed, &'a [u8]> {
    let (mut table, mut prompt, mut others) = (Vec::new(), Vec::new(), Vec::new());
    let (mut seen, mut known) = (HashSet::new(), HashMap::new());
    let slow = slow_points(text, form, filters);
    for line in lines(text) {
        let mount = form(line).ok_or(line)?;
        let point = seen_from_root(unescape(mount.point), &filters.rootfs);
        let is_taken = filters.points.admits(&point) && filters.types.admits(mount.fstype);
        if !is_taken || !seen.insert((mount.device, mount.fstype, point.clone())) {
            continue;
        }
        let place = *known.entry(point.clone()).or_insert_with_key(|point| {
            let path = filters.rootfs.join(OsStr::from_bytes(point.strip_prefix(b"/").unwrap_or(point)));
            if slow.iter().any(|slow| is_below(point, slow)) {
                others.push(Arc::from(path));
                Place::Other(others.len() - 1)
            } else {
                prompt.push(path);
                Place::Prompt(prompt.len() - 1)
            }
        });
        table.push(mount.into_mount(point, place));
    }
    Ok((table, Places { prompt, others: others.into() }))
}

/// Where something is mounted that may hang, taken or not.
fn slow_points(text: &[u8], form: Form, filters: &Filters) -> Vec<Vec<u8>> {
    let all = lines(text).filter_map(form).filter(|mount| !AT_ONCE.contains(&mount.fstype));
    all.map(|mount| seen_from_root(unescape(mount.point), &filters.rootfs)).collect()
}

/// Whether the way to a point is through the other, or it is the other.
fn is_below(point: &[u8], other: &[u8]) -> bool {
    other == b"/" || point.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
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
    use super::{Filters, Place, of_mountinfo, of_mounts, parse, unescape};
    use hostwright_core::config::metrics::filter::Filter;

    #[test]
    fn what_may_hang_and_what_is_below_it_is_kept_apart() {
        let table = b"/dev/vda / ext4 rw 0 0\n/dev/vdb /srv xfs rw 0 0\nhost:/x /nfs nfs4 rw 0 0\n\
            /dev/vdc /nfs/local ext4 rw 0 0\n/dev/vdd /nfsx ext4 rw 0 0\nauto /auto autofs rw 0 0\n\
            /dev/vde /auto/x tmpfs rw 0 0\n/dev/vdf /over ext4 rw 0 0\nfuse /over fuse.x rw 0 0\n";
        let filters =
            Filters { rootfs: "/host".into(), points: Filter::default(), types: Filter::excluding("^autofs$") };
        let (mounts, places) = parse(table, of_mounts, &filters).expect("mounts");
        assert_eq!(places.prompt, ["/host/", "/host/srv", "/host/nfsx"].map(std::path::PathBuf::from));
        assert_eq!(places.others.len(), 4, "{:?}", places.others);
        let over: Vec<_> = mounts.iter().filter(|mount| mount.point == b"/over").map(|mount| mount.place).collect();
        assert_eq!(over, [Place::Other(3), Place::Other(3)]);
        let (_, places) =
            parse(b"overlay / overlay rw 0 0\nt /tmp tmpfs rw 0 0\n", of_mounts, &filters).expect("mounts");
        assert!(places.prompt.is_empty(), "{:?}", places.prompt);
    }

    #[test]
    fn octal_escapes_are_undone_and_other_backslashes_stay() {
        assert_eq!(unescape(br"/mnt/a\040b\011c\134d"), b"/mnt/a b\tc\\d");
        assert_eq!(unescape(br"/a\9zz\04"), br"/a\9zz\04");
        assert_eq!(unescape(br"/a\777\400"), br"/a\777\400");
    }

    #[test]
    fn both_forms_of_the_kernels_list_say_the_same() {
        let mounts = of_mounts(b"/dev/sda1 /mnt xfs ro,noatime,attr2 0 0").expect("a mount");
        let line = b"36 35 8:1 / /mnt rw,noatime shared:1 master:7 - xfs /dev/sda1 ro,attr2";
        let mountinfo = of_mountinfo(line).expect("a mount");
        for mount in [&mounts, &mountinfo] {
            assert_eq!((mount.device, mount.point, mount.fstype), (&b"/dev/sda1"[..], &b"/mnt"[..], &b"xfs"[..]));
            assert!(mount.is_read_only());
        }
        assert_eq!(mountinfo.numbers, Some((&b"8"[..], &b"1"[..])));
        let nameless = of_mountinfo(b"36 35 0:40 / /x rw - tmpfs  rw").expect("a mount");
        assert_eq!((nameless.device, nameless.is_read_only()), (&b""[..], false));
        for line in
            [&b"36 35 8:1 / /mnt rw - xfs /dev/sda1"[..], b"36 35 81 / /mnt rw - xfs /dev/sda1 rw", b"", b"- a b c"]
        {
            assert!(of_mountinfo(line).is_none(), "{line:?}");
        }
    }
}
