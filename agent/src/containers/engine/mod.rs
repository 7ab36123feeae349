//! The container engine behind its Unix socket: the only user of `bollard`, whose types do not leave this folder.
//!
//! The API's version is negotiated at each connection and never pinned: engines refuse versions that are too old and
//! those that are too new.

mod blueprint;
mod body;
mod host_config;
mod images;
mod jobs;
mod logs;
mod mounts;
mod snapshot;

pub use blueprint::Blueprint;
pub use images::Listed;
pub use jobs::{JobContainer, JobState};
pub use logs::{LogQuery, Prefixed};

use super::compose::{Network, Project, Volume};
use super::hash;
use super::observed::Settings;
use bollard::Docker;
use bollard::models::{
    Ipam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest, NetworkingConfig, VolumeCreateRequest,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, EventsOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    RenameContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use futures_util::{Stream, StreamExt as _};
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

/// Longer than any answer of a busy engine takes; stops have their grace on top.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The engine's own grace where the file gives none.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);
/// What is kept of a container's last words.
const MOST_LOG_BYTES: usize = 2000;
const LOG_TIMEOUT: Duration = Duration::from_secs(5);

/// A connected engine.
#[derive(Clone, Debug)]
pub struct Engine(Docker);

/// How a container is made.
#[derive(Clone, Copy, Debug)]
pub struct Make<'a> {
    pub name: &'a str,
    pub number: u32,
    /// From the very image rather than from whatever has its name now.
    pub by_image_id: bool,
}

/// Why the engine did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// No answer, or none that can be understood.
    #[error("{0}")]
    Unreachable(String),
    /// It answered that it will not.
    #[error("{message}")]
    Refused { status: u16, message: String },
}

impl Engine {
    /// Connects and agrees on an API version.
    ///
    /// # Errors
    /// There is no socket, no engine behind it, or none that knows a common version.
    pub async fn connect(socket: &Path) -> Result<Self, EngineError> {
        let path = socket.display().to_string();
        let docker = Docker::connect_with_unix(&path, TIMEOUT.as_secs(), bollard::API_DEFAULT_VERSION)?;
        Ok(Self(docker.negotiate_version().await?))
    }

    /// The negotiated version, such as `1.41`.
    pub fn api_version(&self) -> (usize, usize) {
        let version = self.0.client_version();
        (version.major_version, version.minor_version)
    }

