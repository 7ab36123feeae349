use super::Plan;
use crate::containers::compose::{Project, Service, Source};
use crate::containers::hash;
use crate::containers::observed::{Container, Observed, State};
use crate::containers::update::place::Place;

/// What services share, and what nobody names any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preparation {
    RemoveContainer {
        id: String,
        name: String,
        why: &'static str,
    },
    RemoveNetwork {
        name: String,
    },
    /// By key.
    CreateNetwork(String),
    /// By key.
    CreateVolume(String),
}

impl Plan {
    pub(super) fn remove_unnamed(&mut self, project: &Project, observed: &Observed, places: &[Place<'_>]) {
        for container in &observed.containers {
            let is_surplus = |place: &Place<'_>| place.surplus.iter().any(|other| other.id == container.id);
            let why = match project.services.get(&container.service) {
                None => "its service is no longer in the file",
                Some(service) if !(1..=service.rollout.replicas).contains(&container.number) => {
                    "the file wants fewer of its service"
                }
                Some(_) if places.iter().any(is_surplus) => "its service has another one",
                Some(_) => continue,
            };
            if container.state != State::Removing {
                self.remove_container(container, why);
            }
        }
    }

    pub(super) fn prepare_networks(&mut self, project: &Project, observed: &Observed) {
        for (key, network) in &project.networks {
            let users = users(project, |service| service.attachment.networks().any(|(used, _)| used == key));
            match observed.networks.get(&network.name) {
                None if network.external => self.block(
                    users,
                    &format!("there is no network {0:?}; create it with docker network create {0}", network.name),
                ),
                None => self.preparations.push(Preparation::CreateNetwork(key.clone())),
                Some(_) if network.external => {}
                Some(found) if found.project.as_ref() != Some(&project.name) => self.block(
                    users,
                    &format!("the network {:?} is not this project's; say external: true to use it", network.name),
                ),
                Some(found) if found.hash.as_ref().is_some_and(|hash| *hash != hash::network(network)) => {
                    // A network can only be replaced when nothing is on it.
                    for container in observed.containers.iter().filter(|c| c.networks.contains_key(&network.name)) {
                        self.remove_container(container, "its network changes");
                    }
                    self.preparations.push(Preparation::RemoveNetwork { name: network.name.clone() });
                }
                Some(_) => {}
            }
        }
    }

    pub(super) fn prepare_volumes(&mut self, project: &Project, observed: &Observed) {
        for (key, volume) in &project.volumes {
            let uses = |source: &Source| matches!(source, Source::Volume { key: used, .. } if used == key);
            match observed.volumes.get(&volume.name) {
                None if volume.external => self.block(
                    users(project, |service| service.mounts.iter().any(|mount| uses(&mount.source))),
                    &format!("there is no volume {0:?}; create it with docker volume create {0}", volume.name),
                ),
                None => self.preparations.push(Preparation::CreateVolume(key.clone())),
                Some(found) if !volume.external && found.hash.as_ref().is_some_and(|h| *h != hash::volume(volume)) => {
                    self.drift.push(format!(
                        "the volume {:?} was made with other settings and is kept for its data; to apply the new \
                         ones, save the data and remove the volume",
                        volume.name
                    ));
                }
                Some(_) => {}
            }
        }
    }

    fn remove_container(&mut self, container: &Container, why: &'static str) {
        let is_same = |preparation: &Preparation| matches!(preparation, Preparation::RemoveContainer { id, .. } if *id == container.id);
        if !self.preparations.iter().any(is_same) {
            let (id, name) = (container.id.clone(), container.name.clone());
            self.preparations.push(Preparation::RemoveContainer { id, name, why });
        }
    }
}

impl Preparation {
    /// What it is about, in an operator's words.
    pub fn name(&self) -> String {
        match self {
            Self::RemoveContainer { name, .. } => format!("container {name}"),
            Self::RemoveNetwork { name } => format!("network {name}"),
            Self::CreateNetwork(key) => format!("network {key}"),
            Self::CreateVolume(key) => format!("volume {key}"),
        }
    }
}

fn users(project: &Project, uses: impl Fn(&Service) -> bool) -> Vec<String> {
    let users = project.services.iter().filter(|(_, service)| uses(service));
    users.map(|(name, _)| name.clone()).collect()
}
