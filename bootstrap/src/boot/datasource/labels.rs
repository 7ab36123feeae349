use crate::boot::host::Host;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The file systems in which a cloud hands over its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// A CD image.
    Iso9660,
    /// FAT12, FAT16 or FAT32.
    Vfat,
    /// A CD's newer form.
    Udf,
}

impl FileSystem {
    /// The kernel's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Iso9660 => "iso9660",
            Self::Vfat => "vfat",
            Self::Udf => "udf",
        }
    }
}

/// The block devices whose volume label is `label` in any case, by name.
///
/// Labels are read from the superblocks, so neither udev nor blkid is needed and nothing is waited for.
pub fn devices(host: &Host, label: &str) -> Vec<(PathBuf, FileSystem)> {
    let Ok(entries) = std::fs::read_dir(host.sys("class/block")) else { return Vec::new() };
    let mut names: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    names.sort();
    let mut found = Vec::new();
    for name in names {
        let size = std::fs::read_to_string(host.sys("class/block").join(&name).join("size")).unwrap_or_default();
        if size.trim().parse::<u64>().unwrap_or(0) == 0 {
            continue; // an empty drive or an unused loop device
        }
        let device = Path::new("/dev").join(&name);
        match read(&host.path(&device)) {
            Ok(Some((is, file_system))) if is.eq_ignore_ascii_case(label) => found.push((device, file_system)),
            Ok(_) => {}
            // A drive without a medium, a device that another one holds, no node in a container: none is a seed.
            Err(error) => log::debug!("the label of {} cannot be read: {error}", device.display()),
        }
    }
    found
}

/// The volume label in a device or image, if it holds one of the two file systems.
///
/// # Errors
/// It cannot be opened or read.
pub fn read(path: &Path) -> io::Result<Option<(String, FileSystem)>> {
    let device = File::open(path)?;
    if let Some(label) = iso9660(&device)? {
        return Ok(Some((label, FileSystem::Iso9660)));
    }
    Ok(fat(&device)?.map(|label| (label, FileSystem::Vfat)))
}

/// ECMA-119, 8.4: the primary volume descriptor is in sector 16; its volume identifier has 32 bytes at 40.
fn iso9660(device: &File) -> io::Result<Option<String>> {
    let Some(descriptor) = at::<72>(device, 16 * 2048)? else { return Ok(None) };
    Ok(descriptor.starts_with(b"\x01CD001").then(|| text(&descriptor[40..72])))
}

/// Microsoft's FAT specification, 3.1 and 6.6: the label in the root directory counts before the boot sector's.
fn fat(device: &File) -> io::Result<Option<String>> {
    let Some(sector) = at::<512>(device, 0)? else { return Ok(None) };
    let is_fat32 = &sector[0x52..0x57] == b"FAT32";
    if sector[510..] != [0x55, 0xaa] || !(is_fat32 || sector[0x36..].starts_with(b"FAT1")) {
        return Ok(None);
    }
    let in_boot_sector = text(if is_fat32 { &sector[0x47..0x52] } else { &sector[0x2b..0x36] });
    let (offset, length) = root_directory(&sector, is_fat32);
    Ok(Some(label_in(device, offset, length)?.unwrap_or(in_boot_sector)))
}

/// Offset and length in bytes; of a FAT32's root directory the first cluster, where its label stands.
fn root_directory(sector: &[u8; 512], is_fat32: bool) -> (u64, u64) {
    let word = |at: usize| u64::from(u16::from_le_bytes([sector[at], sector[at + 1]]));
    let long = |at: usize| word(at) | word(at + 2) << 16;
    let (bytes_per_sector, per_cluster, reserved, fats) =
        (word(11), u64::from(sector[13]), word(14), u64::from(sector[16]));
    let fat_size = if word(22) == 0 { long(36) } else { word(22) };
    let after_fats = reserved + fats * fat_size;
    if is_fat32 {
        let cluster = long(44).saturating_sub(2);
        ((after_fats + cluster * per_cluster) * bytes_per_sector, per_cluster * bytes_per_sector)
    } else {
        (after_fats * bytes_per_sector, word(17) * 32)
    }
}

fn label_in(device: &File, offset: u64, length: u64) -> io::Result<Option<String>> {
    const VOLUME_LABEL: u8 = 0x08;
    const ATTRIBUTES: u8 = 0x3f;
    // 65535 entries are the most that FAT16 can have.
    for entry in 0..(length / 32).min(65_535) {
        let Some(entry) = at::<32>(device, offset + entry * 32)? else { return Ok(None) };
        match entry[0] {
            0 => return Ok(None),
            0xe5 => {}
            _ if entry[11] & ATTRIBUTES == VOLUME_LABEL => return Ok(Some(text(&entry[..11]))),
            _ => {}
        }
    }
    Ok(None)
}

/// `N` bytes at `offset`, or nothing where the device is shorter.
fn at<const N: usize>(device: &File, offset: u64) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    match device.read_exact_at(&mut bytes, offset) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches([' ', '\0']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::{FileSystem, read};
    use std::path::Path;
    use std::process::{Command, Stdio};

    fn run(program: &str, arguments: &[&str]) {
        let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.is_ok_and(|status| status.success()), "{program} {arguments:?}; tests/setup.sh installs it");
    }

    fn fat_image(path: &Path, bits: &str, size: u64, label: &str) {
        std::fs::File::create(path).and_then(|file| file.set_len(size)).expect("image");
        run("/usr/sbin/mkfs.vfat", &["-F", bits, "-n", label, path.to_str().expect("utf-8")]);
    }

    #[test]
    fn labels_are_read_from_images_that_the_real_tools_made() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let iso = folder.path().join("seed.iso");
        run(
            "genisoimage",
            &["-quiet", "-V", "CIDATA", "-J", "-r", "-o", iso.to_str().expect("utf-8"), "/etc/hostname"],
        );
        assert_eq!(read(&iso).expect("read"), Some(("CIDATA".into(), FileSystem::Iso9660)));
        for (bits, size) in [("12", 1 << 20), ("16", 16 << 20), ("32", 64 << 20)] {
            let image = folder.path().join(bits);
            fat_image(&image, bits, size, "cidata");
            assert_eq!(read(&image).expect("read"), Some(("cidata".into(), FileSystem::Vfat)), "FAT{bits}");
        }
    }

    #[test]
    fn the_label_in_the_root_directory_counts_before_the_boot_sectors() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let image = folder.path().join("image");
        for (bits, size) in [("16", 16 << 20), ("32", 64 << 20)] {
            fat_image(&image, bits, size, "OLD");
            let image = image.to_str().expect("utf-8");
            run("mcopy", &["-i", image, "/etc/hostname", "::meta-data"]);
            // mlabel sets both, so the boot sector's is put back.
            run("mlabel", &["-i", image, "::CIDATA"]);
            let offset = if bits == "16" { 0x2b } else { 0x47 };
            let file = std::fs::File::options().write(true).open(image).expect("image");
            std::os::unix::fs::FileExt::write_all_at(&file, b"OLD        ", offset).expect("written");
            assert_eq!(read(Path::new(image)).expect("read"), Some(("CIDATA".into(), FileSystem::Vfat)), "FAT{bits}");
        }
    }

    #[test]
    fn other_content_has_no_label() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("disk");
        for content in [&[][..], &[0; 512][..], &[0xff; 70_000][..]] {
            std::fs::write(&path, content).expect("written");
            assert_eq!(read(&path).expect("read"), None);
        }
    }
}
