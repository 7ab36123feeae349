use super::fault::{Checked, Fault, one};
use super::merge::started;
use super::path::{Path, Table};
use super::port_spec;
use super::tree::{At, Map, Tree, Value};
use super::validate;
use super::volume_spec;
use std::sync::LazyLock;

/// What is done with the short form of an attribute.
#[derive(Clone, Copy, Debug)]
enum Form {
    Build,
    /// A text as the one value of `source`.
    FileMount,
    /// Printed, whatever it is.
    Printed,
    KeyValue,
    DependsOn,
    EnvFile,
    StringOrList,
    Extends,
    Gpus,
    Names,
    Volume,
    Device,
    Ports,
    Ssh,
    Ulimit,
    MaybeExternal,
}

static FORMS: LazyLock<Table<Form>> = LazyLock::new(|| {
    Table::new(&[
        ("services.*.build.secrets.[]", Form::FileMount),
        ("services.*.build.provenance", Form::Printed),
        ("services.*.build.sbom", Form::Printed),
        ("services.*.build.additional_contexts", Form::KeyValue),
        ("services.*.depends_on", Form::DependsOn),
        ("services.*.env_file", Form::EnvFile),
        ("services.*.label_file", Form::StringOrList),
        ("services.*.extends", Form::Extends),
        ("services.*.gpus", Form::Gpus),
        ("services.*.networks", Form::Names),
        ("services.*.models", Form::Names),
        ("services.*.volumes.[]", Form::Volume),
        ("services.*.dns", Form::StringOrList),
        ("services.*.devices.[]", Form::Device),
        ("services.*.secrets.[]", Form::FileMount),
        ("services.*.configs.[]", Form::FileMount),
        ("services.*.ports", Form::Ports),
        ("services.*.build", Form::Build),
        ("services.*.build.ssh", Form::Ssh),
        ("services.*.ulimits.*", Form::Ulimit),
        ("services.*.build.ulimits.*", Form::Ulimit),
        ("services.*.develop.watch.[].ignore", Form::StringOrList),
        ("services.*.develop.watch.[].include", Form::StringOrList),
        ("volumes.*", Form::MaybeExternal),
        ("networks.*", Form::MaybeExternal),
        ("secrets.*", Form::MaybeExternal),
        ("configs.*", Form::MaybeExternal),
    ])
});

/// Of one model; a port takes memory here, at the engine and in its firewall. A telephone exchange has 10,000.
const MAX_PORTS: usize = 16_384;

/// Turns short forms into long ones.
pub fn transform(model: &mut Map) -> Checked<()> {
    count_ports(model)?;
    members(model, &mut Path::default())
}

/// Before ranges are written out: 65,535 ports stand in eleven letters.
fn count_ports(model: &Map) -> Checked<()> {
    let mut count = 0;
    for (name, service) in validate::members(model, "services") {
        for item in validate::items(service.get("ports")) {
            count += item.as_text().map_or(1, port_spec::count);
            if count > MAX_PORTS {
                let path = Path::of(&format!("services.{name}.ports"));
                let message = format!("more than {MAX_PORTS} ports are published by all services; leave ranges out");
                return one(Fault::new(item.at, &path, message));
            }
        }
    }
    Ok(())
}

fn members(map: &mut Map, path: &mut Path) -> Checked<()> {
    map.iter_mut().try_for_each(|(key, member)| path.within(key, |path| tree(member, path)))
}

fn items(items: &mut [Tree], path: &mut Path) -> Checked<()> {
    items.iter_mut().try_for_each(|item| path.within("[]", |path| tree(item, path)))
}

fn tree(value: &mut Tree, path: &mut Path) -> Checked<()> {
    if let Some(form) = FORMS.find(path) {
        return lengthen(form, value, path);
    }
    inside(value, path)
}

fn inside(value: &mut Tree, path: &mut Path) -> Checked<()> {
    match &mut value.value {
        Value::Map(map) => members(map, path),
        Value::List(list) => items(list, path),
        _ => Ok(()),
    }
}

