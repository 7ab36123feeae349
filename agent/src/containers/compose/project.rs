use super::attachment::Attachment;
use super::attributes;
use super::model::{Fault, Keys, Model, Tree};
use super::network::Network;
use super::service::{Said, Service};
use super::service_file::Sources;
use super::volume::Volume;
use hostwright_core::config::section::Problem;
use hostwright_core::secret::CREDENTIALS;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// What a Compose file wants to run.
#[derive(Clone, Debug)]
pub struct Project {
    pub name: String,
    /// The Compose file and its folder, for the labels.
    pub file: PathBuf,
    pub folder: PathBuf,
    /// Where configs and secrets lie on the host.
    pub files: PathBuf,
    pub services: BTreeMap<String, Service>,
    /// Images that have a health check of their own, as the engine says.
    pub checked: BTreeSet<String>,
    /// Those that a service uses, by key.
    pub networks: BTreeMap<String, Network>,
    /// Those that a service uses, by key.
    pub volumes: BTreeMap<String, Volume>,
    /// What was odd but taken.
    pub notes: Vec<Problem>,
}

/// Where configs and secrets lie unless the duty says where.
const FILES: &str = "/var/lib/hostwright/agent/containers/files";

impl Project {
    /// Reads a canonical model; `watched` takes what is read beside it.
    pub fn read(model: &Model, file: &Path, watched: &mut Vec<PathBuf>) -> Result<(Self, Vec<Fault>), Vec<Fault>> {
        let (mut notes, faults) = attributes::look(&model.resources);
        notes.extend(attributes::look(&model.unshown).0);
        let mut said = Said { faults, notes };
        // Whoever checks a file by hand is told the same.
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map_or_else(|| CREDENTIALS.into(), PathBuf::from);
        let mut sources = Sources { model, watched: Vec::new(), faults: Vec::new(), credentials };
        let members = |kind: &str| model.resources.get(kind).and_then(Tree::as_map).into_iter().flatten();
        let services = members("services")
            .map(|(name, tree)| (name.clone(), Service::read(name, tree, &mut sources, &mut said)))
            .collect();
        let mut project = Self {
            name: model.name.clone(),
            file: file.into(),
            folder: model.folder.clone(),
            files: FILES.into(),
            services,
            checked: BTreeSet::new(),
            networks: members("networks").map(|(key, tree)| (key.clone(), Network::read(tree))).collect(),
            volumes: members("volumes").map(|(key, tree)| (key.clone(), Volume::read(tree))).collect(),
            notes: Vec::new(),
        };
        said.faults.append(&mut sources.faults);
        watched.append(&mut sources.watched);
        project.check_names(model, &mut said);
        project.drop_ports();
        if said.faults.is_empty() { Ok((project, said.notes)) } else { Err(said.faults) }
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

    /// Whether a service has a health check: the file's, or its image's where the file leaves it be.
    pub fn has_healthcheck(&self, service: &Service) -> bool {
        match service.healthcheck.as_ref().and_then(|check| check.test.as_deref()) {
            Some(test) => test.first().is_some_and(|first| first != "NONE"),
            None => self.checked.contains(&service.image),
        }
    }

    /// The services whose health check has a `start_interval`.
    pub fn with_start_interval(&self) -> impl Iterator<Item = &String> {
        let has = |service: &Service| service.healthcheck.as_ref().is_some_and(|check| check.start_interval.is_some());
        self.services.iter().filter(move |(_, service)| has(service)).map(|(name, _)| name)
    }

    /// Writes configs and secrets to `folder`, from where containers get them.
    pub fn place_files(&mut self, folder: &Path) -> io::Result<()> {
        folder.clone_into(&mut self.files);
        self.services.values().flat_map(|service| &service.files).try_for_each(|file| file.place(folder))
    }

    fn check_names(&self, model: &Model, said: &mut Said) {
        let mut names = BTreeMap::new();
        for name in self.services.keys() {
            // Two that both say the same have been told already.
            if let Some(other) = names.insert(self.container_name(name), name)
                && [other, name].iter().any(|name| self.services[*name].container_name.is_none())
            {
                let tree = &model.resources["services"];
                let at = tree.get(name).map_or(tree.at, |service| service.at);
                let message = format!("{other} and {name} have the same container_name; give each its own");
                said.faults.push(Fault::new(at, &Keys::of("services"), message));
            }
        }
    }

    fn drop_ports(&mut self) {
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
