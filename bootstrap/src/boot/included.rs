use super::host::{Host, read_bounded};
use super::userdata::parts::{Fetch, Include, NotFetched};
use super::web::{self, Redirects, shown};
use hostwright_core::atomic_file;
use hostwright_core::bucket::Bucket;
use hostwright_core::config::Config;
use hostwright_core::config::buckets::Bucket as BucketConfig;
use hostwright_core::hex::hex;
use hostwright_core::yaml::{Mapping, Node, Value};
use minisign_verify::{PublicKey, Signature};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// No file that belongs into a user-data is larger.
const MAX_BYTES: u64 = 16 << 20;
/// Where an image names buckets for the user-data of its instances.
const AGENT: &str = "/etc/hostwright/agent.yaml";

/// Fetches what a user-data includes, once for the instance: what was had is kept with it, so that an outage at a later
/// boot changes nothing.
pub struct Included<'a> {
    host: &'a Host,
    network: bool,
    folder: PathBuf,
    buckets: BTreeMap<String, BucketConfig>,
    /// Of the instance, where it is one of AWS: buckets that nobody names are sought there.
    aws_region: Option<String>,
}

impl<'a> Included<'a> {
    /// `instance` is the instance's own folder.
    pub fn new(host: &'a Host, network: bool, instance: &std::path::Path) -> Self {
        let image = Config::read(&host.path(AGENT)).map(|config| config.buckets).unwrap_or_default();
        Self { host, network, folder: instance.join("included"), buckets: image, aws_region: None }
    }

    /// With the instance's own region of AWS, if it is in one.
    pub fn of_region(self, aws_region: Option<String>) -> Self {
        Self { aws_region, ..self }
    }

    fn kept(&self, include: &Include) -> PathBuf {
        // What one key has signed is not what another one must have signed.
        let key = include.signed_by.as_deref().unwrap_or_default();
        let name = if key.is_empty() { include.url.clone() } else { format!("{}\n{key}", include.url) };
        self.folder.join(hex(&Sha256::digest(name)))
    }

    fn keep(&self, include: &Include, content: &[u8]) -> std::io::Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        atomic_file::replace(&self.kept(include), content, 0o600)
    }

    fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        match url.split_once("://") {
            Some(("http" | "https", _)) => {
                web::fetch(self.host, url, Redirects::Followed).map_err(|refusal| refusal.why)
            }
            Some(("s3", place)) => self.of_bucket(place),
            Some(("file", path)) if path.starts_with('/') => self.of_file(path),
            None if url.starts_with('/') => self.of_file(url),
            _ => Err("expected https://…, s3://bucket/key or file:///path".to_owned()),
        }
    }

    fn of_file(&self, path: &str) -> Result<Vec<u8>, String> {
        read_bounded(&self.host.path(path), MAX_BYTES).map_err(|error| error.to_string())
    }

    fn of_bucket(&self, place: &str) -> Result<Vec<u8>, String> {
        let (name, key) = place.split_once('/').filter(|(_, key)| !key.is_empty()).ok_or("expected s3://bucket/key")?;
        let ways = match (self.buckets.get(name), &self.aws_region) {
            (Some(settings), _) => vec![settings.clone()],
            (None, Some(region)) => of_aws(name, region),
            (None, None) => {
                return Err(format!(
                    "there is no bucket {name:?}; name it under hostwright.buckets, or in the image's {AGENT}"
                ));
            }
        };
        let mut refusals = Vec::new();
        for settings in &ways {
            let fetched = Bucket::open(name, settings)
                .and_then(|bucket| self.host.block_on(bucket.get(key, MAX_BYTES)))
                .map_err(|error| error.to_string());
            match fetched {
                Ok(content) => return Ok(content),
                Err(why) => refusals.push(why),
            }
        }
        Err(refusals.join("; without the instance's role: "))
    }

    fn verified(&self, include: &Include, content: Vec<u8>) -> Result<Vec<u8>, String> {
        if let Some(expected) = &include.sha256 {
            let found = hex(&Sha256::digest(&content));
            if found != *expected {
                return Err(format!("its SHA-256 is {found}, not {expected}"));
            }
        }
        if let Some(key) = &include.signed_by {
            let key = PublicKey::from_base64(key).map_err(|error| format!("signed_by is no minisign key: {error}"))?;
            let (plain, query) =
                include.url.split_once('?').map_or((include.url.as_str(), ""), |(url, query)| (url, query));
            let place = shown(plain);
            let url = if query.is_empty() { format!("{plain}.minisig") } else { format!("{plain}.minisig?{query}") };
            let signature = self.get(&url).map_err(|why| format!("its signature {place}.minisig: {why}"))?;
            let signature = Signature::decode(&String::from_utf8_lossy(&signature));
            let signature = signature.map_err(|error| format!("{place}.minisig is no signature: {error}"))?;
            key.verify(&content, &signature, false).map_err(|error| format!("its signature does not fit: {error}"))?;
        }
        Ok(content)
    }
}

