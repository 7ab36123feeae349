use super::compose::{Project, Restart, Service};
use super::memory::Memory;
use super::observed::{Container, Health, Observed, State};
use super::plan::Plan;
use super::update::held_ports;
use super::update::order::order;
use super::update::versions::Refused;
use hostwright_duty::measures::Measures;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A status is read by people: what does not fit in is counted.
const MOST_COMPLAINTS: usize = 5;
/// From this many starts without a good run in between a container counts as one that crashes at its start.
const MANY_ATTEMPTS: u32 = 3;

/// How the duty is, found from one round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ok(String),
    /// Nothing is wrong, but not everything runs yet.
    Underway(String),
    Degraded(String),
}

/// What a round has found.
#[derive(Debug)]
pub struct Round<'a> {
    pub project: &'a Project,
    pub observed: &'a Observed,
    pub plan: &'a Plan,
    pub memory: &'a Memory,
    /// The last lines of containers that are not well, by service.
    pub last_lines: &'a BTreeMap<String, Vec<String>>,
}

impl Round<'_> {
    /// Whether a service's container is so unwell that its last lines are worth a look.
    pub fn is_sick(project: &Project, memory: &Memory, service: &str, container: &Container) -> bool {
        let Some(wanted) = project.services.get(service) else { return false };
        let may_end = matches!(wanted.restart, Some(Restart::No | Restart::OnFailure(_)));
        container.health == Health::Unhealthy
            || container.state == State::Restarting
            || (container.state == State::Exited && may_end && container.exit_code != 0)
            || (container.state == State::Exited && memory.attempts(service) >= MANY_ATTEMPTS)
    }

    /// How it is; `file` says what is wrong with the Compose file, if anything is.
    pub fn verdict(&self, file: Option<&str>) -> Verdict {
        let mut complaints: Vec<String> = file.map(str::to_owned).into_iter().collect();
        let failures = self.failures();
        if !failures.is_empty() {
            let (count, all) = (failures.len(), self.project.services.len());
            complaints.push(format!("failed {count} of {all}: {}", shortened(failures, "; ")));
        }
        complaints.extend(self.project.services.keys().filter_map(|service| self.refusal(service)));
        complaints.extend(self.project.services.keys().filter_map(|service| self.complaint(service)));
        complaints.extend(self.plan.drift.iter().cloned());
        if complaints.is_empty() { self.summary() } else { Verdict::Degraded(shortened(complaints, "; ")) }
    }

    /// A row for each service, for the JSON status.
    pub fn details(&self) -> Value {
        let rows = self.project.services.iter().map(|(name, service)| {
            let container = self.observed.of_service(name);
            let versions = &self.memory.versions;
            // Who speaks for the service.
            let mut row = container.map_or_else(|| json!({"state": "absent", "image": service.image}), one);
            row["order"] = json!(order(self.project, name, None, &service.rollout.update).0.name());
            row["settled"] = json!(self.is_settled(name));
            let containers = self.observed.all_of(name).map(one).collect::<Vec<_>>();
            row["containers"] = json!(containers);
            if !service.ports.is_empty() {
                row["ports"] = json!(held_ports::label(service));
            }
            if let Some(exchange) = self.plan.exchanges.get(name) {
                row["exchange"] = json!(exchange);
            }
            if let Some(problem) = self.plan.blocked.get(name) {
                row["blocked"] = json!(problem);
            }
            if let Some((_, failure)) = self.memory.failures().find(|(what, _)| what == name) {
                row["failure"] = json!(failure);
            }
            if let Some(refused) = versions.refused(name) {
                row["refused"] = json!(refused);
            }
            if let Some(complaint) = self.complaint(name) {
                row["complaint"] = json!(complaint);
            }
            (name.clone(), row)
        });
        let notes: Vec<String> = self.project.notes.iter().map(ToString::to_string).collect();
        let mut details = json!({
            "project": self.project.name,
            "compose": self.project.file.display().to_string(),
            "services": rows.collect::<serde_json::Map<_, _>>(),
        });
        if !notes.is_empty() {
            details["notes"] = json!(notes);
        }
        details
    }

    /// Whether nothing is left to do for a service.
    fn is_settled(&self, name: &str) -> bool {
        let starts = |container: &Container| container.health == Health::Starting;
        !self.plan.is_pending(name)
            && !self.plan.exchanges.contains_key(name)
            && !self.observed.all_of(name).any(starts)
    }

    /// For metrics.
    pub fn measures(&self) -> Measures {
        let mut measures = Measures::default();
        for name in self.project.services.keys() {
            let labels = [("service", name.as_str())];
            let container = self.observed.of_service(name);
            let is_up = container.is_some_and(|c| c.state == State::Running && c.health != Health::Unhealthy);
            let what = ("service_up", "Whether the service's container runs and is not unhealthy, 1 is true.");
            measures.gauge(what, &labels, if is_up { 1.0 } else { 0.0 });
            let restarts = container.map_or(0, |container| container.restarts);
            let what = ("service_restarts", "How often the engine restarted the service's container.");
            measures.gauge(what, &labels, restarts as f64);
        }
        let failures = self.failures().len();
        measures.gauge(("failures", "What could not be done in the last round."), &[], failures as f64);
        measures.gauge(
            ("drift", "What differs from the Compose file and is left alone."),
            &[],
            self.plan.drift.len() as f64,
        );
        measures
    }

    fn failures(&self) -> Vec<String> {
        let failed = self.memory.failures().map(|(what, why)| format!("{what}: {why}"));
        let blocked = self.plan.blocked.iter().map(|(service, why)| format!("{service}: {why}"));
        failed.chain(blocked).collect()
    }

    fn refusal(&self, service: &str) -> Option<String> {
        let Refused { why, is_paused, last_lines, .. } = self.memory.versions.refused(service)?;
        let log =
            if last_lines.is_empty() { String::new() } else { format!("; its log ended: {}", last_lines.join(" | ")) };
        let (what, instead) = Refused::words(*is_paused);
        Some(format!(
            "{service}: {what}, because {why}{log}; {instead}. It is tried again \
             when its image or the file changes, or by `hostwright-agent deploy {service}`"
        ))
    }

    fn complaint(&self, service: &str) -> Option<String> {
        let container = self.observed.of_service(service)?;
        let name = &container.name;
        if container.state == State::Paused {
            return Some(format!(
                "{service} is paused; docker unpause {name} lets it go on, and so does the agent before long"
            ));
        }
        let is_watched = container.looked_by.is_none_or(|time| time > jiff::Timestamp::now());
        if container.state == State::Running && container.health == Health::Healthy && !is_watched {
            return Some(format!(
                "{service}: the engine does not carry its health check out any more; docker restart {name} sets that right"
            ));
        }
        if !Self::is_sick(self.project, self.memory, service, container) {
            return None;
        }
        let what = match (container.state, container.health) {
            (State::Restarting, _) => format!(
                "{service} ends soon after each start, {} restarts so far, exit code {}",
                container.restarts, container.exit_code
            ),
            (State::Exited, _) if self.memory.attempts(service) >= MANY_ATTEMPTS => format!(
                "{service} ends soon after each start, exit code {}; one that is to run once says restart: \"no\"",
                container.exit_code
            ),
            (State::Exited, _) => format!("{service} ended with exit code {}", container.exit_code),
            _ if container.health_output.is_empty() => format!("{service} is unhealthy"),
            _ => format!("{service} is unhealthy, its check says: {}", container.health_output),
        };
        match self.last_lines.get(service).filter(|lines| !lines.is_empty()) {
            Some(lines) => Some(format!("{what}; its log ends: {}", lines.join(" | "))),
            None => Some(what),
        }
    }

    /// Containers of which something is true; one that is on trial beside another is not counted twice.
    fn count(&self, is: impl Fn(&Container) -> bool) -> usize {
        let of_one = |(name, service): (&String, &Service)| {
            self.observed.all_of(name).filter(|container| is(container)).count().min(service.rollout.replicas as usize)
        };
        self.project.services.iter().map(of_one).sum()
    }

    fn summary(&self) -> Verdict {
        let running = self.count(|container| container.state == State::Running);
        let healthy = self.count(|container| container.health == Health::Healthy);
        let starting = self.count(|container| container.health == Health::Starting);
        let ended = self.count(|container| container.state == State::Exited);
        let all: usize = self.project.services.values().map(|service| service.rollout.replicas as usize).sum();
        let plural = if running == 1 { "container runs" } else { "containers run" };
        let mut summary = format!("{running} {plural}, {healthy} healthy");
        let pending = self.project.services.keys().filter(|service| self.plan.is_pending(service)).count();
        let exchanges = &self.plan.exchanges;
        if pending == 0 && starting == 0 && exchanges.is_empty() && self.plan.is_idle() && running + ended == all {
            if ended > 0 {
                summary.push_str(&format!(", {ended} ended as wanted"));
            }
            return Verdict::Ok(summary);
        }
        let waiting = self.plan.waiting.iter().map(|(service, wait)| format!("{service} waits {wait}"));
        let starting = (starting > 0).then(|| format!("{starting} not yet healthy"));
        let exchanges = exchanges.iter().map(|(service, wait)| format!("{service}: {wait}"));
        let parts: Vec<String> = starting.into_iter().chain(waiting).chain(exchanges).collect();
        let detail = if parts.is_empty() { String::new() } else { format!(": {}", parts.join("; ")) };
        Verdict::Underway(format!("{running} of {all} containers run{detail}"))
    }
}

