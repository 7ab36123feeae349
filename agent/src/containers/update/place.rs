use super::order::order;
use super::trial::{Trial, trial};
use crate::containers::compose::{OnFailure, Order, Project};
use crate::containers::observed::{Container, Observed, State};
use jiff::Timestamp;

/// What the name of a container ends with until the old one has gone.
const ON_TRIAL: &str = ".new";

/// One of the places that a service has for containers: its only one, or one for each replica.
#[derive(Clone, Debug)]
pub struct Place<'o> {
    pub service: &'o str,
    pub number: u32,
    /// The name that its container is to have.
    pub name: String,
    /// Made from what is wanted now.
    pub new: Option<&'o Container>,
    /// Made from something else.
    pub old: Option<&'o Container>,
    /// What a crash left over.
    pub surplus: Vec<&'o Container>,
    /// Whether what is wanted is an earlier version.
    pub goes_back: bool,
    pub phase: Phase,
}

/// How far a place is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// There is no container.
    Empty,
    /// There is the right one alone.
    Settled,
    /// There is an old one alone, and the new one is to be made beside it.
    Begin,
    /// There is an old one alone, which is stopped before the new one is made.
    StopOld,
    /// Both are there, and the new one has yet to show that it is good.
    Trial,
    /// Both are there, the new one is good: the old one is left by its traffic, and goes.
    Exchange,
    /// Both are there, and the new one is not good.
    Failed(String),
}

/// What is wanted of a service's containers.
pub struct Fit<'f> {
    /// Whether it is an earlier version.
    pub goes_back: bool,
    /// Tells the containers that are made from it.
    pub is_met_by: &'f dyn Fn(&Container) -> bool,
}

/// Finds the places of a service.
pub fn places<'o>(
    project: &'o Project,
    name: &'o str,
    (observed, fit): (&'o Observed, &Fit<'_>),
    starts_and_now: (u32, Timestamp),
) -> Vec<Place<'o>> {
    let service = &project.services[name];
    let pace = service.rollout.pace(fit.goes_back);
    let stops_first = |old| order(project, name, Some(old), pace).0 == Order::StopFirst;
    let tolerated = service.rollout.tolerated(fit.goes_back);
    let new = |number| {
        let own = observed.all_of(name).filter(move |container| container.number == number);
        best(own.filter(|container| (fit.is_met_by)(container)))
    };
    let is_failing =
        |number| new(number).is_some_and(|new| matches!(trial((service, pace), new, starts_and_now), Trial::Failed(_)));
    let goes_on = pace.on_failure == OnFailure::Continue
        || tolerated > 0 && (1..=service.rollout.replicas).filter(|number| is_failing(*number)).count() <= tolerated;
    let place = |number| {
        let own = || observed.all_of(name).filter(move |container| container.number == number);
        let new = new(number);
        let old = best(own().filter(|container| !(fit.is_met_by)(container)));
        let chosen = |container: &&Container| [new, old].iter().flatten().any(|chosen| chosen.id == container.id);
        let surplus = own().filter(|container| !chosen(container)).collect();
        let phase = match (new, old) {
            (None, None) => Phase::Empty,
            (Some(_), None) => Phase::Settled,
            (None, Some(old)) => {
                if is_active(old) && stops_first(old) {
                    Phase::StopOld
                } else {
                    Phase::Begin
                }
            }
            (Some(new), Some(old)) => match trial((service, pace), new, starts_and_now) {
                Trial::Good => Phase::Exchange,
                Trial::Failed(_) if goes_on => Phase::Exchange,
                Trial::Failed(why) => Phase::Failed(why),
                // Both run, although only one may: after the engine was started again, say.
                Trial::NotYet if is_active(old) && stops_first(old) => Phase::StopOld,
                Trial::NotYet => Phase::Trial,
            },
        };
        Place {
            service: name,
            number,
            name: project.name_of(name, number),
            new,
            old,
            surplus,
            goes_back: fit.goes_back,
            phase,
        }
    };
    (1..=service.rollout.replicas).map(place).collect()
}

impl Place<'_> {
    /// What a container is called until the old one has gone.
    pub fn name_for_now(&self) -> String {
        format!("{}{ON_TRIAL}", self.name)
    }
}

pub fn is_active(container: &Container) -> bool {
    matches!(container.state, State::Running | State::Restarting | State::Paused)
}

/// The one to go on with: one that runs, else the youngest. Of two that do equally well one on trial is the lesser.
fn best<'o>(containers: impl Iterator<Item = &'o Container>) -> Option<&'o Container> {
    containers.max_by_key(|container| {
        let runs = container.state == State::Running;
        let is_settled = !container.name.ends_with(ON_TRIAL);
        (container.state != State::Dead, runs, is_active(container), is_settled, container.created)
    })
}
