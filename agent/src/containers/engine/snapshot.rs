//! What the engine has, in this duty's words.

use super::{Engine, EngineError, blueprint, body};
use crate::containers::compose::Project;
use crate::containers::observed::{Container, Found, Health, Observed, State};
use crate::containers::update::held_ports;
use crate::host_ports;
use bollard::models::{
    self, ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, EndpointSettings, HealthConfig,
    HealthStatusEnum, PortBinding,
};
use bollard::query_parameters::ListContainersOptionsBuilder;
use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Questions asked of the engine at the same time.
const AT_ONCE: usize = 8;
/// How often is looked again at a container of which the engine says what cannot be understood, and when.
const MOST_LOOKS: u32 = 40;
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// What is kept of a health check's words.
const MOST_HEALTH_CHARACTERS: usize = 300;
/// The engine's interval and timeout of a health check where none is given.
const ENGINE_DEFAULT: Duration = Duration::from_secs(30);
/// What an engine under load may take to start a container.
const START: Duration = Duration::from_secs(10);
/// A busy host may be late.
const LATE: Duration = Duration::from_secs(5);

impl Engine {
    /// Looks at everything that the project has or refers to.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn snapshot(&self, project: &Project) -> Result<Observed, EngineError> {
        let images: BTreeSet<&String> = project.services.values().map(|service| &service.image).collect();
        let networks = project.networks.values().map(|network| (&network.name, self.network(&network.name)));
        let volumes = project.volumes.values().map(|volume| (&volume.name, self.volume(&volume.name)));
        let images = images.into_iter().map(|image| (image, self.image(image)));
        // Collected before they are awaited: futures made lazily would tie this one to a single thread.
        let (networks, volumes, images) = (networks.collect(), volumes.collect(), images.collect());
        let containers = self.containers(&project.name).await?;
        let (networks, volumes, images) = (present(networks).await?, present(volumes).await?, present(images).await?);
        let checked = images.iter().filter(|(_, (_, is_checked))| *is_checked).map(|(name, _)| name.clone()).collect();
        let images = images.into_iter().map(|(name, (id, _))| (name, id)).collect();
        Ok(Observed { containers, networks, volumes, images, checked })
    }

    async fn containers(&self, project: &str) -> Result<Vec<Container>, EngineError> {
        let label = |name: &str, value: &str| format!("{name}={value}");
        let filters = HashMap::from([("label", vec![label(body::PROJECT, project), label(body::ONEOFF, "False")])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let ids = self.0.list_containers(Some(options)).await?.into_iter().filter_map(|summary| summary.id);
        let ids: Vec<String> = ids.collect();
        let inspected = present(ids.iter().map(|id| (id, self.inspect(id))).collect()).await?;
        let mut containers: Vec<_> = inspected.into_values().filter_map(container).collect();
        containers.sort_by(|a, b| (&a.service, &a.name).cmp(&(&b.service, &b.name)));
        Ok(containers)
    }

    /// Paths of the host that containers of the project see, those of jobs included.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn mounted(&self, project: &str) -> Result<BTreeSet<PathBuf>, EngineError> {
        let filters = HashMap::from([("label", vec![format!("{}={project}", body::PROJECT)])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let ids = self.0.list_containers(Some(options)).await?.into_iter().filter_map(|summary| summary.id);
        let ids: Vec<String> = ids.collect();
        let inspected = present(ids.iter().map(|id| (id, self.inspect(id))).collect()).await?;
        let mounts = inspected.into_values().flat_map(|found| found.mounts.unwrap_or_default());
        Ok(mounts.filter_map(|mount| mount.source.map(PathBuf::from)).collect())
    }

    pub(super) async fn inspect(&self, id: &str) -> Result<ContainerInspectResponse, EngineError> {
        let mut looks = 0;
        loop {
            match self.0.inspect_container(id, None).await {
                // Podman says "stopped" for a moment before "exited": a word that no Docker Engine knows.
                Err(bollard::errors::Error::JsonDataError { .. }) if looks < MOST_LOOKS => {
                    looks += 1;
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                answer => return Ok(answer?),
            }
        }
    }

    async fn network(&self, name: &str) -> Result<Found, EngineError> {
        let network = self.0.inspect_network(name, None).await?;
        Ok(found(network.id.unwrap_or_default(), &network.labels.unwrap_or_default()))
    }

    async fn volume(&self, name: &str) -> Result<Found, EngineError> {
        let volume = self.0.inspect_volume(name).await?;
        Ok(found(volume.name, &volume.labels))
    }

    /// Its id, and whether it has a health check.
    async fn image(&self, reference: &str) -> Result<(String, bool), EngineError> {
        let image = self.0.inspect_image(reference).await?;
        let test = image.config.and_then(|config| config.healthcheck?.test).unwrap_or_default();
        let is_checked = test.first().is_some_and(|first| first != "NONE");
        Ok((image.id.unwrap_or_default(), is_checked))
    }
}

/// Asks for each name; those that the engine does not have are left out.
async fn present<T>(
    asked: Vec<(&String, impl Future<Output = Result<T, EngineError>>)>,
) -> Result<BTreeMap<String, T>, EngineError> {
    let answers: Vec<_> = asked.into_iter().map(|(name, answer)| one(name, answer)).collect();
    let answers: Vec<_> = futures_util::stream::iter(answers).buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(answers.into_iter().flatten().collect())
}

async fn one<T>(
    name: &str,
    answer: impl Future<Output = Result<T, EngineError>>,
) -> Result<Option<(String, T)>, EngineError> {
    match answer.await {
        Ok(value) => Ok(Some((name.to_owned(), value))),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}

fn found(id: String, labels: &HashMap<String, String>) -> Found {
    Found { id, project: labels.get(body::PROJECT).cloned(), hash: labels.get(body::HASH).cloned() }
}

fn container(found: ContainerInspectResponse) -> Option<Container> {
    let config = found.config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    let state = found.state.unwrap_or_default();
    let health = state.health.as_ref();
    let output = health.and_then(|health| health.log.as_ref()?.last()?.output.as_deref()).unwrap_or_default();
    let networks = found.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    let host = found.host_config.unwrap_or_default();
    Some(Container {
        id: found.id?,
        name: found.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        service: labels.get(body::SERVICE)?.clone(),
        // Without a number it is the only one.
        number: labels.get(body::NUMBER).and_then(|number| number.parse().ok()).unwrap_or(1),
        hash: labels.get(body::HASH).cloned().unwrap_or_default(),
        state: state_of(state.status),
        health: health.map_or(Health::None, |health| health_of(health, config.healthcheck.as_ref())),
        health_output: last_characters(output),
        exit_code: state.exit_code.unwrap_or_default(),
        ran_out_of_memory: state.oom_killed.unwrap_or_default(),
        restarts: found.restart_count.unwrap_or_default(),
        image: config.image.unwrap_or_default(),
        image_id: found.image.unwrap_or_default(),
        addresses: addresses(&networks),
        direct: labels.get(held_ports::LABEL).and_then(|_| host_ports::direct(state.pid?, &ends(&networks))),
        has_host_ports: host.port_bindings.as_ref().is_some_and(|ports| ports.values().any(is_fixed)),
        settings: blueprint::settings_of(&host),
        patience: patience(config.healthcheck.as_ref()),
        looked_by: looked_by(&state, config.healthcheck.as_ref()),
        networks: networks.into_iter().map(|(name, end)| (name, end.network_id.unwrap_or_default())).collect(),
        created: time(found.created.as_deref()),
        started: time(state.started_at.as_deref()),
        finished: time(state.finished_at.as_deref()),
    })
}

/// IPv4 first: it is there on nearly every network.
fn addresses(networks: &HashMap<String, EndpointSettings>) -> Vec<IpAddr> {
    let mut ends: Vec<_> = networks.iter().collect();
    ends.sort_by_key(|(name, _)| *name);
    let four = ends.iter().filter_map(|(_, end)| end.ip_address.as_ref());
    let six = ends.iter().filter_map(|(_, end)| end.global_ipv6_address.as_ref());
    four.chain(six).filter_map(|text| text.parse().ok()).collect()
}

/// The gateway of each network, with the container's address there.
fn ends(networks: &HashMap<String, EndpointSettings>) -> Vec<(IpAddr, IpAddr)> {
    let end =
        |end: &EndpointSettings| Some((end.gateway.as_ref()?.parse().ok()?, end.ip_address.as_ref()?.parse().ok()?));
    networks.values().filter_map(end).collect()
}

fn is_fixed(bindings: &Option<Vec<PortBinding>>) -> bool {
    let port = |binding: &PortBinding| binding.host_port.as_ref().is_some_and(|port| !port.is_empty() && port != "0");
    bindings.iter().flatten().any(port)
}

/// How long until a health check has said "unhealthy", at the latest, and some time for the start.
fn patience(check: Option<&HealthConfig>) -> Duration {
    let check = check.cloned().unwrap_or_default();
    let retries = u32::try_from(retries(&check)).unwrap_or(u32::MAX);
    let start = span(check.start_period, Duration::ZERO).saturating_add(START);
    start.saturating_add(one_look(&check).saturating_mul(retries.saturating_add(1)))
}

/// How many looks in a row find an unhealthy container ill.
fn retries(check: &HealthConfig) -> i64 {
    check.retries.filter(|retries| *retries > 0).unwrap_or(3)
}

/// When two looks at its health have been left out, if the engine says nothing new by then.
fn looked_by(state: &ContainerState, check: Option<&HealthConfig>) -> Option<Timestamp> {
    let last = state.health.as_ref().and_then(|health| time(health.log.as_ref()?.last()?.end.as_deref()));
    let since = last.max(time(state.started_at.as_deref()))?;
    since.checked_add(one_look(check?).saturating_mul(2).saturating_add(LATE)).ok()
}

/// How long one look at a container's health takes with the pause before it, at most.
fn one_look(check: &HealthConfig) -> Duration {
    span(check.interval, ENGINE_DEFAULT).saturating_add(span(check.timeout, ENGINE_DEFAULT))
}

fn span(value: Option<i64>, default: Duration) -> Duration {
    match value.and_then(|value| u64::try_from(value).ok()) {
        Some(nanoseconds) if nanoseconds > 0 => Duration::from_nanos(nanoseconds),
        _ => default,
    }
}

fn state_of(status: Option<ContainerStateStatusEnum>) -> State {
    use ContainerStateStatusEnum as Status;
    match status {
        Some(Status::RUNNING | Status::STOPPING) => State::Running,
        Some(Status::PAUSED) => State::Paused,
        Some(Status::RESTARTING) => State::Restarting,
        Some(Status::REMOVING) => State::Removing,
        Some(Status::EXITED) => State::Exited,
        Some(Status::DEAD) => State::Dead,
        Some(Status::CREATED | Status::EMPTY) | None => State::Created,
    }
}

fn health_of(health: &models::Health, check: Option<&HealthConfig>) -> Health {
    match health.status {
        // Docker Engine says so too whenever it stops to look, as for a pause: until the next look, the last one counts.
        Some(HealthStatusEnum::UNHEALTHY)
            if check.zip(health.failing_streak).is_some_and(|(check, streak)| streak < retries(check)) =>
        {
            let last = health.log.as_ref().and_then(|log| log.last()?.exit_code);
            if last == Some(0) { Health::Healthy } else { Health::Starting }
        }
        Some(HealthStatusEnum::STARTING) => Health::Starting,
        Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
        Some(HealthStatusEnum::NONE | HealthStatusEnum::EMPTY) | None => Health::None,
    }
}

/// The engine says the year 1 for "never".
fn time(text: Option<&str>) -> Option<Timestamp> {
    text?.parse::<Timestamp>().ok().filter(|time| time.as_second() > 0)
}

fn last_characters(text: &str) -> String {
    let text: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let surplus = text.chars().count().saturating_sub(MOST_HEALTH_CHARACTERS);
    text.chars().skip(surplus).collect()
}

#[cfg(test)]
mod tests {
    use super::{Health, health_of};
    use bollard::models::{self, HealthConfig, HealthStatusEnum, HealthcheckResult};

    #[test]
    fn unhealthy_is_what_has_failed_often_enough_and_not_what_was_paused() {
        let check = HealthConfig { retries: Some(4), ..HealthConfig::default() };
        let of = |streak: Option<i64>, exit_codes: &[i64], check: Option<&HealthConfig>| {
            let result = |code: &i64| HealthcheckResult { exit_code: Some(*code), ..HealthcheckResult::default() };
            let log = Some(exit_codes.iter().map(result).collect());
            let status = Some(HealthStatusEnum::UNHEALTHY);
            health_of(&models::Health { status, failing_streak: streak, log }, check)
        };
        assert_eq!(of(Some(4), &[1, 1, 1, 1], Some(&check)), Health::Unhealthy);
        assert_eq!(of(Some(0), &[1, 0], Some(&check)), Health::Healthy);
        assert_eq!(of(Some(3), &[1, 1, 1], Some(&check)), Health::Starting);
        assert_eq!(of(Some(0), &[], Some(&check)), Health::Starting);
        // Three are the engine's own default; what does not tell is believed.
        assert_eq!(of(Some(3), &[1, 1, 1], Some(&HealthConfig::default())), Health::Unhealthy);
        assert_eq!(of(None, &[0], Some(&check)), Health::Unhealthy);
        assert_eq!(of(Some(0), &[0], None), Health::Unhealthy);
    }
}
