use super::dotenv::{self, Format};
use super::fault::{Checked, Fault};
use super::interpolate::read_bool;
use super::path::Path as Keys;
use super::session::Session;
use super::tree::{Map, Tree, Value};
use super::validate::{items, members};
use super::variables::Variables;
use std::collections::BTreeMap;
use std::path::Path;

/// What secrets and configs that name a variable hold.
pub fn contents(model: &Map, variables: &Variables) -> BTreeMap<(&'static str, String), String> {
    let mut contents = BTreeMap::new();
    for kind in ["configs", "secrets"] {
        for (key, object) in members(model, kind) {
            let value = object.get_text("environment").and_then(|name| variables.get(name));
            contents.extend(value.map(|value| ((kind, key.clone()), value)));
        }
    }
    contents
}

/// Adds to each service that takes part what its `env_file`s and `label_file`s hold, as the written model names them.
pub fn read_files(session: &mut Session, resources: &mut Map, written: &Map, variables: &Variables) -> Checked<()> {
    let mut faults = Vec::new();
    let Some(services) = resources.get_mut("services").and_then(Tree::as_map_mut) else { return Ok(()) };
    for (name, service) in services {
        let at = service.at;
        let Some(own) = written.get("services").and_then(|services| services.get(name)) else { continue };
        let Some(service) = service.as_map_mut() else { continue };
        if own.get("env_file").is_some() {
            let found = env_files(session, own, variables, (service, &mut faults));
            session.take(&found, at)?;
            let found = found.into_iter().map(|(name, value)| (name, Tree::text(at, value))).collect();
            merge(service, "environment", Tree::new(at, Value::Map(found)));
        }
        if own.get("label_file").is_some() {
            let mut found = BTreeMap::new();
            for file in items(own.get("label_file")) {
                let Some(path) = file.as_text() else { continue };
                session.watch(path.into());
                if let Err(message) = dotenv::read(Path::new(path), &Variables::default(), Format::Compose, &mut found)
                {
                    faults.push(Fault::new(file.at, &Keys::of(&format!("services.{name}.label_file")), message));
                }
            }
            session.take(&found, at)?;
            let found = found.into_iter().map(|(name, value)| (name, Tree::text(at, value)));
            merge(service, "labels", Tree::new(at, Value::Map(found.collect())));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn env_files(
    session: &mut Session,
    own: &Tree,
    variables: &Variables,
    (service, faults): (&Map, &mut Vec<Fault>),
) -> BTreeMap<String, String> {
    // A file may use what the project and the service itself set.
    let mut seen = variables.clone();
    let written = service.get("environment").and_then(Tree::as_map).into_iter().flatten();
    seen.add(written.filter_map(|(name, value)| Some((name.clone(), value.as_text()?.to_owned()))));
    let mut found = BTreeMap::new();
    for file in items(own.get("env_file")) {
        let Some(path) = file.get_text("path") else { continue };
        let mut fail = |message: String| faults.push(Fault::new(file.at, &Keys::of("env_file"), message));
        let required = file.get("required").and_then(Tree::printed).map_or(Some(true), |text| read_bool(&text));
        let Some(required) = required else {
            fail("required takes true or false".into());
            continue;
        };
        session.watch(path.into());
        let format = match file.get_text("format") {
            None | Some("") => Format::Compose,
            Some("raw") => Format::Raw,
            Some(other) => {
                fail(format!("the format {other:?} is not known; leave it out, or say raw"));
                continue;
            }
        };
        if !required && !Path::new(path).exists() {
            continue;
        }
        if let Err(message) = dotenv::read(Path::new(path), &seen, format, &mut found) {
            fail(message);
        }
    }
    found
}

/// What the service says itself counts.
fn merge(service: &mut Map, key: &str, found: Tree) {
    let Value::Map(mut all) = found.value else { return };
    if let Some(Value::Map(own)) = service.remove(key).map(|own| own.value) {
        all.extend(own);
    }
    if !all.is_empty() {
        service.insert(key.to_owned(), Tree::new(found.at, Value::Map(all)));
    }
}
