use jiff::Timestamp;
use std::path::Path;
use std::time::SystemTime;

/// Compose's labels, as cAdvisor writes them.
const COMPOSE: [(&str, &str); 3] = [
    ("container_label_com_docker_compose_container_number", "com.docker.compose.container-number"),
    ("container_label_com_docker_compose_project", "com.docker.compose.project"),
    ("container_label_com_docker_compose_service", "com.docker.compose.service"),
];

/// What an engine keeps of a container.
#[derive(Debug, Default, PartialEq)]
pub struct Facts {
    pub name: String,
    pub image: String,
    /// Labels of metrics.
    pub labels: Vec<(&'static str, String)>,
    /// The first process, of one that runs.
    pub process: Option<u32>,
    pub started: Option<Timestamp>,
    /// The process may be in its control groups a little later.
    pub may_come: bool,
}

/// When a file was last written.
pub fn written(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|file| file.modified()).ok()
}

/// Compose's labels, as labels of metrics.
pub fn compose_labels<'l>(label: impl Fn(&str) -> Option<&'l str>) -> Vec<(&'static str, String)> {
    COMPOSE.iter().filter_map(|(name, given)| Some((*name, label(given)?.to_owned()))).collect()
}
