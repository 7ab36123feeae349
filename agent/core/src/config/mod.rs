//! The one file, `agent.yaml`: text → checked configuration, or every problem that it has.
//!
//! A module for each section: the struct, its defaults, its check, its tests. A section that is absent is a duty that
//! does not run. What is read here is valid in itself; whether a folder or a bucket is there is for the duties to say.

/// `api:`
pub mod api;
/// `buckets:`
pub mod buckets;
/// `containers:`
pub mod containers;
/// `host:`
pub mod host;
/// `logs:`
pub mod logs;
/// `metrics:`
pub mod metrics;
/// `products:`
pub mod products;

/// Credentials of AWS, the same wherever they are.
pub mod aws;
/// Servers behind HTTP, the same wherever one is.
pub mod endpoint;
/// Regular expressions, the same wherever one is.
mod expression;
/// Proxies on the way to a server, the same wherever one is.
pub mod proxy;
/// Settings of TLS clients, the same wherever one is.
pub mod tls;

/// A mapping read key by key, with every problem noted.
pub mod section;
/// What single values are made of: durations, sizes, addresses, references to secrets.
pub mod values;

use crate::yaml::{self, Duplicates, Node};
use section::{Problem, Problems, Section};
use std::collections::BTreeMap;
use std::path::Path;

/// The whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Who this host is.
    pub host: host::Host,
    /// Object stores by name.
    pub buckets: BTreeMap<String, buckets::Bucket>,
    /// What is brought down from buckets, by their names.
    pub fetches: BTreeMap<String, Vec<buckets::fetch::Fetch>>,
    /// The containers duty.
    pub containers: Option<containers::Containers>,
    /// The logs duty.
    pub logs: Option<logs::Logs>,
    /// The metrics duty.
    pub metrics: Option<metrics::Metrics>,
    /// The products duty: product folders by name.
    pub products: Option<BTreeMap<String, products::Product>>,
    /// Where the API listens beside its local socket.
    pub api: Option<api::Api>,
}

/// What duties can refer to.
struct Known<'a> {
    /// The names of buckets, those with problems too.
    bucket_names: &'a [String],
    buckets: &'a BTreeMap<String, buckets::Bucket>,
    labels: &'a values::Labels,
    product_names: &'a [String],
}

/// Why a configuration was not taken. `Display` gives one line for each problem.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The content is wrong.
    #[error("{}", .problems.iter().map(|problem| format!("{name}:{problem}")).collect::<Vec<_>>().join("\n"))]
    Invalid {
        /// The file's name, as the operator gave it.
        name: String,
        /// At least one, in the order of the file.
        problems: Vec<Problem>,
    },
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// It cannot be read, or has problems.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: name.clone(), source })?;
        Self::parse(&text, &name)
    }

    /// Checks a text; `name` stands before each problem.
    ///
    /// # Errors
    /// Every problem that it has.
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigError> {
        let invalid = |problems| ConfigError::Invalid { name: name.to_owned(), problems };
        let document = yaml::load(text, Duplicates::Refuse).map_err(|error| {
            invalid(vec![Problem { place: error.place, path: String::new(), message: error.message }])
        })?;
        Self::from_node(&document.root).map_err(invalid)
    }

    /// Checks a tree, such as the `hostwright:` section of a user-data.
    ///
    /// # Errors
    /// Every problem that it has, in the order of the file.
    pub fn from_node(root: &Node) -> Result<Self, Vec<Problem>> {
        let problems = Problems::default();
        let config = Section::open(root, "", &problems).map(Self::read_section);
        match (config, problems.into_sorted()) {
            (Some(config), problems) if problems.is_empty() => Ok(config),
            (_, problems) => Err(problems),
        }
    }

    fn read_section(mut root: Section<'_>) -> Self {
        let bucket_names = root.names("buckets");
        let product_names = root.names("products");
        let host = root.section("host", host::Host::read).unwrap_or_default();
        let read = root.named("buckets", buckets::Bucket::read_with_fetches).unwrap_or_default();
        let (mut buckets, mut fetches) = (BTreeMap::new(), BTreeMap::new());
        for (name, (bucket, of_bucket)) in read {
            if !of_bucket.is_empty() {
                fetches.insert(name.clone(), of_bucket);
            }
            buckets.insert(name, bucket);
        }
        let known = Known {
            bucket_names: &bucket_names,
            buckets: &buckets,
            labels: &host.labels,
            product_names: &product_names,
        };
        let config = Self {
            containers: root.section("containers", |section| containers::Containers::read(section, &known)),
            logs: root.section("logs", |section| logs::Logs::read(section, &known)),
            metrics: root.section("metrics", metrics::Metrics::read),
            products: root.named("products", |section| products::Product::read(section, &known)),
            api: root.section("api", api::Api::read),
            host,
            buckets,
            fetches,
        };
        if let Some(name) = config.products.as_ref().and_then(products::Product::waits_for_itself) {
            root.problem_with("products", &format!("{name:?} waits for itself by `after`; take it out of the circle"));
        }
        root.finish();
        config
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, metrics};

    fn problems(text: &str) -> String {
        Config::parse(text, "agent.yaml").expect_err("refused").to_string()
    }

    #[test]
    fn every_problem_is_reported_in_one_run_with_its_place_and_the_nearest_known_key() {
        let text = "metrics: {lisen: '0.0.0.0:9100'}\nlogs:\n  sources:\n    backend:\n      files: /var/log/x\n      retain: seven\n      outputs: [ldp]\n  outputs:\n    ldb: {file: {path: /tmp/out}}\nproduts: {}\n";
        assert_eq!(
            problems(text),
            "agent.yaml:1:11: metrics.lisen: unknown key; did you mean \"listen\"?\n\
             agent.yaml:5:14: logs.sources.backend.files: expected a list of file patterns such as [/var/log/app/*.json], found \"/var/log/x\"\n\
             agent.yaml:6:15: logs.sources.backend.retain: expected a duration such as 30s, 10m, 12h or 7d, found \"seven\"\n\
             agent.yaml:7:17: logs.sources.backend.outputs: there is no output \"ldp\"; did you mean \"ldb\"?\n\
             agent.yaml:10:1: produts: unknown key; did you mean \"products\"?"
        );
    }

    #[test]
    fn an_empty_file_is_an_agent_without_duties() {
        let config = Config::parse("", "agent.yaml").expect("valid");
        assert!(config.metrics.is_none() && config.logs.is_none() && config.api.is_none());
    }

    #[test]
    fn a_section_without_keys_takes_every_default() {
        let config = Config::parse("metrics:\n", "agent.yaml").expect("valid");
        let listen = config.metrics.expect("present").listen;
        assert_eq!(listen, metrics::listen::Listen::Addresses(vec!["0.0.0.0:9100".parse().expect("address")]));
    }

    #[test]
    fn a_secret_written_where_a_reference_belongs_is_refused_without_being_shown() {
        let text = "buckets:\n  p:\n    endpoint: https://s3.example\n    bucket: b\n    credentials: {access_key: AKIA, secret_key: hunter2}\n";
        let message = problems(text);
        assert!(message.contains("credentials.secret_key: expected a reference to a secret"), "{message}");
        assert!(!message.contains("hunter2") && !message.contains("AKIA"), "{message}");
    }
}
