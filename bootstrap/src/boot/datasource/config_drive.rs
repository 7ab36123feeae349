use super::disk::Mounted;
use super::documents::Documents;
use super::labels;
use super::seed::{Bytes, Seed};
use crate::boot::host::{Host, read_bounded};
use anyhow::Context as _;
use std::io;
use std::path::Path;

/// In any case.
const LABEL: &str = "config-2";
/// Folders that take a config drive's place.
const FOLDERS: [&str; 2] = ["/var/lib/cloud/seed/config_drive", "/config-drive"];
const MAX_BYTES: u64 = 16 << 20;

/// Looks at the folders and at every disk with the label.
///
/// # Errors
/// A config drive is there but cannot be read.
pub fn find(host: &Host) -> anyhow::Result<Option<Seed>> {
    for folder in FOLDERS {
        if let Some(seed) = read(&host.path(folder), folder)? {
            return Ok(Some(seed));
        }
    }
    // Of two, the later one: a disk that was attached to be rescued stands before it.
    for (device, file_system) in labels::devices(host, LABEL).into_iter().rev() {
        let mounted = Mounted::new(host, &device, file_system)?;
        if let Some(seed) = read(mounted.folder(), &device.display().to_string())? {
            return Ok(Some(seed));
        }
    }
    Ok(None)
}

fn read(folder: &Path, place: &str) -> anyhow::Result<Option<Seed>> {
    let datasource = format!("config-drive ({place})");
    let subplatform = format!("config-disk ({place})");
    let Some(version) = version(folder) else { return old_style(folder, &datasource) };
    let of = |name: &str| optional(&folder.join("openstack").join(&version).join(name));
    let Some(meta_data) = of("meta_data.json")? else { return Ok(None) };
    let documents = Documents {
        meta_data,
        user_data: of("user_data")?,
        vendor_data: of("vendor_data.json")?,
        vendor_data2: of("vendor_data2.json")?,
        network_data: of("network_data.json")?,
    };
    documents.seed(&datasource, &subplatform).map(Some).with_context(|| format!("the config drive {place}"))
}

/// `latest`, else the highest that is there.
fn version(folder: &Path) -> Option<String> {
    let entries = std::fs::read_dir(folder.join("openstack")).ok()?.flatten();
    let mut versions: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    versions.retain(|name| folder.join("openstack").join(name).join("meta_data.json").is_file());
    versions.sort();
    versions.iter().find(|name| *name == "latest").or(versions.last()).cloned()
}

/// A drive with EC2's documents alone.
fn old_style(folder: &Path, datasource: &str) -> anyhow::Result<Option<Seed>> {
    let of = |name: &str| optional(&folder.join("ec2/latest").join(name));
    let Some(content) = of("meta-data.json")? else { return Ok(None) };
    let metadata = super::Metadata::parse(&content).context("ec2/latest/meta-data.json")?;
    let user_data = of("user-data")?.unwrap_or_default();
    Ok(Some(Seed { datasource: datasource.to_owned(), metadata, user_data: Bytes(user_data), ..Seed::default() }))
}

fn optional(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match read_bounded(path, MAX_BYTES) {
        Ok(content) => Ok(Some(content)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::find;
    use crate::boot::host::Host;

    #[test]
    fn a_folder_with_a_config_drives_files_is_read_by_its_latest_version() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let host = Host::new(tree.path().to_owned(), tree.path().into(), tree.path().join("sys")).expect("host");
        assert!(find(&host).expect("looked").is_none());
        for version in ["2012-08-10", "latest"] {
            let folder = tree.path().join("config-drive/openstack").join(version);
            std::fs::create_dir_all(&folder).expect("folder");
            std::fs::write(folder.join("meta_data.json"), format!("{{\"uuid\": \"{version}\"}}")).expect("written");
        }
        std::fs::write(tree.path().join("config-drive/openstack/latest/user_data"), "#!/bin/sh\n").expect("written");
        let seed = find(&host).expect("read").expect("there");
        assert_eq!(seed.metadata.instance_id.as_deref(), Some("latest"));
        assert_eq!(&seed.user_data[..], b"#!/bin/sh\n");
        assert_eq!(seed.datasource, "config-drive (/config-drive)");
    }
}
