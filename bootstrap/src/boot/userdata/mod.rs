//! User-data → typed sections and findings.
//!
//! In: the bytes that the datasource has, the cloud's and the operator's. Out: a [`UserData`]: what is valid of them, and
//! what is wrong, with line and column. A section or item with a wrong value is left out and told; a key that nobody
//! knows is told. Nothing is touched here and nothing survives a restart. Packed, multipart and included user-data is
//! taken apart in `parts`; further keys of cloud-config are a field of [`CloudConfig`] and a file of their own.

/// `hostwright:`
pub mod agent;
/// `apt:`
pub mod apt;
/// The keys of the top level that are about `apt`.
mod apt_keys;
/// `hostwright: {boot: …}`
pub mod boot_section;
/// `ca_certs:`
pub mod certificates;
/// The keys of `#cloud-config`.
pub mod cloud_config;
/// Parts made into one configuration and its scripts.
mod combine;
/// `runcmd:` and `bootcmd:`
pub mod commands;
/// `disk_setup:` and `fs_setup:`
pub mod disks;
/// `write_files:`
pub mod files;
/// What is wrong or odd, and how serious that is.
pub mod findings;
/// `groups:`
pub mod groups;
/// `growpart:` and `resize_rootfs:`
pub mod growth;
/// What OpenStack's Heat puts around a user-data.
mod heat;
/// `locale:` and `keyboard:`
pub mod locale;
/// Documents merged as cloud-init merges them.
mod merge;
/// cloud-init's modules, and what becomes of each here.
pub mod modules;
/// `mounts:` and `swap:`
pub mod mounts;
/// `hostname:` and its kin
pub mod names;
/// `ntp:`
pub mod ntp;
/// What stands for `apt:` in user-data of the past.
mod old_apt;
/// `packages:` and its kin
pub mod packages;
/// A user-data taken apart.
pub mod parts;
/// `chpasswd:` and `password:`
pub mod passwords;
/// `#cloud-config-jsonp`
mod patch;
/// `phone_home:`
pub mod phone_home;
/// `power_state:`
pub mod power;
/// `random_seed:`
pub mod random_seed;
/// `resolv_conf:`
pub mod resolvers;
/// `hostwright: {from: …}`
mod rest;
/// `rsyslog:`
pub mod rsyslog;
/// What cloud-init's schema says of values.
mod schema;
/// Secrets in clear.
pub mod secrets;
/// `ssh_authorized_keys:` and its kin
pub mod ssh;
/// `## template: jinja`
pub mod template;
/// The bytes: compression and encoding undone.
mod unpack;
/// `users:`
pub mod users;
/// What single values are made of.
mod values;
/// Vendor-data: whether and how it counts.
mod vendor;
/// `yum_repos:`
pub mod yum;

pub use cloud_config::CloudConfig;
pub use combine::{Combined, Script};
pub use findings::Findings;
pub use unpack::{bounded_gunzip, is_encoded};

use super::datasource::Bytes;
use parts::{Fetch, Include, NotFetched};

/// What an operator wants of this host.
#[derive(Default)]
pub struct UserData {
    /// The valid part of the `#cloud-config`, all parts of it merged.
    pub config: CloudConfig,
    /// `#!` scripts, in the order in which they are to run.
    pub scripts: Vec<Script>,
    /// `#cloud-boothook` scripts: run first, at each boot.
    pub boothooks: Vec<Script>,
    /// What is wrong or odd.
    pub findings: Findings,
    /// Included places that only the network reaches: without them nothing is to be done.
    pub waiting: Vec<String>,
}

impl UserData {
    /// Scripts that run before the commands of `runcmd:`, in their order; cloud-init keeps those as the script `runcmd`.
    pub fn scripts_before_commands(&self) -> impl Iterator<Item = &Script> {
        self.scripts.iter().filter(|script| script.runs_before_commands())
    }

    /// Scripts that run after them.
    pub fn scripts_after_commands(&self) -> impl Iterator<Item = &Script> {
        self.scripts.iter().filter(|script| !script.runs_before_commands())
    }
}

/// Everything that decides what is done.
#[derive(Default)]
pub struct Sources<'a> {
    /// The operator's.
    pub user_data: &'a [u8],
    /// The cloud's.
    pub vendor_data: &'a [Bytes],
    /// The cloud's for this project.
    pub vendor_data2: &'a [Bytes],
    /// For templates.
    pub instance_data: serde_json::Value,
    /// Which of several instances that were launched together this is.
    pub launch_index: Option<i64>,
}

/// Reads a user-data of any format by itself: nothing is fetched, and templates know no instance.
pub fn read(content: &[u8]) -> UserData {
    // What every instance has, so that templates can be looked at.
    let instance_data = serde_json::json!({"v1": {
        "local_hostname": "host", "local-hostname": "host", "instance_id": "i-0", "instance-id": "i-0", "region": "region",
        "availability_zone": "zone", "availability-zone": "zone", "cloud_name": "cloud", "cloud-name": "cloud",
        "cloud_id": "cloud", "platform": "cloud", "subplatform": "cloud", "distro": "debian", "distro_release": "bookworm",
        "distro_version": "12", "variant": "debian", "machine": "x86_64", "kernel_release": "6.1", "public_ssh_keys": [],
        "system_platform": "Linux",
    }, "ds": {"meta_data": {}}});
    let sources = Sources { user_data: content, instance_data, ..Sources::default() };
    read_all(&sources, &mut Nowhere)
}

