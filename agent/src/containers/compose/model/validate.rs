use super::fault::{Checked, Fault};
use super::path::Path;
use super::tree::{Map, Tree};
use std::net::IpAddr;

/// What the schema cannot say of a canonical model.
pub fn validate(model: &Map) -> Checked<()> {
    let mut faults = Vec::new();
    for (key, volume) in members(model, "volumes") {
        external(volume, &Path::of(&format!("volumes.{key}")), &mut faults);
    }
    for (kind, sources) in [("configs", &["file", "environment", "content"][..]), ("secrets", &["file", "environment"])]
    {
        for (key, object) in members(model, kind) {
            source(object, sources, &Path::of(&format!("{kind}.{key}")), &mut faults);
        }
    }
    for (key, service) in members(model, "services") {
        addresses(service, &Path::of(&format!("services.{key}.ports")), &mut faults);
        let path = |attribute: &str| Path::of(&format!("services.{key}.{attribute}"));
        for watch in items(service.get("develop").and_then(|develop| develop.get("watch"))) {
            if watch.get_text("path") == Some("") {
                faults.push(Fault::new(watch.at, &path("develop.watch.path"), "must not be empty"));
            }
        }
        let reservations = service.get("deploy").and_then(|deploy| deploy.get("resources")?.get("reservations"));
        for device in items(reservations.and_then(|reservations| reservations.get("devices")))
            .iter()
            .chain(items(service.get("gpus")))
        {
            if device.get("count").is_some() && device.get("device_ids").is_some() {
                faults.push(Fault::new(device.at, &path("devices"), "count and device_ids exclude each other"));
            }
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn addresses(service: &Tree, path: &Path, faults: &mut Vec<Fault>) {
    for port in items(service.get("ports")) {
        if let Some(text) = port.get_text("host_ip")
            && text.parse::<IpAddr>().is_err()
        {
            faults.push(Fault::new(port.at, path, format!("host_ip takes an address of the host, found {text:?}")));
        }
    }
}

/// The members of a top-level mapping.
pub fn members<'m>(model: &'m Map, key: &str) -> impl Iterator<Item = (&'m String, &'m Tree)> + use<'m> {
    model.get(key).and_then(Tree::as_map).into_iter().flatten()
}

/// The items of what may be a list.
pub fn items(tree: Option<&Tree>) -> &[Tree] {
    tree.and_then(Tree::as_list).unwrap_or_default()
}

fn external(volume: &Tree, path: &Path, faults: &mut Vec<Fault>) {
    let Some(map) = volume.as_map().filter(|map| map.get("external").is_some_and(Tree::is_true)) else { return };
    for (key, member) in map.iter().filter(|(key, _)| !["name", "external"].contains(&key.as_str())) {
        if !key.starts_with("x-") {
            let message = format!("{key} cannot stand beside external: true, which takes what is there");
            faults.push(Fault::new(member.at, path, message));
        }
    }
}

fn source(object: &Tree, sources: &[&str], path: &Path, faults: &mut Vec<Fault>) {
    let found = sources.iter().filter(|source| object.get(source).is_some()).count();
    if found > 1 {
        faults.push(Fault::new(object.at, path, format!("{} exclude each other", sources.join(", "))));
    }
    if found == 0 && object.get("driver").is_none() && object.get("external").is_none() {
        faults.push(Fault::new(object.at, path, format!("needs one of {}", sources.join(", "))));
    }
}
