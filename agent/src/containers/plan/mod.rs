use super::compose::{Condition, Project, PullPolicy, Restart, Service, Source};
use super::hash;
use super::observed::{Container, Health, Observed, State};
use super::update::place::{Phase, Place, is_active, places};
use super::update::trial::{self, Trial, trial};
use super::update::versions::{Versions, Wanted};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is to be done to make the engine run what the file says. Empty when it does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Comes first, in this order.
    pub preparations: Vec<Preparation>,
    /// Images to pull, with the services that want them.
    pub pulls: BTreeMap<String, Vec<String>>,
    /// At most one for each place of a service; they do not depend on each other.
    pub steps: Vec<Step>,
    /// Services that have something to do and wait, with what for.
    pub waiting: BTreeMap<String, String>,
    /// Services that have something to do but were tried a moment ago.
    pub held: BTreeSet<String>,
    /// Services whose action makes no sense until an operator does something.
    pub blocked: BTreeMap<String, String>,
    /// Differences that are left alone because changing them could lose data.
    pub drift: Vec<String>,
    /// Services whose containers are being exchanged, with what that waits for.
    pub exchanges: BTreeMap<String, &'static str>,
    /// Services that run as wanted and have shown that they are good.
    pub good: BTreeSet<String>,
    /// When something may be due without an event of the engine.
    pub next_look: Option<Duration>,
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

/// What is done for one place of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub service: String,
    pub number: u32,
    pub action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Creates and starts one of this name.
    Create {
        name: String,
        why: &'static str,
    },
    Start {
        id: String,
    },
    /// Stops and starts it again.
    Restart {
        id: String,
        why: &'static str,
    },
    /// So that its successor can be made.
    Stop {
        id: String,
        why: &'static str,
    },
    /// Its successor has its traffic.
    Remove {
        id: String,
    },
    Rename {
        id: String,
        name: String,
    },
    /// Sets right what was changed by hand.
    Correct {
        id: String,
    },
    /// Removes a new container that is not good, and notes that its version is not to be tried again.
    GiveUp {
        id: String,
        why: String,
    },
}

/// What the agent remembers between rounds that bears on the next one.
#[derive(Clone, Copy, Debug)]
pub struct Recent<'a> {
    /// Services that were tried a moment ago.
    pub held: &'a BTreeSet<String>,
    /// Images whose names are to be resolved again.
    pub due: &'a BTreeSet<String>,
    pub versions: &'a Versions,
    /// How often each service was started since it last ran well.
    pub starts: &'a BTreeMap<String, u32>,
    /// Containers that were changed by hand, with whether they can be set right without making them anew.
    pub edited: &'a BTreeMap<String, bool>,
    /// Containers that still have traffic which must not be cut off.
    pub busy: &'a BTreeSet<String>,
    pub now: Timestamp,
}

impl Recent<'_> {
    fn starts_and_now(&self, service: &str) -> (u32, Timestamp) {
        (self.starts.get(service).copied().unwrap_or(0), self.now)
    }
}

/// What a plan is made from.
#[derive(Clone, Copy)]
struct Look<'a> {
    project: &'a Project,
    observed: &'a Observed,
    recent: Recent<'a>,
    places: &'a [Place<'a>],
    /// What each place needs, looked at for itself alone.
    wanted: &'a [Step],
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
        let is_busy = self.wanted.iter().any(|step| step.service == *other);
        let mut containers = self
            .places
            .iter()
            .filter(|place| place.service == other)
            .map(|place| place.new.filter(|_| place.phase == Phase::Settled && !is_busy));
        let is_fulfilled = containers.clone().all(|container| container.is_some_and(|c| fulfils(c, condition)));
        let lacks_check = |container: &Container| container.state == State::Running && container.health == Health::None;
        match condition {
            _ if is_fulfilled => None,
            Condition::Healthy if containers.any(|container| container.is_some_and(lacks_check)) => {
                Some(Unmet::Never(format!("it waits until {other} is healthy, but {other} has no healthcheck")))
            }
            Condition::Healthy => Some(Unmet::NotYet(format!("until {other} is healthy"))),
            Condition::Started => Some(Unmet::NotYet(format!("until {other} is started"))),
            Condition::CompletedSuccessfully => Some(Unmet::NotYet(format!("until {other} has ended well"))),
        }
    }

    /// Whether another place of the same service is being exchanged, or comes before this one.
    fn is_after_another(&self, service: &str, number: u32) -> bool {
        self.places.iter().filter(|place| place.service == service && place.number != number).any(|place| {
            match place.phase {
                Phase::Trial | Phase::Exchange | Phase::Failed(_) => true,
                Phase::Begin | Phase::StopOld => place.number < number,
                Phase::Settled | Phase::Empty => false,
            }
        })
    }
}

