use super::paths;
use super::tree::{At, Map, Tree, Value};
use super::variables::Variables;

/// Writes out what the model says without words: the default network, builds, names, dependencies.
pub fn normalize(model: &mut Map, variables: &Variables) {
    networks(model);
    if let Some(services) = model.get_mut("services").and_then(Tree::as_map_mut) {
        for service in services.values_mut() {
            let at = service.at;
            if let Some(map) = service.as_map_mut() {
                self::service(map, at, variables);
            }
        }
    }
    names(model);
}

fn networks(model: &mut Map) {
    let Some(services) = model.get_mut("services").and_then(Tree::as_map_mut) else { return };
    let mut used = None;
    for service in services.values_mut() {
        let at = service.at;
        let Some(map) = service.as_map_mut() else { continue };
        if map.contains_key("network_mode") || map.contains_key("provider") {
            continue;
        }
        let networks = map.get("networks").and_then(Tree::as_map);
        if networks.is_none_or(Map::is_empty) {
            map.insert("networks".into(), Tree::map(at, [("default", Value::Null)]));
            used = Some(at);
        } else if networks.is_some_and(|networks| networks.contains_key("default")) {
            used = Some(at);
        }
    }
    if let Some(at) = used {
        let all = model.entry("networks".into()).or_insert_with(|| Tree::new(at, Value::Map(Map::new())));
        if all.is_null() {
            all.value = Value::Map(Map::new());
        }
        if let Some(all) = all.as_map_mut() {
            all.entry("default".into()).or_insert_with(|| Tree::new(at, Value::Null));
        }
    }
}

fn service(service: &mut Map, at: At, variables: &Variables) {
    if let Some(policy) = service.get_mut("pull_policy").filter(|policy| policy.as_text() == Some("if_not_present")) {
        policy.value = Value::Text("missing".into());
    }
    if let Some(build) = service.get_mut("build").and_then(Tree::as_map_mut) {
        self::build(build, at, variables);
    }
    if let Some(environment) = service.get_mut("environment") {
        look_up(environment, variables, true);
    }
    for volume in service.get_mut("volumes").into_iter().flat_map(items) {
        if let Some(Tree { value: Value::Text(target), .. }) = volume.as_map_mut().and_then(|map| map.get_mut("target"))
        {
            *target = paths::clean(target);
        }
    }
    dependencies(service, at);
}

/// Gives what services name in a list, without a value, that of the variable. Compose does no more at this point.
pub fn look_up_lists(model: &mut Map, variables: &Variables) {
    let services = model.get_mut("services").and_then(Tree::as_map_mut);
    for service in services.into_iter().flat_map(Map::values_mut) {
        let environment = service.as_map_mut().and_then(|service| service.get_mut("environment"));
        if let Some(environment) = environment.filter(|environment| environment.as_list().is_some()) {
            look_up(environment, variables, true);
        }
    }
}

fn build(build: &mut Map, at: At, variables: &Variables) {
    build.entry("context".into()).or_insert_with(|| Tree::text(at, "."));
    if !build.contains_key("dockerfile") && !build.contains_key("dockerfile_inline") {
        build.insert("dockerfile".into(), Tree::text(at, "Dockerfile"));
    }
    if let Some(arguments) = build.get_mut("args") {
        look_up(arguments, variables, false);
    }
}

fn items(tree: &mut Tree) -> &mut [Tree] {
    match &mut tree.value {
        Value::List(items) => items,
        _ => &mut [],
    }
}

/// Gives names without a value that of the variable; what has none is kept as a name, or left out.
fn look_up(tree: &mut Tree, variables: &Variables, keep: bool) {
    match &mut tree.value {
        Value::Map(map) => map.retain(|name, member| {
            if member.is_null() {
                match variables.get(name) {
                    Some(value) => member.value = Value::Text(value),
                    None => return keep,
                }
            }
            true
        }),
        Value::List(list) => list.retain_mut(|item| {
            let Value::Text(text) = &mut item.value else { return false };
            if !text.contains('=') {
                match variables.get(text) {
                    Some(value) => *text = format!("{text}={value}"),
                    None => return keep,
                }
            }
            true
        }),
        _ => {}
    }
}

/// Who shares something with another service is started after it.
fn dependencies(service: &mut Map, at: At) {
    let mut needed: Vec<(String, bool)> = Vec::new();
    for link in service.get("links").and_then(Tree::as_list).unwrap_or_default().iter().filter_map(Tree::as_text) {
        let parts: Vec<&str> = link.split(':').collect();
        needed.push((if parts.len() == 2 { parts[0] } else { link }.to_owned(), true));
    }
    for namespace in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        let shared = service.get(namespace).and_then(Tree::as_text).and_then(|text| text.strip_prefix("service:"));
        needed.extend(shared.map(|other| (other.to_owned(), true)));
    }
    let from = service.get("volumes_from").and_then(Tree::as_list).unwrap_or_default();
    for other in from.iter().filter_map(Tree::as_text).filter(|other| !other.starts_with("container:")) {
        needed.push((other.split(':').next().unwrap_or_default().to_owned(), false));
    }
    if needed.is_empty() {
        return;
    }
    let all = service.entry("depends_on".into()).or_insert_with(|| Tree::new(at, Value::Map(Map::new())));
    let Some(all) = all.as_map_mut() else { return };
    for (other, restart) in needed {
        all.entry(other).or_insert_with(|| {
            let condition = Value::Text("service_started".into());
            Tree::map(
                at,
                [("condition", condition), ("restart", Value::Bool(restart)), ("required", Value::Bool(true))],
            )
        });
    }
}

/// Names what has none after the project and its key; what is external, after its key.
fn names(model: &mut Map) {
    let project = model.get("name").and_then(Tree::printed).unwrap_or_default();
    for kind in ["networks", "volumes", "configs", "secrets"] {
        let Some(resources) = model.get_mut(kind).and_then(Tree::as_map_mut) else { continue };
        for (key, resource) in resources {
            if resource.is_null() {
                resource.value = Value::Map(Map::new());
            }
            let at = resource.at;
            let Some(map) = resource.as_map_mut() else { continue };
            if map.get("name").is_none_or(Tree::is_null) {
                let external = map.get("external").and_then(Tree::printed).is_some_and(|text| is_true(&text));
                let name = if external { key.clone() } else { format!("{project}_{key}") };
                map.insert("name".into(), Tree::text(at, name));
            }
        }
    }
}

/// As Go reads a boolean.
fn is_true(text: &str) -> bool {
    ["1", "t", "T", "TRUE", "true", "True"].contains(&text)
}
