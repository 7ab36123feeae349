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

/// What may be wrong with a valid configuration on this host.
mod advice;
/// Credentials of AWS, the same wherever they are.
pub mod aws;
/// What two sections cannot both have.
mod conflicts;
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

pub use advice::advice;

use crate::yaml::{self, Duplicates, Node, Place};
use section::{NamedSecret, Problem, Problems, Section};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

/// What is never read of a file: a document is smaller (see [`yaml`]), and a device has no end.
const TOO_LARGE: u64 = (16 << 20) + 1;

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
        let cannot = |source| ConfigError::Read { path: name.clone(), source };
        let mut bytes = Vec::new();
        std::fs::File::open(path).and_then(|file| file.take(TOO_LARGE).read_to_end(&mut bytes)).map_err(cannot)?;
        let text = String::from_utf8(bytes).map_err(|error| not_text(error.as_bytes(), &name))?;
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

    /// The secrets that a tree refers to.
    pub fn secrets_of(root: &Node) -> Vec<NamedSecret> {
        let problems = Problems::default();
        Section::open(root, "", &problems).map(Self::read_section);
        problems.into_secrets()
    }

    /// Checks a tree, such as the `hostwright:` section of a user-data.
    ///
    /// # Errors
    /// Every problem that it has, in the order of the file.
    pub fn from_node(root: &Node) -> Result<Self, Vec<Problem>> {
        let problems = Problems::default();
        let config = Section::open(root, "", &problems).map(Self::read_section);
        if let Some(config) = &config {
            conflicts::find(config, root, &problems);
        }
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
        root.refuse("hostwright", "this is a user-data, which hostwright-bootstrap check reads; the agent's own file has what stands under this key");
        for key in ["boot", "agent"] {
            root.refuse(key, "only the section hostwright: of a user-data has this key");
        }
        root.finish();
        config
    }
}

/// The place of the first byte that is no UTF-8.
fn not_text(bytes: &[u8], name: &str) -> ConfigError {
    let before = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let line = before.rsplit('\n').next().unwrap_or_default();
    let place = Place { line: 1 + before.matches('\n').count(), column: 1 + line.chars().count() };
    let message = "this is no text in UTF-8; save the file in this encoding".to_owned();
    ConfigError::Invalid { name: name.to_owned(), problems: vec![Problem { place, path: String::new(), message }] }
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
    fn what_is_no_text_is_told_with_its_place_and_no_device_is_read_to_its_end() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("agent.yaml");
        std::fs::write(&path, b"host:\n  labels: {a: \"caf\xe9\"}\n").expect("written");
        let message = Config::read(&path).expect_err("refused").to_string();
        assert!(message.contains("agent.yaml:2:19: this is no text in UTF-8"), "{message}");
        let message = Config::read(std::path::Path::new("/dev/zero")).expect_err("refused").to_string();
        assert!(message.contains("larger than 16 MiB"), "{message}");
    }

    #[test]
    fn of_a_list_each_item_that_does_not_fit_is_told() {
        let message = problems(
            "metrics: {listen: ['0.0.0.0:99999', '1.2.3.4']}\nhost: {labels: {a b: x, c: [1]}}\nlogs:\n  sources:\n    \
             a: {files: [x, /y, z], outputs: [o]}\n    b: {syslog: {listen: ['a:1', 'b:2']}, outputs: [o]}\n  \
             outputs: {o: {file: {path: /o}}}\n",
        );
        for wrong in
            ["0.0.0.0:99999", "1.2.3.4", "a b", "\"c\" takes", "found \"x\"", "found \"z\"", "\"a:1\"", "\"b:2\""]
        {
            assert!(message.contains(wrong), "{wrong}: {message}");
        }
    }

    #[test]
    fn a_user_data_is_known_as_one() {
        let message = problems("#cloud-config\nhostwright: {metrics: {}}\nboot: {}\n");
        assert!(message.contains("agent.yaml:2:1: hostwright: this is a user-data"), "{message}");
        assert!(message.contains("agent.yaml:3:1: boot: only the section hostwright: of a user-data"), "{message}");
    }

    #[test]
    fn nothing_that_is_told_moves_a_terminal_or_fills_it() {
        let message = problems(&format!("\"\\e[2Jx\": 1\nmetrics: {{{}: 1}}\n", "k".repeat(100_000)));
        assert!(!message.contains('\u{1b}') && message.contains("\\u{1b}[2Jx: unknown key"), "{message}");
        assert!(message.len() < 1000, "{} bytes", message.len());
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
