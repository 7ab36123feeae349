use super::{Recent, Step};
use crate::containers::compose::{Condition, Pace, Project};
use crate::containers::observed::{Container, Health, Observed, State};
use crate::containers::update::place::{Phase, Place};
use std::time::Duration;

/// What a plan is made from.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    pub project: &'a Project,
    pub observed: &'a Observed,
    pub recent: Recent<'a>,
    pub places: &'a [Place<'a>],
    /// What each place needs, looked at for itself alone.
    pub wanted: &'a [Step],
}

/// A condition that does not hold.
pub enum Unmet {
    NotYet(String),
    Never(String),
}

impl Look<'_> {
    /// The condition of a dependency, where it does not hold.
    pub fn unmet(&self, other: &String, condition: Condition) -> Option<Unmet> {
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

    /// Whether as many other places of the service are being exchanged, or come before this one, as may be at once.
    pub fn is_after_others(&self, service: &str, number: u32) -> bool {
        let is_before = |place: &&Place<'_>| match place.phase {
            Phase::Trial | Phase::Exchange | Phase::Failed(_) => true,
            Phase::Begin | Phase::StopOld => place.number < number,
            Phase::Settled | Phase::Empty => false,
        };
        let before = self.others(service, number).filter(is_before);
        let most = self.pace(service).map_or(1, |pace| pace.parallelism);
        before.count() >= most
    }

    /// How much is left of the pause after the last exchange of another place; one that is empty waits for none.
    pub fn delay_left(&self, service: &str, number: u32) -> Option<Duration> {
        let delay = self.pace(service)?.delay;
        self.places.iter().find(|place| {
            place.service == service && place.number == number && matches!(place.phase, Phase::Begin | Phase::StopOld)
        })?;
        let settled = self.others(service, number).filter(|place| place.phase == Phase::Settled);
        // After a restart nobody knows the time of the exchange; it was a little after this start.
        let started = settled.filter_map(|place| place.new?.started).max()?;
        let last = self.recent.exchanged.get(service).map_or(started, |exchanged| started.max(*exchanged));
        let since = Duration::try_from(self.recent.now.duration_since(last)).unwrap_or_default();
        Some(delay.saturating_sub(since)).filter(|left| !left.is_zero())
    }

    fn others(&self, service: &str, number: u32) -> impl Iterator<Item = &Place<'_>> {
        self.places.iter().filter(move |place| place.service == service && place.number != number)
    }

    fn pace(&self, service: &str) -> Option<&Pace> {
        let place = self.places.iter().find(|place| place.service == service)?;
        Some(self.project.services.get(service)?.rollout.pace(place.goes_back))
    }
}

fn fulfils(container: &Container, condition: Condition) -> bool {
    match condition {
        Condition::Started => !matches!(container.state, State::Created | State::Removing | State::Dead),
        Condition::Healthy => container.state == State::Running && container.health == Health::Healthy,
        Condition::CompletedSuccessfully => container.state == State::Exited && container.exit_code == 0,
    }
}
