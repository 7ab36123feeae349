use super::agent::{self, Agent};
use super::files::{self, WriteFile};
use super::groups::{self, Group};
use super::names::Names;
use super::packages::Packages;
use super::ssh::Ssh;
use super::users;
use super::{Findings, commands};
use hostwright_core::config::section::{Problems, Section};
use hostwright_core::config::values::{FromNode, mismatch};
use hostwright_core::yaml::{Node, Value};

/// The keys of `#cloud-config` that are carried out.
#[derive(Clone, Default)]
pub struct CloudConfig {
    /// What the host is called.
    pub names: Names,
    /// `groups:`
    pub groups: Vec<Group>,
    /// `users:`, if it is there.
    pub users: Option<Vec<users::Entry>>,
    /// How SSH lets people in.
    pub ssh: Ssh,
    /// `write_files:`
    pub files: Vec<WriteFile>,
    /// What is installed.
    pub packages: Packages,
    /// `bootcmd:`, lines for the shell.
    pub bootcmd: Vec<String>,
    /// `runcmd:`, lines for the shell.
    pub runcmd: Vec<String>,
    /// `timezone:`
    pub timezone: Option<String>,
    /// `final_message:`
    pub final_message: Option<String>,
    /// `hostwright:`
    pub agent: Option<Agent>,
}

/// Top-level keys that cloud-init carries out and we do not, so that each is told as what it is.
const NOT_DONE: [&str; 66] = [
    "allow_public_ssh_keys",
    "ansible",
    "apk_repos",
    "apt",
    "apt_pipelining",
    "apt_reboot_if_required",
    "apt_update",
    "apt_upgrade",
    "authkey_hash",
    "autoinstall",
    "byobu_by_default",
    "ca-certs",
    "ca_certs",
    "chef",
    "chpasswd",
    "cloud_config_modules",
    "cloud_final_modules",
    "cloud_init_modules",
    "create_hostname_file",
    "datasource",
    "datasource_list",
    "device_aliases",
    "disable_ec2_metadata",
    "disable_root_opts",
    "disk_setup",
    "drivers",
    "fan",
    "fs_setup",
    "growpart",
    "grub_dpkg",
    "keyboard",
    "landscape",
    "launch-index",
    "locale",
    "locale_configfile",
    "lxd",
    "manual_cache_clean",
    "mcollective",
    "merge_how",
    "merge_type",
    "mount_default_fields",
    "mounts",
    "network",
    "no_ssh_fingerprints",
    "ntp",
    "output",
    "package_reboot_if_required",
    "password",
    "phone_home",
    "power_state",
    "puppet",
    "random_seed",
    "resize_rootfs",
    "resolv_conf",
    "rsyslog",
    "salt_minion",
    "snap",
    "ssh",
    "ssh_genkeytypes",
    "ssh_import_id",
    "ssh_keys",
    "swap",
    "user",
    "vendor_data",
    "wireguard",
    "yum_repos",
];

struct TimeZone(String);

impl FromNode for TimeZone {
    const EXPECTED: &'static str = "a time zone such as Europe/Paris";

    fn from_node(node: &Node) -> Result<Self, String> {
        let fits = |text: &&str| {
            let inner = text.chars().all(|c| c.is_ascii_alphanumeric() || "/_+-".contains(c));
            inner && text.starts_with(|c: char| c.is_ascii_alphabetic())
        };
        node.text().filter(fits).map(|text| Self(text.to_owned())).ok_or_else(|| mismatch::<Self>(node))
    }
}

impl CloudConfig {
    /// Reads what is valid; the rest goes to the findings.
    pub fn read(root: &Node, findings: &mut Findings) -> Self {
        let root = without_not_done(root, findings);
        let problems = Problems::default();
        let config = Section::open(&root, "", &problems).map(|section| Self::read_section(section, findings));
        findings.take(problems);
        config.unwrap_or_default()
    }

    fn read_section(mut root: Section<'_>, findings: &mut Findings) -> Self {
        let config = Self {
            names: Names::read(&mut root),
            groups: root.node("groups").map(|node| groups::read(node, findings)).unwrap_or_default(),
            users: root.node("users").map(|node| users::read(node, findings)),
            ssh: Ssh::read(&mut root, findings),
            files: root.node("write_files").map(|node| files::read(node, findings)).unwrap_or_default(),
            packages: Packages::read(&mut root, findings),
            bootcmd: commands::read("bootcmd", root.node("bootcmd"), findings),
            runcmd: commands::read("runcmd", root.node("runcmd"), findings),
            timezone: root.optional::<TimeZone>("timezone").map(|zone| zone.0),
            final_message: root.optional("final_message"),
            agent: root.node("hostwright").and_then(|node| agent::read(node, findings)),
        };
        root.finish();
        config
    }
}

/// The document without the keys that are told as not done: they are neither known nor unknown.
fn without_not_done(root: &Node, findings: &mut Findings) -> Node {
    let mut root = root.clone();
    if let Value::Mapping(mapping) = &mut root.value {
        mapping.entries.retain(|entry| {
            let is_done = !NOT_DONE.contains(&entry.key.as_str());
            if !is_done {
                findings.not_done(entry.place, &entry.key);
            }
            is_done
        });
    }
    root
}

#[cfg(test)]
mod tests {
    use super::super::read;

    #[test]
    fn unknown_keys_and_keys_that_are_not_done_are_told_apart_and_the_rest_counts() {
        let user_data = read(b"#cloud-config\nhostnme: a\nntp: {enabled: true}\nhostname: web\ntimezone: ../etc/passwd\nhostname: web2\n");
        let told: Vec<_> = user_data.findings.ignored.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["2:1: hostnme: unknown key; did you mean \"hostname\"?", "3:1: ntp: is not done yet"]);
        assert_eq!(user_data.findings.errors.len(), 1);
        assert!(user_data.findings.warnings[0].message.contains("this one counts"));
        assert_eq!(user_data.config.names.hostname.as_deref(), Some("web2"));
    }

    #[test]
    fn what_is_not_yaml_or_no_mapping_is_an_error_with_its_place() {
        for (text, place) in [("#cloud-config\na: [b\n", "3:1"), ("#cloud-config\n- a\n", "2:1")] {
            let errors = read(text.as_bytes()).findings.errors;
            assert!(errors.len() == 1 && errors[0].to_string().starts_with(place), "{errors:?}");
        }
    }
}
