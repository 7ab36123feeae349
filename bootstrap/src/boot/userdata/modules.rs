/// A module of cloud-init: the keys of cloud-config that belong to it, and what becomes of them here.
#[derive(Debug)]
pub struct Module {
    /// cloud-init's name of it.
    pub name: &'static str,
    /// Its top-level keys.
    pub keys: &'static [&'static str],
    /// What becomes of them.
    pub done: Done,
}

/// Whether a module is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It is, by these steps; what differs follows.
    By(&'static str),
    /// It is not, and why.
    Refused(&'static str),
}

use Done::{By, Refused};

const TOOL: &str = "a configuration management of its own: install and start it by packages and runcmd";
const UBUNTU: &str = "it is for Ubuntu's own services: use runcmd";
const ELSEWHERE: &str = "it belongs to cloud-init's own configuration on the image";

const fn done(name: &'static str, keys: &'static [&'static str], by: &'static str) -> Module {
    Module { name, keys, done: By(by) }
}

const fn refused(name: &'static str, keys: &'static [&'static str], why: &'static str) -> Module {
    Module { name, keys, done: Refused(why) }
}

/// Every module of cloud-init, in the order of its names.
pub const MODULES: &[Module] = &[
    refused("ansible", &["ansible"], TOOL),
    refused(
        "apk_configure",
        &["apk_repos"],
        "Alpine Linux is not supported: write /etc/apk/repositories by write_files",
    ),
    done(
        "apt_configure",
        &super::old_apt::KEYS,
        "apt. The image's own lists stay where neither mirrors, sources_list nor disable_suites are given",
    ),
    done("apt_pipelining", &["apt_pipelining"], "apt"),
    done("bootcmd", &["bootcmd"], "bootcmd N, a step each, at each boot"),
    refused("byobu", &["byobu_by_default"], "it sets up a terminal for people: use runcmd: [byobu-launcher-install]"),
    done("ca_certs", &["ca_certs", "ca-certs"], "certificates"),
    refused("chef", &["chef"], TOOL),
    refused(
        "debug",
        &["debug"],
        "it is gone from cloud-init: hostwright-bootstrap render shows what a user-data comes to",
    ),
    done("disable_ec2_metadata", &["disable_ec2_metadata"], "metadata route, at each boot"),
    done("disk_setup", &["disk_setup", "fs_setup", "device_aliases"], "disks, filesystems"),
    refused("fan", &["fan"], "fan networks are gone from Ubuntu"),
    done("final_message", &["final_message"], "the console's last lines"),
    done("growpart", &["growpart"], "growth, at each boot where there is something to grow into"),
    refused(
        "grub_dpkg",
        &["grub_dpkg", "grub-dpkg"],
        "the boot loader stays as the image has it: use apt: {debconf_selections: …}",
    ),
    refused("install_hotplug", &["updates"], "the network is configured at boot alone"),
    done("keyboard", &["keyboard"], "keyboard"),
    done(
        "keys_to_console",
        &["ssh", "ssh_key_console_blacklist", "ssh_fp_console_blacklist"],
        "ssh keys told, on the console",
    ),
    refused("landscape", &["landscape"], UBUNTU),
    done("locale", &["locale", "locale_configfile"], "locale"),
    refused("lxd", &["lxd"], "use snap or packages and lxd init --preseed by runcmd"),
    refused("mcollective", &["mcollective"], TOOL),
    done(
        "mounts",
        &["mounts", "mount_default_fields", "swap"],
        "mounts, swap. Memory file systems, LABEL=… and UUID=… are mounted too",
    ),
    done("ntp", &["ntp"], "ntp"),
    done(
        "package_update_upgrade_install",
        &[
            "packages",
            "package_update",
            "package_upgrade",
            "package_reboot_if_required",
            "apt_update",
            "apt_upgrade",
            "apt_reboot_if_required",
        ],
        "packages, by apt, dnf or yum; snaps are refused",
    ),
    done("phone_home", &["phone_home"], "phone home"),
    done("power_state_change", &["power_state"], "power state, when everything else is done"),
    refused("puppet", &["puppet"], TOOL),
    done("resizefs", &["resize_rootfs"], "growth"),
    done("resolv_conf", &["manage_resolv_conf", "resolv_conf"], "resolvers"),
    refused("rh_subscription", &["rh_subscription"], "use subscription-manager by runcmd"),
    refused("rpi_connect", &["enable_rpi_connect"], "it is for the Raspberry Pi"),
    refused("rpi_interfaces", &["rpi_interfaces"], "it is for the Raspberry Pi"),
    refused("rpi_userdata", &["disable_piwiz", "rpi_userconf"], "it is for the Raspberry Pi"),
    done("rsyslog", &["rsyslog", "rsyslog_dir", "rsyslog_filename"], "rsyslog"),
    done("runcmd", &["runcmd"], "runcmd N, a step each with its own status"),
    refused("salt_minion", &["salt_minion"], TOOL),
    done(
        "scripts_user",
        &["cloud_final_modules"],
        "[scripts-user, always] is heeded: scripts and runcmd at each boot. Which modules there are is the image's to say",
    ),
    done("seed_random", &["random_seed"], "random seed"),
    done(
        "set_hostname",
        &["hostname", "fqdn", "prefer_fqdn_over_hostname", "preserve_hostname", "create_hostname_file"],
        "hostname",
    ),
    done("set_passwords", &["chpasswd", "password", "ssh_pwauth"], "passwords, ssh switches"),
    refused("snap", &["snap"], "snaps are not supported: use runcmd: [snap install …]"),
    refused("spacewalk", &["spacewalk"], "Spacewalk has ended"),
    done(
        "ssh",
        &[
            "ssh_keys",
            "ssh_authorized_keys",
            "ssh_deletekeys",
            "ssh_genkeytypes",
            "disable_root",
            "disable_root_opts",
            "allow_public_ssh_keys",
            "ssh_quiet_keygen",
            "ssh_publish_hostkeys",
        ],
        "ssh host keys, ssh rsa key, root keys. RSA is generated in the background",
    ),
    done("ssh_authkey_fingerprints", &["no_ssh_fingerprints", "authkey_hash"], "ssh keys told"),
    refused(
        "ssh_import_id",
        &["ssh_import_id"],
        "whoever holds an account elsewhere would decide who gets in here: put the keys into ssh_authorized_keys",
    ),
    done("timezone", &["timezone"], "timezone"),
    refused("ubuntu_autoinstall", &["autoinstall"], "it is for Ubuntu's installer, which reads it itself"),
    refused("ubuntu_drivers", &["drivers"], UBUNTU),
    refused("ubuntu_pro", &["ubuntu_pro", "ubuntu_advantage"], UBUNTU),
    done("update_etc_hosts", &["manage_etc_hosts"], "hosts, at each boot"),
    done("users_groups", &["users", "user", "groups"], "groups, users, group members, sudo"),
    refused(
        "wireguard",
        &["wireguard"],
        "use write_files for /etc/wireguard/wg0.conf and runcmd: [systemctl enable --now wg-quick@wg0]",
    ),
    done("write_files", &["write_files"], "files, fetched files, deferred files"),
    done("yum_add_repo", &["yum_repos", "yum_repo_dir"], "yum"),
    refused(
        "zypper_add_repo",
        &["zypper"],
        "openSUSE and SLES are not supported: write /etc/zypp/repos.d by write_files",
    ),
    refused(
        "(base)",
        &[
            "cloud_config_modules",
            "cloud_init_modules",
            "datasource",
            "datasource_list",
            "manual_cache_clean",
            "system_info",
        ],
        ELSEWHERE,
    ),
    refused("(Amazon Linux)", &["repo_update", "repo_upgrade"], "say package_update and package_upgrade"),
    refused(
        "(CoreOS)",
        &["coreos"],
        "write the units by write_files, and start them by runcmd: [systemctl enable --now …]",
    ),
    refused("(network)", &["network"], "the datasource's network-config is read, not the user-data's"),
    refused("(output)", &["output"], "each step's output is kept in its instance's folder"),
    refused("(reporting)", &["reporting"], "say hostwright: {boot: {report: {url: …}}}"),
];

/// Why a top-level key is not carried out, if it is such a key.
pub fn refusal(key: &str) -> Option<&'static str> {
    MODULES.iter().find(|module| module.keys.contains(&key)).and_then(|module| match module.done {
        Refused(why) => Some(why),
        By(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Done, MODULES};

    /// The guide's row of a module.
    fn row(module: &super::Module) -> String {
        let keys: Vec<_> = module.keys.iter().map(|key| format!("`{key}`")).collect();
        let done = match module.done {
            Done::By(steps) => format!("done: {steps}"),
            Done::Refused(why) => format!("refused: {why}"),
        };
        format!("| {} | {} | {done} |", module.name, keys.join(", "))
    }

    #[test]
    fn the_guide_has_every_module_as_it_is() {
        let guide = include_str!("../../../../docs/boot.md");
        let missing: Vec<_> = MODULES.iter().map(row).filter(|row| !guide.contains(row)).collect();
        assert!(missing.is_empty(), "docs/boot.md lacks:\n{}", missing.join("\n"));
    }

    #[test]
    fn each_key_belongs_to_one_module() {
        let mut keys: Vec<_> = MODULES.iter().flat_map(|module| module.keys).collect();
        let all = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }
}
