use super::dotenv::{self, Format};
use super::fault::{Checked, Fault, one};
use super::path::Path as Keys;
use super::paths;
use super::session::{Session, Settings};
use super::tree::{At, Map, Tree, Value};
use super::validate::{items, members};
use super::variables::Variables;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What files are included with.
#[derive(Clone, Copy, Debug)]
pub struct Include<'a> {
    /// The folder of the project that includes.
    pub folder: &'a Path,
    pub variables: &'a Variables,
    /// The files that include each other, the outermost first.
    pub chain: &'a [PathBuf],
}

/// One entry of `include`.
struct Entry {
    at: At,
    paths: Vec<String>,
    folder: Option<String>,
    env_files: Vec<String>,
}

impl Include<'_> {
    /// Adds to a document the resources of what it includes.
    pub fn apply(&self, session: &mut Session, document: &mut Map) -> Checked<()> {
        let Some(include) = document.remove("include") else { return Ok(()) };
        if !include.is_null() && include.as_list().is_none() {
            return one(Fault::new(
                include.at,
                &Keys::of("include"),
                format!("expected a list, found {}", include.kind()),
            ));
        }
        for item in items(Some(&include)) {
            let entry = entry(session, item)?;
            let model = self.model(session, &entry)?;
            import(model, document)?;
        }
        Ok(())
    }

    fn model(&self, session: &mut Session, entry: &Entry) -> Checked<Map> {
        let files: Vec<PathBuf> = entry.paths.iter().map(|path| absolute(self.folder, path)).collect();
        if let Some(main) = files.first().filter(|main| self.chain.contains(main)) {
            return one(fault(entry.at, format!("{} includes itself, directly or through others", main.display())));
        }
        let folder = match &entry.folder {
            Some(folder) => absolute(self.folder, folder),
            None => files.first().and_then(|main| main.parent()).unwrap_or(Path::new("/")).to_owned(),
        };
        let mut env_files: Vec<PathBuf> = entry.env_files.iter().map(|file| absolute(self.folder, file)).collect();
        if env_files.is_empty() && !files.is_empty() {
            session.watch(folder.join(".env"));
            env_files.extend(Some(folder.join(".env")).filter(|file| file.is_file()));
        }
        let mut found = BTreeMap::new();
        for file in env_files {
            session.watch(file.clone());
            dotenv::read(&file, self.variables, Format::Compose, &mut found)
                .map_err(|message| vec![fault(entry.at, message)])?;
        }
        if files.is_empty() {
            session.note(fault(entry.at, "has no path and includes nothing"));
            return Ok(Map::new());
        }
        let mut variables = self.variables.clone();
        variables.add(found);
        // As Compose does: relative paths begin beside a project folder that is not there.
        let begin = folder.parent().filter(|_| !folder.is_dir()).unwrap_or(&folder);
        let settings = Settings { files: &files, folder: begin, variables: &variables, asked: entry.at };
        let model = session.model(&settings, self.chain)?;
        refuse_filled(&model, &variables)?;
        Ok(model)
    }
}

/// Compose fills in a config from the environment when it has read what is included, and then finds it filled in twice.
fn refuse_filled(model: &Map, variables: &Variables) -> Checked<()> {
    for (name, config) in members(model, "configs") {
        if let Some(variable) = config.get_text("environment").filter(|variable| variables.get(variable).is_some()) {
            let keys = Keys::of(&format!("configs.{name}.environment"));
            let message = format!(
                "Docker Compose takes no config from the environment out of an included file; write content: \"${{{variable}}}\""
            );
            return one(Fault::new(config.at, &keys, message));
        }
    }
    Ok(())
}

fn fault(at: At, message: impl Into<String>) -> Fault {
    Fault::new(at, &Keys::of("include"), message)
}

fn absolute(folder: &Path, path: &str) -> PathBuf {
    PathBuf::from(paths::clean(&folder.join(path).display().to_string()))
}

fn entry(session: &mut Session, item: &Tree) -> Checked<Entry> {
    let at = item.at;
    let list = |key: &str| -> Checked<Vec<String>> {
        match item.get(key).map(|member| &member.value) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Text(text)) => Ok(vec![text.clone()]),
            Some(Value::List(items)) => {
                let texts: Option<Vec<String>> = items.iter().map(|item| item.as_text().map(str::to_owned)).collect();
                texts.ok_or_else(|| vec![fault(at, format!("{key} takes paths"))])
            }
            Some(_) => one(fault(at, format!("{key} takes a path or a list of paths"))),
        }
    };
    match &item.value {
        Value::Null => Ok(Entry { at, paths: Vec::new(), folder: None, env_files: Vec::new() }),
        Value::Text(path) => Ok(Entry { at, paths: vec![path.clone()], folder: None, env_files: Vec::new() }),
        Value::Map(map) => {
            let known = ["path", "project_directory", "env_file"];
            for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
                // Compose looks at no other key here.
                session.note(fault(at, format!("the key {key:?} is not known and not used")));
            }
            let folder = match item.get("project_directory").map(|folder| &folder.value) {
                None | Some(Value::Null) => None,
                Some(Value::Text(folder)) => Some(folder.clone()).filter(|folder| !folder.is_empty()),
                Some(Value::Int(number)) => Some(number.to_string()),
                Some(_) => return one(fault(at, "project_directory takes a path")),
            };
            Ok(Entry { at, paths: list("path")?, folder, env_files: list("env_file")? })
        }
        _ => one(fault(at, format!("expected a path or a mapping, found {}", item.kind()))),
    }
}

/// What is included must not mean another thing than what has its name.
fn import(model: Map, document: &mut Map) -> Checked<()> {
    let kinds = ["services", "volumes", "networks", "secrets", "configs", "models"];
    for (kind, resources) in model.into_iter().filter(|(kind, _)| kinds.contains(&kind.as_str())) {
        let at = resources.at;
        let Value::Map(resources) = resources.value else { continue };
        let own = document.entry(kind.clone()).or_insert_with(|| Tree::new(at, Value::Map(Map::new())));
        if own.is_null() {
            own.value = Value::Map(Map::new());
        }
        let Some(own) = own.as_map_mut() else { continue };
        for (name, resource) in resources {
            match own.get(&name) {
                Some(other) if *other == resource => {}
                Some(other) => {
                    let message = "is included under a name that another has; rename one of the two";
                    return one(Fault::new(other.at, &Keys::of(&format!("{kind}.{name}")), message));
                }
                None => {
                    own.insert(name, resource);
                }
            }
        }
    }
    Ok(())
}
