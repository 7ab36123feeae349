//! Containers of jobs: made once for a run, waited for, found again.

use super::blueprint::Blueprint;
use super::{Engine, EngineError, body};
use bollard::models::{ContainerInspectResponse, NetworkConnectRequest, NetworkingConfig};
use bollard::query_parameters::{CreateContainerOptionsBuilder, ListContainersOptionsBuilder, WaitContainerOptions};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

/// The run that a container belongs to.
pub const JOB: &str = "io.hostwright.job.id";
/// An engine that forgot to tell is asked again after this long.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// What a run adds to its service.
#[derive(Debug)]
pub struct JobContainer<'a> {
    pub name: &'a str,
    pub job_id: &'a str,
    pub environment: Vec<(String, String)>,
    /// In place of the service's command.
    pub arguments: &'a [String],
    /// A folder of the host, and where the container sees it.
    pub outputs: Option<(&'a Path, &'a Path)>,
}

/// What the engine knows of a run's container.
#[derive(Clone, Debug)]
pub struct JobState {
    pub id: String,
    pub job_id: String,
    pub is_created: bool,
    pub is_running: bool,
    pub exit_code: i64,
    pub oom: bool,
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
}

impl Engine {
    /// Makes a run's container, not yet started.
    pub async fn create_job(&self, blueprint: &Blueprint, job: &JobContainer<'_>) -> Result<String, EngineError> {
        let mut body = blueprint.body_for(1, true);
        let labels = body.labels.get_or_insert_default();
        // As `docker compose run` does: neither we nor Compose take it for the service's own container.
        labels.insert(body::ONEOFF.into(), "True".into());
        labels.insert(JOB.into(), job.job_id.to_owned());
        let environment = job.environment.iter().map(|(name, value)| format!("{name}={value}"));
        body.env.get_or_insert_default().extend(environment);
        if !job.arguments.is_empty() {
            body.cmd = Some(job.arguments.to_vec());
        }
        let host = body.host_config.get_or_insert_default();
        (host.restart_policy, host.port_bindings) = (None, None);
        if let Some((from, to)) = job.outputs {
            let bind = format!("{}:{}:rw", from.display(), to.display());
            host.binds.get_or_insert_default().push(bind);
        }
        let first = blueprint.networks.iter().take(1).cloned().collect();
        body.networking_config = Some(NetworkingConfig { endpoints_config: Some(first) });
        let options = CreateContainerOptionsBuilder::new().name(job.name).build();
        let id = self.0.create_container(Some(options), body).await?.id;
        for (network, endpoint) in blueprint.networks.iter().skip(1) {
            let request = NetworkConnectRequest { container: id.clone(), endpoint_config: Some(endpoint.clone()) };
            self.0.connect_network(network, request).await?;
        }
        Ok(id)
    }

    /// A run's container by its name or id, if there is one.
    pub async fn job(&self, name: &str) -> Result<Option<JobState>, EngineError> {
        match self.inspect(name).await {
            Ok(found) => Ok(state(found)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All containers of runs of a project, by id, with their names and runs.
    pub async fn jobs(&self, project: &str) -> Result<Vec<(String, String)>, EngineError> {
        let label = format!("{}={project}", body::PROJECT);
        let filters = HashMap::from([("label", vec![label, JOB.to_owned()])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let found = self.0.list_containers(Some(options)).await?;
        let run = |labels: Option<HashMap<String, String>>| labels?.remove(JOB);
        Ok(found.into_iter().filter_map(|summary| Some((summary.id?, run(summary.labels)?))).collect())
    }

    /// Waits until a container has ended; nothing where it is gone. Cancel-safe: it only asks.
    pub async fn job_end(&self, id: &str) -> Result<Option<JobState>, EngineError> {
        loop {
            match self.job(id).await? {
                Some(found) if found.is_running => {}
                found => return Ok(found),
            }
            let patient = self.0.clone().with_timeout(ASK_AGAIN + Duration::from_secs(60));
            let mut waiting = std::pin::pin!(patient.wait_container(id, None::<WaitContainerOptions>));
            // What it says does not matter: the next look tells.
            let _ = tokio::time::timeout(ASK_AGAIN, waiting.next()).await;
        }
    }
}

fn state(found: ContainerInspectResponse) -> Option<JobState> {
    let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
    let state = found.state.unwrap_or_default();
    let status = state.status.map(|status| status.to_string()).unwrap_or_default();
    let time = |text: Option<String>| text?.parse::<Timestamp>().ok().filter(|time| time.as_second() > 0);
    Some(JobState {
        id: found.id?,
        job_id: labels.get(JOB).cloned().unwrap_or_default(),
        is_created: status == "created" || status == "configured",
        is_running: state.running.unwrap_or(false) || status == "stopping",
        exit_code: state.exit_code.unwrap_or_default(),
        oom: state.oom_killed.unwrap_or(false),
        started: time(state.started_at),
        finished: time(state.finished_at),
    })
}
