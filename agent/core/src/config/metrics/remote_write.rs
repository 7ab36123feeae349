use crate::config::endpoint::{Compress, Endpoint};
use crate::config::expression;
use crate::config::section::Section;
use crate::config::values::{ByteSize, FromNode, Labels, mismatch};
use crate::yaml::Node;
use regex::Regex;
use std::time::Duration;

/// Header fields that the protocol reserves for the sender.
const RESERVED: [&str; 2] = ["user-agent", "x-prometheus-remote-write-version"];
/// A sample of a host takes some tens of kilobytes: less than this is hardly a buffer.
const LEAST_BUFFER: u64 = 1 << 20;
const MOST_PER_REQUEST: u64 = 100_000;

/// A receiver of Prometheus' remote-write protocol, which is sent what a scrape would have got.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteWrite {
    /// What it is called in metrics and the status, and where its buffer lies; the host of its URL unless given.
    pub name: String,
    /// Where it is.
    pub endpoint: Endpoint,
    /// Which version of the protocol is spoken.
    pub protocol: Protocol,
    /// The time between samples.
    pub interval: Duration,
    /// The label `job` of every series.
    pub job: String,
    /// The label `instance` of every series; the host's name unless given.
    pub instance: Option<String>,
    /// On every series that has none of that name.
    pub external_labels: Labels,
    /// Which metrics are sent.
    pub names: MetricNames,
    /// How much may lie on the disk while the receiver is away; the oldest goes first.
    pub buffer: ByteSize,
    /// The most samples in a request.
    pub max_samples_per_send: usize,
}

/// Which version of the protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// 2.0 where the receiver takes it, else 1.0.
    Auto,
    /// `prometheus.WriteRequest`.
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

impl FromNode for Protocol {
    const EXPECTED: &'static str = "auto, 1.0 or 2.0";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("auto") => Ok(Self::Auto),
            Some("1.0") => Ok(Self::V1),
            Some("2.0") => Ok(Self::V2),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

/// Metrics by their names. Expressions are for whole names, as in Prometheus' relabelling.
#[derive(Clone, Debug, Default)]
pub struct MetricNames {
    keep: Vec<Regex>,
    drop: Vec<Regex>,
}

impl MetricNames {
    /// Reads the keys `keep` and `drop`.
    fn read(section: &mut Section<'_>) -> Self {
        let mut expressions =
            |key| section.list::<WholeName>(key).unwrap_or_default().into_iter().map(|name| name.0).collect::<Vec<_>>();
        Self { keep: expressions("keep"), drop: expressions("drop") }
    }

    /// Whether every metric is taken, whatever its name.
    pub fn takes_all(&self) -> bool {
        self.keep.is_empty() && self.drop.is_empty()
    }

    /// Whether a metric of this name is taken: one of `keep` unless that is empty, and none of `drop`.
    pub fn take(&self, name: &str) -> bool {
        let any = |all: &[Regex]| all.iter().any(|regex| regex.is_match(name));
        (self.keep.is_empty() || any(&self.keep)) && !any(&self.drop)
    }
}

impl PartialEq for MetricNames {
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &[Regex], b: &[Regex]| a.iter().map(Regex::as_str).eq(b.iter().map(Regex::as_str));
        same(&self.keep, &other.keep) && same(&self.drop, &other.drop)
    }
}

struct WholeName(Regex);

impl FromNode for WholeName {
    const EXPECTED: &'static str = "a regular expression for whole names of metrics such as node_cpu_.*";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().filter(|text| !text.is_empty()).ok_or_else(|| mismatch::<Self>(node))?;
        expression::whole(text).map(Self)
    }
}

