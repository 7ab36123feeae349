use super::ioctl::{self, Answer, ERRORS};
use crate::encode::Labels;
use crate::sample::{KernelFile, Roots, words};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const ERROR_KINDS: [&str; ERRORS] = ["write", "read", "flush", "corruption", "generation"];

/// What the kernel says of the devices of file systems that are mounted here.
pub struct Mounted {
    mounts: KernelFile,
    rootfs: PathBuf,
    /// By the file system's identity without its dashes.
    known: BTreeMap<Vec<u8>, Vec<Device>>,
}

/// A device with its labels.
pub struct Device {
    path: Vec<u8>,
    id: [u8; 16],
    pub labels: Labels,
    pub error_labels: [Labels; ERRORS],
    pub size: u64,
    pub used: u64,
    pub errors: [u64; ERRORS],
}

impl Mounted {
    pub fn new(roots: &Roots) -> Self {
        Self {
            mounts: KernelFile::new(roots.procfs.join("1/mounts")),
            rootfs: roots.rootfs.clone(),
            known: BTreeMap::new(),
        }
    }

    /// Asks on one mount of each file system; one that does not answer is told by its files.
    pub fn read<'u>(&mut self, uuids: impl Iterator<Item = &'u [u8]>) {
        let mut before = std::mem::take(&mut self.known);
        let uuids: BTreeMap<Vec<u8>, &[u8]> = uuids.map(|uuid| (plain(uuid), uuid)).collect();
        let Ok(mounts) = self.mounts.read() else { return };
        if uuids.is_empty() {
            return;
        }
        let mut done: Vec<&[u8]> = Vec::new();
        for line in mounts.lines() {
            let mut parts = words(line);
            let (Some(device), Some(point), Some(b"btrfs")) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            if done.contains(&device) {
                continue;
            }
            let Ok(folder) = File::open(under(&self.rootfs, &unescaped(point))) else { continue };
            let Ok(id) = ioctl::identity(&folder).map(hexadecimal) else { continue };
            let Some(uuid) = uuids.get(&id).filter(|_| !self.known.contains_key(&id)) else { continue };
            let Ok(answers) = ioctl::devices(&folder) else { continue };
            let known = before.remove(&id).unwrap_or_default().into_iter();
            let mut known: Vec<Option<Device>> = known.map(Some).collect();
            let devices = answers.into_iter().map(|answer| Device::of(answer, uuid, &mut known)).collect();
            self.known.insert(id, devices);
            done.push(device);
        }
    }

    /// The devices of the file system, if the kernel told of them.
    pub fn of(&self, uuid: &[u8]) -> Option<&Vec<Device>> {
        self.known.get(&plain(uuid))
    }
}

impl Device {
    fn of(answer: Answer, uuid: &[u8], known: &mut [Option<Self>]) -> Self {
        let Answer { id, path, size, used, errors } = answer;
        let same = known.iter_mut().find(|old| old.as_ref().is_some_and(|old| old.id == id && old.path == path));
        if let Some(device) = same.and_then(Option::take) {
            return Self { size, used, errors, ..device };
        }
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let id_text = dashed(&hexadecimal(id));
        let labels = [("btrfs_dev_uuid", &id_text[..]), ("device", name), ("uuid", uuid)];
        let [first, second, last] = labels;
        Self {
            labels: Labels::new(&labels),
            error_labels: ERROR_KINDS.map(|kind| Labels::new(&[first, second, ("type", kind.as_bytes()), last])),
            path,
            id,
            size,
            used,
            errors,
        }
    }
}

fn under(root: &Path, point: &[u8]) -> PathBuf {
    let point = point.strip_prefix(b"/").unwrap_or(point);
    root.join(OsStr::from_bytes(point))
}

/// A mount point without the kernel's escapes, such as `\040` for a space.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &after[3..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

fn plain(uuid: &[u8]) -> Vec<u8> {
    uuid.iter().filter(|byte| **byte != b'-').copied().collect()
}

fn hexadecimal(id: [u8; 16]) -> Vec<u8> {
    id.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

/// An identity with the dashes between its parts.
fn dashed(id: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(id.len() + 4);
    for (at, byte) in id.iter().enumerate() {
        if [8, 12, 16, 20].contains(&at) {
            out.push(b'-');
        }
        out.push(*byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{dashed, hexadecimal, plain, unescaped};

    #[test]
    fn mount_points_are_read_without_the_kernels_escapes() {
        assert_eq!(unescaped(br"/a\040b\134\0"), br"/a b\\0");
        assert_eq!(plain(b"0abb-23"), b"0abb23");
        assert_eq!(dashed(&hexadecimal([0xab; 16])), b"abababab-abab-abab-abab-abababababab");
    }
}
