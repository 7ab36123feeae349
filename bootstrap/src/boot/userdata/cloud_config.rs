use super::agent::{self, Agent};
use super::apt::Apt;
use super::apt_keys;
use super::boot_section::{self, BootSection};
use super::certificates::Certificates;
use super::disks::Disks;
use super::files::{self, WriteFile};
use super::findings::{refuse, says_nothing};
use super::groups::{self, Group};
use super::growth::Growth;
use super::locale::{Keyboard, Locale};
use super::mounts::Mounts;
use super::names::Names;
use super::ntp::Ntp;
use super::packages::Packages;
use super::passwords::Passwords;
use super::phone_home::PhoneHome;
use super::power::Power;
use super::random_seed::RandomSeed;
use super::resolvers::Resolvers;
use super::rsyslog::Rsyslog;
use super::ssh::Ssh;
use super::users::{self, User};
use super::values::{Flag, said};
use super::yum::Yum;
use super::{Findings, commands, modules};
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
    /// `user:`, by which the default user is another.
    pub default_user: Option<User>,
    /// Passwords of users.
    pub passwords: Passwords,
    /// How SSH lets people in.
    pub ssh: Ssh,
    /// `write_files:`
    pub files: Vec<WriteFile>,
    /// What is installed.
    pub packages: Packages,
    /// Where apt has packages from.
    pub apt: Option<Apt>,
    /// Where yum and dnf have packages from.
    pub yum: Option<Yum>,
    /// Disks with their partitions and file systems.
    pub disks: Disks,
    /// What is mounted, and swapped to.
    pub mounts: Mounts,
    /// What grows with its disk.
    pub growth: Growth,
    /// Whose time the host has.
    pub ntp: Option<Ntp>,
    /// `locale:`
    pub locale: Option<Locale>,
    /// `keyboard:`
    pub keyboard: Option<Keyboard>,
    /// Whom the host trusts.
    pub certificates: Option<Certificates>,
    /// `rsyslog:`
    pub rsyslog: Option<Rsyslog>,
    /// `random_seed:`
    pub random_seed: Option<RandomSeed>,
    /// `resolv_conf:`
    pub resolvers: Option<Resolvers>,
    /// `disable_ec2_metadata:`
    pub metadata_is_cut_off: bool,
    /// `phone_home:`
    pub phone_home: Option<PhoneHome>,
    /// `power_state:`
    pub power: Option<Power>,
    /// `bootcmd:`, lines for the shell.
    pub bootcmd: Vec<String>,
    /// `runcmd:`, lines for the shell.
    pub runcmd: Vec<String>,
    /// Whether commands and scripts are for each boot, and not once for the instance.
    pub commands_at_each_boot: bool,
    /// `timezone:`
    pub timezone: Option<String>,
    /// `final_message:`
    pub final_message: Option<String>,
    /// `hostwright: {boot: …}`
    pub boot: BootSection,
    /// `hostwright:`
    pub agent: Option<Agent>,
}

struct TimeZone(String);

impl FromNode for TimeZone {
    const EXPECTED: &'static str = "a time zone such as Europe/Paris";

    fn from_node(node: &Node) -> Result<Self, String> {
        let fits = |text: &&str| {
            let inner = text.chars().all(|c| c.is_ascii_alphanumeric() || "/_+-".contains(c));
            // As for cloud-init, an empty one is none; templates leave it so.
            text.is_empty() || inner && text.starts_with(|c: char| c.is_ascii_alphabetic())
        };
        node.text().filter(fits).map(|text| Self(text.to_owned())).ok_or_else(|| mismatch::<Self>(node))
    }
}