impl Plan {
    /// Whether there is anything to do now.
    pub fn is_idle(&self) -> bool {
        self.preparations.is_empty() && self.pulls.is_empty() && self.steps.is_empty()
    }

    /// Whether there is something to do for a service, or for what has this name, now or later.
    pub fn is_pending(&self, name: &str) -> bool {
        self.steps.iter().any(|step| step.service == name)
            || self.held.contains(name)
            || self.waiting.contains_key(name)
            || self.blocked.contains_key(name)
            || self.pulls.values().flatten().any(|service| service == name)
            || self.preparations.iter().any(|preparation| preparation.name() == name)
    }

    /// Compares what is wanted with what is there, place by place.
    pub fn make(project: &Project, observed: &Observed, places: &[Place<'_>], recent: Recent<'_>) -> Self {
        let mut plan = Self::default();
        plan.remove_unnamed(project, observed, places);
        plan.prepare_networks(project, observed);
        plan.prepare_volumes(project, observed);
        let wanted: Vec<Step> = places
            .iter()
            .filter_map(|place| {
                let action = needed((project, observed), place, recent)?;
                Some(Step { service: place.service.to_owned(), number: place.number, action })
            })
            .collect();
        let look = Look { project, observed, recent, places, wanted: &wanted };
        for name in project.services.keys() {
            plan.pull(look, name);
        }
        for step in &wanted {
            plan.decide(look, step);
        }
        if plan.preparations.iter().any(|preparation| matches!(preparation, Preparation::RemoveNetwork { .. })) {
            // What would be created now would find its network gone.
            plan.steps.clear();
        }
        plan.conclude(look);
        plan
    }

    /// Which services are good, and when to look again.
    fn conclude(&mut self, look: Look<'_>) {
        for (name, service) in &look.project.services {
            let own = look.places.iter().filter(|place| place.service == name);
            let is_good = |place: &Place<'_>| {
                let new = place.new.filter(|_| place.phase == Phase::Settled);
                new.is_some_and(|new| trial(service, new, look.recent.starts_and_now(name)) == Trial::Good)
            };
            let waits = |place: &Place<'_>| match place.phase {
                Phase::Trial => Some("its new container has yet to show that it is good"),
                Phase::Exchange | Phase::StopOld => Some("its old container is left by its connections"),
                _ => None,
            };
            self.exchanges.extend(own.clone().find_map(waits).map(|wait| (name.clone(), wait)));
            if own.clone().all(is_good) && !self.is_pending(name) {
                self.good.insert(name.clone());
            }
            let looks = own.filter_map(|place| trial::next_look(service, place.new?, look.recent.now));
            self.next_look = looks.chain(self.next_look).min();
        }
    }

    fn remove_unnamed(&mut self, project: &Project, observed: &Observed, places: &[Place<'_>]) {
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
        let wants_image = |place: &Place<'_>| matches!(place.phase, Phase::Empty | Phase::Begin | Phase::StopOld);
        let missing = !look.observed.images.contains_key(&service.image)
            && look.places.iter().any(|place| place.service == name && wants_image(place));
        let again = look.recent.due.contains(&service.image);
        if missing && service.pull_policy == PullPolicy::Never {
            let why = format!("the image {:?} is not here and pull_policy is never; load it", service.image);
            self.block(vec![name.clone()], &why);
        } else if (missing || again) && !look.recent.held.contains(name) {
            self.pulls.entry(service.image.clone()).or_default().push(name.clone());
        } else if missing {
            self.held.insert(name.clone());
        }
    }

    /// Lets a place's action happen now, or says what it waits for.
    fn decide(&mut self, look: Look<'_>, step: &Step) {
        let (name, service) = (&step.service, &look.project.services[&step.service]);
        let is_first = matches!(step.action, Action::Create { .. } | Action::Stop { .. });
        if is_first && (self.pulls.contains_key(&service.image) || look.is_after_another(name, step.number)) {
            return;
        }
        // What only tidies up, or goes back, waits for nothing.
        if !is_first && !step.action.is_repeated() {
            self.steps.push(step.clone());
            return;
        }
        if self.blocked.contains_key(name) || self.held.contains(name) {
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
            None => self.steps.push(step.clone()),
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
            Self::Create { .. } => "created and started",
            Self::Start { .. } => "started",
            Self::Restart { .. } => "restarted",
            Self::Stop { .. } => "stopped, the new one comes next",
            Self::Remove { .. } => "exchanged",
            Self::Rename { .. } => "renamed",
            Self::Correct { .. } => "set right",
            Self::GiveUp { .. } => "given up, the last good one goes on",
        }
    }

    /// Whether the next try must wait a while, whatever came of this one.
    pub fn is_repeated(&self) -> bool {
        matches!(self, Self::Create { .. } | Self::Start { .. } | Self::Restart { .. } | Self::Correct { .. })
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

/// The places of all services.
pub fn all_places<'o>(project: &'o Project, observed: &'o Observed, recent: Recent<'o>) -> Vec<Place<'o>> {
    let of_service = |(name, service): (&'o String, &'o Service)| {
        let image = observed.images.get(&service.image).map(String::as_str);
        let must_be_image = service.pull_policy != PullPolicy::Never;
        let hash = hash::service(project, service);
        let wanted: Wanted<'_> = recent.versions.wanted(name, hash, (image, must_be_image));
        let fits = |container: &Container| {
            wanted.is_met_by(container)
                && recent.edited.get(&container.id) != Some(&false)
                && broken(project, service, (container, observed)).is_none()
        };
        places(project, name, (observed, &fits), recent.starts_and_now(name))
    };
    project.services.iter().flat_map(of_service).collect()
}

