use super::compose::{Condition, Project, PullPolicy, Restart, Service, Source};
use super::hash;
use super::observed::{Container, Health, Observed, State};
use std::collections::{BTreeMap, BTreeSet};

/// What is to be done to make the engine run what the file says. Empty when it does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Comes first, in this order.
    pub preparations: Vec<Preparation>,
    /// Images to pull, with the services that want them.
    pub pulls: BTreeMap<String, Vec<String>>,
    /// At most one action a service; they do not depend on each other.
    pub actions: BTreeMap<String, Action>,
    /// Services that have something to do and wait, with what for.
    pub waiting: BTreeMap<String, String>,
    /// Services that have something to do but were tried a moment ago.
    pub held: BTreeSet<String>,
    /// Services whose action makes no sense until an operator does something.
    pub blocked: BTreeMap<String, String>,
    /// Differences that are left alone because changing them could lose data.
    pub drift: Vec<String>,
}

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

/// What is done for one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Create,
    Start {
        id: String,
    },
    /// Stops and removes the old container, then creates and starts the new one.
    Replace {
        id: String,
        why: &'static str,
    },
}

/// What the agent remembers between rounds that bears on the next one.
#[derive(Clone, Copy, Debug)]
pub struct Recent<'a> {
    /// Services that were tried a moment ago.
    pub held: &'a BTreeSet<String>,
    /// Images that were pulled since the file was read.
    pub pulled: &'a BTreeSet<String>,
}

/// What a plan is made from.
#[derive(Clone, Copy)]
struct Look<'a> {
    project: &'a Project,
    observed: &'a Observed,
    recent: Recent<'a>,
    /// What each service needs, looked at for itself alone.
    wanted: &'a BTreeMap<&'a String, Action>,
}

/// A condition that does not hold.
enum Unmet {
    NotYet(String),
    Never(String),
}

impl Look<'_> {
    fn unmet(&self, other: &String, condition: Condition) -> Option<Unmet> {
        if !self.project.services.contains_key(other) {
            return None;
        }
        let busy = self.wanted.contains_key(other);
        let container = self.observed.of_service(other).filter(|_| !busy);
        let without_check = container.is_some_and(|c| c.state == State::Running && c.health == Health::None);
        match condition {
            _ if container.is_some_and(|container| fulfils(container, condition)) => None,
            Condition::Healthy if without_check => {
                Some(Unmet::Never(format!("it waits until {other} is healthy, but {other} has no healthcheck")))
            }
            Condition::Healthy => Some(Unmet::NotYet(format!("until {other} is healthy"))),
            Condition::Started => Some(Unmet::NotYet(format!("until {other} is started"))),
            Condition::CompletedSuccessfully => Some(Unmet::NotYet(format!("until {other} has ended well"))),
        }
    }
}

impl Plan {
    /// Whether there is anything to do now.
    pub fn is_idle(&self) -> bool {
        self.preparations.is_empty() && self.pulls.is_empty() && self.actions.is_empty()
    }

    /// Whether there is something to do for a service, or for what has this name, now or later.
    pub fn is_pending(&self, name: &str) -> bool {
        self.actions.contains_key(name)
            || self.held.contains(name)
            || self.waiting.contains_key(name)
            || self.blocked.contains_key(name)
            || self.pulls.values().flatten().any(|service| service == name)
            || self.preparations.iter().any(|preparation| preparation.name() == name)
    }

    /// Compares what is wanted with what is there.
    pub fn make(project: &Project, observed: &Observed, recent: Recent<'_>) -> Self {
        let mut plan = Self::default();
        plan.remove_unnamed(project, observed);
        plan.prepare_networks(project, observed);
        plan.prepare_volumes(project, observed);
        let wanted: BTreeMap<&String, Action> = project
            .services
            .iter()
            .filter_map(|(name, service)| Some((name, needed(project, name, service, observed)?)))
            .collect();
        let look = Look { project, observed, recent, wanted: &wanted };
        for name in project.services.keys() {
            plan.pull(look, name);
        }
        for name in wanted.keys() {
            plan.decide(look, name);
        }
        if plan.preparations.iter().any(|preparation| matches!(preparation, Preparation::RemoveNetwork { .. })) {
            // What would be created now would find its network gone.
            plan.actions.clear();
        }
        plan
    }

    fn remove_unnamed(&mut self, project: &Project, observed: &Observed) {
        for container in &observed.containers {
            let why = match observed.of_service(&container.service) {
                _ if !project.services.contains_key(&container.service) => "its service is no longer in the file",
                Some(chosen) if chosen.id != container.id => "its service has another one",
                _ => continue,
            };
            if container.state != State::Removing {
                self.remove_container(container, why);
            }
        }
    }

