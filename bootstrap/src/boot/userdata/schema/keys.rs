use super::Key;
use super::Type::{
    self, Filled, Flag, Int, Is, Items, Keys, List, Map, Named, NotEmpty, Null, Old, OneOf, Pair, Text, Word,
};

const TEXTS: Type = Items(&Text);
const SOME_TEXTS: Type = Filled(&Text);
const COMMANDS: Type = Filled(&OneOf(&[TEXTS, Text, Null]));

/// In the order of the guide.
pub const KEYS: &[Key] = &[
    ("apt", NotEmpty(&Keys(APT))),
    ("apt_pipelining", OneOf(&[Int, Flag, Word(&["os"]), Old(&Word(&["none", "unchanged"]), "use os")])),
    ("bootcmd", Filled(&OneOf(&[TEXTS, Text]))),
    ("ca_certs", NotEmpty(&Keys(CERTIFICATES))),
    ("ca-certs", Old(&NotEmpty(&Keys(CERTIFICATES)), "use ca_certs")),
    ("disable_ec2_metadata", Flag),
    ("disk_setup", Named(&Keys(DISK))),
    ("fs_setup", Items(&Keys(FILE_SYSTEM))),
    ("device_aliases", Named(&Text)),
    ("final_message", Text),
    ("growpart", Keys(GROWPART)),
    ("keyboard", Keys(&[("layout", Text), ("model", Text), ("variant", Text), ("options", Text)])),
    ("ssh", Keys(&[("emit_keys_to_console", Flag)])),
    ("ssh_key_console_blacklist", TEXTS),
    ("ssh_fp_console_blacklist", TEXTS),
    ("locale", OneOf(&[Flag, Text])),
    ("locale_configfile", Text),
    ("mounts", Filled(&SOME_TEXTS)),
    ("mount_default_fields", Items(&OneOf(&[Text, Null]))),
    ("swap", Keys(&[("filename", Text), ("size", OneOf(&[Int, Text])), ("maxsize", OneOf(&[Int, Text]))])),
    ("ntp", OneOf(&[Null, Keys(NTP)])),
    ("packages", Filled(&OneOf(&[Keys(&[("apt", Items(&PACKAGE))]), Pair, Text]))),
    ("package_update", Flag),
    ("package_upgrade", Flag),
    ("package_reboot_if_required", Flag),
    ("apt_update", Old(&Flag, "use package_update")),
    ("apt_upgrade", Old(&Flag, "use package_upgrade")),
    ("apt_reboot_if_required", Old(&Flag, "use package_reboot_if_required")),
    ("phone_home", Keys(&[("url", Text), ("post", OneOf(&[Text, TEXTS])), ("tries", Int)])),
    ("power_state", Keys(POWER)),
    ("resize_rootfs", OneOf(&[Flag, Word(&["noblock"])])),
    ("manage_resolv_conf", Flag),
    ("resolv_conf", Keys(RESOLVERS)),
    ("rsyslog", Keys(RSYSLOG)),
    ("rsyslog_dir", Old(&Text, "use rsyslog: {config_dir: …}")),
    ("rsyslog_filename", Old(&Text, "use rsyslog: {config_filename: …}")),
    ("runcmd", COMMANDS),
    ("vendor_data", Keys(VENDOR_DATA)),
    ("random_seed", Keys(RANDOM_SEED)),
    ("hostname", Text),
    ("fqdn", Text),
    ("prefer_fqdn_over_hostname", Flag),
    ("preserve_hostname", Flag),
    ("create_hostname_file", Flag),
    ("chpasswd", Keys(PASSWORDS)),
    ("password", Text),
    ("ssh_pwauth", OneOf(&[Flag, Old(&Text, "use true or false")])),
    ("ssh_keys", Named(&Text)),
    ("ssh_authorized_keys", SOME_TEXTS),
    ("ssh_deletekeys", Flag),
    ("ssh_genkeytypes", SOME_TEXTS),
    ("disable_root", Flag),
    ("disable_root_opts", Text),
    ("allow_public_ssh_keys", Flag),
    ("ssh_quiet_keygen", Flag),
    ("ssh_publish_hostkeys", Keys(&[("enabled", Flag), ("blacklist", TEXTS)])),
    ("no_ssh_fingerprints", Flag),
    ("authkey_hash", Text),
    ("timezone", Text),
    ("manage_etc_hosts", OneOf(&[Flag, Word(&["localhost"]), Old(&Word(&["template"]), "use true")])),
    ("groups", OneOf(&[Text, Named(&MEMBERS), Filled(&OneOf(&[Text, Named(&MEMBERS)]))])),
    ("user", OneOf(&[Text, Keys(USER)])),
    ("users", OneOf(&[Text, Items(&OneOf(&[Text, TEXTS, Keys(USER)])), Map])),
    ("write_files", Filled(&Keys(FILE))),
    ("yum_repo_dir", Text),
    ("yum_repos", NotEmpty(&Named(&Keys(REPOSITORY)))),
];

