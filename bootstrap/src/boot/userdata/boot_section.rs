use super::Findings;
use super::users::User;
use super::values::{AccountName, Flag, NameList, Text};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hostwright_core::config::section::{Problems, Section};
use hostwright_core::config::values::{AbsolutePath, FromNode, mismatch};
use hostwright_core::yaml::{Entry, Node};
use serde::Serialize;
use std::path::PathBuf;

/// `hostwright: {boot: …}`: what bootstrap does beyond cloud-config.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct BootSection {
    /// A line for the console when everything has succeeded.
    pub marker: Option<String>,
    /// Where the boot's report goes.
    pub report: ReportTo,
    /// People of a team, each with a key.
    pub team: Vec<Member>,
    /// Encrypted volumes.
    pub volumes: Vec<Volume>,
    /// Files that are fetched and verified.
    pub files: Vec<FetchedFile>,
    /// Archives that are fetched, verified, unpacked and perhaps run.
    pub bundles: Vec<Bundle>,
    /// A container engine.
    pub engine: Option<Engine>,
    /// Switches that make the host harder to break into.
    pub hardening: Hardening,
}

/// Something that is fetched, and by what it is known to be the right one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fetched {
    /// `s3://bucket/key`, `https://…`, `file:///…` or a path.
    pub from: String,
    /// Its checksum.
    pub sha256: Option<String>,
    /// The minisign key that has signed it.
    pub signed_by: Option<String>,
}

/// Where the boot's report goes when the final stage is over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReportTo {
    /// Posted there as JSON.
    pub url: Option<String>,
    /// The bucket that it is put into, and the key there.
    pub bucket: Option<(String, String)>,
}

/// One of `team:`.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    /// The account, with its key.
    pub user: User,
    /// Whether it shall be there.
    pub present: bool,
}

/// One of `volumes:`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// What it is called below `/dev/mapper`.
    pub name: String,
    /// The device under it.
    pub device: String,
    /// What opens it.
    pub key: VolumeKey,
    /// The file system in it.
    pub filesystem: String,
    /// Where it is mounted.
    pub mount: Option<PathBuf>,
    /// Whose that folder is.
    pub owner: String,
}

/// `key:` of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum VolumeKey {
    /// A file of the host or elsewhere; all of its bytes count.
    Fetched(Fetched),
    /// The machine's own TPM.
    Tpm2 {
        /// What opens it besides, as a key would.
        recovery: Option<Fetched>,
    },
}

/// One of `files:`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FetchedFile {
    /// Where it belongs.
    pub path: PathBuf,
    /// Where it comes from.
    pub fetched: Fetched,
    /// Whose it is.
    pub owner: String,
    /// Permission bits.
    pub mode: u32,
}

/// One of `bundles:`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bundle {
    /// What it is called.
    pub name: String,
    /// A tar archive, perhaps packed.
    pub fetched: Fetched,
    /// The folder that it becomes, as a whole.
    pub to: PathBuf,
    /// The program in it that is run once, with its arguments.
    pub run: Vec<String>,
}

/// `engine:`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Engine {
    /// Docker Engine; else Podman.
    pub is_docker: bool,
    /// `daemon.json`, where it is Docker Engine.
    pub settings: Option<String>,
}

/// `hardening:`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hardening {
    /// The SSH server takes keys alone.
    pub ssh: bool,
    /// Security updates are installed by themselves.
    pub upgrades: bool,
    /// Nothing comes in but to these ports.
    pub firewall: Option<Vec<Port>>,
}

/// A port that may be reached: a number, with `/udp` where it is not TCP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// Whether it is UDP's.
    pub udp: bool,
}

impl FromNode for Port {
    const EXPECTED: &'static str = "a port such as 443 or 53/udp";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().unwrap_or_default();
        let (number, udp) = match text.split_once('/') {
            Some((number, "udp")) => (number, true),
            Some((number, "tcp")) => (number, false),
            Some(_) => return Err(mismatch::<Self>(node)),
            None => (text, false),
        };
        number.parse().map(|number| Self { number, udp }).map_err(|_| mismatch::<Self>(node))
    }
}

/// A switch of ours: that nothing is said where a template knew nothing is told, and no silent `false`.
struct Switch(bool);

