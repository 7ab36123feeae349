use crate::boot::host::Host;
use crate::boot::userdata::boot_section::{Volume, VolumeKey};

/// systemd loads it when it is asked for a TPM, and is installed without it.
const TPM_LIBRARY: &str = "libtss2-esys.so.0";

/// Packages that have what a volume is made and opened with, as far as it is not there.
pub fn missing_packages(host: &Host, volume: &Volume) -> Vec<String> {
    let rpm = host.has_rpm();
    let mut names = Vec::new();
    let mut need = |is_there: bool, debian: &str, rpms: &str| {
        if !is_there {
            names.push(if rpm { rpms } else { debian }.to_owned());
        }
    };
    need(host.program("cryptsetup").is_some(), "cryptsetup-bin", "cryptsetup");
    let maker = host.program(&format!("mkfs.{}", volume.filesystem)).is_some();
    match volume.filesystem.as_str() {
        "ext2" | "ext3" | "ext4" => need(maker, "e2fsprogs", "e2fsprogs"),
        "xfs" => need(maker, "xfsprogs", "xfsprogs"),
        "btrfs" => need(maker, "btrfs-progs", "btrfs-progs"),
        _ => {}
    }
    if matches!(volume.key, VolumeKey::Tpm2 { .. }) {
        need(host.program("systemd-cryptenroll").is_some(), "systemd-cryptsetup", "systemd-udev");
        need(has_library(host, TPM_LIBRARY), "tpm2-tools", "tpm2-tss");
    }
    names
}

fn has_library(host: &Host, name: &str) -> bool {
    let folders = std::fs::read_dir(host.path("/usr/lib")).into_iter().flatten().flatten().map(|entry| entry.path());
    folders.chain([host.path("/usr/lib64")]).any(|folder| folder.join(name).exists())
}

#[cfg(test)]
mod tests {
    use super::missing_packages;
    use crate::boot::host::Host;
    use crate::boot::userdata::boot_section::{Volume, VolumeKey};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_a_bare_image_lacks_for_a_volume_is_named() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        let volume = Volume {
            name: "data".into(),
            device: "/dev/vdb".into(),
            key: VolumeKey::Tpm2 { recovery: None },
            filesystem: "xfs".into(),
            mount: None,
            owner: "root:root".into(),
        };
        let all = ["cryptsetup-bin", "xfsprogs", "systemd-cryptsetup", "tpm2-tools"];
        assert_eq!(missing_packages(&host, &volume), all);
        std::fs::create_dir_all(tree.path().join("usr/lib/x86_64-linux-gnu")).expect("folder");
        std::fs::write(tree.path().join("usr/lib/x86_64-linux-gnu/libtss2-esys.so.0"), "").expect("written");
        std::fs::create_dir_all(tree.path().join("usr/sbin")).expect("folder");
        for name in ["cryptsetup", "mkfs.xfs", "systemd-cryptenroll"] {
            let path = tree.path().join("usr/sbin").join(name);
            std::fs::write(&path, "").expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("mode");
        }
        assert!(missing_packages(&host, &volume).is_empty());
    }
}