/// Reads user-data and vendor-data of any format without fetching anything.
pub fn look(sources: &Sources<'_>) -> UserData {
    read_all(sources, &mut Nowhere)
}

/// Reads user-data and vendor-data of any format.
pub fn read_all(sources: &Sources<'_>, fetch: &mut dyn Fetch) -> UserData {
    whole(sources, fetch).read()
}

/// What user-data and vendor-data come to, before it is read as typed sections. Nothing is fetched.
pub fn render(sources: &Sources<'_>) -> Combined {
    whole(sources, &mut Nowhere)
}

fn whole(sources: &Sources<'_>, fetch: &mut dyn Fetch) -> Combined {
    let parts = parts::collect(sources.user_data, fetch);
    let mut operators = combine::combine(&parts, sources);
    // As of a message whose lines all begin with blanks: each of them goes on with the header before.
    let is_of_nothing = !parts.list.is_empty() && parts.list.iter().all(|part| part.text.trim().is_empty());
    if is_of_nothing && operators.findings.errors.is_empty() && !sources.user_data.trim_ascii().is_empty() {
        let why = "this is a message (it has MIME-Version:) without any content: its lines must begin without blanks";
        operators.findings.error(findings::START, "", why.to_owned());
    }
    rest::add(&mut operators, sources, fetch);
    vendor::add(operators, sources, fetch)
}

/// For a look at a user-data that touches nothing.
struct Nowhere;

impl Fetch for Nowhere {
    fn fetch(&mut self, _: &Include) -> Result<Vec<u8>, NotFetched> {
        Err(NotFetched::Later)
    }
}

#[cfg(test)]
mod tests {
    use super::{Fetch, Include, NotFetched, Sources, UserData, read, read_all};
    use std::fmt::Write as _;

    const WHOLE: &[u8] = b"#cloud-config\nhostname: a\ngroups: [g, {h: [u]}]\nusers: [default, {name: u, passwd: $6$x, sudo: ['ALL=(ALL) ALL']}]\nwrite_files:\n- {path: /a, content: aGk=, encoding: b64, permissions: 0644}\npackages: [a, [b, 1]]\nruncmd: [a, [b, c]]\nhostwright: {agent: {from: /x}, metrics: {listen: '0.0.0.0:1'}}\n";

    fn multipart(parts: &[(&str, &str)]) -> String {
        let mut text = "Content-Type: multipart/mixed; boundary=\"B\"\nMIME-Version: 1.0\n\n".to_owned();
        for (headers, body) in parts {
            let _ = write!(text, "--B\n{headers}\n\n{body}\n");
        }
        text + "--B--\n"
    }

    fn names(user_data: &UserData) -> Vec<String> {
        let before = user_data.scripts_before_commands().map(|script| script.name.clone());
        let after = user_data.scripts_after_commands().map(|script| script.name.clone());
        before.chain(["runcmd".to_owned()]).chain(after).collect()
    }

    #[test]
    fn whatever_stands_in_it_is_told_and_never_a_panic() {
        assert!(read(WHOLE).findings.errors.is_empty(), "{:?}", read(WHOLE).findings.errors);
        for at in 0..WHOLE.len() {
            read(&WHOLE[..at]);
            for byte in *b"\0\n :-[]{}'\"&*!|>%@\xff7a" {
                let mut changed = WHOLE.to_vec();
                changed[at] = byte;
                read(&changed);
            }
        }
    }

    #[test]
    fn the_parts_of_a_message_are_merged_and_its_scripts_run_in_the_order_of_names_around_runcmd() {
        let message = multipart(&[
            ("Content-Type: text/cloud-config", "hostname: a\nruncmd: [one]"),
            (
                "Content-Type: text/x-shellscript; charset=us-ascii\nContent-Disposition: attachment; filename=\"setup.sh\"",
                "#!/bin/sh\nlast",
            ),
            ("Content-Type: text/x-shellscript", "#!/bin/sh\nfirst"),
            (
                "Content-Type: text/cloud-config\nX-Merge-Type: list(append)+dict(recurse_list)",
                "runcmd: [two]\ntimezone: UTC",
            ),
            ("Content-Type: text/plain", "#cloud-boothook\n#!/bin/sh\nhook"),
        ]);
        let user_data = read(message.as_bytes());
        assert!(user_data.findings.errors.is_empty(), "{:?}", user_data.findings.errors);
        assert_eq!(user_data.config.runcmd, ["one", "two"]);
        assert_eq!(user_data.config.timezone.as_deref(), Some("UTC"));
        assert_eq!(names(&user_data), ["part-003", "runcmd", "setup.sh"]);
        assert_eq!(user_data.boothooks[0].text, "#!/bin/sh\nhook");
    }