impl FromNode for Switch {
    const EXPECTED: &'static str = Flag::EXPECTED;

    fn from_node(node: &Node) -> Result<Self, String> {
        let is_empty = node.text().is_some_and(|text| text.trim().is_empty());
        if is_empty { Err(mismatch::<Self>(node)) } else { Flag::from_node(node).map(|flag| Self(flag.0)) }
    }
}

struct Mode(u32);

impl FromNode for Mode {
    const EXPECTED: &'static str = "permissions such as '0644'";

    fn from_node(node: &Node) -> Result<Self, String> {
        let mode = node.text().and_then(|text| u32::from_str_radix(text.trim_start_matches("0o"), 8).ok());
        mode.filter(|mode| *mode <= 0o7777).map(Self).ok_or_else(|| mismatch::<Self>(node))
    }
}

/// Reads the section. A wrong value leaves out what it stands in, and nothing else.
pub fn read(node: &Node, findings: &mut Findings) -> BootSection {
    let problems = Problems::default();
    let mut boot = BootSection::default();
    if let Some(mut section) = Section::open(node, "hostwright.boot", &problems) {
        boot.marker = section.optional::<Text>("marker").map(|text| text.0);
        boot.report = section.section("report", report).unwrap_or_default();
        boot.team = list(&mut section, "team", findings, member);
        boot.files = list(&mut section, "files", findings, file);
        boot.volumes = named(&mut section, "volumes", findings, volume);
        boot.bundles = named(&mut section, "bundles", findings, bundle);
        boot.engine = section.node("engine").and_then(|node| engine(node, findings));
        boot.hardening = section.section("hardening", |section| Some(hardening(section))).unwrap_or_default();
        section.finish();
    }
    findings.take(problems);
    boot
}

fn list<T>(
    section: &mut Section<'_>,
    key: &'static str,
    findings: &mut Findings,
    read: impl Fn(Section<'_>) -> Option<T>,
) -> Vec<T> {
    let Some(node) = section.node(key) else { return Vec::new() };
    let path = format!("hostwright.boot.{key}");
    let items = section.items(key, node).unwrap_or_default();
    items.iter().filter_map(|item| findings.whole(item, &path, |section, _| read(section))).collect()
}

fn named<T>(
    section: &mut Section<'_>,
    key: &'static str,
    findings: &mut Findings,
    read: impl Fn(Section<'_>, &str) -> Option<T>,
) -> Vec<T> {
    let Some(node) = section.node(key) else { return Vec::new() };
    let Some(mapping) = node.mapping() else {
        section.problem_with(key, &format!("expected a mapping of names, found {}", node.kind()));
        return Vec::new();
    };
    let mut whole = |entry: &Entry| {
        let fits = entry.key.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) && !entry.key.is_empty();
        if !fits {
            section.problem_at(entry.place, key, "a name has letters, digits, '_' and '-'");
            return None;
        }
        findings.whole(&entry.value, &format!("hostwright.boot.{key}.{}", entry.key), |section, _| {
            read(section, &entry.key)
        })
    };
    mapping.entries.iter().filter_map(&mut whole).collect()
}

fn report(mut section: Section<'_>) -> Option<ReportTo> {
    let url = section.optional::<String>("url");
    if url.as_ref().is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
        section.problem_with("url", "expected http://… or https://…");
    }
    let bucket = section.optional::<String>("bucket");
    let key = section.or("key", "boot/{instance_id}.json".to_owned());
    section.finish();
    Some(ReportTo { url, bucket: bucket.map(|bucket| (bucket, key)) })
}

/// `sha256:` and `signed_by:` of something whose address stands under `from:` or elsewhere.
fn fetched(section: &mut Section<'_>, key: &'static str) -> Option<Fetched> {
    let from = section.required::<String>(key);
    let known = ["s3://", "https://", "http://", "file:///", "/"];
    if from.as_ref().is_some_and(|from| !known.iter().any(|start| from.starts_with(start))) {
        section.problem_with(key, "expected s3://bucket/key, https://…, file:///… or a path");
    }
    let sha256 = section.optional::<String>("sha256").map(|text| text.to_ascii_lowercase());
    if sha256.as_ref().is_some_and(|text| text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        section.problem_with("sha256", "expected 64 hexadecimal digits as sha256sum prints them");
    }
    let signed_by = section.optional::<String>("signed_by");
    if signed_by.as_ref().is_some_and(|key| BASE64_STANDARD.decode(key).map_or(0, |key| key.len()) != 42) {
        section.problem_with("signed_by", "expected a minisign public key: the second line of its file");
    }
    Some(Fetched { from: from?, sha256, signed_by })
}

