use super::dotenv;
use super::service::Scope;
use super::values::Pairs;
use hostwright_core::config::section::Section;
use hostwright_core::secret::Secret;
use std::collections::BTreeMap;

/// Reads `env_file` and `environment`; the latter wins. An entry without a value passes on the agent's own variable,
/// if it has it.
pub fn read(section: &mut Section<'_>, scope: &Scope<'_>) -> BTreeMap<String, Secret> {
    let mut environment = BTreeMap::new();
    read_files(section, scope, &mut environment);
    let pairs = section.optional::<Pairs>("environment").unwrap_or_default();
    for (name, value) in pairs.0 {
        match value.or_else(|| scope.variables.get(&name)) {
            Some(value) => environment.insert(name, Secret::new(value)),
            // Compose does so too: a name without a value anywhere takes away what the files say.
            None => environment.remove(&name),
        };
    }
    environment
}

fn read_files(section: &mut Section<'_>, scope: &Scope<'_>, environment: &mut BTreeMap<String, Secret>) {
    let Some(node) = section.node("env_file") else { return };
    for item in node.sequence().unwrap_or(std::slice::from_ref(node)) {
        let file = if item.mapping().is_some() {
            section.item("env_file", item).and_then(long)
        } else {
            section.value::<String>("env_file", item).map(|path| File { path, required: true, raw: false })
        };
        let Some(file) = file else { continue };
        let path = scope.folder.join(&file.path);
        scope.files.borrow_mut().push(path.clone());
        if !file.required && !path.exists() {
            continue;
        }
        match dotenv::read(&path, scope.variables, file.raw) {
            Ok(entries) => environment.extend(entries.into_iter().map(|(name, value)| (name, Secret::new(value)))),
            Err(message) => section.problem_at(item.place, "env_file", &message),
        }
    }
}

struct File {
    path: String,
    required: bool,
    raw: bool,
}

fn long(mut section: Section<'_>) -> Option<File> {
    let path = section.required::<String>("path");
    let required = section.or("required", true);
    let format = section.optional::<String>("format");
    if format.as_deref().is_some_and(|format| format != "raw") {
        section.problem_with("format", "expected raw, or nothing for Compose's own format");
    }
    section.finish();
    Some(File { path: path?, required, raw: format.is_some() })
}