/// A bucket of AWS by its own name: as the instance's role, else as anybody.
fn of_aws(name: &str, region: &str) -> Vec<BucketConfig> {
    let named = |credentials: &str| {
        let text =
            json!({"buckets": {name: {"region": region, "bucket": name, "credentials": credentials}}}).to_string();
        Config::parse(&text, "").ok()?.buckets.remove(name)
    };
    ["instance_role", "anonymous"].into_iter().filter_map(named).collect()
}

impl Fetch for Included<'_> {
    fn fetch(&mut self, include: &Include) -> Result<Vec<u8>, NotFetched> {
        let kept = read_bounded(&self.kept(include), MAX_BYTES);
        if let Ok(content) = kept
            && (include.sha256.is_none()
                || hex(&Sha256::digest(&content)) == *include.sha256.as_deref().unwrap_or_default())
        {
            return Ok(content);
        }
        if !self.network && !include.url.starts_with('/') && !include.url.starts_with("file://") {
            return Err(NotFetched::Later);
        }
        let fetched = self.get(&include.url).and_then(|content| self.verified(include, content));
        let content = fetched.map_err(NotFetched::Never)?;
        let kept = self.keep(include, &content);
        kept.map_err(|error| NotFetched::Never(format!("it cannot be kept for the next boot: {error}")))?;
        Ok(content)
    }

    fn buckets(&mut self, section: &Node) {
        let entries = section.mapping().map(|mapping| &mapping.entries[..]).unwrap_or_default().iter();
        let entries = entries.filter(|entry| entry.key == "buckets").cloned().collect();
        let alone = Node { place: section.place, tag: None, value: Value::Mapping(Mapping { entries }) };
        if let Ok(config) = Config::from_node(&alone) {
            self.buckets.extend(config.buckets);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Included;
    use crate::boot::host::Host;
    use crate::boot::userdata::{Sources, read_all};

    const PUBLIC: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    fn read(tree: &std::path::Path, user_data: &str, network: bool) -> crate::boot::userdata::UserData {
        let host = Host::new(tree.to_owned(), "/proc".into(), "/sys".into()).expect("host");
        let mut included = Included::new(&host, network, &tree.join("instance"));
        read_all(&Sources { user_data: user_data.as_bytes(), ..Sources::default() }, &mut included)
    }

    #[test]
    fn the_rest_comes_from_a_bucket_when_its_checksum_fits_and_is_kept() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let bucket = tree.path().join("bucket");
        std::fs::create_dir(&bucket).expect("folder");
        let rest = "#cloud-config\nhostname: b\nruncmd: [rest]\nhostwright: {metrics: {listen: '127.0.0.1:9100'}}\n";
        std::fs::write(bucket.join("rest.yaml"), rest).expect("written");
        let digest = hostwright_core::hex::hex(&<sha2::Sha256 as sha2::Digest>::digest(rest));
        let user_data = |digest: &str| {
            format!(
                "#cloud-config\nhostname: a\nhostwright:\n  from: s3://own/rest.yaml\n  sha256: {digest}\n  buckets: {{own: 'file://{}'}}\n",
                bucket.display()
            )
        };

        let early = read(tree.path(), &user_data(&digest), false);
        assert_eq!(early.waiting, ["s3://own/rest.yaml"]);
        let whole = read(tree.path(), &user_data(&digest), true);
        assert!(whole.findings.errors.is_empty(), "{:?}", whole.findings.errors);
        assert_eq!((whole.config.names.hostname.as_deref(), whole.config.runcmd.len()), (Some("a"), 1));
        assert!(whole.config.agent.expect("agent").config.contains("metrics"));
        let other = read(tree.path(), &user_data(&"0".repeat(64)), true);
        let why = format!("{:?}", other.findings.errors);
        assert!(why.contains("rest.yaml") && why.contains("its SHA-256 is") && other.config.runcmd.is_empty(), "{why}");
        std::fs::remove_file(bucket.join("rest.yaml")).expect("removed");
        assert!(read(tree.path(), &user_data(&digest), false).waiting.is_empty(), "it is kept");
    }

    #[test]
    fn a_bucket_that_nobody_names_is_one_of_aws_where_the_instance_is_in_aws() {
        let ways = super::of_aws("infra", "eu-west-3");
        let text = format!("{ways:?}");
        assert_eq!(ways.len(), 2, "{text}");
        assert!(text.contains("InstanceRole") && text.contains("Anonymous") && text.contains("eu-west-3"), "{text}");
        let tree = tempfile::tempdir().expect("temporary folder");
        let user_data = read(tree.path(), "#include\ns3://infra/base.yaml\n", true);
        assert!(user_data.findings.errors[0].message.contains("hostwright.buckets"));
    }

    #[test]
    fn what_is_not_verified_is_not_taken() {
        let tree = tempfile::tempdir().expect("temporary folder");
        std::fs::write(tree.path().join("rest"), "#cloud-config\nruncmd: [evil]\n").expect("written");
        std::fs::write(tree.path().join("rest.minisig"), "untrusted comment: x\nRUQ=\ntrusted comment: x\neA==\n")
            .expect("written");
        for (keys, why) in [
            ("", "sha256 or signed_by"),
            ("\n  sha256: x", "64 hexadecimal"),
            ("\n  signed_by: x", "minisign"),
            (&format!("\n  signed_by: {PUBLIC}"), "signature"),
        ] {
            let user_data = read(tree.path(), &format!("#cloud-config\nhostwright:\n  from: /rest{keys}\n"), true);
            assert!(user_data.config.runcmd.is_empty(), "{keys}");
            assert!(
                user_data.findings.errors.iter().any(|error| error.message.contains(why)),
                "{keys}: {:?}",
                user_data.findings.errors
            );
        }
    }

    #[test]
    fn a_signature_of_the_right_key_over_something_else_is_refused() {
        // Of the key above, over the word "test".
        const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\nRUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\ntrusted comment: timestamp:1633700835\tfile:test\tprehashed\nwLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==";
        let tree = tempfile::tempdir().expect("temporary folder");
        std::fs::write(tree.path().join("rest"), "#cloud-config\nruncmd: [evil]\n").expect("written");
        std::fs::write(tree.path().join("rest.minisig"), SIGNATURE).expect("written");
        let text = format!("#cloud-config\nhostwright:\n  from: /rest\n  signed_by: {PUBLIC}\n");
        let user_data = read(tree.path(), &text, true);
        let why = format!("{:?}", user_data.findings.errors);
        assert!(user_data.config.runcmd.is_empty() && why.contains("its signature does not fit"), "{why}");
    }
}
