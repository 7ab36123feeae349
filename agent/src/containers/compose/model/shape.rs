//! What a canonical model looks like: each attribute's type, and whether it shows when it is empty.

use Shape::{
    Bool, Bytes, Count, Duration, Environment, Float, Hosts, Int, List, Mode, MultiOptions, Named, Options, Pairs,
    Printed, Ssh, Struct, Test, Text, Texts, Ulimit, Unsigned, Words,
};

/// The type of an attribute's canonical value.
#[derive(Debug)]
pub enum Shape {
    Text,
    Bool,
    Int,
    Unsigned,
    Float,
    /// A size, as a text of digits.
    Bytes,
    Duration,
    /// A command: a list of words, or one text of them.
    Words,
    /// The test of a health check.
    Test,
    /// A number, or a text of octal digits.
    Mode,
    /// `all` is -1.
    Count,
    /// A list of texts, or one text.
    Texts,
    /// The same, of texts or numbers.
    Printed,
    List(&'static Shape),
    /// `NAME=value` pairs; names without a value have none.
    Environment,
    /// `NAME=value` pairs; names without a value have an empty one.
    Pairs,
    /// A mapping alone, with printed values.
    Options,
    /// A mapping of lists, with printed values.
    MultiOptions,
    Hosts,
    Ssh,
    Ulimit,
    Named(&'static Shape),
    Struct(&'static [Field]),
}

/// When an attribute shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// When it is neither empty, zero nor false.
    Full,
    /// When it is there.
    Given,
    Always,
}

/// An attribute of a mapping.
#[derive(Debug)]
pub struct Field {
    pub key: &'static str,
    pub shape: Shape,
    pub shown: Shown,
    /// Its key in the model, where that is another one.
    pub shown_as: &'static str,
}

const fn full(key: &'static str, shape: Shape) -> Field {
    Field { key, shape, shown: Shown::Full, shown_as: key }
}

const fn given(key: &'static str, shape: Shape) -> Field {
    Field { key, shape, shown: Shown::Given, shown_as: key }
}

const fn always(key: &'static str, shape: Shape) -> Field {
    Field { key, shape, shown: Shown::Always, shown_as: key }
}

/// Compose's own slip, which is kept so that models can be compared.
const fn always_as(key: &'static str, shown_as: &'static str, shape: Shape) -> Field {
    Field { key, shape, shown: Shown::Always, shown_as }
}

/// The top level, but for its `name` and `x-` keys.
pub static MODEL: &[Field] = &[
    always("services", Named(&Struct(SERVICE))),
    full("networks", Named(&Struct(NETWORK))),
    full("volumes", Named(&Struct(VOLUME))),
    full("secrets", Named(&Struct(FILE_OBJECT))),
    full("configs", Named(&Struct(FILE_OBJECT))),
    full("models", Named(&Struct(MODEL_CONFIG))),
];

/// A service.
pub static SERVICE: &[Field] = &[
    full("profiles", Texts),
    full("annotations", Pairs),
    given("attach", Bool),
    given("build", Struct(BUILD)),
    given("develop", Struct(DEVELOP)),
    given("blkio_config", Struct(BLKIO)),
    full("cap_add", Texts),
    full("cap_drop", Texts),
    full("cgroup_parent", Text),
    full("cgroup", Text),
    full("cpu_count", Int),
    full("cpu_percent", Float),
    full("cpu_period", Int),
    full("cpu_quota", Int),
    full("cpu_rt_period", Int),
    full("cpu_rt_runtime", Int),
    full("cpus", Float),
    full("cpuset", Text),
    full("cpu_shares", Int),
    always("command", Words),
    full("configs", List(&Struct(FILE_MOUNT))),
    full("container_name", Text),
    given("credential_spec", Struct(&[full("config", Text), full("file", Text), full("registry", Text)])),
    full("depends_on", Named(&Struct(&[full("condition", Text), full("restart", Bool), always("required", Bool)]))),
    given("deploy", Struct(DEPLOY)),
    full("device_cgroup_rules", Texts),
    full("devices", List(&Struct(&[full("source", Text), full("target", Text), full("permissions", Text)]))),
    full("dns", Texts),
    full("dns_opt", Texts),
    full("dns_search", Texts),
    full("domainname", Text),
    always("entrypoint", Words),
    given("provider", Struct(&[full("type", Text), full("options", MultiOptions)])),
    full("environment", Environment),
    full("expose", Printed),
    given("extends", Struct(&[full("file", Text), full("service", Text)])),
    full("external_links", Texts),
    full("extra_hosts", Hosts),
    full("group_add", List(&Text)),
    full("gpus", List(&Struct(DEVICE_REQUEST))),
    full("hostname", Text),
    given("healthcheck", Struct(HEALTHCHECK)),
    full("image", Text),
    given("init", Bool),
    full("ipc", Text),
    full("isolation", Text),
    full("labels", Pairs),
    full("links", Texts),
    given("logging", Struct(&[full("driver", Text), full("options", Options)])),
    full("mem_limit", Bytes),
    full("mem_reservation", Bytes),
    full("memswap_limit", Bytes),
    full("mem_swappiness", Bytes),
    full("mac_address", Text),
    full("models", Named(&Struct(&[full("endpoint_var", Text), full("model_var", Text)]))),
    full("network_mode", Text),
    full("networks", Named(&Struct(ENDPOINT))),
    full("oom_kill_disable", Bool),
    full("oom_score_adj", Int),
    full("pid", Text),
    full("pids_limit", Int),
    full("platform", Text),
    full("ports", List(&Struct(PORT))),
    full("privileged", Bool),
    full("pull_policy", Text),
    full("read_only", Bool),
    full("restart", Text),
    full("runtime", Text),
    given("scale", Int),
    full("secrets", List(&Struct(FILE_MOUNT))),
    full("security_opt", Texts),
    full("shm_size", Bytes),
    full("stdin_open", Bool),
    given("stop_grace_period", Duration),
    full("stop_signal", Text),
    full("storage_opt", Named(&Text)),
    full("sysctls", Pairs),
    full("tmpfs", Texts),
    full("tty", Bool),
    full("ulimits", Named(&Ulimit)),
    full("use_api_socket", Bool),
    full("user", Text),
    full("userns_mode", Text),
    full("uts", Text),
    full("volumes", List(&Struct(MOUNT))),
    full("volumes_from", Texts),
    full("working_dir", Text),
    full("pre_start", List(&Struct(HOOK))),
    full("post_start", List(&Struct(HOOK))),
    full("pre_stop", List(&Struct(HOOK))),
];

static BUILD: &[Field] = &[
    full("context", Text),
    full("dockerfile", Text),
    full("dockerfile_inline", Text),
    full("entitlements", Texts),
    full("args", Environment),
    full("provenance", Text),
    full("sbom", Text),
    full("ssh", Ssh),
    full("labels", Pairs),
    full("cache_from", Texts),
    full("cache_to", Texts),
    full("no_cache", Bool),
    full("additional_contexts", Pairs),
    full("pull", Bool),
    full("extra_hosts", Hosts),
    full("isolation", Text),
    full("network", Text),
    full("target", Text),
    full("secrets", List(&Struct(FILE_MOUNT))),
    full("shm_size", Bytes),
    full("tags", Texts),
    full("ulimits", Named(&Ulimit)),
    full("platforms", Texts),
    full("privileged", Bool),
];

static DEVELOP: &[Field] = &[full("watch", List(&Struct(WATCH)))];

static WATCH: &[Field] = &[
    always("path", Text),
    always("action", Text),
    full("target", Text),
    always("exec", Struct(HOOK)),
    full("include", Texts),
    full("ignore", Texts),
    full("initial_sync", Bool),
];

static HOOK: &[Field] = &[
    always("command", Words),
    full("user", Text),
    full("privileged", Bool),
    full("working_dir", Text),
    full("environment", Environment),
];

static BLKIO: &[Field] = &[
    full("weight", Unsigned),
    full("weight_device", List(&Struct(&[always_as("path", "Path", Text), always_as("weight", "Weight", Unsigned)]))),
    full("device_read_bps", List(&Struct(THROTTLE))),
    full("device_read_iops", List(&Struct(THROTTLE))),
    full("device_write_bps", List(&Struct(THROTTLE))),
    full("device_write_iops", List(&Struct(THROTTLE))),
];

static THROTTLE: &[Field] = &[always_as("path", "Path", Text), always_as("rate", "Rate", Bytes)];

static FILE_MOUNT: &[Field] =
    &[full("source", Text), full("target", Text), full("uid", Text), full("gid", Text), given("mode", Mode)];

static DEPLOY: &[Field] = &[
    full("mode", Text),
    given("replicas", Int),
    full("labels", Pairs),
    given("update_config", Struct(UPDATE)),
    given("rollback_config", Struct(UPDATE)),
    always("resources", Struct(&[given("limits", Struct(RESOURCE)), given("reservations", Struct(RESOURCE))])),
    given("restart_policy", Struct(RESTART_POLICY)),
    always("placement", Struct(PLACEMENT)),
    full("endpoint_mode", Text),
];

static UPDATE: &[Field] = &[
    given("parallelism", Unsigned),
    full("delay", Duration),
    full("failure_action", Text),
    full("monitor", Duration),
    full("max_failure_ratio", Float),
    full("order", Text),
];

static RESOURCE: &[Field] = &[
    full("cpus", Float),
    full("memory", Bytes),
    full("pids", Int),
    full("devices", List(&Struct(DEVICE_REQUEST))),
    full("generic_resources", List(&Struct(&[given("discrete_resource_spec", Struct(DISCRETE))]))),
];

static DISCRETE: &[Field] = &[always("kind", Text), always("value", Int)];

static DEVICE_REQUEST: &[Field] = &[
    full("capabilities", Texts),
    full("driver", Text),
    full("count", Count),
    full("device_ids", Texts),
    full("options", Pairs),
];

static RESTART_POLICY: &[Field] =
    &[full("condition", Text), given("delay", Duration), given("max_attempts", Unsigned), given("window", Duration)];

static PLACEMENT: &[Field] = &[
    full("constraints", Texts),
    full("preferences", List(&Struct(&[full("spread", Text)]))),
    full("max_replicas_per_node", Unsigned),
];

static HEALTHCHECK: &[Field] = &[
    full("test", Test),
    given("timeout", Duration),
    given("interval", Duration),
    given("retries", Unsigned),
    given("start_period", Duration),
    given("start_interval", Duration),
    full("disable", Bool),
];

static ENDPOINT: &[Field] = &[
    full("aliases", Texts),
    full("driver_opts", Options),
    full("gw_priority", Int),
    full("interface_name", Text),
    full("ipv4_address", Text),
    full("ipv6_address", Text),
    full("link_local_ips", Texts),
    full("mac_address", Text),
    full("priority", Int),
];

static PORT: &[Field] = &[
    full("name", Text),
    full("mode", Text),
    full("host_ip", Text),
    full("target", Unsigned),
    full("published", Text),
    full("protocol", Text),
    full("app_protocol", Text),
];

static MOUNT: &[Field] = &[
    full("type", Text),
    full("source", Text),
    full("target", Text),
    full("read_only", Bool),
    full("consistency", Text),
    given(
        "bind",
        Struct(&[
            full("selinux", Text),
            full("propagation", Text),
            full("create_host_path", Bool),
            full("recursive", Text),
        ]),
    ),
    given("volume", Struct(&[full("labels", Pairs), full("nocopy", Bool), full("subpath", Text)])),
    given("tmpfs", Struct(&[full("size", Bytes), full("mode", Unsigned)])),
    given("image", Struct(&[full("subpath", Text)])),
];

static NETWORK: &[Field] = &[
    full("name", Text),
    full("driver", Text),
    full("driver_opts", Options),
    always("ipam", Struct(&[full("driver", Text), full("config", List(&Struct(POOL)))])),
    full("external", Bool),
    full("internal", Bool),
    full("attachable", Bool),
    full("labels", Pairs),
    given("enable_ipv4", Bool),
    given("enable_ipv6", Bool),
];

static POOL: &[Field] =
    &[full("subnet", Text), full("gateway", Text), full("ip_range", Text), full("aux_addresses", Pairs)];

static VOLUME: &[Field] = &[
    full("name", Text),
    full("driver", Text),
    full("driver_opts", Options),
    full("external", Bool),
    full("labels", Pairs),
];

static FILE_OBJECT: &[Field] = &[
    full("name", Text),
    full("file", Text),
    full("environment", Text),
    full("content", Text),
    full("external", Bool),
    full("labels", Pairs),
    full("driver", Text),
    full("driver_opts", Named(&Text)),
    full("template_driver", Text),
];

static MODEL_CONFIG: &[Field] =
    &[full("name", Text), full("model", Text), full("context_size", Int), full("runtime_flags", Texts)];

/// The path of each attribute that a canonical model can have.
#[cfg(test)]
pub fn attribute_paths() -> Vec<String> {
    fn walk(shape: &Shape, path: &str, paths: &mut Vec<String>) {
        match shape {
            Struct(fields) => {
                for field in *fields {
                    walk(&field.shape, &format!("{path}.{}", field.key), paths);
                }
            }
            Named(inner) => walk(inner, &format!("{path}.*"), paths),
            _ => paths.push(path.to_owned()),
        }
    }
    let mut paths = Vec::new();
    MODEL.iter().for_each(|field| walk(&field.shape, field.key, &mut paths));
    paths
}
