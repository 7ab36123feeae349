//! What a container may use of the host, in the engine's own words.

use super::mounts;
use crate::containers::compose::{Attachment, Blkio, DeviceRequest, Project, Restart, Service};
use bollard::models::{
    DeviceMapping, DeviceRequest as EngineRequest, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig,
    PortBinding, ResourcesBlkioWeightDevice, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum, ThrottleDevice,
};
use std::collections::{BTreeMap, HashMap};

pub fn of(project: &Project, service: &Service) -> HostConfig {
    let (binds, mounts) = mounts::of(project, service);
    let mut config = HostConfig {
        binds: some(binds),
        mounts: some(mounts),
        tmpfs: some_map(service.tmpfs.iter().map(|text| match text.split_once(':') {
            Some((path, options)) => (path.to_owned(), options.to_owned()),
            None => (text.clone(), String::new()),
        })),
        volumes_from: some(service.volumes_from.iter().map(|from| volumes_from(project, from)).collect()),
        port_bindings: Some(port_bindings(service)),
        network_mode: Some(network_mode(project, service)),
        restart_policy: service.restart.as_ref().map(restart),
        init: service.init,
        extra_hosts: some(service.extra_hosts.clone()),
        dns: some(service.dns.clone()),
        dns_options: some(service.dns_opt.clone()),
        dns_search: some(service.dns_search.clone()),
        group_add: some(service.group_add.clone()),
        readonly_rootfs: Some(service.read_only),
        privileged: Some(service.privileged),
        cap_add: some(service.cap_add.clone()),
        cap_drop: some(service.cap_drop.clone()),
        security_opt: some(service.security_opt.clone()),
        sysctls: some_map(service.sysctls.clone()),
        storage_opt: some_map(service.storage_opt.clone()),
        annotations: some_map(service.annotations.clone()),
        runtime: service.runtime.clone(),
        ulimits: some(ulimits(service)),
        log_config: service.logging.as_ref().map(|logging| HostConfigLogConfig {
            typ: logging.driver.clone(),
            config: some_map(logging.options.clone()),
        }),
        ..HostConfig::default()
    };
    namespaces(project, service, &mut config);
    limits(service, &mut config);
    devices(service, &mut config);
    config
}

fn namespaces(project: &Project, service: &Service, config: &mut HostConfig) {
    let of = |mode: &Option<String>| mode.as_deref().map(|mode| shared(project, mode));
    let namespaces = &service.namespaces;
    config.ipc_mode = of(&namespaces.ipc);
    config.pid_mode = of(&namespaces.pid);
    config.uts_mode.clone_from(&namespaces.uts);
    config.userns_mode.clone_from(&namespaces.users);
    config.cgroup_parent.clone_from(&namespaces.cgroup_parent);
    config.cgroupns_mode = match namespaces.cgroup.as_deref() {
        Some("host") => Some(HostConfigCgroupnsModeEnum::HOST),
        Some(_) => Some(HostConfigCgroupnsModeEnum::PRIVATE),
        None => None,
    };
}

/// The engine knows containers, the file services.
fn shared(project: &Project, mode: &str) -> String {
    match mode.strip_prefix("service:") {
        Some(other) => format!("container:{}", project.container_name(other)),
        None => mode.to_owned(),
    }
}

/// `service[:ro]` or `container:name[:ro]`.
fn volumes_from(project: &Project, from: &str) -> String {
    if let Some(container) = from.strip_prefix("container:") {
        return container.to_owned();
    }
    let (other, mode) = from.split_once(':').unwrap_or((from, "rw"));
    format!("{}:{mode}", project.container_name(other))
}

fn network_mode(project: &Project, service: &Service) -> String {
    match &service.attachment {
        Attachment::Mode(mode) => mode.clone(),
        Attachment::Service(other) => format!("container:{}", project.container_name(other)),
        Attachment::Networks(_) => {
            let first = service.attachment.networks().next().and_then(|(key, _)| project.networks.get(key));
            first.map_or_else(|| "default".into(), |network| network.name.clone())
        }
    }
}

