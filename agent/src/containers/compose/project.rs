use super::attachment::Attachment;
use super::dependency::cycle;
use super::mount::Source;
use super::network::Network;
use super::service::{Scope, Service};
use super::variables::Variables;
use super::volume::Volume;
use hostwright_core::config::section::{Problem, Problems, Section};
use hostwright_core::yaml::Node;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What a Compose file wants to run.
#[derive(Clone, Debug)]
pub struct Project {
    pub name: String,
    /// The Compose file and its folder, for the labels.
    pub file: PathBuf,
    pub folder: PathBuf,
    pub services: BTreeMap<String, Service>,
    /// Those that a service uses, by key.
    pub networks: BTreeMap<String, Network>,
    /// Those that a service uses, by key.
    pub volumes: BTreeMap<String, Volume>,
    /// What was odd but taken.
    pub notes: Vec<Problem>,
}

/// What a Compose file is read with.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    pub file: &'a Path,
    /// The project's name where the agent's own file gives one.
    pub project: Option<&'a str>,
    pub variables: &'a Variables,
}

/// What there is to say of a Compose file.
#[derive(Debug, Default)]
pub struct Noted {
    pub problems: Problems,
    /// Odd but taken.
    pub notes: Problems,
}

impl Project {
    /// Reads the tree, with every problem and every note that it has; `files` takes what is read beside it.
    pub fn read(root: &Node, around: Around<'_>, noted: &Noted, files: &mut Vec<PathBuf>) -> Option<Self> {
        let Around { file, variables, .. } = around;
        let notes = &noted.notes;
        let mut root = Section::open(root, "", &noted.problems)?;
        let folder = file.parent().unwrap_or(Path::new("/"));
        let name = project_name(&mut root, folder, around);
        let read_beside = RefCell::new(Vec::new());
        let named = root.names("services");
        let scope = Scope {
            folder,
            variables,
            services: &named,
            networks: &root.names("networks"),
            volumes: &root.names("volumes"),
            notes,
            files: &read_beside,
        };
        let networks = root.named("networks", |section| Network::read(section, &name)).unwrap_or_default();
        let volumes = root.named("volumes", |section| Volume::read(section, &name)).unwrap_or_default();
        let services = root.named("services", |section| Service::read(section, &scope)).unwrap_or_default();
        if let Some(version) = root.node("version") {
            notes.note(version.place, "version", "is obsolete and not used".into());
        }
        for key in ["configs", "secrets", "include", "models"] {
            root.refuse(key, "is not supported yet; leave it out");
        }
        if services.is_empty() && root.node("services").is_none() {
            root.problem(root.place(), "the key \"services\" is missing; it names what is to run");
        }
        let mut project =
            Self { name, file: file.into(), folder: folder.into(), services, networks, volumes, notes: Vec::new() };
        project.choose_profiles(variables);
        project.check(&root, &named);
        project.drop_unused();
        root.allow_extensions();
        root.finish();
        files.extend(read_beside.into_inner());
        Some(project)
    }

    /// The name of a service's first container.
    pub fn container_name(&self, service: &str) -> String {
        self.name_of(service, 1)
    }

    /// The name of one of a service's containers.
    pub fn name_of(&self, service: &str, number: u32) -> String {
        let own = self.services.get(service).and_then(|service| service.container_name.clone());
        own.unwrap_or_else(|| format!("{}-{service}-{number}", self.name))
    }

    /// The services whose health check has a `start_interval`.
    pub fn with_start_interval(&self) -> impl Iterator<Item = &String> {
        let has = |service: &Service| service.healthcheck.as_ref().is_some_and(|check| check.start_interval.is_some());
        self.services.iter().filter(move |(_, service)| has(service)).map(|(name, _)| name)
    }

    /// Leaves services out whose profiles `COMPOSE_PROFILES` does not name, as Compose does.
    fn choose_profiles(&mut self, variables: &Variables) {
        let active = variables.get("COMPOSE_PROFILES").unwrap_or_default();
        let active: Vec<&str> = active.split(',').map(str::trim).collect();
        let chosen = |profile: &String| active.contains(&profile.as_str()) || active.contains(&"*");
        self.services.retain(|_, service| service.profiles.is_empty() || service.profiles.iter().any(chosen));
    }

    /// What only shows when all services are known.
    fn check(&self, root: &Section<'_>, named: &[String]) {
        for (name, service) in &self.services {
            for (other, dependency) in &service.depends_on {
                if dependency.required && named.contains(other) && !self.services.contains_key(other) {
                    let message = format!("depends on {other:?}, whose profiles are not among COMPOSE_PROFILES");
                    root.problem_at(dependency.place, &format!("services.{name}.depends_on"), &message);
                }
            }
        }
        let graph = self
            .services
            .iter()
            .map(|(name, service)| (name.as_str(), service.depends_on.keys().map(String::as_str).collect::<Vec<_>>()));
        if let Some(chain) = cycle(&graph.collect()) {
            root.problem_with("services", &format!("depend on each other in a circle: {}", chain.join(" → ")));
        }
        let mut names = BTreeMap::new();
        for name in self.services.keys() {
            if let Some(other) = names.insert(self.container_name(name), name) {
                let message = format!("{other} and {name} have the same container_name; give each its own");
                root.problem_with("services", &message);
            }
        }
    }

    /// Creates nothing that nobody uses; adds the default network where it is used without being named.
    fn drop_unused(&mut self) {
        let used: BTreeSet<String> = self
            .services
            .values()
            .flat_map(|service| service.attachment.networks().map(|(key, _)| key.clone()).collect::<Vec<_>>())
            .collect();
        if used.contains("default") && !self.networks.contains_key("default") {
            self.networks.insert("default".into(), Network::default_of(&self.name));
        }
        self.networks.retain(|key, _| used.contains(key));
        let mounts = self.services.values().flat_map(|service| &service.mounts);
        let used: BTreeSet<String> = mounts
            .filter_map(|mount| match &mount.source {
                Source::Volume { key, .. } => Some(key.clone()),
                _ => None,
            })
            .collect();
        self.volumes.retain(|key, _| used.contains(key));
        for service in self.services.values_mut() {
            if let Attachment::Mode(mode) = &service.attachment
                && mode == "host"
            {
                // The engine would drop them with a warning that nobody sees; the service has the host's ports anyway.
                service.ports.clear();
            }
        }
    }
}

/// Compose's order: what the operator asks for, COMPOSE_PROJECT_NAME, the file's `name`, its folder's name.
fn project_name(root: &mut Section<'_>, folder: &Path, around: Around<'_>) -> String {
    let Around { project: given, variables, .. } = around;
    let written = root.optional::<String>("name");
    let name =
        given.map(str::to_owned).or_else(|| variables.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty()));
    let Some(name) = name.or(written) else {
        let folder = folder.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let fits = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(*c);
        let name: String = folder.chars().filter(fits).collect();
        let name = name.trim_start_matches(['_', '-']);
        return if name.is_empty() { "default".into() } else { name.to_owned() };
    };
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if !first || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c)) {
        root.problem_with(
            "name",
            &format!("{name:?} cannot be a project's name: use lower-case letters, digits, '_' and '-', a letter or digit first"),
        );
    }
    name
}
