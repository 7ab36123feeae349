use super::attachment::{self, Attachment};
use super::command::Words;
use super::dependency::{self, Dependency};
use super::environment;
use super::healthcheck::Healthcheck;
use super::limits::{Limits, Ulimit, ulimits};
use super::mount::{self, Mount};
use super::port::{self, Port};
use super::rollout::Rollout;
use super::unsupported;
use super::values::{Pairs, Span};
use super::variables::Variables;
use hostwright_core::config::section::{Problems, Section};
use hostwright_core::config::values::parse_duration;
use hostwright_core::secret::Secret;
use serde::{Serialize, Serializer};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Labels under this prefix are written by us, as Compose does.
const RESERVED_LABELS: &str = "com.docker.compose";

/// A service: what its container is made from.
///
/// Its serialised form is what the hash is made of. So a field that is absent must not show in it: then an agent that
/// knows a further attribute takes no unchanged service for a changed one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Service {
    pub image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", serialize_with = "exposed")]
    pub environment: BTreeMap<String, Secret>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// `/path` or `/path:options`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    pub attachment: Attachment,
    /// Nothing given differs from `no`: such a service is kept running all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_grace_period: Option<Duration>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub privileged: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_add: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_drop: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_opt: Vec<String>,
    pub limits: Limits,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<String, Ulimit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,
    /// When to pull is no property of the container.
    #[serde(skip)]
    pub pull_policy: PullPolicy,
    #[serde(skip)]
    pub depends_on: BTreeMap<String, Dependency>,
    #[serde(skip)]
    pub profiles: Vec<String>,
    #[serde(skip)]
    pub rollout: Rollout,
}

/// The engine's restart policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    No,
    Always,
    UnlessStopped,
    /// With the most attempts, if there is a most.
    OnFailure(Option<i64>),
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    Always,
    #[default]
    Missing,
    Never,
    /// Again when so much time has passed since the last time.
    Every(Duration),
}

/// Where the engine puts what a container writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Logging {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// What services may refer to, and what reading them leaves behind.
#[derive(Debug)]
pub struct Scope<'a> {
    pub folder: &'a Path,
    pub variables: &'a Variables,
    pub services: &'a [String],
    pub networks: &'a [String],
    pub volumes: &'a [String],
    /// Odd but taken.
    pub notes: &'a Problems,
    /// Files that were read beside the Compose file.
    pub files: &'a RefCell<Vec<PathBuf>>,
}

impl Service {
    /// Reads one. Every problem is noted; the service is nothing when there is one that leaves it without an image.
    pub fn read(mut section: Section<'_>, scope: &Scope<'_>) -> Option<Self> {
        let image = read_image(&mut section, scope);
        let (limits, rollout) = Limits::read(&mut section);
        let words = |section: &mut Section<'_>, key| section.optional::<Words>(key).map(|words| words.0);
        let service = Self {
            image: image.unwrap_or_default(),
            command: words(&mut section, "command"),
            entrypoint: words(&mut section, "entrypoint"),
            environment: environment::read(&mut section, scope),
            ports: port::read(&mut section),
            mounts: mount::read(&mut section, mount::Scope { folder: scope.folder, volumes: scope.volumes }),
            tmpfs: read_tmpfs(&mut section),
            container_name: section.optional("container_name"),
            hostname: section.optional("hostname"),
            labels: read_labels(&mut section),
            healthcheck: section.section("healthcheck", Healthcheck::read),
            attachment: attachment::read(&mut section, scope.networks),
            restart: read_restart(&mut section),
            init: section.optional("init"),
            user: section.optional("user"),
            working_dir: section.optional("working_dir"),
            stop_signal: section.optional("stop_signal"),
            stop_grace_period: section.optional::<Span>("stop_grace_period").map(|span| span.0),
            extra_hosts: read_extra_hosts(&mut section),
            read_only: section.or("read_only", false),
            privileged: section.or("privileged", false),
            cap_add: section.list("cap_add").unwrap_or_default(),
            cap_drop: section.list("cap_drop").unwrap_or_default(),
            security_opt: read_security_opt(&mut section),
            limits,
            ulimits: ulimits(&mut section),
            logging: section.section("logging", Logging::read),
            pull_policy: read_pull_policy(&mut section),
            depends_on: dependency::read(&mut section, scope.services),
            profiles: section.list("profiles").unwrap_or_default(),
            rollout,
        };
        unsupported::refuse(&mut section);
        section.allow_extensions();
        section.finish();
        Some(service)
    }
}

impl Logging {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let driver = section.optional("driver");
        let options = section.optional::<Pairs>("options").unwrap_or_default().or_empty();
        section.finish();
        Some(Self { driver, options })
    }
}

/// The one place where values leave their wrapper, on the way into the hash.
fn exposed<S: Serializer>(environment: &BTreeMap<String, Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(environment.iter().map(|(name, value)| (name, value.expose())))
}

