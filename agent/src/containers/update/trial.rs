use crate::containers::compose::{Pace, Restart, Service};
use crate::containers::observed::{Container, Health, State};
use jiff::Timestamp;
use std::time::Duration;

/// A container without a health check is good when it has run for this long; Swarm's default as well.
const MONITOR: Duration = Duration::from_secs(5);
/// From this many restarts, the engine's or ours, a new container counts as one that crashes at its start.
const CRASHES: u32 = 3;
/// SIGKILL and SIGTERM: somebody ended it, with the engine or by hand, which tells nothing of it.
const KILLED: [i64; 2] = [128 + 9, 128 + 15];

/// What is to be thought of a new container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    NotYet,
    Good,
    /// Why.
    Failed(String),
}

/// Judges a container by what the engine says of it; `starts` is how often it was started here.
pub fn trial((service, pace): (&Service, &Pace), container: &Container, (starts, now): (u32, Timestamp)) -> Trial {
    let age = |since: Option<Timestamp>| since.map_or(Duration::MAX, |since| span(since, now));
    let monitor = |default| pace.monitor.unwrap_or(default);
    let crashes = || {
        // While it runs once more the engine has forgotten how it ended.
        let code = (container.state != State::Running).then(|| format!("exit code {}, ", container.exit_code));
        let (code, restarts) = (code.unwrap_or_default(), container.restarts);
        Trial::Failed(format!("it ends soon after each start, {code}{restarts} restarts"))
    };
    match (container.state, container.health) {
        (State::Restarting | State::Running, _) if container.restarts >= i64::from(CRASHES) => crashes(),
        (State::Created | State::Paused | State::Removing | State::Restarting, _) => Trial::NotYet,
        (State::Dead, _) => Trial::Failed("the engine gave it up".into()),
        (State::Exited, _) if container.exit_code == 0 && may_end(service) => Trial::Good,
        (State::Exited, _) if container.restarts > 0 => crashes(),
        (State::Exited, _)
            if is_tried_again(service, container, starts) && age(container.created) <= container.patience =>
        {
            Trial::NotYet
        }
        (State::Exited, _) => Trial::Failed(format!("it ended with exit code {}", container.exit_code)),
        (State::Running, Health::Unhealthy) if container.health_output.is_empty() => {
            Trial::Failed("it is unhealthy".into())
        }
        (State::Running, Health::Unhealthy) => {
            Trial::Failed(format!("it is unhealthy, its check says: {}", container.health_output))
        }
        (State::Running, Health::Healthy) if age(container.started) >= monitor(Duration::ZERO) => Trial::Good,
        (State::Running, Health::None) if age(container.started) >= monitor(MONITOR) => Trial::Good,
        (State::Running, Health::Starting)
            if container.created.is_some() && age(container.created) > container.patience =>
        {
            Trial::Failed(format!("it was not healthy after {} s", container.patience.as_secs()))
        }
        (State::Running, _) => Trial::NotYet,
    }
}

/// Whether an end is not the last word.
fn is_tried_again(service: &Service, container: &Container, starts: u32) -> bool {
    let was_killed = KILLED.contains(&container.exit_code) && !container.ran_out_of_memory;
    was_killed || (service.restart != Some(Restart::No) && starts < CRASHES)
}

/// Whether a service says that its container may come to an end.
pub fn may_end(service: &Service) -> bool {
    matches!(service.restart, Some(Restart::No | Restart::OnFailure(_)))
}

/// When the judgement may change without an event of the engine.
pub fn next_look(pace: &Pace, container: &Container, now: Timestamp) -> Option<Duration> {
    // What is over already brings nothing new.
    let until = |since: Option<Timestamp>, whole: Duration| {
        Some(whole.saturating_sub(span(since?, now))).filter(|wait| !wait.is_zero())
    };
    match (container.state, container.health) {
        (State::Running, Health::None) => until(container.started, pace.monitor.unwrap_or(MONITOR)),
        (State::Running, Health::Healthy) => until(container.started, pace.monitor?),
        (State::Running, Health::Starting) => {
            let looked_by = container.looked_by.map(|time| span(now, time)).filter(|wait| !wait.is_zero());
            until(container.created, container.patience).into_iter().chain(looked_by).min()
        }
        _ => None,
    }
}

fn span(since: Timestamp, now: Timestamp) -> Duration {
    // A clock that was set back makes nothing older.
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Trial, trial};
    use crate::containers::fixture::{converged, project};
    use crate::containers::observed::{Container, Health, State};
    use jiff::{SignedDuration, Timestamp};

    fn judged(restart: &str, change: impl FnOnce(&mut Container)) -> Trial {
        judged_after(3, restart, change)
    }

    fn judged_after(starts: u32, restart: &str, change: impl FnOnce(&mut Container)) -> Trial {
        let project = project(&format!("services: {{web: {{image: web, restart: {restart}}}}}\n"));
        let mut container = converged(&project).containers.remove(0);
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1);
        let since = now - SignedDuration::from_secs(1);
        (container.created, container.started) = (Some(since), Some(since));
        change(&mut container);
        let service = &project.services["web"];
        trial((service, &service.rollout.update), &container, (starts, now))
    }

    fn earlier(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1) - SignedDuration::from_secs(seconds))
    }

    #[test]
    fn health_decides_and_without_a_check_time() {
        assert_eq!(judged("always", |c| c.health = Health::Healthy), Trial::Good);
        assert_eq!(judged("always", |c| c.health = Health::Starting), Trial::NotYet);
        assert_eq!(judged("always", |_| {}), Trial::NotYet);
        assert_eq!(judged("always", |c| c.started = earlier(5)), Trial::Good);
        let late = |c: &mut Container| (c.health, c.created) = (Health::Starting, earlier(61));
        assert_eq!(judged("always", late), Trial::Failed("it was not healthy after 60 s".into()));
    }

    #[test]
    fn ends_and_crashes_are_failures_unless_an_end_is_wanted() {
        let ended = |code| move |c: &mut Container| (c.state, c.exit_code) = (State::Exited, code);
        assert_eq!(judged("always", ended(0)), Trial::Failed("it ended with exit code 0".into()));
        assert_eq!(judged("'no'", ended(0)), Trial::Good);
        assert_eq!(judged("'no'", ended(2)), Trial::Failed("it ended with exit code 2".into()));
        assert_eq!(judged_after(1, "always", ended(1)), Trial::NotYet);
        assert_eq!(judged("always", ended(137)), Trial::NotYet, "somebody killed it");
        let out_of_memory =
            |c: &mut Container| (c.state, c.exit_code, c.ran_out_of_memory) = (State::Exited, 137, true);
        assert!(matches!(judged("always", out_of_memory), Trial::Failed(_)));
        assert_eq!(judged("always", |c| (c.state, c.restarts) = (State::Restarting, 1)), Trial::NotYet);
        let crashes = |c: &mut Container| (c.state, c.restarts, c.exit_code) = (State::Restarting, 3, 1);
        assert!(matches!(judged("always", crashes), Trial::Failed(why) if why.contains("exit code 1, 3 restarts")));
    }
}
