use super::compose::{Network, Project, Service, Source, Volume};
use hostwright_core::hex::hex;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// A service's hash: of everything that its container is made from, so of the names that its keys stand for too.
pub fn service(project: &Project, service: &Service) -> String {
    #[derive(Serialize)]
    struct Canonical<'a> {
        service: &'a Service,
        networks: BTreeMap<&'a str, &'a str>,
        volumes: BTreeMap<&'a str, &'a str>,
        /// Hashes of the services whose containers it joins: it does not outlive them.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        joined: BTreeMap<&'a str, String>,
    }
    let networks = service.attachment.networks().filter_map(|(key, _)| project.networks.get_key_value(key));
    let volumes = service.mounts.iter().filter_map(|mount| match &mount.source {
        Source::Volume { key, .. } => project.volumes.get_key_value(key),
        _ => None,
    });
    // A service cannot join itself through others: it would depend on itself.
    let joined = service.joined().filter_map(|name| Some((name, self::service(project, project.services.get(name)?))));
    of(&Canonical {
        joined: joined.collect(),
        service,
        networks: networks.map(|(key, network)| (key.as_str(), network.name.as_str())).collect(),
        volumes: volumes.map(|(key, volume)| (key.as_str(), volume.name.as_str())).collect(),
    })
}

/// A network's hash: of everything that it is made from.
pub fn network(network: &Network) -> String {
    of(network)
}

/// A volume's hash: of everything that it is made from.
pub fn volume(volume: &Volume) -> String {
    of(volume)
}

fn of(model: &impl Serialize) -> String {
    // These models have text keys and finite numbers alone, so they always serialise.
    let json = serde_json::to_vec(model).unwrap_or_default();
    hex(&Sha256::digest(&json))
}