fn lengthen(form: Form, value: &mut Tree, path: &mut Path) -> Checked<()> {
    let at = value.at;
    let fault = |message: String| one(Fault::new(at, path, message));
    match (form, &mut value.value) {
        (Form::Build, Value::Text(context)) => {
            value.value = Tree::map(at, [("context", Value::Text(std::mem::take(context)))]).value;
        }
        (Form::FileMount, Value::Text(source)) => {
            value.value = Tree::map(at, [("source", Value::Text(std::mem::take(source)))]).value;
        }
        (Form::Extends, Value::Text(service)) => {
            value.value = Tree::map(at, [("service", Value::Text(std::mem::take(service)))]).value;
        }
        (Form::Build | Form::Extends | Form::Gpus | Form::MaybeExternal, Value::Map(_) | Value::List(_)) => {
            inside(value, path)?;
            if matches!(form, Form::MaybeExternal) {
                return external(value, path);
            }
        }
        (Form::Gpus, Value::Text(_)) => {
            value.value = Value::List(vec![Tree::map(at, [("count", Value::Text("all".into()))])]);
        }
        (Form::Printed, _) => value.value = Value::Text(value.printed().unwrap_or_default()),
        (Form::KeyValue | Form::Ssh, Value::List(list)) => match pairs(form, list) {
            Ok(map) => value.value = Value::Map(map),
            Err(message) => return fault(message),
        },
        (Form::DependsOn, Value::List(list)) => value.value = Value::Map(named(list, started)),
        (Form::DependsOn, Value::Map(map)) => match map.values().find(|member| member.as_map().is_none()) {
            Some(member) => return fault(format!("expected a condition for each service, found {}", member.kind())),
            None => map.values_mut().for_each(dependency),
        },
        (Form::EnvFile, Value::Text(_)) => value.value = Value::List(vec![env_file(value)]),
        (Form::EnvFile, Value::List(list)) => list.iter_mut().for_each(|item| *item = env_file(item)),
        (Form::StringOrList, Value::Text(_)) => value.value = Value::List(vec![value.clone()]),
        (Form::Names, Value::List(list)) => value.value = Value::Map(named(list, |_| Value::Null)),
        (Form::Volume, Value::Text(spec)) => match volume_spec::parse(spec) {
            Ok(volume) => *value = volume.into_tree(at),
            Err(message) => return fault(message),
        },
        (Form::Device, Value::Text(spec)) => match device(spec, at) {
            Some(device) => value.value = device,
            None => return fault(format!("expected source:target:permissions, found {spec:?}")),
        },
        (Form::Ports, Value::List(list)) => *list = ports(std::mem::take(list), path)?,
        (Form::Ulimit, Value::Text(_) | Value::Float(_) | Value::Bool(_)) => {
            return fault(format!("expected a whole number, or soft and hard, found {}", value.kind()));
        }
        _ => {}
    }
    Ok(())
}

fn pairs(form: Form, list: &[Tree]) -> Result<Map, String> {
    let mut map = Map::new();
    for item in list {
        let text = item.as_text().unwrap_or_default();
        let (name, value) = match (text.split_once('='), form) {
            (Some((name, value)), _) => (name, Value::Text(value.to_owned())),
            (None, Form::Ssh) if text == "default" => (text, Value::Null),
            (None, Form::Ssh) => return Err(format!("expected default or id=path, found {text:?}")),
            (None, _) => return Err(format!("expected NAME=value, found {text:?}")),
        };
        map.insert(name.to_owned(), Tree::new(item.at, value));
    }
    Ok(map)
}

fn named(list: &[Tree], value: impl Fn(At) -> Value) -> Map {
    list.iter().filter_map(|item| Some((item.as_text()?.to_owned(), Tree::new(item.at, value(item.at))))).collect()
}

fn dependency(dependency: &mut Tree) {
    let at = dependency.at;
    if let Some(map) = dependency.as_map_mut() {
        map.entry("condition".into()).or_insert_with(|| Tree::text(at, "service_started"));
        map.entry("required".into()).or_insert_with(|| Tree::new(at, Value::Bool(true)));
    }
}

fn env_file(item: &Tree) -> Tree {
    let required = Tree::new(item.at, Value::Bool(true));
    let mut map = match &item.value {
        Value::Map(map) => map.clone(),
        _ => Map::from([("path".to_owned(), item.clone())]),
    };
    map.entry("required".into()).or_insert(required);
    Tree::new(item.at, Value::Map(map))
}

