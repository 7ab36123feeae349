//! Projects and engines for the unit tests.

use super::compose::{Project, load};
use super::hash;
use super::observed::{Container, Found, Health, Observed, State};

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
            hash: hash::service(project, service),
            state: State::Running,
            health: Health::None,
            health_output: String::new(),
            exit_code: 0,
            restarts: 0,
            image: service.image.clone(),
            image_id: format!("sha256:{}", service.image),
            networks: networks.collect(),
            started: None,
            finished: None,
        });
    }
    observed
}