/// What runs or decides as root must be known to be the right one.
pub fn verified(section: &mut Section<'_>, key: &'static str) -> Option<Fetched> {
    let fetched = fetched(section, key)?;
    let is_local = fetched.from.starts_with('/') || fetched.from.starts_with("file:");
    if fetched.sha256.is_none() && fetched.signed_by.is_none() && !is_local {
        section.problem_with(key, "say by sha256 or signed_by (a minisign key) what it must be");
    }
    Some(fetched)
}

fn member(mut section: Section<'_>) -> Option<Member> {
    let name = section.required::<AccountName>("user").map(|name| name.0);
    let gecos = section.optional::<Text>("name").map(|text| text.0.replace([':', '\n'], " "));
    let state = section.or("state", Text("present".into())).0;
    if !["present", "absent"].contains(&state.as_str()) {
        section.problem_with("state", &format!("expected present or absent, found {state:?}"));
    }
    let keys = section.list::<Text>("public_key").unwrap_or_default().into_iter().map(|text| text.0.trim().to_owned());
    let keys: Vec<_> = keys.filter(|key| !key.is_empty()).collect();
    let groups = section.optional::<NameList>("groups").map(|names| names.0);
    let sudo = section.or("sudo", Switch(false)).0.then(|| vec!["ALL=(ALL) NOPASSWD:ALL".to_owned()]);
    section.finish();
    let shell = Some("/bin/bash".into());
    let user = User { name: name?, gecos, groups, sudo, shell, keys: Some(keys), ..User::default() };
    Some(Member { user, present: state == "present" })
}

fn file(mut section: Section<'_>) -> Option<FetchedFile> {
    let path = section.required::<AbsolutePath>("path");
    let fetched = verified(&mut section, "from");
    let owner = section.or("owner", "root:root".to_owned());
    let mode = section.or("permissions", Mode(0o644)).0;
    section.finish();
    Some(FetchedFile { path: path?.0, fetched: fetched?, owner, mode })
}

fn volume(mut section: Section<'_>, name: &str) -> Option<Volume> {
    let device = section.required::<String>("device");
    let is_tpm = section.node("key").and_then(Node::text) == Some("tpm2");
    let key = match is_tpm {
        true if section.node("recovery").is_some() => {
            fetched(&mut section, "recovery").map(|from| VolumeKey::Tpm2 { recovery: Some(from) })
        }
        true => Some(VolumeKey::Tpm2 { recovery: None }),
        false => {
            if section.node("recovery").is_some() {
                section.problem_with("recovery", "is for volumes with key: tpm2; a key that is a file needs no other");
            }
            fetched(&mut section, "key").map(VolumeKey::Fetched)
        }
    };
    let filesystem = section.or("filesystem", "ext4".to_owned());
    if !["ext4", "xfs", "btrfs"].contains(&filesystem.as_str()) {
        section.problem_with("filesystem", "expected ext4, xfs or btrfs");
    }
    let mount = section.optional::<AbsolutePath>("mount").map(|path| path.0);
    let owner = section.or("owner", "root:root".to_owned());
    section.finish();
    Some(Volume { name: name.to_owned(), device: device?, key: key?, filesystem, mount, owner })
}

fn bundle(mut section: Section<'_>, name: &str) -> Option<Bundle> {
    let fetched = verified(&mut section, "from");
    let to = section.required::<AbsolutePath>("to");
    if to.as_ref().is_some_and(|to| to.0.components().count() < 3) {
        section.problem_with("to", "expected a folder of its own such as /opt/worker: it is replaced as a whole");
    }
    let run = section.list("run").unwrap_or_default();
    section.finish();
    Some(Bundle { name: name.to_owned(), fetched: fetched?, to: to?.0, run })
}

