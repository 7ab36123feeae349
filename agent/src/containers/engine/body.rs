//! A service in the engine's own words.

use crate::containers::compose::{Attachment, Endpoint, Healthcheck, Mount, Project, Restart, Service, Source};
use crate::containers::hash;
use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HealthConfig, HostConfig, HostConfigLogConfig,
    Mount as EngineMount, MountTmpfsOptions, MountType, NetworkingConfig, PortBinding, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Compose's own labels, so that `docker compose ps` and its friends work on what we made.
pub const PROJECT: &str = "com.docker.compose.project";
pub const SERVICE: &str = "com.docker.compose.service";
pub const NUMBER: &str = "com.docker.compose.container-number";
pub const ONEOFF: &str = "com.docker.compose.oneoff";
pub const HASH: &str = "com.docker.compose.config-hash";
pub const IMAGE: &str = "com.docker.compose.image";

pub fn container(project: &Project, name: &str, image_id: &str) -> ContainerCreateBody {
    let service = &project.services[name];
    let first = endpoints(project, name).into_iter().take(1).collect();
    ContainerCreateBody {
        hostname: service.hostname.clone(),
        user: service.user.clone(),
        env: some(service.environment.iter().map(|(name, value)| format!("{name}={}", value.expose())).collect()),
        cmd: service.command.clone(),
        entrypoint: service.entrypoint.clone(),
        healthcheck: service.healthcheck.as_ref().map(health),
        image: Some(service.image.clone()),
        working_dir: service.working_dir.clone(),
        labels: Some(labels(project, name, service, image_id)),
        stop_signal: service.stop_signal.clone(),
        stop_timeout: service.stop_grace_period.map(whole_seconds),
        exposed_ports: some(service.ports.iter().map(|port| format!("{}/{}", port.container, port.protocol)).collect()),
        networking_config: Some(NetworkingConfig { endpoints_config: Some(first) }),
        host_config: Some(host_config(project, service)),
        ..ContainerCreateBody::default()
    }
}

/// A service's networks by name, each with its endpoint; the first is the one of its creation.
pub fn endpoints(project: &Project, name: &str) -> Vec<(String, EndpointSettings)> {
    let networks = project.services[name].attachment.networks();
    networks.map(|(key, endpoint)| (project.networks[key].name.clone(), settings(name, endpoint))).collect()
}

/// Labels of a network or volume.
pub fn resource_labels(
    project: &Project,
    kind: &str,
    key: &str,
    own: &BTreeMap<String, String>,
    hash: String,
) -> HashMap<String, String> {
    let mut labels: HashMap<_, _> = own.clone().into_iter().collect();
    labels.insert(PROJECT.into(), project.name.clone());
    labels.insert(format!("com.docker.compose.{kind}"), key.to_owned());
    labels.insert("com.docker.compose.version".into(), env!("CARGO_PKG_VERSION").into());
    labels.insert(HASH.into(), hash);
    labels
}

fn labels(project: &Project, name: &str, service: &Service, image_id: &str) -> HashMap<String, String> {
    let mut labels: HashMap<_, _> = service.labels.clone().into_iter().collect();
    let dependencies: Vec<String> = service
        .depends_on
        .iter()
        .map(|(other, dependency)| format!("{other}:{}:false", dependency.condition.name()))
        .collect();
    for (label, value) in [
        (PROJECT, project.name.clone()),
        (SERVICE, name.to_owned()),
        (NUMBER, "1".into()),
        (ONEOFF, "False".into()),
        (HASH, hash::service(project, service)),
        (IMAGE, image_id.to_owned()),
        ("com.docker.compose.depends_on", dependencies.join(",")),
        ("com.docker.compose.project.config_files", project.file.display().to_string()),
        ("com.docker.compose.project.working_dir", project.folder.display().to_string()),
        ("com.docker.compose.version", env!("CARGO_PKG_VERSION").into()),
    ] {
        labels.insert(label.into(), value);
    }
    labels
}

fn settings(service: &str, endpoint: &Endpoint) -> EndpointSettings {
    let address = EndpointIpamConfig {
        ipv4_address: endpoint.ipv4_address.clone(),
        ipv6_address: endpoint.ipv6_address.clone(),
        link_local_ips: None,
    };
    let has_address = address.ipv4_address.is_some() || address.ipv6_address.is_some();
    let aliases = std::iter::once(service.to_owned()).chain(endpoint.aliases.iter().cloned());
    EndpointSettings {
        aliases: Some(aliases.collect()),
        ipam_config: has_address.then_some(address),
        ..EndpointSettings::default()
    }
}

