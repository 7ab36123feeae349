use super::fault::Fault;
use super::load::Model;
use super::path::Path;
use super::tree::Tree;
use super::validate::{items, members};
use serde_json::{Map as Object, Value as Json};

impl Model {
    /// What Compose cannot print as JSON.
    pub fn unprintable(&self) -> Vec<Fault> {
        members(&self.resources, "services").filter_map(ssh_path).collect()
    }

    /// As `docker compose config --format json` prints it: a dollar sign that is no variable's is doubled.
    pub fn to_json(&self) -> String {
        let mut all = Object::new();
        all.insert("name".into(), self.name.as_str().into());
        // Compose shows which models services use, not what they are.
        for (key, tree) in self.resources.iter().filter(|(key, _)| *key != "models") {
            all.insert(key.clone(), tree.into());
        }
        for (key, tree) in &self.extensions {
            let mut value = tree.into();
            empty_lists_as_null(&mut value);
            all.insert(key.clone(), value);
        }
        for kind in ["secrets", "configs"] {
            let objects = all.get_mut(kind).and_then(Json::as_object_mut).into_iter().flat_map(Object::values_mut);
            for object in objects.filter_map(Json::as_object_mut) {
                if object.contains_key("environment") || kind == "secrets" {
                    object.remove("content");
                }
            }
        }
        let text = serde_json::to_string_pretty(&Json::Object(all)).unwrap_or_default();
        text.replace('$', "$$")
    }
}

fn ssh_path((name, service): (&String, &Tree)) -> Option<Fault> {
    let ssh = service.get("build")?.get("ssh")?;
    let has_path = items(Some(ssh)).iter().any(|key| key.as_text().is_some_and(|key| key.contains('=')));
    let path = Path::of(&format!("services.{name}.build.ssh"));
    has_path.then(|| Fault::new(ssh.at, &path, "a key with a path has no form in JSON"))
}

/// In what is the operator's own, Compose prints an empty list as nothing.
fn empty_lists_as_null(value: &mut Json) {
    match value {
        Json::Array(items) if items.is_empty() => *value = Json::Null,
        Json::Array(items) => items.iter_mut().for_each(empty_lists_as_null),
        Json::Object(map) => map.values_mut().for_each(empty_lists_as_null),
        _ => {}
    }
}