const MEMBERS: Type = OneOf(&[Text, SOME_TEXTS]);
const PACKAGE: Type = OneOf(&[Pair, Text]);

const APT: &[Key] = &[
    ("preserve_sources_list", Flag),
    ("generate_mirrorlists", Flag),
    ("disable_suites", SOME_TEXTS),
    ("primary", Filled(&Keys(MIRROR))),
    ("security", Filled(&Keys(MIRROR))),
    ("add_apt_repo_match", Text),
    ("debconf_selections", NotEmpty(&Named(&Text))),
    ("sources_list", Text),
    ("conf", Text),
    ("https_proxy", Text),
    ("http_proxy", Text),
    ("proxy", Text),
    ("ftp_proxy", Text),
    ("sources", Named(&NotEmpty(&Keys(SOURCE)))),
];

const MIRROR: &[Key] = &[
    ("arches", SOME_TEXTS),
    ("uri", Text),
    ("search", SOME_TEXTS),
    ("search_dns", Flag),
    ("keyid", Text),
    ("key", Text),
    ("keyserver", Text),
];

const SOURCE: &[Key] =
    &[("source", Text), ("keyid", Text), ("key", Text), ("keyserver", Text), ("filename", Text), ("append", Flag)];

const CERTIFICATES: &[Key] =
    &[("remove_defaults", Flag), ("remove-defaults", Old(&Flag, "use remove_defaults")), ("trusted", SOME_TEXTS)];

const DISK: &[Key] = &[
    ("table_type", Word(&["mbr", "gpt"])),
    ("layout", OneOf(&[Word(&["remove"]), Flag, Items(&OneOf(&[Int, Items(&OneOf(&[Int, Text]))]))])),
    ("overwrite", Flag),
];

const FILE_SYSTEM: &[Key] = &[
    ("label", Text),
    ("filesystem", Text),
    ("device", Text),
    ("partition", OneOf(&[Int, Text])),
    ("overwrite", Flag),
    ("replace_fs", Text),
    ("extra_opts", OneOf(&[TEXTS, Text])),
    ("cmd", OneOf(&[TEXTS, Text])),
];

const GROWPART: &[Key] = &[
    ("mode", OneOf(&[Word(&["auto", "growpart", "gpart", "off"]), Old(&Is(false), "use 'off', in quotes")])),
    ("devices", TEXTS),
    ("ignore_growroot_disabled", Flag),
];

const NTP: &[Key] = &[
    ("pools", TEXTS),
    ("servers", TEXTS),
    ("peers", TEXTS),
    ("allow", TEXTS),
    ("ntp_client", Text),
    ("enabled", Flag),
    ("config", NotEmpty(&Keys(NTP_CONFIG))),
];

const NTP_CONFIG: &[Key] =
    &[("confpath", Text), ("check_exe", Text), ("packages", TEXTS), ("service_name", Text), ("template", Text)];

