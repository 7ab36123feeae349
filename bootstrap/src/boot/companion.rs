use super::datasource::{Bytes, Metadata, Seed};
use super::host::{Host, read_bounded};
use anyhow::Context as _;

/// Where cloud-init's generator says that it configures this host.
const ENABLED: &str = "/run/cloud-init/enabled";
const FOLDER: &str = "/var/lib/cloud";
const MAX_BYTES: u64 = 16 << 20;

/// Whether cloud-init configures this host, so that of the user-data only `hostwright:` is ours.
pub fn is_beside_cloud_init(host: &Host) -> bool {
    host.path(ENABLED).exists()
}

/// The instance as cloud-init found it: asking the cloud a second time would be one more thing that can fail.
///
/// # Errors
/// cloud-init has not found the instance, or has not come to its user-data.
pub fn seed(host: &Host) -> anyhow::Result<Seed> {
    let read = |name: &str| {
        let path = host.path(FOLDER).join(name);
        read_bounded(&path, MAX_BYTES).with_context(|| format!("cannot read {}; has cloud-init run?", path.display()))
    };
    let id = String::from_utf8_lossy(&read("data/instance-id")?).trim().to_owned();
    let metadata = Metadata { instance_id: Some(id), ..Metadata::default() };
    let user_data = read("instance/user-data.txt")?;
    Ok(Seed { datasource: "cloud-init".to_owned(), metadata, user_data: Bytes(user_data), ..Seed::default() })
}

#[cfg(test)]
mod tests {
    use super::{is_beside_cloud_init, seed};
    use crate::boot::host::Host;

    #[test]
    fn the_instance_is_cloud_inits() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        assert!(!is_beside_cloud_init(&host) && seed(&host).is_err());
        for folder in ["run/cloud-init", "var/lib/cloud/data", "var/lib/cloud/instance"] {
            std::fs::create_dir_all(tree.path().join(folder)).expect("folder");
        }
        std::fs::write(tree.path().join("run/cloud-init/enabled"), "").expect("written");
        std::fs::write(tree.path().join("var/lib/cloud/data/instance-id"), "i-7\n").expect("written");
        std::fs::write(tree.path().join("var/lib/cloud/instance/user-data.txt"), "#cloud-config\n").expect("written");
        assert!(is_beside_cloud_init(&host));
        assert_eq!(seed(&host).expect("found").metadata.instance_id.as_deref(), Some("i-7"));
    }
}
