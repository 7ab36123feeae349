use crate::boot::host::Host;
use hostwright_core::yaml::{self, Duplicates, Node, Scalar};
use std::path::PathBuf;

/// What the image says of datasources in `/etc/cloud/cloud.cfg` and `/etc/cloud/cloud.cfg.d/*.cfg`.
#[derive(Default)]
pub struct Image {
    list: Option<Vec<String>>,
    /// `datasource:` of each file, the one that counts most last.
    settings: Vec<Node>,
    /// `network:` of each file, the one that counts most last.
    networks: Vec<Node>,
}

/// What the image says of the network, which counts before a datasource's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnNetwork {
    /// It stays as it is.
    Untouched,
    /// A network-config.
    Config(String),
}

const MAX_BYTES: u64 = 1 << 20;

impl Image {
    /// Reads the files in their order: a later one counts more. One that cannot be read is told and passed over.
    pub fn read(host: &Host) -> Self {
        let mut image = Self::default();
        for path in files(host) {
            let read = crate::boot::host::read_bounded(&path, MAX_BYTES).map_err(|error| error.to_string());
            let text = read.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            match text.and_then(|text| yaml::load(&text, Duplicates::LastWins).map_err(|error| error.to_string())) {
                Ok(document) => image.add(&document.root),
                Err(why) => log::warn!("{} is passed over: {why}", path.display()),
            }
        }
        image
    }

    fn add(&mut self, root: &Node) {
        if let Some(list) = root.get("datasource_list").and_then(Node::sequence) {
            self.list = Some(list.iter().filter_map(Node::text).map(str::to_owned).collect());
        }
        self.settings.extend(root.get("datasource").cloned());
        self.networks.extend(root.get("network").filter(|network| network.mapping().is_some()).cloned());
    }

    /// Whether a datasource may be used.
    pub fn lists(&self, name: &str) -> bool {
        self.list.as_ref().is_none_or(|list| list.iter().any(|listed| listed.eq_ignore_ascii_case(name)))
    }

    /// The one datasource that the image names: no sign of it on the machine is needed then.
    pub fn only(&self) -> Option<String> {
        let mut names = self.list.iter().flatten().filter(|name| !name.eq_ignore_ascii_case("none"));
        names.next().filter(|_| names.next().is_none()).cloned()
    }

    /// The first of `datasource: {NAME: {metadata_urls: […]}}`.
    pub fn metadata_url(&self, name: &str) -> Option<String> {
        let urls = self.setting(name, "metadata_urls")?;
        urls.sequence().unwrap_or(std::slice::from_ref(urls)).iter().find_map(Node::text).map(str::to_owned)
    }

    /// `datasource: {Ec2: {allow_imdsv1: true}}`
    pub fn allows_imds_v1(&self) -> bool {
        self.setting("Ec2", "allow_imdsv1").and_then(Node::scalar) == Some(Scalar::Bool(true))
    }

    /// `network:`, of which `config: disabled` counts wherever another file describes one.
    pub fn network(&self) -> Option<OwnNetwork> {
        let config = self.networks.iter().rev().find_map(|network| network.get("config"));
        if config.and_then(Node::text) == Some("disabled") {
            return Some(OwnNetwork::Untouched);
        }
        self.networks.last().map(|network| OwnNetwork::Config(yaml::emit(network)))
    }

    /// A text, or a document, under `datasource: {NAME: {KEY: …}}`.
    pub fn text(&self, name: &str, key: &str) -> Option<String> {
        let node = self.setting(name, key).filter(|node| !node.is_null())?;
        Some(node.text().map_or_else(|| yaml::emit(node), str::to_owned))
    }

    /// `datasource: {NoCloud: {fs_label: …}}`; nothing where it is `null`, and no disk is looked at.
    pub fn seed_label(&self) -> Option<&str> {
        self.setting("NoCloud", "fs_label").map_or(Some("cidata"), Node::text).filter(|label| !label.is_empty())
    }

    fn setting(&self, name: &str, key: &str) -> Option<&Node> {
        self.settings.iter().rev().find_map(|settings| settings.get(name)?.get(key))
    }
}

fn files(host: &Host) -> Vec<PathBuf> {
    let folder = host.path("/etc/cloud/cloud.cfg.d");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "cfg")).collect();
    files.sort();
    files.insert(0, host.path("/etc/cloud/cloud.cfg"));
    files.retain(|path| path.is_file());
    files
}

#[cfg(test)]
mod tests {
    use super::{Image, OwnNetwork};
    use crate::boot::host::Host;

    #[test]
    fn the_last_file_counts_and_a_single_name_needs_no_sign() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let folder = tree.path().join("etc/cloud/cloud.cfg.d");
        std::fs::create_dir_all(&folder).expect("folder");
        std::fs::write(tree.path().join("etc/cloud/cloud.cfg"), "datasource_list: [NoCloud, Ec2]\n").expect("written");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        let image = Image::read(&host);
        assert!(image.lists("ec2") && !image.lists("OpenStack") && image.only().is_none());
        std::fs::write(
            folder.join("90_x.cfg"),
            "datasource_list: [OpenStack, None]\ndatasource: {OpenStack: {metadata_urls: ['http://127.0.0.1:1']}}\n",
        )
        .expect("written");
        std::fs::write(folder.join("91_broken.cfg"), "a: [").expect("written");
        let image = Image::read(&host);
        assert_eq!(image.only().as_deref(), Some("OpenStack"));
        assert_eq!(image.metadata_url("OpenStack").as_deref(), Some("http://127.0.0.1:1"));
        assert!(!image.allows_imds_v1());
    }

    #[test]
    fn the_image_may_describe_the_network_or_keep_it_as_it_is() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let folder = tree.path().join("etc/cloud/cloud.cfg.d");
        std::fs::create_dir_all(&folder).expect("folder");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        assert_eq!(Image::read(&host).network(), None);
        std::fs::write(folder.join("50.cfg"), "network: {version: 2, ethernets: {eth0: {dhcp4: true}}}\n")
            .expect("written");
        let Some(OwnNetwork::Config(text)) = Image::read(&host).network() else { panic!("a network") };
        assert!(text.contains("eth0"), "{text}");
        std::fs::write(folder.join("10.cfg"), "network: {config: disabled}\n").expect("written");
        assert_eq!(Image::read(&host).network(), Some(OwnNetwork::Untouched));
    }
}