fn engine(node: &Node, findings: &mut Findings) -> Option<Engine> {
    match node.text() {
        Some("docker") => Some(Engine { is_docker: true, settings: None }),
        Some("podman") => Some(Engine { is_docker: false, settings: None }),
        Some(_) => {
            findings.error(node.place, "hostwright.boot.engine", mismatch::<EngineName>(node));
            None
        }
        None => findings.whole(node, "hostwright.boot.engine", |mut section, _| {
            let settings = section.section("docker", |mut section| {
                let settings = section.optional::<Text>("daemon_json").map(|text| text.0);
                if settings.as_ref().is_some_and(|text| serde_json::from_str::<serde_json::Value>(text).is_err()) {
                    section.problem_with("daemon_json", "this is not JSON");
                }
                section.finish();
                Some(settings)
            });
            section.finish();
            Some(Engine { is_docker: true, settings: settings? })
        }),
    }
}

struct EngineName;

impl FromNode for EngineName {
    const EXPECTED: &'static str = "docker, podman, or docker: {daemon_json: …}";

    fn from_node(node: &Node) -> Result<Self, String> {
        Err(mismatch::<Self>(node))
    }
}

fn hardening(mut section: Section<'_>) -> Hardening {
    let hardening = Hardening {
        ssh: section.or("ssh", Switch(false)).0,
        upgrades: section.or("upgrades", Switch(false)).0,
        firewall: section.section("firewall", |mut section| {
            let ports = section.list("allow").unwrap_or_default();
            section.finish();
            Some(ports)
        }),
    };
    section.finish();
    hardening
}

#[cfg(test)]
mod tests {
    use super::super::read;

    #[test]
    fn every_key_is_read_and_the_agent_does_not_see_them() {
        let digest = "0".repeat(64);
        let user_data = read(
            format!("#cloud-config\nhostwright:\n  boot:\n    marker: all_is_well\n    report: {{url: 'https://x/', bucket: results}}\n    team:\n    - {{name: Andrew, user: ptty2u, state: present, public_key: 'ssh-ed25519 AAAA x', sudo: true}}\n    - {{user: gone, state: absent}}\n    volumes:\n      data: {{device: /dev/vdb, key: tpm2, recovery: /etc/r, mount: /data}}\n      more: {{device: vdc, key: 's3://keys/more', sha256: {digest}}}\n    files:\n    - {{path: /etc/a, from: 's3://b/a', sha256: {digest}, permissions: 0600}}\n    bundles:\n      worker: {{from: 'https://x/worker.tgz', sha256: {digest}, to: /opt/worker, run: [./install.sh, a]}}\n    engine: {{docker: {{daemon_json: '{{}}'}}}}\n    hardening: {{ssh: true, upgrades: true, firewall: {{allow: [22, 53/udp]}}}}\n  metrics: {{listen: '0.0.0.0:9100'}}\n").as_bytes(),
        );
        assert!(user_data.findings.errors.is_empty(), "{:?}", user_data.findings.errors);
        assert!(user_data.findings.ignored.is_empty(), "{:?}", user_data.findings.ignored);
        let boot = user_data.config.boot;
        assert_eq!((boot.team.len(), boot.volumes.len(), boot.files.len(), boot.bundles.len()), (2, 2, 1, 1));
        assert!(!boot.team[1].present && boot.files[0].mode == 0o600);
        assert_eq!(boot.hardening.firewall.expect("ports").len(), 2);
        let agent = user_data.config.agent.expect("agent").config;
        assert!(!agent.contains("marker") && agent.contains("metrics"), "{agent}");
    }

    #[test]
    fn what_is_not_verified_or_not_known_is_refused() {
        let user_data = read(
            b"#cloud-config\nhostwright:\n  boot:\n    files: [{path: /a, from: 's3://b/a'}, {path: /b, from: 'ftp://x', sha256: short}]\n    bundles: {w: {from: /w.tgz, to: /}}\n    volumes: {v: {device: /dev/vdb, key: /k, filesystem: zfs}, w: {device: /dev/vdc, key: /k, recovery: /r}}\n    engine: runc\n    team: [{user: a, state: maybe}]\n    hardening: {firewall: {allow: [70000]}, ssh: ''}\n    markr: x\n",
        );
        let told: Vec<_> = user_data.findings.errors.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 10, "{told:#?}");
        assert_eq!(user_data.findings.ignored.len(), 1);
    }
}