    fn prepare_networks(&mut self, project: &Project, observed: &Observed) {
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

    fn prepare_volumes(&mut self, project: &Project, observed: &Observed) {
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

    /// An image is pulled before anything is stopped, and whatever its service waits for.
    fn pull(&mut self, look: Look<'_>, name: &String) {
        let service = &look.project.services[name];
        let missing = !look.observed.images.contains_key(&service.image)
            && matches!(look.wanted.get(name), Some(Action::Create | Action::Replace { .. }));
        let again = service.pull_policy == PullPolicy::Always && !look.recent.pulled.contains(&service.image);
        if missing && service.pull_policy == PullPolicy::Never {
            let why = format!("the image {:?} is not here and pull_policy is never; load it", service.image);
            self.block(vec![name.clone()], &why);
        } else if (missing || again) && !look.recent.held.contains(name) {
            self.pulls.entry(service.image.clone()).or_default().push(name.clone());
        } else if missing {
            self.held.insert(name.clone());
        }
    }

    /// Lets a service's action happen now, or says what it waits for.
    fn decide(&mut self, look: Look<'_>, name: &String) {
        let (service, action) = (&look.project.services[name], &look.wanted[name]);
        let pulling = self.pulls.contains_key(&service.image) && !matches!(action, Action::Start { .. });
        if self.blocked.contains_key(name) || self.held.contains(name) || pulling {
            return;
        }
        let unmet = service.depends_on.iter().find_map(|(other, dependency)| look.unmet(other, dependency.condition));
        match unmet {
            Some(Unmet::Never(why)) => {
                self.blocked.insert(name.clone(), why);
            }
            Some(Unmet::NotYet(wait)) => {
                self.waiting.insert(name.clone(), wait);
            }
            None if look.recent.held.contains(name) => {
                self.held.insert(name.clone());
            }
            None => {
                self.actions.insert(name.clone(), action.clone());
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

    fn block(&mut self, services: Vec<String>, why: &str) {
        for service in services {
            self.blocked.entry(service).or_insert_with(|| why.to_owned());
        }
    }
}

impl Action {
    /// What has happened when it is done.
    pub fn done(&self) -> &'static str {
        match self {
            Self::Create => "created and started",
            Self::Start { .. } => "started",
            Self::Replace { .. } => "replaced",
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

/// What a service needs, looked at for itself alone.
fn needed(project: &Project, name: &str, service: &Service, observed: &Observed) -> Option<Action> {
    let Some(container) = observed.of_service(name) else { return Some(Action::Create) };
    let id = container.id.clone();
    if container.state == State::Removing {
        return None;
    }
    if let Some(why) = outdated(project, service, container, observed) {
        return Some(Action::Replace { id, why });
    }
    is_to_start(project, name, service, container).then_some(Action::Start { id })
}

fn outdated(project: &Project, service: &Service, container: &Container, observed: &Observed) -> Option<&'static str> {
    if container.hash != hash::service(project, service) {
        return Some("it changed in the file");
    }
    if container.state == State::Dead {
        return Some("the engine could not remove it");
    }
    let image = observed.images.get(&service.image);
    if service.pull_policy == PullPolicy::Always && image.is_some_and(|id| *id != container.image_id) {
        return Some("its image was updated");
    }
    for (key, _) in service.attachment.networks() {
        let name = &project.networks[key].name;
        let Some(found) = observed.networks.get(name) else { continue };
        match container.networks.get(name) {
            None => return Some("it is not on its network"),
            // Before the first start the engine does not say the id.
            Some(id) if !id.is_empty() && *id != found.id => return Some("its network was made anew"),
            Some(_) => {}
        }
    }
    None
}

/// Whether a container that does not run should.
///
/// What the file names runs, whoever stopped it. Two kinds may end: a service that says so (`restart: "no"`, or
/// `on-failure` after success), and one that another waits for until it has ended.
fn is_to_start(project: &Project, name: &str, service: &Service, container: &Container) -> bool {
    match container.state {
        State::Created => true,
        State::Exited => match service.restart {
            Some(Restart::No) => false,
            Some(Restart::OnFailure(most)) => {
                let gave_up = most.is_some_and(|most| most > 0 && container.restarts >= most);
                container.exit_code != 0 && !gave_up
            }
            None if is_awaited_job(project, name) => container.exit_code != 0,
            None | Some(Restart::Always | Restart::UnlessStopped) => true,
        },
        State::Running | State::Paused | State::Restarting | State::Removing | State::Dead => false,
    }
}

fn is_awaited_job(project: &Project, name: &str) -> bool {
    let awaits = |service: &Service| {
        let dependency = service.depends_on.get(name);
        dependency.is_some_and(|dependency| dependency.condition == Condition::CompletedSuccessfully)
    };
    project.services.values().any(awaits)
}

fn fulfils(container: &Container, condition: Condition) -> bool {
    match condition {
        Condition::Started => !matches!(container.state, State::Created | State::Removing | State::Dead),
        Condition::Healthy => container.state == State::Running && container.health == Health::Healthy,
        Condition::CompletedSuccessfully => container.state == State::Exited && container.exit_code == 0,
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
