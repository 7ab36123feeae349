//! The NoCloud seed: the folder that QEMU shows to the VM as a FAT disk labelled `cidata`.

use super::file::PlannedFile;
use super::name::InstanceName;

/// The seed's folder inside the instance's folder.
pub const FOLDER: &str = "seed";
/// The label by which a guest finds the seed among its disks.
pub const LABEL: &str = "cidata";

/// The seed's files.
pub fn files(name: &InstanceName, instance_id: &str, user_data: &[u8]) -> Vec<PlannedFile> {
    let meta_data = format!("instance-id: {instance_id}\nlocal-hostname: {name}\n");
    vec![
        PlannedFile { path: format!("{FOLDER}/meta-data"), content: meta_data.into_bytes() },
        PlannedFile { path: format!("{FOLDER}/user-data"), content: user_data.to_vec() },
    ]
}
