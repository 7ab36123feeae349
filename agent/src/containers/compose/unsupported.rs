use hostwright_core::config::section::Section;

const NOT_YET: &str = "is not supported yet; leave it out";

/// Attributes of the Compose specification that are refused by name, so that none is silently dropped.
const SERVICE: &[(&str, &str)] = &[
    ("annotations", NOT_YET),
    ("attach", "is for a terminal, and a host has none; leave it out"),
    ("blkio_config", NOT_YET),
    ("cgroup", NOT_YET),
    ("cgroup_parent", NOT_YET),
    ("configs", NOT_YET),
    ("cpu_count", NOT_YET),
    ("cpu_percent", NOT_YET),
    ("cpu_period", NOT_YET),
    ("cpu_quota", NOT_YET),
    ("cpu_rt_period", NOT_YET),
    ("cpu_rt_runtime", NOT_YET),
    ("cpu_shares", NOT_YET),
    ("cpuset", NOT_YET),
    ("credential_spec", "is for Windows; leave it out"),
    ("develop", "is for development, not for hosts; leave it out"),
    ("device_cgroup_rules", NOT_YET),
    ("devices", NOT_YET),
    ("dns", NOT_YET),
    ("dns_opt", NOT_YET),
    ("dns_search", NOT_YET),
    ("domainname", NOT_YET),
    ("expose", "has no effect between services of one network; leave it out"),
    ("extends", NOT_YET),
    ("external_links", "is superseded by networks and not supported; leave it out"),
    ("gpus", NOT_YET),
    ("group_add", NOT_YET),
    ("ipc", NOT_YET),
    ("isolation", "is for Windows; leave it out"),
    ("label_file", NOT_YET),
    ("links", "is superseded by networks, where services find each other by name; leave it out"),
    ("mac_address", NOT_YET),
    ("mem_swappiness", NOT_YET),
    ("memswap_limit", NOT_YET),
    ("models", NOT_YET),
    ("oom_kill_disable", NOT_YET),
    ("oom_score_adj", NOT_YET),
    ("pid", NOT_YET),
    ("platform", NOT_YET),
    ("post_start", NOT_YET),
    ("pre_start", NOT_YET),
    ("pre_stop", NOT_YET),
    ("provider", NOT_YET),
    ("pull_refresh_after", NOT_YET),
    ("runtime", NOT_YET),
    ("scale", NOT_YET),
    ("secrets", NOT_YET),
    ("shm_size", NOT_YET),
    ("stdin_open", NOT_YET),
    ("storage_opt", NOT_YET),
    ("sysctls", NOT_YET),
    ("tty", NOT_YET),
    ("use_api_socket", NOT_YET),
    ("userns_mode", NOT_YET),
    ("uts", NOT_YET),
    ("volumes_from", "is not supported yet; name the volume in both services"),
];

/// Refuses them in a service.
pub fn refuse(section: &mut Section<'_>) {
    for (key, why) in SERVICE {
        section.refuse(key, why);
    }
}