fn device(spec: &str, at: At) -> Option<Value> {
    let parts: Vec<&str> = spec.split(':').collect();
    let (source, target, permissions) = match parts[..] {
        [source] => (source, "", "rwm"),
        [source, target] => (source, target, "rwm"),
        [source, target, permissions] => (source, target, permissions),
        _ => return None,
    };
    let target = if target.is_empty() { source } else { target };
    let text = |text: &str| Value::Text(text.to_owned());
    Some(Tree::map(at, [("source", text(source)), ("target", text(target)), ("permissions", text(permissions))]).value)
}

fn ports(list: Vec<Tree>, path: &Path) -> Checked<Vec<Tree>> {
    let mut all: Vec<Tree> = Vec::new();
    for item in list {
        match &item.value {
            Value::Int(_) | Value::Text(_) => {
                match port_spec::parse(&item.printed().unwrap_or_default()) {
                    Ok(ports) => all.extend(ports.into_iter().map(|port| port.into_tree(item.at))),
                    Err(message) => return one(Fault::new(item.at, path, message)),
                };
            }
            Value::Map(_) => all.push(item),
            _ => return one(Fault::new(item.at, path, format!("expected a port, found {}", item.kind()))),
        }
    }
    Ok(all)
}

/// `external: {name: x}` is the old way to write a name beside `external: true`.
fn external(resource: &mut Tree, path: &Path) -> Checked<()> {
    let at = resource.at;
    let Some(map) = resource.as_map_mut() else { return Ok(()) };
    let Some(Value::Map(old)) = map.get("external").map(|external| external.value.clone()) else { return Ok(()) };
    map.insert("external".into(), Tree::new(at, Value::Bool(true)));
    let Some(name) = old.get("name") else { return Ok(()) };
    match map.get("name") {
        Some(other) if other != name => one(Fault::new(at, path, "has a name and another in external; only use name")),
        Some(_) => Ok(()),
        None => {
            map.insert("name".into(), name.clone());
            Ok(())
        }
    }
}

/// Fills in what Compose takes for granted.
pub fn set_defaults(model: &mut Map) {
    let Some(services) = model.get_mut("services").and_then(Tree::as_map_mut) else { return };
    for service in services.values_mut().filter_map(Tree::as_map_mut) {
        if let Some(build) = service.get_mut("build") {
            default(build, "context", ".");
        }
        for secret in list(service, "secrets") {
            let source = secret.get("source").and_then(Tree::printed).unwrap_or_default();
            default(secret, "target", &format!("/run/secrets/{source}"));
        }
        for port in list(service, "ports") {
            default(port, "protocol", "tcp");
            default(port, "mode", "ingress");
        }
        let deployed = service.get_mut("deploy").and_then(|deploy| {
            deploy.as_map_mut()?.get_mut("resources")?.as_map_mut()?.get_mut("reservations")?.as_map_mut()
        });
        deployed.into_iter().flat_map(|reservations| list(reservations, "devices")).for_each(device_count);
        list(service, "gpus").for_each(device_count);
    }
}

fn list<'m>(map: &'m mut Map, key: &str) -> impl Iterator<Item = &'m mut Tree> + use<'m> {
    let items = map.get_mut(key).map(|tree| match &mut tree.value {
        Value::List(items) => items.as_mut_slice(),
        _ => &mut [],
    });
    items.unwrap_or_default().iter_mut()
}

fn default(tree: &mut Tree, key: &str, value: &str) {
    let at = tree.at;
    if let Some(map) = tree.as_map_mut() {
        map.entry(key.to_owned()).or_insert_with(|| Tree::text(at, value));
    }
}

fn device_count(device: &mut Tree) {
    if device.get("count").is_none() && device.get("device_ids").is_none() {
        default(device, "count", "all");
    }
}

/// Leaves empty DNS servers out.
pub fn omit_empty(model: &mut Map) {
    let Some(services) = model.get_mut("services").and_then(Tree::as_map_mut) else { return };
    for service in services.values_mut().filter_map(Tree::as_map_mut) {
        if let Some(Tree { value: Value::List(servers), .. }) = service.get_mut("dns") {
            servers.retain(|server| !server.is_null() && server.as_text() != Some(""));
        }
    }
}