fn limits(service: &Service, config: &mut HostConfig) {
    let limits = &service.limits;
    config.memory = limits.memory;
    config.memory_reservation = limits.memory_reservation;
    config.memory_swap = limits.memory_swap;
    config.memory_swappiness = limits.memory_swappiness;
    config.nano_cpus = limits.nano_cpus;
    config.cpu_shares = limits.cpu_shares;
    config.cpu_period = limits.cpu_period;
    config.cpu_quota = limits.cpu_quota;
    config.cpu_realtime_period = limits.cpu_rt_period;
    config.cpu_realtime_runtime = limits.cpu_rt_runtime;
    config.cpuset_cpus.clone_from(&limits.cpuset);
    config.pids_limit = limits.pids;
    config.shm_size = limits.shm_size;
    config.oom_score_adj = limits.oom_score_adj;
    config.oom_kill_disable = limits.oom_kill_disable.then_some(true);
    if let Some(blkio) = &limits.blkio {
        self::blkio(blkio, config);
    }
}

fn blkio(blkio: &Blkio, config: &mut HostConfig) {
    let throttle = |devices: &[(String, i64)]| {
        some(
            devices.iter().map(|(path, rate)| ThrottleDevice { path: Some(path.clone()), rate: Some(*rate) }).collect(),
        )
    };
    let weight = |(path, weight): &(String, i64)| ResourcesBlkioWeightDevice {
        path: Some(path.clone()),
        weight: usize::try_from(*weight).ok(),
    };
    config.blkio_weight = blkio.weight.and_then(|weight| u16::try_from(weight).ok());
    config.blkio_weight_device = some(blkio.weights.iter().map(weight).collect());
    config.blkio_device_read_bps = throttle(&blkio.read_bps);
    config.blkio_device_read_iops = throttle(&blkio.read_iops);
    config.blkio_device_write_bps = throttle(&blkio.write_bps);
    config.blkio_device_write_iops = throttle(&blkio.write_iops);
}

fn devices(service: &Service, config: &mut HostConfig) {
    let mapped = service.devices.mapped.iter().map(|device| DeviceMapping {
        path_on_host: Some(device.source.clone()),
        path_in_container: Some(device.target.clone()),
        cgroup_permissions: Some(device.permissions.clone()),
    });
    let requested = |request: &DeviceRequest| EngineRequest {
        driver: request.driver.clone(),
        count: request.count,
        device_ids: some(request.ids.clone()),
        capabilities: Some(vec![request.capabilities.clone()]),
        options: some_map(request.options.clone()),
    };
    config.devices = some(mapped.collect());
    config.device_cgroup_rules = some(service.devices.cgroup_rules.clone());
    config.device_requests = some(service.devices.requested.iter().map(requested).collect());
}

fn port_bindings(service: &Service) -> HashMap<String, Option<Vec<PortBinding>>> {
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in &service.ports {
        let binding = PortBinding { host_ip: port.host_ip.clone(), host_port: port.host.clone() };
        let key = format!("{}/{}", port.container, port.protocol);
        bindings.entry(key).or_default().get_or_insert_default().push(binding);
    }
    bindings
}

fn restart(restart: &Restart) -> RestartPolicy {
    let (name, most) = match restart {
        Restart::No => (RestartPolicyNameEnum::NO, None),
        Restart::Always => (RestartPolicyNameEnum::ALWAYS, None),
        Restart::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
        Restart::OnFailure(most) => (RestartPolicyNameEnum::ON_FAILURE, *most),
    };
    RestartPolicy { name: Some(name), maximum_retry_count: most }
}

fn ulimits(service: &Service) -> Vec<ResourcesUlimits> {
    let limits = service.ulimits.iter();
    limits
        .map(|(name, limit)| ResourcesUlimits {
            name: Some(name.clone()),
            soft: Some(limit.soft),
            hard: Some(limit.hard),
        })
        .collect()
}

/// Left out where empty, so that the image's own value counts.
pub fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

pub fn some_map(entries: impl IntoIterator<Item = (String, String)>) -> Option<HashMap<String, String>> {
    let map: BTreeMap<_, _> = entries.into_iter().collect();
    (!map.is_empty()).then(|| map.into_iter().collect())
}
