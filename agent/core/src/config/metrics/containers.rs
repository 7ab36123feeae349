use crate::config::values::{AbsolutePath, FromNode};
use crate::yaml::Node;
use std::path::PathBuf;

/// Metrics of containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Containers {
    /// Those of the Docker Engine with this data folder.
    Of(PathBuf),
    /// None.
    Off,
}

impl Default for Containers {
    fn default() -> Self {
        Self::Of("/var/lib/docker".into())
    }
}

impl FromNode for Containers {
    const EXPECTED: &'static str = "true, false, or the Docker Engine's data folder such as /var/lib/docker";

    fn from_node(node: &Node) -> Result<Self, String> {
        match (bool::from_node(node), AbsolutePath::from_node(node)) {
            (Ok(true), _) => Ok(Self::default()),
            (Ok(false), _) => Ok(Self::Off),
            (Err(_), Ok(path)) => Ok(Self::Of(path.0)),
            (Err(_), Err(_)) => Err(crate::config::values::mismatch::<Self>(node)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Containers;
    use crate::config::Config;

    #[test]
    fn they_are_on_off_or_of_another_folder() {
        let read = |text: &str| {
            let config = Config::parse(&format!("metrics: {{{text}}}"), "agent.yaml");
            config.map(|config| config.metrics.expect("present").containers).map_err(|error| error.to_string())
        };
        for text in ["", "containers: true", "containers: /var/lib/docker"] {
            assert_eq!(read(text), Ok(Containers::Of("/var/lib/docker".into())), "{text}");
        }
        assert_eq!(read("containers: false"), Ok(Containers::Off));
        assert!(read("containers: maybe").is_err_and(|error| error.contains("the Docker Engine's data folder")));
    }
}
