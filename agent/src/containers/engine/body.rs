//! A service in the engine's own words.

use super::host_config::{self, some, some_map};
use crate::containers::compose::{Endpoint, Healthcheck, Project, Service};
use crate::containers::hash;
use bollard::models::{ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HealthConfig, NetworkingConfig};
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
        domainname: service.domainname.clone(),
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
        exposed_ports: some(exposed_ports(service)),
        tty: Some(service.tty),
        open_stdin: Some(service.stdin_open),
        networking_config: Some(NetworkingConfig { endpoints_config: Some(first) }),
        host_config: Some(host_config::of(project, service)),
        ..ContainerCreateBody::default()
    }
}

/// A service's networks by name, each with its endpoint; the first is the one of its creation.
pub fn endpoints(project: &Project, name: &str) -> Vec<(String, EndpointSettings)> {
    let service = &project.services[name];
    let settings = |(key, endpoint): (&String, &Endpoint)| {
        (project.networks[key].name.clone(), settings(project, (name, service), endpoint))
    };
    let mut all: Vec<_> = service.attachment.networks().map(settings).collect();
    if let (Some((_, first)), Some(address)) = (all.first_mut(), &service.mac_address) {
        first.mac_address.get_or_insert_with(|| address.clone());
    }
    all
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
        .map(|(other, dependency)| format!("{other}:{}:{}", dependency.condition.name(), dependency.restart))
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

fn settings(project: &Project, (name, service): (&str, &Service), endpoint: &Endpoint) -> EndpointSettings {
    let address = EndpointIpamConfig {
        ipv4_address: endpoint.ipv4_address.clone(),
        ipv6_address: endpoint.ipv6_address.clone(),
        link_local_ips: some(endpoint.link_local_ips.clone()),
    };
    let has_address =
        address.ipv4_address.is_some() || address.ipv6_address.is_some() || address.link_local_ips.is_some();
    let aliases = std::iter::once(name.to_owned()).chain(endpoint.aliases.iter().cloned());
    let link = |link: &String| {
        let (other, alias) = link.split_once(':').unwrap_or((link, link));
        format!("{}:{alias}", project.container_name(other))
    };
    EndpointSettings {
        aliases: Some(aliases.collect()),
        ipam_config: has_address.then_some(address),
        links: some(service.links.iter().map(link).collect()),
        mac_address: endpoint.mac_address.clone(),
        driver_opts: some_map(endpoint.driver_opts.clone()),
        gw_priority: endpoint.gw_priority,
        ..EndpointSettings::default()
    }
}

fn exposed_ports(service: &Service) -> Vec<String> {
    let published = service.ports.iter().map(|port| format!("{}/{}", port.container, port.protocol));
    let told = service.expose.iter().map(|port| if port.contains('/') { port.clone() } else { format!("{port}/tcp") });
    let mut all: Vec<String> = published.chain(told).collect();
    all.sort();
    all.dedup();
    all
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

/// The engine counts the grace in seconds; a shorter time than asked for would cut a process off.
fn whole_seconds(grace: Duration) -> i64 {
    let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}