    #[test]
    fn scripts_of_one_name_are_steps_of_their_own_or_one() {
        let file = "Content-Type: text/cloud-boothook\nContent-Disposition: attachment; filename=a";
        let script = "Content-Type: text/x-shellscript\nContent-Disposition: attachment; filename=a";
        let message = multipart(&[
            (file, "#!/bin/sh\n1"),
            (file, "#!/bin/sh\n2"),
            (script, "#!/bin/sh\n3"),
            (script, "#!/bin/sh\n4"),
        ]);
        let user_data = read(message.as_bytes());
        let hooks: Vec<_> = user_data.boothooks.iter().map(|hook| hook.name.as_str()).collect();
        assert_eq!(hooks, ["a", "a_"]);
        assert_eq!((user_data.scripts.len(), user_data.scripts[0].text.as_str()), (1, "#!/bin/sh\n4"));
    }

    #[test]
    fn places_are_the_files_own_also_inside_a_message() {
        let message = multipart(&[
            ("Content-Type: text/cloud-config", "x: 1"),
            ("Content-Type: text/cloud-config", "hostname: a\nhostnme: b"),
        ]);
        let found: Vec<_> = read(message.as_bytes()).findings.ignored.iter().map(ToString::to_string).collect();
        assert!(found[0].starts_with("7:1: x: unknown key"), "{found:?}");
        assert_eq!(found[1], "12:1: hostnme: unknown key; did you mean \"hostname\"?");
    }

    #[test]
    fn other_formats_are_told_by_their_name() {
        for (content, name) in [
            ("#part-handler\n", "Python"),
            ("hostname: a", "first line"),
            ("#cloud-config-archive\na: b", "list"),
            ("## template: jinja\n#cloud-config\nhostname: {{ a b }}", "template"),
            ("Content-Type: multipart/mixed\nMIME-Version: 1.0\n\nx", "boundary"),
            (
                "  # x\n  Content-Type: multipart/mixed; boundary=\"//\"\n  MIME-Version: 1.0\n  --//\n",
                "without blanks",
            ),
        ] {
            let errors = read(content.as_bytes()).findings.errors;
            assert!(errors.iter().any(|error| error.message.contains(name)), "{name}: {errors:?}");
        }
        assert!(read(b" \n").findings.errors.is_empty());
        assert_eq!(read(b"#!/bin/sh\ntrue\n").scripts[0].text, "#!/bin/sh\ntrue\n");
    }

    struct Web;

    impl Fetch for Web {
        fn fetch(&mut self, include: &Include) -> Result<Vec<u8>, NotFetched> {
            match include.url.as_str() {
                "https://x/a" => Ok(b"#cloud-config\nhostname: a\n".to_vec()),
                "https://x/loop" => Ok(b"#include\nhttps://x/loop\nhttps://x/loop\n".to_vec()),
                "https://x/later" => Err(NotFetched::Later),
                _ => Err(NotFetched::Never("404".into())),
            }
        }
    }

    fn included(text: &str) -> UserData {
        read_all(&Sources { user_data: text.as_bytes(), ..Sources::default() }, &mut Web)
    }

    #[test]
    fn included_places_are_taken_in_and_their_number_is_bounded() {
        let user_data = included("#include\n# a comment\nhttps://x/a\n");
        assert_eq!(user_data.config.names.hostname.as_deref(), Some("a"));
        assert_eq!(included("#include https://x/a").config.names.hostname.as_deref(), Some("a"));
        assert_eq!(included("#include-once\nhttps://x/later\n").waiting, ["https://x/later"]);
        let user_data = included("#include\nhttps://x/a\nhttps://x/b?key=secret\n");
        assert!(user_data.config.names.hostname.is_none(), "an incomplete user-data is not carried out");
        assert_eq!(user_data.findings.errors[0].to_string(), "3:1: cannot include https://x/b: 404");
        assert!(included("#include\nhttps://x/loop\n").findings.errors[0].message.contains("deep"));
    }

    #[test]
    fn vendor_data_fills_up_what_the_user_data_leaves_open() {
        let vendor = [super::Bytes(b"#cloud-config\nhostname: v\ntimezone: UTC\nruncmd: [v]\n".to_vec())];
        let with = |user_data: &str| {
            let sources = Sources { user_data: user_data.as_bytes(), vendor_data: &vendor, ..Sources::default() };
            read_all(&sources, &mut Web).config
        };
        let config = with("#cloud-config\nhostname: u\nruncmd: [u]\n");
        assert_eq!((config.names.hostname.as_deref(), config.timezone.as_deref()), (Some("u"), Some("UTC")));
        assert_eq!(config.runcmd, ["u"]);
        assert!(with("#cloud-config\nvendor_data: {enabled: false}\n").timezone.is_none());
        assert!(with("#cloud-config\nvendor_data: {disabled_handlers: [text/cloud-config]}\n").timezone.is_none());
        assert_eq!(with("").names.hostname.as_deref(), Some("v"));
    }
}
