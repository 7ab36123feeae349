//! What is to be done: what enters is what the file wants, what the engine has and what happened a moment ago; what leaves
//! is a list of steps. Nothing here asks anybody or remembers anything.

/// Conditions of a place's step that lie with other places.
mod look;
/// What a place needs, looked at for itself.
mod needs;
/// What services share, and what nobody names any more.
mod preparation;

use super::compose::{Project, PullPolicy, Service};
use super::hash;
use super::observed::{Container, Observed};
use super::update::place::{Fit, Phase, Place, places};
use super::update::trial::{self, Trial, trial};
use super::update::versions::{Versions, Wanted};
use jiff::Timestamp;
use look::{Look, Unmet};
use needs::{broken, needed};
pub use preparation::Preparation;
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
    /// Services whose containers have shown that they are good, whatever is still to be tidied up.
    pub proven: BTreeSet<String>,
    /// When something may be due without an event of the engine.
    pub next_look: Option<Duration>,
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
    /// Lets one go on that somebody paused.
    Resume {
        id: String,
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
    /// Containers that somebody has paused for too long.
    pub paused: &'a BTreeSet<String>,
    /// Containers that still have traffic which must not be cut off.
    pub busy: &'a BTreeSet<String>,
    /// When the last container of each service was exchanged.
    pub exchanged: &'a BTreeMap<String, Timestamp>,
    pub now: Timestamp,
}

impl Recent<'_> {
    fn starts_and_now(&self, service: &str) -> (u32, Timestamp) {
        (self.starts.get(service).copied().unwrap_or(0), self.now)
    }
}

impl Plan {
    /// Whether there is anything to do now.
    pub fn is_idle(&self) -> bool {
        self.preparations.is_empty() && self.pulls.is_empty() && self.steps.is_empty()
    }

    /// The containers that are stopped by it.
    pub fn ends(&self) -> BTreeSet<String> {
        let steps = self.steps.iter().filter_map(|step| match &step.action {
            Action::Restart { id, .. }
            | Action::Stop { id, .. }
            | Action::Remove { id }
            | Action::GiveUp { id, .. } => Some(id.clone()),
            Action::Create { .. }
            | Action::Start { .. }
            | Action::Resume { .. }
            | Action::Rename { .. }
            | Action::Correct { .. } => None,
        });
        let preparations = self.preparations.iter().filter_map(|preparation| match preparation {
            Preparation::RemoveContainer { id, .. } => Some(id.clone()),
            _ => None,
        });
        steps.chain(preparations).collect()
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
                let judged = |new| {
                    trial((service, service.rollout.pace(place.goes_back)), new, look.recent.starts_and_now(name))
                };
                new.is_some_and(|new| judged(new) == Trial::Good)
            };
            let waits = |place: &Place<'_>| match place.phase {
                Phase::Trial => Some("its new container has yet to show that it is good"),
                Phase::Exchange | Phase::StopOld => Some("its old container is left by its connections"),
                _ => None,
            };
            if let Some(wait) = own.clone().find_map(waits) {
                self.exchanges.entry(name.clone()).or_insert(wait);
            }
            if own.clone().all(is_good) {
                self.proven.insert(name.clone());
                if !self.is_pending(name) {
                    self.good.insert(name.clone());
                }
            }
            let looks = own.filter_map(|place| {
                trial::next_look(service.rollout.pace(place.goes_back), place.new?, look.recent.now)
            });
            self.next_look = looks.chain(self.next_look).min();
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
        if is_first && (self.pulls.contains_key(&service.image) || look.is_after_others(name, step.number)) {
            return;
        }
        if let Some(left) = look.delay_left(name, step.number).filter(|_| is_first) {
            self.exchanges.insert(name.clone(), "the next container follows after its delay");
            self.next_look = Some(self.next_look.map_or(left, |next| next.min(left)));
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
            Self::Resume { .. } => "goes on after a pause",
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
        let fit = Fit { goes_back: matches!(wanted, Wanted::Earlier(_)), is_met_by: &fits };
        places(project, name, (observed, &fit), recent.starts_and_now(name))
    };
    project.services.iter().flat_map(of_service).collect()
}

#[cfg(test)]
mod tests;