fn read_image(section: &mut Section<'_>, scope: &Scope<'_>) -> Option<String> {
    let build = section.node("build");
    let image = section.optional::<String>("image");
    match (&image, build) {
        (None, None) => section.problem(section.place(), "the key \"image\" is missing; it takes an image's name"),
        (None, Some(build)) => section.problem_at(build.place, "build", "is not done on hosts; use image"),
        (Some(_), Some(build)) => {
            let path = format!("services.{}.build", section.name());
            scope.notes.note(build.place, &path, "is not done on hosts; the image is used as it is".into());
        }
        (Some(_), None) => {}
    }
    if image.as_deref().is_some_and(|image| image.contains(char::is_whitespace) || image.ends_with([':', '@', '/'])) {
        section.problem_with("image", "expected an image's name such as registry.example.org/team/app:1.2");
    }
    image
}

fn read_tmpfs(section: &mut Section<'_>) -> Vec<String> {
    let all: Vec<String> = section.list("tmpfs").unwrap_or_default();
    if all.iter().any(|one| !one.starts_with('/')) {
        section.problem_with("tmpfs", "expected absolute paths, maybe with options: /run:size=64m");
    }
    all
}

fn read_labels(section: &mut Section<'_>) -> BTreeMap<String, String> {
    let labels = section.optional::<Pairs>("labels").unwrap_or_default().or_empty();
    if let Some(name) = labels.keys().find(|name| name.starts_with(RESERVED_LABELS)) {
        section.problem_with("labels", &format!("{name:?} is written by the agent; leave it out"));
    }
    labels
}

fn read_restart(section: &mut Section<'_>) -> Option<Restart> {
    let text = section.optional::<String>("restart")?;
    let (policy, most) = text.split_once(':').map_or((text.as_str(), None), |(policy, most)| (policy, Some(most)));
    let restart = match (policy, most) {
        // Without quotes YAML takes `no` for a boolean, which an operator cannot be expected to see.
        ("no" | "false", None) => Some(Restart::No),
        ("always", None) => Some(Restart::Always),
        ("unless-stopped", None) => Some(Restart::UnlessStopped),
        ("on-failure", None) => Some(Restart::OnFailure(None)),
        ("on-failure", Some(most)) => {
            most.parse().ok().filter(|most| *most >= 0).map(|most| Restart::OnFailure(Some(most)))
        }
        _ => None,
    };
    if restart.is_none() {
        section.problem_with(
            "restart",
            &format!("expected \"no\", always, unless-stopped, on-failure or on-failure:N, found {text:?}"),
        );
    }
    restart
}

fn read_pull_policy(section: &mut Section<'_>) -> PullPolicy {
    let Some(text) = section.optional::<String>("pull_policy") else { return PullPolicy::Missing };
    let policy = PullPolicy::parse(&text);
    if policy.is_none() {
        let message = match text.as_str() {
            "build" => "build is not done on hosts; use always, missing or never".into(),
            _ => format!("expected always, missing, never, daily, weekly or every_12h, found {text:?}"),
        };
        section.problem_with("pull_policy", &message);
    }
    policy.unwrap_or_default()
}

impl PullPolicy {
    fn parse(text: &str) -> Option<Self> {
        const DAY: Duration = Duration::from_secs(86400);
        match text {
            "always" => Some(Self::Always),
            "missing" | "if_not_present" => Some(Self::Missing),
            "never" => Some(Self::Never),
            "daily" => Some(Self::Every(DAY)),
            "weekly" => Some(Self::Every(7 * DAY)),
            _ => {
                let pause = text.strip_prefix("every_")?;
                // Compose knows weeks too, which our own durations do not.
                let pause = match pause.strip_suffix('w') {
                    Some(weeks) => (7 * DAY).checked_mul(weeks.parse().ok()?)?,
                    None => parse_duration(pause)?,
                };
                (!pause.is_zero()).then_some(Self::Every(pause))
            }
        }
    }
}

/// `host:address`, as the engine takes them; the file may write `=` between the two, or a mapping.
fn read_extra_hosts(section: &mut Section<'_>) -> Vec<String> {
    let Some(node) = section.node("extra_hosts") else { return Vec::new() };
    let mut hosts = Vec::new();
    if let Some(mapping) = node.mapping() {
        for entry in &mapping.entries {
            for address in entry.value.sequence().unwrap_or(std::slice::from_ref(&entry.value)) {
                hosts.extend(
                    section.value::<String>("extra_hosts", address).map(|text| format!("{}:{text}", entry.key)),
                );
            }
        }
        return hosts;
    }
    for item in section.items("extra_hosts", node).unwrap_or_default() {
        let Some(text) = section.value::<String>("extra_hosts", item) else { continue };
        match text.split_once('=').or_else(|| text.split_once(':')) {
            Some((name, address)) if !name.is_empty() && !address.is_empty() => hosts.push(format!("{name}:{address}")),
            _ => section.problem_at(item.place, "extra_hosts", &format!("expected name=address, found {text:?}")),
        }
    }
    hosts
}

fn read_security_opt(section: &mut Section<'_>) -> Vec<String> {
    let options: Vec<String> = section.list("security_opt").unwrap_or_default();
    let profile = |option: &String| {
        let value = option.strip_prefix("seccomp")?.strip_prefix(['=', ':'])?;
        (!["unconfined", "builtin"].contains(&value)).then_some(())
    };
    if options.iter().find_map(profile).is_some() {
        section.problem_with(
            "security_opt",
            "a seccomp profile of one's own is not supported yet; use unconfined or builtin",
        );
    }
    options
}
