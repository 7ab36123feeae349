//! The `metrics:` section: where it is served, from which trees it is sampled, which collectors run.
//!
//! In: a node of `agent.yaml`. Out: [`Metrics`], where every option has node_exporter's name and default. Nothing of it
//! is kept.

/// Which collectors run, and with which options.
pub mod collectors;
/// Metrics of containers.
pub mod containers;
/// A file by which a Prometheus finds this host.
pub mod file_sd;
/// Which names are taken, by regular expressions.
pub mod filter;
/// Where requests come in.
pub mod listen;
/// Receivers that are sent the same as a scrape.
pub mod remote_write;
/// Where the kernel's trees are.
pub mod roots;

/// TLS, clients, users: exporter-toolkit's file.
pub mod web;

use super::section::Section;
use super::values::{AbsolutePath, FromNode, mismatch};
use crate::yaml::Node;
use collectors::Collectors;
use containers::Containers;
use file_sd::FileSd;
use listen::Listen;
use remote_write::RemoteWrite;
use roots::Roots;
use std::path::PathBuf;

/// As node_exporter's default for `--web.max-requests`.
const MOST_REQUESTS: u64 = 40;

/// The metrics duty: a Prometheus endpoint with node_exporter's names.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// Where it listens.
    pub listen: Listen,
    /// Under which path the metrics are.
    pub path: String,
    /// The file with TLS, clients and users, in the form of Prometheus' exporter-toolkit.
    pub web_config: Option<PathBuf>,
    /// How many scrapes may be under way at once; none: any number.
    pub max_requests: Option<usize>,
    /// Where the kernel's trees are.
    pub roots: Roots,
    /// Which collectors run, and with which options.
    pub collectors: Collectors,
    /// Whose containers are told.
    pub containers: Containers,
    /// Receivers that are sent the same as a scrape.
    pub remote_write: Vec<RemoteWrite>,
    /// A file by which a Prometheus finds this host.
    pub file_sd: Option<FileSd>,
}

struct UrlPath(String);

impl FromNode for UrlPath {
    const EXPECTED: &'static str = "the path of a URL such as /metrics";

    fn from_node(node: &Node) -> Result<Self, String> {
        let fits = |text: &&str| {
            text.starts_with('/') && text.chars().all(|c| c.is_ascii_graphic() && !"?#%\"<>\\^`{|}".contains(c))
        };
        node.text().filter(fits).map(|text| Self(text.to_owned())).ok_or_else(|| mismatch::<Self>(node))
    }
}

impl Metrics {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let listen = section.or("listen", Listen::default());
        let path = section.or("path", UrlPath("/metrics".to_owned())).0;
        let web_config = section.optional::<AbsolutePath>("web_config").map(|path| path.0);
        let max_requests = section.or("max_requests", MOST_REQUESTS);
        let roots = section.section("roots", Roots::read).unwrap_or_default();
        let collectors = section.section("collectors", Collectors::read).unwrap_or_default();
        let containers = section.or("containers", Containers::default());
        let remote_write = RemoteWrite::read_all(&mut section);
        let file_sd = section.section_or_value("file_sd", FileSd::read);
        section.finish();
        let max_requests = usize::try_from(max_requests).ok().filter(|most| *most > 0);
        Some(Self { listen, path, web_config, max_requests, roots, collectors, containers, remote_write, file_sd })
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;
    use crate::config::Config;

    fn read(text: &str) -> Result<Metrics, String> {
        let config = Config::parse(&format!("metrics: {text}"), "agent.yaml");
        config.map(|config| config.metrics.expect("present")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_metrics_are_where_node_exporter_has_them_unless_told() {
        let metrics = read("{}").expect("valid");
        assert_eq!((metrics.path.as_str(), metrics.max_requests), ("/metrics", Some(40)));
        let metrics = read("{path: /node/metrics, max_requests: 0}").expect("valid");
        assert_eq!((metrics.path.as_str(), metrics.max_requests), ("/node/metrics", None));
    }

    #[test]
    fn a_path_that_no_url_has_is_refused() {
        for path in ["metrics", "'/a b'", "/a?b", "''"] {
            let error = read(&format!("{{path: {path}}}")).expect_err("refused");
            assert!(error.contains("metrics.path: expected the path of a URL such as /metrics"), "{error}");
        }
    }
}