/// What a place needs, looked at for itself alone.
fn needed((project, observed): (&Project, &Observed), place: &Place<'_>, recent: Recent<'_>) -> Option<Action> {
    let is_leaving = |container: &Container| container.number == place.number && container.state == State::Removing;
    if observed.all_of(place.service).any(is_leaving) {
        return None;
    }
    let service = &project.services[place.service];
    let is_busy = |container: &Container| recent.busy.contains(&container.id);
    match (&place.phase, place.new, place.old) {
        (Phase::Empty, ..) => Some(Action::Create { name: place.name.clone(), why: "there is none" }),
        // Its predecessor has gone, and something changed before it got its name: the next one needs that of a new one.
        (Phase::Begin, _, Some(old)) if old.name == place.name_for_now() => {
            Some(Action::Rename { id: old.id.clone(), name: place.name.clone() })
        }
        (Phase::Begin, _, Some(old)) => {
            let edited = recent.edited.contains_key(&old.id).then_some("it was changed by hand");
            let why = broken(project, service, (old, observed)).or(edited).unwrap_or("it changed");
            Some(Action::Create { name: place.name_for_now(), why })
        }
        (Phase::StopOld, _, Some(old)) => {
            let why = "it must not run twice";
            (!is_busy(old)).then(|| Action::Stop { id: old.id.clone(), why })
        }
        (Phase::Trial, Some(new), _) => {
            is_to_start(project, place.service, service, new).then(|| Action::Start { id: new.id.clone() })
        }
        (Phase::Exchange, _, Some(old)) => (!is_busy(old)).then(|| Action::Remove { id: old.id.clone() }),
        (Phase::Failed(why), Some(new), _) => Some(Action::GiveUp { id: new.id.clone(), why: why.clone() }),
        (Phase::Settled, Some(new), _) => settle((project, recent), place, new),
        _ => None,
    }
}

/// What the right container of a place needs.
fn settle((project, recent): (&Project, Recent<'_>), place: &Place<'_>, container: &Container) -> Option<Action> {
    let (id, service) = (container.id.clone(), &project.services[place.service]);
    if container.name != place.name {
        return Some(Action::Rename { id, name: place.name.clone() });
    }
    if is_to_start(project, place.service, service, container) {
        return Some(Action::Start { id });
    }
    if is_active(container) && recent.edited.contains_key(&container.id) {
        return Some(Action::Correct { id });
    }
    let is_sick = container.state == State::Running && container.health == Health::Unhealthy;
    (is_sick && service.restart != Some(Restart::No)).then_some(Action::Restart { id, why: "it is unhealthy" })
}

/// Why a container cannot be the right one, whatever it was made from.
fn broken(
    project: &Project,
    service: &Service,
    (container, observed): (&Container, &Observed),
) -> Option<&'static str> {
    if container.state == State::Dead {
        return Some("the engine could not remove it");
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
