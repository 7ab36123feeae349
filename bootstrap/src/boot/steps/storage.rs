use super::Failure;
use crate::boot::host::Host;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// What blkid(8) finds on a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// A file system, `crypto_LUKS`, `LVM2_member`, `swap` …; empty where there is none.
    pub kind: String,
    /// Its label.
    pub label: String,
    /// Its UUID.
    pub uuid: String,
    /// A partition table.
    pub table: String,
}

impl Signature {
    /// Whether nothing at all was found.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Looks at the device itself and not into a cache.
///
/// # Errors
/// blkid is not there, or cannot read the device: then nobody can say that it is empty.
pub fn signature(host: &Host, device: &Path) -> Result<Signature, Failure> {
    let mut command = host.command("blkid");
    command.args(["--probe", "--output", "export"]).arg(device).stdin(Stdio::null());
    let output = host
        .block_on(async { command.output().await })
        .map_err(|e| Failure::io(format!("look at {} with blkid", device.display()), &e))?;
    // 2 is "nothing was found"; 8 is "several signatures that contradict each other".
    match output.status.code() {
        Some(0) => {}
        Some(2) if device.exists() || !host.is_this_machine() => return Ok(Signature::default()),
        _ => {
            let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Failure::new(
                format!("blkid cannot tell what is on {}: {told}", device.display()),
                "see what wipefs says of it; nothing was written",
            ));
        }
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let field = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default().to_owned()
    };
    Ok(Signature { kind: field("TYPE"), label: field("LABEL"), uuid: field("UUID"), table: field("PTTYPE") })
}

/// A partition of a disk by its number, by the kernel's rule: after a digit comes a `p`.
pub fn partition(disk: &Path, number: u32) -> PathBuf {
    let name = disk.display().to_string();
    let between = if name.starts_with("/dev/disk/by-") {
        "-part"
    } else if name.ends_with(|c: char| c.is_ascii_digit()) {
        "p"
    } else {
        ""
    };
    format!("{name}{between}{number}").into()
}

/// The partitions of a disk that the kernel knows, in their order.
pub fn partitions(host: &Host, disk: &Path) -> Vec<PathBuf> {
    let real = host.path(disk).canonicalize().unwrap_or_else(|_| disk.to_owned());
    let name = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Ok(entries) = std::fs::read_dir(host.sys(&format!("class/block/{name}"))) else { return Vec::new() };
    let mut found: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let number = std::fs::read_to_string(entry.path().join("partition")).ok()?.trim().parse().ok()?;
            Some((number, Path::new("/dev").join(entry.file_name())))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

/// The size of a disk in MiB; none where the kernel does not tell.
pub fn size(host: &Host, disk: &Path) -> u64 {
    let real = host.path(disk).canonicalize().unwrap_or_else(|_| disk.to_owned());
    let name = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let sectors = std::fs::read_to_string(host.sys(&format!("class/block/{name}/size"))).unwrap_or_default();
    sectors.trim().parse::<u64>().unwrap_or(0) / 2048
}

/// A device by the names that people give it: `/dev/vdb`, `vdb`, `xvdb1`, `LABEL=data`, `UUID=…`.
pub fn device(name: &str) -> Option<PathBuf> {
    for (start, folder) in
        [("LABEL=", "label"), ("UUID=", "uuid"), ("PARTLABEL=", "partlabel"), ("PARTUUID=", "partuuid"), ("ID=", "id")]
    {
        if let Some(value) = name.strip_prefix(start) {
            return Some(Path::new("/dev/disk").join(format!("by-{folder}")).join(value.trim_matches('"')));
        }
    }
    if name.starts_with('/') {
        return Some(name.into());
    }
    let kernels = ["sd", "hd", "vd", "xvd", "nvme", "sr", "loop", "dm-", "md"];
    kernels.iter().any(|start| name.starts_with(start)).then(|| Path::new("/dev").join(name))
}

/// A device that a cloud describes and not the operator: `ephemeral0`, `root`. No datasource here knows them.
pub fn is_clouds_name(name: &str) -> bool {
    ["ami", "root", "swap"].contains(&name) || name.starts_with("ephemeral") || name.starts_with("ebs")
}

#[cfg(test)]
mod tests {
    use super::{device, partition};
    use std::path::Path;

    #[test]
    fn partitions_and_devices_have_the_kernels_names() {
        assert_eq!(partition(Path::new("/dev/vdb"), 2), Path::new("/dev/vdb2"));
        assert_eq!(partition(Path::new("/dev/nvme0n1"), 1), Path::new("/dev/nvme0n1p1"));
        assert_eq!(partition(Path::new("/dev/disk/by-id/x"), 1), Path::new("/dev/disk/by-id/x-part1"));
        assert_eq!(device("xvdb1").as_deref(), Some(Path::new("/dev/xvdb1")));
        assert_eq!(device("LABEL=data").as_deref(), Some(Path::new("/dev/disk/by-label/data")));
        assert_eq!(device("tmpfs"), None);
    }
}
