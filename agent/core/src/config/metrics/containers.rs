use crate::config::values::{AbsolutePath, FromNode, mismatch};
use crate::yaml::Node;
use std::path::PathBuf;

/// Where Docker's packages keep what the engine knows.
const DOCKER: &str = "/var/lib/docker";
/// Podman's storage, where root starts it.
const PODMAN: &str = "/var/lib/containers/storage";

/// Metrics of containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Containers {
    /// Those of the engines with these data folders.
    Of(Vec<PathBuf>),
    /// None.
    Off,
}

impl Default for Containers {
    fn default() -> Self {
        Self::Of(vec![DOCKER.into(), PODMAN.into()])
    }
}

impl FromNode for Containers {
    const EXPECTED: &'static str = "true, false, or data folders of Docker Engines and storages of Podman such as \
                                    /var/lib/docker or [/var/lib/docker, /var/lib/containers/storage]";

    fn from_node(node: &Node) -> Result<Self, String> {
        let wrong = |_| mismatch::<Self>(node);
        if let Some(items) = node.sequence() {
            let folders = items.iter().map(|item| AbsolutePath::from_node(item).map(|path| path.0));
            return folders.collect::<Result<_, _>>().map(Self::Of);
        }
        match bool::from_node(node) {
            Ok(true) => Ok(Self::default()),
            Ok(false) => Ok(Self::Off),
            Err(_) => AbsolutePath::from_node(node).map(|path| Self::Of(vec![path.0])).map_err(wrong),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Containers;
    use crate::config::Config;

    #[test]
    fn they_are_on_off_or_of_other_folders() {
        let read = |text: &str| {
            let config = Config::parse(&format!("metrics: {{{text}}}"), "agent.yaml");
            config.map(|config| config.metrics.expect("present").containers).map_err(|error| error.to_string())
        };
        for text in ["", "containers: true", "containers: [/var/lib/docker, /var/lib/containers/storage]"] {
            assert_eq!(read(text), Ok(Containers::default()), "{text}");
        }
        assert_eq!(read("containers: /srv/docker"), Ok(Containers::Of(vec!["/srv/docker".into()])));
        assert_eq!(read("containers: false"), Ok(Containers::Off));
        assert!(read("containers: maybe").is_err_and(|error| error.contains("data folders of Docker Engines")));
        assert!(read("containers: [docker]").is_err_and(|error| error.contains("absolute path")));
    }
}
