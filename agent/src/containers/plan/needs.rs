use super::{Action, Recent};
use crate::containers::compose::{Condition, Project, Restart, Service};
use crate::containers::observed::{Container, Health, Observed, State};
use crate::containers::update::place::{Phase, Place, is_active};

/// What a place needs, looked at for itself alone.
pub fn needed((project, observed): (&Project, &Observed), place: &Place<'_>, recent: Recent<'_>) -> Option<Action> {
    let is_leaving = |container: &Container| container.number == place.number && container.state == State::Removing;
    if observed.all_of(place.service).any(is_leaving) {
        return None;
    }
    let service = &project.services[place.service];
    // One that stands still could not even end when it is told to; and nobody has a reason to pause one on trial, whose
    // health check would fail meanwhile.
    let is_held_up = |container: &&Container| {
        recent.paused.contains(&container.id) || container.state == State::Paused && container.name != place.name
    };
    if let Some(paused) = [place.new, place.old].into_iter().flatten().find(is_held_up) {
        return Some(Action::Resume { id: paused.id.clone() });
    }
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
        (Phase::Trial, Some(new), _) if is_to_start(project, place.service, service, new) => {
            Some(Action::Start { id: new.id.clone() })
        }
        (Phase::Trial, Some(new), _) => is_forgotten(new, recent)
            .then(|| Action::Restart { id: new.id.clone(), why: "the engine does not look at its health any more" }),
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
    if is_forgotten(container, recent) {
        return Some(Action::Restart { id, why: "the engine does not look at its health any more" });
    }
    let is_sick = container.state == State::Running && container.health == Health::Unhealthy;
    (is_sick && service.restart != Some(Restart::No)).then_some(Action::Restart { id, why: "it is unhealthy" })
}

/// Whether the health check of one that was never healthy is not carried out: an engine that keeps containers running
/// while it is started again can lose it. No traffic goes there yet, and others may wait for it.
fn is_forgotten(container: &Container, recent: Recent<'_>) -> bool {
    container.state == State::Running
        && container.health == Health::Starting
        && container.looked_by.is_some_and(|time| time < recent.now)
}

/// Why a container cannot be the right one, whatever it was made from.
pub fn broken(
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
            // Before the first start the engine does not say the id, and Podman says the name in its place.
            Some(id) if !id.is_empty() && *id != found.id && id != name => return Some("its network was made anew"),
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
