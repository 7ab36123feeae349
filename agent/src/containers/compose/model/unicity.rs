use super::fault::{Checked, Fault, one};
use super::path::{Path, Table};
use super::tree::{Map, Tree, Value};
use super::volume_spec;
use std::collections::HashMap;
use std::sync::LazyLock;

/// What makes two items of a list the same one: of several, the last counts, in the place of the first.
#[derive(Clone, Copy, Debug)]
enum Key {
    /// What stands before `=`.
    Name,
    Port,
    VolumeTarget,
    DeviceTarget,
    /// The path in the container, which begins there unless given.
    MountUnder(&'static str),
    Expose,
    EnvFile,
}

static KEYS: LazyLock<Table<Key>> = LazyLock::new(|| {
    Table::new(&[
        ("networks.*.labels", Key::Name),
        ("networks.*.ipam.options", Key::Name),
        ("services.*.annotations", Key::Name),
        ("services.*.build.args", Key::Name),
        ("services.*.build.additional_contexts", Key::Name),
        ("services.*.build.platform", Key::Name),
        ("services.*.build.tags", Key::Name),
        ("services.*.build.labels", Key::Name),
        ("services.*.cap_add", Key::Name),
        ("services.*.cap_drop", Key::Name),
        ("services.*.configs", Key::MountUnder("")),
        ("services.*.deploy.labels", Key::Name),
        ("services.*.dns", Key::Name),
        ("services.*.dns_opt", Key::Name),
        ("services.*.dns_search", Key::Name),
        ("services.*.environment", Key::Name),
        ("services.*.env_file", Key::EnvFile),
        ("services.*.expose", Key::Expose),
        ("services.*.labels", Key::Name),
        ("services.*.links", Key::Name),
        ("services.*.networks.*.aliases", Key::Name),
        ("services.*.networks.*.link_local_ips", Key::Name),
        ("services.*.ports", Key::Port),
        ("services.*.profiles", Key::Name),
        ("services.*.secrets", Key::MountUnder("/run/secrets")),
        ("services.*.sysctls", Key::Name),
        ("services.*.tmpfs", Key::Name),
        ("services.*.volumes", Key::VolumeTarget),
        ("services.*.devices", Key::DeviceTarget),
    ])
});

/// Leaves one of each in the lists of a model that are sets.
pub fn enforce(model: &mut Map) -> Checked<()> {
    mapping(model, &mut Path::default())
}

fn mapping(map: &mut Map, path: &mut Path) -> Checked<()> {
    for (key, member) in map {
        path.within(key, |path| match &mut member.value {
            Value::Map(inner) => mapping(inner, path),
            Value::List(items) => {
                let Some(rule) = KEYS.find(path) else { return Ok(()) };
                unique(rule, items, path)
            }
            _ => Ok(()),
        })?;
    }
    Ok(())
}

fn unique(rule: Key, items: &mut Vec<Tree>, path: &Path) -> Checked<()> {
    let mut kept: Vec<Tree> = Vec::with_capacity(items.len());
    let mut seen: HashMap<String, usize> = HashMap::new();
    for item in std::mem::take(items) {
        let key = match key(rule, &item) {
            Ok(key) => key,
            Err(message) => return one(Fault::new(item.at, path, message)),
        };
        match seen.get(&key) {
            Some(index) => kept[*index] = item,
            None => {
                seen.insert(key, kept.len());
                kept.push(item);
            }
        }
    }
    *items = kept;
    Ok(())
}

fn key(rule: Key, item: &Tree) -> Result<String, String> {
    let wrong = |expected: &str| Err(format!("expected {expected}, found {}", item.kind()));
    let target = |missing: &str| item.get_text("target").map(str::to_owned).ok_or_else(|| missing.to_owned());
    match (rule, &item.value) {
        (Key::Name, Value::Text(text)) => Ok(text.split_once('=').map_or(text.as_str(), |(name, _)| name).to_owned()),
        (Key::Name, _) => wrong("a string"),
        (Key::Port, Value::Map(map)) => {
            port(map).ok_or_else(|| "the key \"target\" is missing, the port in the container".into())
        }
        (Key::Port, _) => Ok(item.printed().unwrap_or_default()),
        (Key::VolumeTarget, Value::Map(_)) => target("the key \"target\" is missing, the path in the container"),
        (Key::VolumeTarget, Value::Text(text)) => volume_spec::parse(text).map(|volume| volume.target),
        (Key::DeviceTarget, Value::Map(_)) => target("the key \"target\" is missing, the device in the container"),
        (Key::DeviceTarget, Value::Text(text)) => {
            let mut parts = text.split(':');
            let source = parts.next().unwrap_or_default();
            Ok(parts.next().unwrap_or(source).to_owned())
        }
        (Key::VolumeTarget | Key::DeviceTarget, _) => Ok(String::new()),
        (Key::MountUnder(folder), Value::Text(source)) => Ok(format!("{folder}/{source}")),
        (Key::MountUnder(folder), Value::Map(map)) => Ok(match map.get("target") {
            Some(target) => target.printed().unwrap_or_default(),
            None => format!("{folder}/{}", item.get("source").and_then(Tree::printed).unwrap_or_default()),
        }),
        (Key::MountUnder(_), _) => wrong("a string or a mapping"),
        (Key::Expose, Value::Text(_) | Value::Int(_)) => Ok(item.printed().unwrap_or_default()),
        (Key::Expose, _) => wrong("a port"),
        (Key::EnvFile, Value::Map(map)) => {
            map.get("path").and_then(Tree::printed).ok_or_else(|| "the key \"path\" is missing".into())
        }
        (Key::EnvFile, _) => Ok(item.printed().unwrap_or_default()),
    }
}

/// A number and the same number as a text are two ports to Compose.
fn port(map: &Map) -> Option<String> {
    let shown = |key: &str| map.get(key).map_or_else(String::new, |tree| format!("{:?}", tree.value));
    map.get("target")?;
    let or = |key: &str, default: &str| map.get(key).and_then(Tree::printed).unwrap_or_else(|| default.to_owned());
    Some(format!("{}:{}:{}/{}", or("host_ip", "0.0.0.0"), shown("published"), shown("target"), or("protocol", "tcp")))
}
