//! Projects and engines for the unit tests.

use super::compose::{Project, load};
use super::hash;
use super::made::Made;
use super::memory::Memory;
use super::observed::{Container, Found, Health, Observed, Settings, State};
use super::plan::{Plan, Recent, all_places};
use super::update::versions::Versions;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The project `app` of a Compose file.
pub fn project(text: &str) -> Project {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("compose.yaml");
    std::fs::write(&path, text).expect("written");
    load(&path, Some("app")).project.unwrap_or_else(|error| panic!("{error}"))
}

/// Everything as the file wants it, all containers running.
pub fn converged(project: &Project) -> Observed {
    let mut observed = Observed::default();
    for (index, network) in project.networks.values().enumerate() {
        let found =
            Found { id: format!("n{index}"), project: Some(project.name.clone()), hash: Some(hash::network(network)) };
        observed.networks.insert(network.name.clone(), found);
    }
    for (name, service) in &project.services {
        observed.images.insert(service.image.clone(), format!("sha256:{}", service.image));
        let networks = service.attachment.networks().map(|(key, _)| {
            let name = &project.networks[key].name;
            (name.clone(), observed.networks[name].id.clone())
        });
        observed.containers.push(Container {
            id: format!("id-{name}"),
            name: project.container_name(name),
            service: name.clone(),
            number: 1,
            hash: hash::service(project, service),
            state: State::Running,
            health: Health::None,
            health_output: String::new(),
            exit_code: 0,
            ran_out_of_memory: false,
            restarts: 0,
            image: service.image.clone(),
            image_id: format!("sha256:{}", service.image),
            networks: networks.collect(),
            addresses: vec!["172.18.0.2".parse().expect("address")],
            direct: None,
            has_host_ports: false,
            settings: Settings::default(),
            patience: Duration::from_secs(60),
            looked_by: None,
            created: None,
            started: None,
            finished: None,
        });
    }
    observed
}

/// A plan for a project of which nothing else is known.
pub fn planned(project: &Project, observed: &Observed) -> Plan {
    let nothing = BTreeSet::new();
    planned_with(project, observed, (&nothing, &nothing, &memory()))
}

/// The same with what is held and which images are due.
pub fn planned_with(
    project: &Project,
    observed: &Observed,
    (held, due, memory): (&BTreeSet<String>, &BTreeSet<String>, &Memory),
) -> Plan {
    let now = Timestamp::now();
    let recent = Recent {
        held,
        due,
        versions: &memory.versions,
        edited: &BTreeMap::new(),
        paused: &BTreeSet::new(),
        starts: &BTreeMap::new(),
        busy: &BTreeSet::new(),
        exchanged: &memory.exchanged,
        now,
    };
    Plan::make(project, observed, &all_places(project, observed, recent), recent)
}

/// Of an agent that has seen nothing.
pub fn memory() -> Memory {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (versions, made) = (Versions::open(folder.path()), Made::open(folder.path()));
    Memory::new(versions.expect("there is none"), made.expect("there is none"))
}