const POWER: &[Key] = &[
    ("delay", OneOf(&[Int, Word(&["now"]), Old(&Text, "use now or a number of minutes")])),
    ("mode", Word(&["poweroff", "reboot", "halt"])),
    ("message", Text),
    ("timeout", Int),
    ("condition", OneOf(&[Text, Flag, List])),
];

const RESOLVERS: &[Key] =
    &[("nameservers", List), ("searchdomains", List), ("domain", Text), ("sortlist", List), ("options", Map)];

const RSYSLOG: &[Key] = &[
    ("config_dir", Text),
    ("config_filename", Text),
    ("configs", Items(&OneOf(&[Text, Keys(&[("filename", Text), ("content", Text)])]))),
    ("remotes", Map),
    ("service_reload_command", OneOf(&[Word(&["auto"]), TEXTS])),
    ("install_rsyslog", Flag),
    ("check_exe", Text),
    ("packages", TEXTS),
];

const VENDOR_DATA: &[Key] = &[
    ("enabled", OneOf(&[Flag, Old(&Text, "use true or false")])),
    ("prefix", OneOf(&[Text, Items(&OneOf(&[Text, Int]))])),
];

const RANDOM_SEED: &[Key] = &[
    ("file", Text),
    ("data", Text),
    ("encoding", Word(&["raw", "base64", "b64", "gzip", "gz"])),
    ("command", TEXTS),
    ("command_required", Flag),
];

const PASSWORDS: &[Key] = &[
    ("expire", Flag),
    ("users", Items(&Keys(&[("name", Text), ("type", Word(&["RANDOM", "hash", "text"])), ("password", Text)]))),
    ("list", Old(&OneOf(&[Text, TEXTS]), "use users")),
];

const USER: &[Key] = &[
    ("name", Text),
    ("doas", SOME_TEXTS),
    ("expiredate", Text),
    ("gecos", Text),
    ("groups", OneOf(&[Text, SOME_TEXTS, Old(&Named(&Null), "use a list of names")])),
    ("homedir", Text),
    ("inactive", Text),
    ("lock_passwd", Flag),
    ("lock-passwd", Old(&Flag, "use lock_passwd")),
    ("no_create_home", Flag),
    ("no-create-home", Old(&Flag, "use no_create_home")),
    ("no_log_init", Flag),
    ("no-log-init", Old(&Flag, "use no_log_init")),
    ("no_user_group", Flag),
    ("no-user-group", Old(&Flag, "use no_user_group")),
    ("passwd", Text),
    ("hashed_passwd", Text),
    ("hashed-passwd", Old(&Text, "use hashed_passwd")),
    ("plain_text_passwd", Text),
    ("plain-text-passwd", Old(&Text, "use plain_text_passwd")),
    ("create_groups", Flag),
    ("create-groups", Old(&Flag, "use create_groups")),
    ("primary_group", Text),
    ("primary-group", Old(&Text, "use primary_group")),
    ("selinux_user", Text),
    ("selinux-user", Old(&Text, "use selinux_user")),
    ("shell", Text),
    ("ssh_authorized_keys", SOME_TEXTS),
    ("ssh-authorized-keys", Old(&SOME_TEXTS, "use ssh_authorized_keys")),
    ("ssh_redirect_user", Flag),
    ("ssh-redirect-user", Old(&Flag, "use ssh_redirect_user")),
    ("system", Flag),
    ("sudo", OneOf(&[Text, SOME_TEXTS, Null, Old(&Is(false), "use null")])),
    ("uid", OneOf(&[Int, Old(&Text, "use a number")])),
];

const FILE: &[Key] = &[
    ("path", Text),
    ("content", Text),
    ("source", Keys(&[("uri", Text), ("headers", Named(&Text))])),
    ("owner", Text),
    ("permissions", Text),
    ("encoding", Text),
    ("append", Flag),
    ("defer", Flag),
];

const REPOSITORY: &[Key] =
    &[("baseurl", Text), ("metalink", Text), ("mirrorlist", Text), ("name", Text), ("enabled", Flag)];