impl RemoteWrite {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let name = section.optional::<String>("name");
        // The body has its own compression: the protocol's.
        let endpoint = Endpoint::read(&mut section, &[Compress::None]);
        let protocol = section.or("protocol", Protocol::Auto);
        let interval = section.or("interval", Duration::from_secs(15));
        let job = section.or("job", "node".to_owned());
        let instance = section.optional("instance");
        let external_labels = section.or("external_labels", Labels::default());
        let names = MetricNames::read(&mut section);
        let buffer = section.or("buffer", ByteSize(128 << 20));
        let max_samples = section.or("max_samples_per_send", 5000_u64);
        if let Some(wrong) = name.as_ref().filter(|name| !is_name(name)) {
            section.problem_with("name", &format!("{wrong:?} cannot be a name: {NAMES}"));
        }
        if !(1..=MOST_PER_REQUEST).contains(&max_samples) {
            section.problem_with("max_samples_per_send", &format!("between 1 and {MOST_PER_REQUEST}"));
        }
        let max_samples_per_send = usize::try_from(max_samples).unwrap_or(usize::MAX);
        let read = endpoint.map(|endpoint| Self {
            name: name.unwrap_or_else(|| host_of(&endpoint.url.0)),
            endpoint,
            protocol,
            interval,
            job,
            instance,
            external_labels,
            names,
            buffer,
            max_samples_per_send,
        });
        if let Some(read) = &read {
            read.check(&section);
        }
        section.finish();
        read
    }

    fn check(&self, section: &Section<'_>) {
        if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&self.interval) {
            section.problem_with("interval", "between 1s and 1h");
        }
        if self.buffer.0 < LEAST_BUFFER {
            section.problem_with("buffer", "at least 1MiB: a sample of a host takes some tens of kilobytes");
        }
        for own in self.external_labels.0.keys().filter(|name| name.starts_with("__")) {
            section
                .problem_with("external_labels", &format!("{own:?}: names with two underscores are Prometheus' own"));
        }
        for own in self.endpoint.headers.keys().filter(|name| RESERVED.contains(&name.to_ascii_lowercase().as_str())) {
            section.problem_with("headers", &format!("{own:?} is reserved by the protocol"));
        }
    }

    /// Reads the list under `remote_write`, or one receiver in place of a list of one.
    pub(super) fn read_all(section: &mut Section<'_>) -> Vec<Self> {
        const KEY: &str = "remote_write";
        let Some(node) = section.node(KEY) else { return Vec::new() };
        let nodes = node.sequence().unwrap_or(std::slice::from_ref(node));
        let mut all: Vec<Self> = Vec::new();
        for node in nodes {
            let Some(receiver) = section.item(KEY, node).and_then(Self::read) else { continue };
            if all.iter().any(|other| other.name == receiver.name) {
                let message = format!("two receivers are called {:?}; give each a name: of its own", receiver.name);
                section.problem_at(node.place, KEY, &message);
            }
            all.push(receiver);
        }
        all
    }
}

const NAMES: &str = "use up to 63 letters, digits, '_', '.' and '-', a letter or digit first";

/// Names become folders and labels.
fn is_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// The host and port of a URL, as a name: `http://[::1]:9090/x` → `1-9090`.
fn host_of(url: &str) -> String {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).split(['/', '?']).next().unwrap_or_default();
    let name: String = authority.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let name: String = name.trim_matches(['-', '.']).chars().take(63).collect();
    if name.is_empty() { "receiver".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::{Protocol, RemoteWrite};
    use crate::config::Config;
    use std::time::Duration;

    fn read(text: &str) -> Result<Vec<RemoteWrite>, String> {
        let config = Config::parse(&format!("metrics:\n  remote_write: {text}\n"), "agent.yaml");
        config.map(|config| config.metrics.expect("present").remote_write).map_err(|error| error.to_string())
    }

    #[test]
    fn a_url_is_enough() {
        let all = read("{url: 'https://prometheus.example:9090/api/v1/write'}").expect("valid");
        let [one] = &all[..] else { panic!("{all:?}") };
        assert_eq!((one.name.as_str(), one.job.as_str()), ("prometheus.example-9090", "node"));
        assert_eq!((one.interval, one.protocol), (Duration::from_secs(15), Protocol::Auto));
        assert!(one.names.takes_all() && one.buffer.0 == 128 << 20);
        assert_eq!(read("[{url: 'http://[::1]:1/'}, {url: 'http://x', protocol: 1.0}]").expect("valid")[1].name, "x");
    }

    #[test]
    fn names_are_kept_and_dropped_as_a_whole() {
        let all = read("[{url: 'http://x', keep: ['node_cpu.*', up], drop: node_cpu_guest_seconds_total}]");
        let names = &all.expect("valid")[0].names;
        for (name, taken) in [
            ("node_cpu_seconds_total", true),
            ("up", true),
            ("upper", false),
            ("node_cpu_guest_seconds_total", false),
            ("a_node_cpu", false),
        ] {
            assert_eq!(names.take(name), taken, "{name}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_reason() {
        for (text, part) in [
            ("[{protocol: 2.0}]", "the key \"url\" is missing"),
            ("[{url: 'http://x', protocol: 3}]", "expected auto, 1.0 or 2.0, found \"3\""),
            ("[{url: 'http://x', interval: 1ms}]", "between 1s and 1h"),
            ("[{url: 'http://x', buffer: 1kB}]", "at least 1MiB"),
            ("[{url: 'http://x', max_samples_per_send: 0}]", "between 1 and 100000"),
            ("[{url: 'http://x', external_labels: {__a: b}}]", "Prometheus' own"),
            ("[{url: 'http://x', headers: {User-Agent: b}}]", "\"User-Agent\" is reserved by the protocol"),
            ("[{url: 'http://x', keep: ['(']}]", "no valid regular expression"),
            ("[{url: 'http://x', name: a/b}]", "cannot be a name"),
            ("[{url: 'http://x'}, {url: 'http://x/b'}]", "two receivers are called \"x\""),
            ("[{url: 'http://x', bearer: hunter2}]", "expected a reference to a secret"),
            ("[{url: 'http://x', basic_auth: {}}]", "unknown key"),
        ] {
            let message = read(text).expect_err(text);
            assert!(message.contains(part) && !message.contains("hunter2"), "{text}: {message}");
        }
    }
}
