use super::Metadata;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

/// What a datasource holds for this instance. No `Debug`: user-data may hold secrets.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Seed {
    /// The datasource and where it was found: `nocloud (/dev/sr0)`.
    pub datasource: String,
    /// Who the instance is.
    pub metadata: Metadata,
    /// What the operator handed over, as it is.
    pub user_data: Bytes,
    /// What the cloud wants of every instance.
    pub vendor_data: Vec<Bytes>,
    /// What the cloud wants of this project's instances.
    pub vendor_data2: Vec<Bytes>,
    /// The network as the datasource describes it.
    pub network: Option<Network>,
    /// Where the instance is, for templates and the report.
    pub about: About,
    /// What was found and is not used; each a sentence.
    pub left_out: Vec<String>,
    /// What is odd; each a sentence.
    pub warnings: Vec<String>,
    /// By which it is known in a later boot; nothing where it is read anew each time.
    #[serde(skip)]
    pub identity: Option<Identity>,
}

/// A description of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// cloud-init's own formats, version 1 or 2.
    Config(String),
    /// OpenStack's `network_data.json`.
    NetworkData(String),
}

/// Where the instance is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// `aws`, `openstack`, …
    pub cloud: String,
    /// `ec2`, `openstack`, `nocloud`, …
    pub platform: String,
    /// How it was read: `metadata (http://169.254.169.254)`.
    pub subplatform: String,
    /// The region.
    pub region: Option<String>,
    /// The zone in it.
    pub availability_zone: Option<String>,
    /// Which of several instances that were launched together this is.
    pub launch_index: Option<i64>,
    /// Everything that the datasource said, for templates.
    pub meta_data: Value,
}

/// Which machine something was said of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cloud.
    pub cloud: String,
    /// The machine's own id from its DMI strings; a copy of its disk on another machine sees another one.
    pub machine: String,
}

/// What was found in an earlier boot.
#[derive(Clone, Serialize, Deserialize)]
pub struct Cached {
    /// Of which machine.
    pub identity: Identity,
    /// What.
    pub seed: Seed,
}

/// Content as it was handed over, which may be packed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Seed {
    /// What templates know, by cloud-init's names.
    pub fn instance_data(&self, host: &crate::boot::host::Host) -> Value {
        let release = std::fs::read_to_string(host.path("/etc/os-release")).unwrap_or_default();
        let of_release = |key: &str| {
            let line = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.map(|value| value.trim_matches('"').to_owned())
        };
        let kernel = std::fs::read_to_string(host.proc("sys/kernel/osrelease")).unwrap_or_default();
        let (about, metadata) = (&self.about, &self.metadata);
        let v1 = json!({
            "_beta_keys": ["subplatform"],
            "availability-zone": about.availability_zone, "availability_zone": about.availability_zone,
            "cloud_id": about.cloud, "cloud-name": about.cloud, "cloud_name": about.cloud,
            "distro": of_release("ID"), "distro_version": of_release("VERSION_ID"),
            "distro_release": of_release("VERSION_CODENAME"), "variant": of_release("ID"),
            "instance-id": metadata.instance_id, "instance_id": metadata.instance_id,
            "kernel_release": kernel.trim(), "machine": std::env::consts::ARCH,
            "local-hostname": metadata.local_hostname, "local_hostname": metadata.local_hostname,
            "platform": about.platform, "subplatform": about.subplatform, "region": about.region,
            "public_ssh_keys": metadata.public_keys,
            "system_platform": format!("Linux-{}", kernel.trim()),
        });
        json!({"v1": v1, "ds": {"meta_data": about.meta_data}, "sys_info": {"uname": ["Linux"]}})
    }
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Cached, Identity, Seed};

    #[test]
    fn a_cached_seed_reads_back_whole_also_what_is_packed() {
        let seed = Seed {
            user_data: Bytes(b"\x1f\x8b\x00\xff".to_vec()),
            vendor_data: vec![Bytes(b"a".to_vec())],
            ..Seed::default()
        };
        let cached = Cached { identity: Identity { cloud: "OpenStack".into(), machine: "m".into() }, seed };
        let text = serde_json::to_string(&cached).expect("written");
        let read: Cached = serde_json::from_str(&text).expect("read");
        assert!(read.seed.user_data == cached.seed.user_data && read.identity == cached.identity);
        assert_eq!(&read.seed.vendor_data[0][..], b"a");
    }
}