fn host_config(project: &Project, service: &Service) -> HostConfig {
    let (binds, mounts): (Vec<_>, Vec<_>) = service.mounts.iter().partition(|mount| is_bind(&mount.source));
    HostConfig {
        binds: some(binds.into_iter().map(|mount| bind(project, mount)).collect()),
        mounts: some(mounts.into_iter().map(mounted).collect()),
        tmpfs: some_map(service.tmpfs.iter().map(|text| match text.split_once(':') {
            Some((path, options)) => (path.to_owned(), options.to_owned()),
            None => (text.clone(), String::new()),
        })),
        port_bindings: Some(port_bindings(service)),
        network_mode: Some(network_mode(project, service)),
        restart_policy: service.restart.as_ref().map(restart),
        init: service.init,
        extra_hosts: some(service.extra_hosts.clone()),
        readonly_rootfs: Some(service.read_only),
        privileged: Some(service.privileged),
        cap_add: some(service.cap_add.clone()),
        cap_drop: some(service.cap_drop.clone()),
        security_opt: some(service.security_opt.clone()),
        memory: service.limits.memory,
        memory_reservation: service.limits.memory_reservation,
        nano_cpus: service.limits.nano_cpus,
        pids_limit: service.limits.pids,
        ulimits: some(ulimits(service)),
        log_config: service.logging.as_ref().map(|logging| HostConfigLogConfig {
            typ: logging.driver.clone(),
            config: some_map(logging.options.clone().into_iter()),
        }),
        ..HostConfig::default()
    }
}

fn network_mode(project: &Project, service: &Service) -> String {
    match &service.attachment {
        Attachment::Mode(mode) => mode.clone(),
        Attachment::Networks(networks) => {
            let first = networks.keys().next().and_then(|key| project.networks.get(key));
            first.map_or_else(|| "default".into(), |network| network.name.clone())
        }
    }
}

/// What the engine takes as `source:target:options`; that form alone makes missing folders.
fn is_bind(source: &Source) -> bool {
    matches!(source, Source::Bind { create: true, .. } | Source::Volume { .. })
}

fn bind(project: &Project, mount: &Mount) -> String {
    let mode = if mount.read_only { "ro" } else { "rw" };
    let (source, further) = match &mount.source {
        Source::Volume { key, nocopy } => {
            let name = project.volumes.get(key).map_or(key, |volume| &volume.name);
            (name.as_str(), nocopy.then_some("nocopy").into_iter().collect::<Vec<_>>())
        }
        Source::Bind { path, options, .. } => (path.as_str(), options.iter().map(String::as_str).collect()),
        Source::Tmpfs { .. } => ("", Vec::new()),
    };
    let options: Vec<&str> = std::iter::once(mode).chain(further).collect();
    format!("{source}:{}:{}", mount.target, options.join(","))
}

fn mounted(mount: &Mount) -> EngineMount {
    let mut body =
        EngineMount { target: Some(mount.target.clone()), read_only: Some(mount.read_only), ..EngineMount::default() };
    match &mount.source {
        Source::Tmpfs { size, mode } => {
            body.typ = Some(MountType::TMPFS);
            body.tmpfs_options = Some(MountTmpfsOptions { size_bytes: *size, mode: *mode, options: None });
        }
        Source::Bind { path, .. } => {
            body.typ = Some(MountType::BIND);
            body.source = Some(path.clone());
        }
        Source::Volume { .. } => {}
    }
    body
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

fn health(check: &Healthcheck) -> HealthConfig {
    let nanoseconds = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    HealthConfig {
        test: check.test.clone(),
        interval: check.interval.map(nanoseconds),
        timeout: check.timeout.map(nanoseconds),
        retries: check.retries,
        start_period: check.start_period.map(nanoseconds),
        start_interval: check.start_interval.map(nanoseconds),
    }
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

/// The engine counts the grace in seconds; a shorter time than asked for would cut a process off.
fn whole_seconds(grace: Duration) -> i64 {
    let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// Left out where empty, so that the image's own value counts.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn some_map(entries: impl Iterator<Item = (String, String)>) -> Option<HashMap<String, String>> {
    let map: HashMap<_, _> = entries.collect();
    (!map.is_empty()).then_some(map)
}