impl CloudConfig {
    /// Reads what is valid; the rest goes to the findings.
    pub fn read(root: &Node, findings: &mut Findings) -> Self {
        let root = without_refused(root, findings);
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
            default_user: root.node("user").and_then(|node| users::read_default(node, findings)),
            passwords: Passwords::read(&mut root, findings),
            ssh: Ssh::read(&mut root, findings),
            files: root.node("write_files").map(|node| files::read(node, findings)).unwrap_or_default(),
            packages: Packages::read(&mut root, findings),
            apt: apt_keys::read(&mut root, findings),
            yum: Yum::read(&mut root, findings),
            disks: Disks::read(&mut root, findings),
            mounts: Mounts::read(&mut root, findings),
            growth: Growth::read(&mut root, findings),
            ntp: Ntp::read(&mut root),
            locale: Locale::read(&mut root, findings),
            keyboard: Keyboard::read(&mut root, findings),
            certificates: Certificates::read(&mut root, findings),
            rsyslog: Rsyslog::read(&mut root, findings),
            random_seed: RandomSeed::read(&mut root, findings),
            resolvers: Resolvers::read(&mut root, findings),
            metadata_is_cut_off: root.or("disable_ec2_metadata", Flag(false)).0,
            phone_home: PhoneHome::read(&mut root, findings),
            power: Power::read(&mut root, findings),
            bootcmd: commands::read("bootcmd", root.node("bootcmd"), findings),
            runcmd: commands::read("runcmd", root.node("runcmd"), findings),
            commands_at_each_boot: commands::are_for_each_boot(root.node("cloud_final_modules"), findings),
            timezone: root.optional::<TimeZone>("timezone").map(|zone| zone.0).filter(|zone| !zone.is_empty()),
            final_message: said(&mut root, "final_message"),
            boot: root
                .node("hostwright")
                .and_then(|node| node.get("boot"))
                .map(|node| boot_section::read(node, findings))
                .unwrap_or_default(),
            agent: root.node("hostwright").and_then(|node| agent::read(node, findings)),
        };
        // They say how this document comes together with others, which was seen to already.
        for key in ["merge_how", "merge_type", "launch-index"] {
            root.node(key);
        }
        if let Some(node) = root.node("vendor_data") {
            findings.whole(node, "vendor_data", vendor_data);
        }
        root.finish();
        config
    }
}

/// What it says was heeded when the cloud's own was added.
fn vendor_data(mut section: Section<'_>, _: &mut Findings) -> Option<()> {
    for key in ["enabled", "disabled_handlers"] {
        section.node(key);
    }
    refuse(
        &mut section,
        "prefix",
        "the cloud's scripts are run as they are: vendor_data: {enabled: false} leaves them out",
    );
    section.finish();
    Some(())
}

/// The document without the keys that are refused: they are neither known nor unknown.
fn without_refused(root: &Node, findings: &mut Findings) -> Node {
    let mut root = root.clone();
    if let Value::Mapping(mapping) = &mut root.value {
        mapping.entries.retain(|entry| {
            let refusal = modules::refusal(&entry.key);
            if let Some(why) = refusal.filter(|_| !says_nothing(&entry.value)) {
                findings.not_done(entry.place, &entry.key, why);
            }
            refusal.is_none()
        });
    }
    root
}

#[cfg(test)]
mod tests {
    use super::super::read;

    #[test]
    fn unknown_keys_and_keys_that_are_not_done_are_told_apart_and_the_rest_counts() {
        let user_data = read(b"#cloud-config\nhostnme: a\npuppet: {enabled: true}\nhostname: web\ntimezone: ../etc/passwd\nhostname: web2\n");
        let told: Vec<_> = user_data.findings.ignored.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "2:1: hostnme: unknown key; did you mean \"hostname\"?",
                "3:1: puppet: is not done here: a configuration management of its own: install and start it by packages and runcmd"
            ]
        );
        assert_eq!(user_data.findings.errors.len(), 1);
        assert!(user_data.findings.warnings[0].message.contains("this one counts"));
        assert_eq!(user_data.config.names.hostname.as_deref(), Some("web2"));
    }

    #[test]
    fn what_a_template_left_empty_says_nothing() {
        let user_data = read(
            b"#cloud-config\nhostname: ''\nfqdn: ''\nfinal_message: ''\nssh_authorized_keys: ['', ' ssh-ed25519 AAAA a ']\npackage_update: ''\ndisable_root: ''\nssh_import_id: []\nsnap:\npackages: [{snap: []}]\nusers: [{name: a, ssh_import_id: []}]\n",
        );
        assert!(user_data.findings.errors.is_empty(), "{:?}", user_data.findings.errors);
        let by_schema = ["package_update", "disable_root"];
        let ignored: Vec<_> = user_data.findings.ignored.iter().map(|problem| problem.path.as_str()).collect();
        assert!(ignored.iter().all(|path| by_schema.contains(path)), "{ignored:?}");
        let config = user_data.config;
        assert_eq!((config.names.hostname, config.names.fqdn, config.final_message), (None, None, None));
        assert_eq!(config.ssh.authorized_keys, ["ssh-ed25519 AAAA a"]);
        assert!(!config.packages.update && !config.ssh.disable_root, "as cloud-init reads flags");
    }

    #[test]
    fn what_is_not_yaml_or_no_mapping_is_an_error_with_its_place() {
        for (text, place) in [("#cloud-config\na: [b\n", "3:1"), ("#cloud-config\n- a\n", "2:1")] {
            let errors = read(text.as_bytes()).findings.errors;
            assert!(errors.len() == 1 && errors[0].to_string().starts_with(place), "{errors:?}");
        }
    }
}