    /// Tells of each change to a container of the project since `since`, until the engine goes away.
    pub fn events(&self, project: &str, since: jiff::Timestamp) -> impl Stream<Item = ()> + Send + use<> {
        let interesting = ["start", "die", "health_status", "destroy", "oom", "pause", "unpause", "rename", "update"]
            .map(str::to_owned);
        let filters = HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("label", vec![format!("{}={project}", body::PROJECT)]),
            ("event", interesting.to_vec()),
        ]);
        let since = format!("{}.{:09}", since.as_second(), since.subsec_nanosecond());
        let options = EventsOptionsBuilder::new().since(&since).filters(&filters).build();
        self.0.events(Some(options)).take_while(|event| std::future::ready(event.is_ok())).map(drop)
    }

    /// Creates a container, not yet started, on all its networks.
    pub async fn create(&self, blueprint: &Blueprint, make: Make<'_>) -> Result<String, EngineError> {
        let platform = blueprint.platform.as_deref().unwrap_or_default();
        let options = CreateContainerOptionsBuilder::new().name(make.name).platform(platform).build();
        let mut body = blueprint.body_for(make.number, make.by_image_id);
        let first = blueprint.networks.iter().take(1).cloned().collect();
        body.networking_config = Some(NetworkingConfig { endpoints_config: Some(first) });
        let id = self.0.create_container(Some(options), body).await?.id;
        // Engines before API 1.44 take only one network at creation.
        for (network, endpoint) in blueprint.networks.iter().skip(1) {
            let request = NetworkConnectRequest { container: id.clone(), endpoint_config: Some(endpoint.clone()) };
            self.0.connect_network(network, request).await?;
        }
        Ok(id)
    }

    /// What `docker update` can change of a container, as it is now.
    pub async fn settings(&self, id: &str) -> Result<Settings, EngineError> {
        let found = self.inspect(id).await?;
        Ok(blueprint::settings_of(&found.host_config.unwrap_or_default()))
    }

    /// Starts a container; one that runs already is fine.
    pub async fn start(&self, id: &str) -> Result<(), EngineError> {
        Ok(self.0.start_container(id, None).await?)
    }

    /// Stops a container with the grace that it was created with. One that is gone is fine.
    pub async fn stop(&self, id: &str) -> Result<(), EngineError> {
        let found = match self.inspect(id).await {
            Err(error) if error.is_absent() => return Ok(()),
            found => found?,
        };
        let grace = found.config.and_then(|config| config.stop_timeout).and_then(|grace| u64::try_from(grace).ok());
        let grace = grace.map_or(DEFAULT_GRACE, Duration::from_secs);
        let patient = self.0.clone().with_timeout(grace + TIMEOUT);
        let options = StopContainerOptionsBuilder::new().build();
        absent_is_fine(patient.stop_container(id, Some(options)).await)
    }

    /// Stops a container and removes it. One that is gone is fine.
    pub async fn stop_and_remove(&self, id: &str) -> Result<(), EngineError> {
        self.stop(id).await?;
        // Volumes without a name go with the container; named ones stay.
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        absent_is_fine(self.0.remove_container(id, Some(options)).await)
    }

    /// Lets a paused container go on.
    pub async fn resume(&self, id: &str) -> Result<(), EngineError> {
        Ok(self.0.unpause_container(id).await?)
    }

    /// Gives a container another name.
    pub async fn rename(&self, id: &str, name: &str) -> Result<(), EngineError> {
        let options = RenameContainerOptionsBuilder::new().name(name).build();
        Ok(self.0.rename_container(id, options).await?)
    }

    /// Sets right what was changed of a running container.
    pub async fn correct(&self, id: &str, blueprint: &Blueprint) -> Result<(), EngineError> {
        Ok(self.0.update_container(id, blueprint.correction()).await?)
    }

    /// Creates a network of the file.
    pub async fn create_network(&self, project: &Project, key: &str, network: &Network) -> Result<(), EngineError> {
        let labels = body::resource_labels(project, "network", key, &network.labels, hash::network(network));
        let config = network.subnets.iter().map(|subnet| IpamConfig {
            subnet: subnet.subnet.clone(),
            gateway: subnet.gateway.clone(),
            ip_range: subnet.ip_range.clone(),
            auxiliary_addresses: host_config::some_map(subnet.aux_addresses.clone()),
        });
        let request = NetworkCreateRequest {
            name: network.name.clone(),
            driver: network.driver.clone(),
            internal: Some(network.internal),
            attachable: Some(network.attachable),
            enable_ipv4: network.enable_ipv4,
            enable_ipv6: Some(network.enable_ipv6),
            ipam: Some(Ipam { driver: network.ipam_driver.clone(), config: Some(config.collect()), options: None }),
            options: Some(network.driver_opts.clone().into_iter().collect()),
            labels: Some(labels),
            ..NetworkCreateRequest::default()
        };
        self.0.create_network(request).await?;
        Ok(())
    }

    /// Removes a network; one that is gone is fine.
    pub async fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        absent_is_fine(self.0.remove_network(name).await)
    }

    /// Creates a volume of the file.
    pub async fn create_volume(&self, project: &Project, key: &str, volume: &Volume) -> Result<(), EngineError> {
        let labels = body::resource_labels(project, "volume", key, &volume.labels, hash::volume(volume));
        let request = VolumeCreateRequest {
            name: Some(volume.name.clone()),
            driver: volume.driver.clone(),
            driver_opts: Some(volume.driver_opts.clone().into_iter().collect()),
            labels: Some(labels),
            cluster_volume_spec: None,
        };
        self.0.create_volume(request).await?;
        Ok(())
    }

    /// The last lines that a container wrote, bounded and without control characters; nothing if they cannot be had.
    pub async fn last_lines(&self, id: &str, lines: u32) -> Vec<String> {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&lines.to_string()).build();
        let mut text = Vec::new();
        let read = async {
            let mut stream = std::pin::pin!(self.0.logs(id, Some(options)));
            while let Some(Ok(output)) = stream.next().await {
                text.extend_from_slice(&output.into_bytes());
                // Long lines are cut at their beginning: what matters comes last.
                let surplus = text.len().saturating_sub(MOST_LOG_BYTES);
                text.drain(..surplus);
            }
        };
        // An engine that does not answer leaves what has come so far.
        let _ = tokio::time::timeout(LOG_TIMEOUT, read).await;
        let text = String::from_utf8_lossy(&text);
        let printable = |line: &str| line.chars().filter(|c| !c.is_control()).collect::<String>();
        text.lines().map(printable).filter(|line| !line.trim().is_empty()).collect()
    }
}

impl EngineError {
    /// Whether the thing asked for is not there.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

impl From<bollard::errors::Error> for EngineError {
    fn from(error: bollard::errors::Error) -> Self {
        use bollard::errors::Error;
        match error {
            Error::DockerResponseServerError { status_code, message } => {
                Self::Refused { status: status_code, message: message.trim().to_owned() }
            }
            Error::DockerStreamError { error } => Self::Refused { status: 500, message: error },
            Error::SocketNotFoundError(path) => Self::Unreachable(format!("there is no socket {path}")),
            other => Self::Unreachable(with_causes(&other)),
        }
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Transparent wrappers say the same twice.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

fn absent_is_fine(result: Result<(), bollard::errors::Error>) -> Result<(), EngineError> {
    match result.map_err(EngineError::from) {
        Err(error) if error.is_absent() => Ok(()),
        // "removal of container … is already in progress"
        Err(EngineError::Refused { status: 409, message }) if message.contains("already in progress") => Ok(()),
        result => result,
    }
}

/// Name and tag or digest. Without a tag the engine would pull every tag that there is.
fn split_reference(reference: &str) -> (&str, &str) {
    if let Some((name, digest)) = reference.split_once('@') {
        return (name, digest);
    }
    match reference.rsplit_once(':') {
        // A colon before a slash belongs to the registry's port.
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (reference, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::split_reference;

    #[test]
    fn references_are_split_at_tag_or_digest() {
        assert_eq!(split_reference("nginx"), ("nginx", "latest"));
        assert_eq!(split_reference("localhost:5000/team/app"), ("localhost:5000/team/app", "latest"));
        assert_eq!(split_reference("localhost:5000/team/app:1.2"), ("localhost:5000/team/app", "1.2"));
        assert_eq!(split_reference("app@sha256:ab"), ("app", "sha256:ab"));
    }
}