/// A container in the status.
fn one(container: &Container) -> Value {
    json!({
        "name": container.name,
        "id": container.id,
        "number": container.number,
        "state": container.state.name(),
        "health": container.health.name(),
        "image": container.image,
        "image_id": container.image_id,
        "since": since(container).map(|time| time.to_string()),
        "restarts": container.restarts,
    })
}

/// Since when a container is in its state.
fn since(container: &Container) -> Option<jiff::Timestamp> {
    match container.state {
        State::Exited | State::Dead | State::Restarting => container.finished,
        _ => container.started,
    }
}

/// The first few, and the number of the others.
pub fn shortened(mut parts: Vec<String>, between: &str) -> String {
    let more = parts.len().saturating_sub(MOST_COMPLAINTS);
    parts.truncate(MOST_COMPLAINTS);
    let text = parts.join(between);
    if more == 0 { text } else { format!("{text}{between}and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::{Round, Verdict, shortened};
    use crate::containers::fixture::{converged, memory, planned, project};
    use crate::containers::memory::Memory;
    use crate::containers::observed::{Health, Observed, State};
    use std::collections::BTreeMap;

    const TWO: &str = "services:\n  db: {image: db}\n  web: {image: web, restart: always}\n";

    fn verdict(change: impl FnOnce(&mut Observed), memory: &Memory, file: Option<&str>) -> Verdict {
        let project = project(TWO);
        let mut observed = converged(&project);
        change(&mut observed);
        let plan = planned(&project, &observed);
        let last_lines = BTreeMap::from([("web".to_owned(), vec!["one".to_owned(), "two".to_owned()])]);
        Round { project: &project, observed: &observed, plan: &plan, memory, last_lines: &last_lines }.verdict(file)
    }

    #[test]
    fn all_well_is_counted() {
        let well = verdict(|observed| observed.containers[1].health = Health::Healthy, &memory(), None);
        assert_eq!(well, Verdict::Ok("2 containers run, 1 healthy".into()));
    }

    #[test]
    fn each_replica_counts() {
        let project = project("services:\n  web: {image: web, scale: 3}\n");
        let mut observed = converged(&project);
        for number in 2..=3 {
            let mut further = observed.containers[0].clone();
            (further.id, further.number) = (format!("id-{number}"), number);
            further.name = project.name_of("web", number);
            observed.containers.push(further);
        }
        let plan = planned(&project, &observed);
        let (memory, last_lines) = (memory(), BTreeMap::new());
        let round =
            Round { project: &project, observed: &observed, plan: &plan, memory: &memory, last_lines: &last_lines };
        assert_eq!(round.verdict(None), Verdict::Ok("3 containers run, 0 healthy".into()));
    }

    #[test]
    fn what_is_not_there_yet_is_no_complaint() {
        let starting = verdict(|observed| observed.containers[1].health = Health::Starting, &memory(), None);
        assert_eq!(starting, Verdict::Underway("2 of 2 containers run: 1 not yet healthy".into()));
        let absent = verdict(|observed| drop(observed.containers.pop()), &memory(), None);
        assert_eq!(absent, Verdict::Underway("1 of 2 containers run".into()));
    }

    #[test]
    fn a_sick_container_is_named_with_its_last_lines() {
        let restarting = |observed: &mut Observed| {
            let web = &mut observed.containers[1];
            (web.state, web.restarts, web.exit_code) = (State::Restarting, 4, 1);
        };
        let why = "web ends soon after each start, 4 restarts so far, exit code 1; its log ends: one | two";
        assert_eq!(verdict(restarting, &memory(), None), Verdict::Degraded(why.into()));
    }

    #[test]
    fn failures_are_counted_and_stand_behind_a_wrong_file() {
        let mut memory = memory();
        memory.tried("web", Err("no such program".into()));
        let why = "the file is wrong; failed 1 of 2: web: no such program";
        assert_eq!(verdict(|_| {}, &memory, Some("the file is wrong")), Verdict::Degraded(why.into()));
    }

    #[test]
    fn long_lists_are_cut_and_counted() {
        assert_eq!(shortened((0..7).map(|n| n.to_string()).collect(), ", "), "0, 1, 2, 3, 4, and 2 more");
    }
}
