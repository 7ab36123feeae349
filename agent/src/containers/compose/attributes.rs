use super::model::{Fault, Keys, Map, Tree};
use Support::{Done, Noted, Refused};

/// What becomes of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    Done,
    /// It is taken and has no effect; why.
    Noted(&'static str),
    Refused(&'static str),
}

const WINDOWS: &str = "is for Windows and not used";
const SWARM: &str = "is for a cluster of hosts and not used";

/// Every attribute of the canonical model. One whose parts differ has a row for each part.
pub const ATTRIBUTES: &[(&str, Support)] = &[
    ("services.*.annotations", Done),
    ("services.*.attach", Noted("is for a terminal, and a host has none")),
    ("services.*.blkio_config", Done),
    ("services.*.build", Noted("is not done on hosts; the image is used as it is")),
    ("services.*.cap_add", Done),
    ("services.*.cap_drop", Done),
    ("services.*.cgroup", Done),
    ("services.*.cgroup_parent", Done),
    ("services.*.command", Done),
    ("services.*.configs", Done),
    ("services.*.container_name", Done),
    ("services.*.cpu_count", Noted(WINDOWS)),
    ("services.*.cpu_percent", Noted(WINDOWS)),
    ("services.*.cpu_period", Done),
    ("services.*.cpu_quota", Done),
    ("services.*.cpu_rt_period", Done),
    ("services.*.cpu_rt_runtime", Done),
    ("services.*.cpu_shares", Done),
    ("services.*.cpus", Done),
    ("services.*.cpuset", Done),
    ("services.*.credential_spec", Refused("is for Windows; leave it out")),
    ("services.*.depends_on", Done),
    ("services.*.deploy.endpoint_mode", Noted(SWARM)),
    (
        "services.*.deploy.labels",
        Noted("are labels of a cluster's service and not used; use labels for the container's"),
    ),
    ("services.*.deploy.mode", Done),
    ("services.*.deploy.placement", Noted(SWARM)),
    ("services.*.deploy.replicas", Done),
    ("services.*.deploy.resources.limits", Done),
    ("services.*.deploy.resources.reservations.cpus", Noted(SWARM)),
    ("services.*.deploy.resources.reservations.devices", Done),
    ("services.*.deploy.resources.reservations.generic_resources", Noted(SWARM)),
    ("services.*.deploy.resources.reservations.memory", Done),
    ("services.*.deploy.resources.reservations.pids", Noted(SWARM)),
    ("services.*.deploy.restart_policy.condition", Done),
    ("services.*.deploy.restart_policy.delay", Noted("is not used; the wait grows from 1 s to 60 s")),
    ("services.*.deploy.restart_policy.max_attempts", Done),
    ("services.*.deploy.restart_policy.window", Noted("is not used; the engine knows no such time")),
    ("services.*.deploy.rollback_config.delay", Done),
    ("services.*.deploy.rollback_config.failure_action", Done),
    ("services.*.deploy.rollback_config.max_failure_ratio", Done),
    ("services.*.deploy.rollback_config.monitor", Done),
    ("services.*.deploy.rollback_config.order", Done),
    ("services.*.deploy.rollback_config.parallelism", Done),
    ("services.*.deploy.update_config.delay", Done),
    ("services.*.deploy.update_config.failure_action", Done),
    ("services.*.deploy.update_config.max_failure_ratio", Done),
    ("services.*.deploy.update_config.monitor", Done),
    ("services.*.deploy.update_config.order", Done),
    ("services.*.deploy.update_config.parallelism", Done),
    ("services.*.develop", Noted("is for development and not used on hosts")),
    ("services.*.device_cgroup_rules", Done),
    ("services.*.devices", Done),
    ("services.*.dns", Done),
    ("services.*.dns_opt", Done),
    ("services.*.dns_search", Done),
    ("services.*.domainname", Done),
    ("services.*.entrypoint", Done),
    ("services.*.env_file", Done),
    ("services.*.environment", Done),
    ("services.*.expose", Done),
    ("services.*.extends", Done),
    ("services.*.external_links", Refused("is superseded by networks; put both on an external network")),
    ("services.*.extra_hosts", Done),
    ("services.*.gpus", Done),
    ("services.*.group_add", Done),
    ("services.*.healthcheck", Done),
    ("services.*.hostname", Done),
    ("services.*.image", Done),
    ("services.*.init", Done),
    ("services.*.ipc", Done),
    ("services.*.isolation", Noted(WINDOWS)),
    ("services.*.label_file", Done),
    ("services.*.labels", Done),
    ("services.*.links", Done),
    ("services.*.logging", Done),
    ("services.*.mac_address", Done),
    ("services.*.mem_limit", Done),
    ("services.*.mem_reservation", Done),
    ("services.*.mem_swappiness", Done),
    ("services.*.memswap_limit", Done),
    ("services.*.models", Refused("is not supported; run the model as a service of its own")),
    ("services.*.network_mode", Done),
    ("services.*.networks.*.aliases", Done),
    ("services.*.networks.*.driver_opts", Done),
    ("services.*.networks.*.gw_priority", Done),
    ("services.*.networks.*.interface_name", Refused("is not supported; leave it out")),
    ("services.*.networks.*.ipv4_address", Done),
    ("services.*.networks.*.ipv6_address", Done),
    ("services.*.networks.*.link_local_ips", Done),
    ("services.*.networks.*.mac_address", Done),
    ("services.*.networks.*.priority", Done),
    ("services.*.oom_kill_disable", Done),
    ("services.*.oom_score_adj", Done),
    ("services.*.pid", Done),
    ("services.*.pids_limit", Done),
    ("services.*.platform", Done),
    ("services.*.ports.app_protocol", Noted("is for a proxy that reads it and not used")),
    ("services.*.ports.host_ip", Done),
    ("services.*.ports.mode", Done),
    ("services.*.ports.name", Noted("is for a reader of the file and not used")),
    ("services.*.ports.protocol", Done),
    ("services.*.ports.published", Done),
    ("services.*.ports.target", Done),
    (
        "services.*.post_start",
        Refused("is not supported; do it in the image's entrypoint, or in a service that depends on this one"),
    ),
    ("services.*.pre_start", Refused("is not supported; do it in a service that this one depends on")),
    ("services.*.pre_stop", Refused("is not supported; let the program do it when it is told to stop")),
    ("services.*.privileged", Done),
    ("services.*.profiles", Done),
    ("services.*.provider", Refused("is not supported; a host runs containers alone")),
    ("services.*.pull_policy", Done),
    ("services.*.pull_refresh_after", Noted("is not used; pull_policy says how often, such as every_12h")),
    ("services.*.read_only", Done),
    ("services.*.restart", Done),
    ("services.*.runtime", Done),
    ("services.*.scale", Done),
    ("services.*.secrets", Done),
    ("services.*.security_opt", Done),
    ("services.*.shm_size", Done),
    ("services.*.stdin_open", Done),
    ("services.*.stop_grace_period", Done),
    ("services.*.stop_signal", Done),
    ("services.*.storage_opt", Done),
    ("services.*.sysctls", Done),
    ("services.*.tmpfs", Done),
    ("services.*.tty", Done),
    ("services.*.ulimits", Done),
    (
        "services.*.use_api_socket",
        Refused("is not supported; mount the engine's socket under volumes if the service may rule the host"),
    ),
    ("services.*.user", Done),
    ("services.*.userns_mode", Done),
    ("services.*.uts", Done),
    ("services.*.volumes.bind.create_host_path", Done),
    ("services.*.volumes.bind.propagation", Done),
    (
        "services.*.volumes.bind.recursive",
        Refused("is not supported; leave it out, and mounts in the folder are seen too"),
    ),
    ("services.*.volumes.bind.selinux", Done),
    ("services.*.volumes.consistency", Noted("means nothing on Linux")),
    ("services.*.volumes.image", Done),
    ("services.*.volumes.read_only", Done),
    ("services.*.volumes.source", Done),
    ("services.*.volumes.target", Done),
    ("services.*.volumes.tmpfs", Done),
    ("services.*.volumes.type", Done),
    ("services.*.volumes.volume.labels", Noted("are not used; label the volume under the top-level volumes")),
    ("services.*.volumes.volume.nocopy", Done),
    ("services.*.volumes.volume.subpath", Done),
    ("services.*.volumes_from", Done),
    ("services.*.working_dir", Done),
    ("networks.*.attachable", Done),
    ("networks.*.driver", Done),
    ("networks.*.driver_opts", Done),
    ("networks.*.enable_ipv4", Done),
    ("networks.*.enable_ipv6", Done),
    ("networks.*.external", Done),
    ("networks.*.internal", Done),
    ("networks.*.ipam.config", Done),
    ("networks.*.ipam.driver", Done),
    ("networks.*.ipam.options", Noted("are not used; config says what addresses the network has")),
    ("networks.*.labels", Done),
    ("networks.*.name", Done),
    ("volumes.*", Done),
    ("configs.*.name", Done),
    ("configs.*.file", Done),
    ("configs.*.environment", Done),
    ("configs.*.content", Done),
    ("configs.*.labels", Noted(SWARM)),
    ("configs.*.external", Refused("is for a cluster's configs; use file, environment or content")),
    ("configs.*.driver", Refused("is for a cluster; use file, environment or content")),
    ("configs.*.driver_opts", Refused("is for a cluster; use file, environment or content")),
    ("configs.*.template_driver", Refused("is for a cluster; use file, environment or content")),
    ("secrets.*.name", Done),
    ("secrets.*.file", Done),
    ("secrets.*.environment", Done),
    ("secrets.*.content", Refused("stands in the file for all to read; use file or environment")),
    ("secrets.*.external", Done),
    ("secrets.*.labels", Noted(SWARM)),
    ("secrets.*.driver", Refused("is for a cluster; use file or environment")),
    ("secrets.*.driver_opts", Refused("is for a cluster; use file or environment")),
    ("secrets.*.template_driver", Refused("is for a cluster; use file or environment")),
    ("models", Refused("is not supported; run the model as a service of its own")),
];

/// Tells which attributes of a model have no effect, and which cannot be carried out.
pub fn look(resources: &Map) -> (Vec<Fault>, Vec<Fault>) {
    let (mut notes, mut refusals) = (Vec::new(), Vec::new());
    for (pattern, support) in ATTRIBUTES {
        let (found, why) = match support {
            Done => continue,
            Noted(why) => (&mut notes, why),
            Refused(why) => (&mut refusals, why),
        };
        let mut each = |path: &str, tree: &Tree| {
            if !is_empty(tree) {
                found.push(Fault::new(tree.at, &Keys::of(path), *why));
            }
        };
        walk(resources, (pattern, String::new()), &mut each);
    }
    (notes, refusals)
}

/// What canonical models always show.
fn is_empty(tree: &Tree) -> bool {
    tree.is_null() || tree.as_map().is_some_and(Map::is_empty)
}

fn walk(map: &Map, (pattern, path): (&str, String), each: &mut impl FnMut(&str, &Tree)) {
    let (key, rest) = pattern.split_once('.').map_or((pattern, None), |(key, rest)| (key, Some(rest)));
    for (name, member) in map.iter().filter(|(name, _)| key == "*" || key == *name) {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let Some(rest) = rest else {
            each(&path, member);
            continue;
        };
        let items = member.as_list().unwrap_or(std::slice::from_ref(member));
        items.iter().filter_map(Tree::as_map).for_each(|inner| walk(inner, (rest, path.clone()), each));
    }
}

#[cfg(test)]
#[path = "attributes_tests.rs"]
mod tests;
