use super::attachment::Attachment;
use super::dependency::{self, Dependency};
use super::device::Devices;
use super::healthcheck::Healthcheck;
use super::limits::{Limits, Ulimit, ulimits};
use super::model::{Fault, Keys, Tree, read_duration, regular};
use super::mount::{self, Mount, Source};
use super::namespaces::Namespaces;
use super::port::{self, Port};
use super::read;
use super::rollout::Rollout;
use super::service_file::{self, ServiceFile, Sources};
use hostwright_core::secret::Secret;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::time::Duration;

/// Real seccomp profiles have some 20 KiB.
const MOST_PROFILE: u64 = 1 << 20;

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
    /// Ports that are told of and not published.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Services and containers whose mounts it gets: `name`, `name:ro`, `container:name`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes_from: Vec<String>,
    /// Configs and secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ServiceFile>,
    /// `/path` or `/path:options`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    pub attachment: Attachment,
    /// `service` or `service:alias`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    pub namespaces: Namespaces,
    /// Nothing given differs from `no`: such a service is kept running all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tty: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stdin_open: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group_add: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_grace_period: Option<Duration>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_opt: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_search: Vec<String>,
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
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub storage_opt: BTreeMap<String, String>,
    pub devices: Devices,
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

impl PullPolicy {
    fn parse(text: &str) -> Option<Self> {
        const DAY: Duration = Duration::from_secs(86400);
        match text {
            "always" => Some(Self::Always),
            "missing" => Some(Self::Missing),
            "never" => Some(Self::Never),
            "daily" => Some(Self::Every(DAY)),
            "weekly" => Some(Self::Every(7 * DAY)),
            _ => {
                let pause = text.strip_prefix("every_").and_then(read_duration)?;
                (!pause.is_zero()).then_some(Self::Every(pause))
            }
        }
    }
}

/// Where the engine puts what a container writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Logging {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// What is wrong, and what is odd but taken.
#[derive(Debug, Default)]
pub struct Said {
    pub faults: Vec<Fault>,
    pub notes: Vec<Fault>,
}

impl Service {
    /// Reads one of a canonical model, with all that the engine would refuse.
    pub fn read(name: &str, tree: &Tree, sources: &mut Sources<'_>, said: &mut Said) -> Self {
        let mut reader = Reader { name, tree, said };
        let logging = tree
            .get("logging")
            .map(|logging| Logging { driver: read::text(logging, "driver"), options: read::pairs(logging, "options") });
        let environment = read::members(tree, "environment");
        let environment =
            environment.filter_map(|(name, value)| Some((name.clone(), Secret::new(value.as_text()?.into()))));
        Self {
            image: reader.image(),
            command: read::words(tree, "command"),
            entrypoint: read::words(tree, "entrypoint"),
            environment: environment.collect(),
            ports: reader.checked("ports", port::read(tree)),
            expose: read::texts(tree, "expose"),
            mounts: reader.mounts(),
            volumes_from: read::texts(tree, "volumes_from"),
            files: reader.files(sources),
            tmpfs: reader.tmpfs(),
            container_name: read::text(tree, "container_name"),
            hostname: read::text(tree, "hostname"),
            domainname: read::text(tree, "domainname"),
            mac_address: read::text(tree, "mac_address"),
            platform: read::text(tree, "platform"),
            runtime: read::text(tree, "runtime"),
            labels: reader.labels(),
            annotations: read::pairs(tree, "annotations"),
            healthcheck: reader.healthcheck(),
            attachment: Attachment::read(tree),
            links: read::texts(tree, "links"),
            namespaces: Namespaces::read(tree),
            restart: reader.restart(),
            init: read::flag(tree, "init"),
            tty: read::is_set(tree, "tty"),
            stdin_open: read::is_set(tree, "stdin_open"),
            user: read::text(tree, "user"),
            group_add: read::texts(tree, "group_add"),
            working_dir: read::text(tree, "working_dir"),
            stop_signal: read::text(tree, "stop_signal"),
            stop_grace_period: read::span(tree, "stop_grace_period"),
            extra_hosts: read::texts(tree, "extra_hosts").iter().map(|host| host.replacen('=', ":", 1)).collect(),
            dns: read::texts(tree, "dns"),
            dns_opt: read::texts(tree, "dns_opt"),
            dns_search: read::texts(tree, "dns_search"),
            read_only: read::is_set(tree, "read_only"),
            privileged: read::is_set(tree, "privileged"),
            cap_add: read::texts(tree, "cap_add"),
            cap_drop: read::texts(tree, "cap_drop"),
            security_opt: reader.security_opt(sources),
            limits: Limits::read(tree),
            ulimits: ulimits(tree),
            sysctls: read::pairs(tree, "sysctls"),
            storage_opt: read::pairs(tree, "storage_opt"),
            devices: Devices::read(tree),
            logging,
            pull_policy: reader.pull_policy(),
            depends_on: dependency::read(tree),
            profiles: read::texts(tree, "profiles"),
            rollout: reader.rollout(),
        }
    }

    /// Other services whose containers it joins, so that it is made anew when they are.
    pub fn joined(&self) -> impl Iterator<Item = &str> {
        let network = match &self.attachment {
            Attachment::Service(other) => Some(other.as_str()),
            _ => None,
        };
        let mounted = self.volumes_from.iter().filter(|from| !from.starts_with("container:"));
        let mounted = mounted.map(|from| from.split(':').next().unwrap_or_default());
        network.into_iter().chain(self.namespaces.services()).chain(mounted)
    }
}

/// The one place where values leave their wrapper, on the way into the hash.
fn exposed<S: Serializer>(environment: &BTreeMap<String, Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(environment.iter().map(|(name, value)| (name, value.expose())))
}

/// Reads what needs a word on what it found.
struct Reader<'a> {
    name: &'a str,
    tree: &'a Tree,
    said: &'a mut Said,
}

impl Reader<'_> {
    fn fault(&mut self, tree: &Tree, attribute: &str, message: impl Into<String>) {
        self.said.faults.push(Fault::new(tree.at, &self.path(attribute), message));
    }

    fn note(&mut self, tree: &Tree, attribute: &str, message: impl Into<String>) {
        self.said.notes.push(Fault::new(tree.at, &self.path(attribute), message));
    }

    fn path(&self, attribute: &str) -> Keys {
        Keys::of(&format!("services.{}.{attribute}", self.name))
    }

    fn checked<T: Default>(&mut self, attribute: &str, result: Result<T, (&Tree, String)>) -> T {
        result.unwrap_or_else(|(tree, message)| {
            self.fault(tree, attribute, message);
            T::default()
        })
    }

    fn image(&mut self) -> String {
        let (image, build) = (self.tree.get("image"), self.tree.get("build"));
        if let (None, Some(build)) = (image, build) {
            self.fault(build, "build", "is not done on hosts; use image");
        }
        let text = image.and_then(Tree::as_text).unwrap_or_default().to_owned();
        if let Some(image) = image
            && (text.contains(char::is_whitespace) || text.ends_with([':', '@', '/']))
        {
            self.fault(image, "image", "expected an image's name such as registry.example.org/team/app:1.2");
        }
        text
    }

    fn mounts(&mut self) -> Vec<Mount> {
        let mounts = self.checked("volumes", mount::read(self.tree));
        if let (true, Some(volumes)) =
            (mounts.iter().any(|mount| mount.source == Source::Anonymous), self.tree.get("volumes"))
        {
            self.note(
                volumes,
                "volumes",
                "a volume without a name is empty again after each update; name it under the top-level volumes",
            );
        }
        mounts
    }

    fn files(&mut self, sources: &mut Sources<'_>) -> Vec<ServiceFile> {
        let files = sources.of(self.name, self.tree);
        if let Some(target) = service_file::twice(&files) {
            self.fault(self.tree, "secrets", format!("two configs or secrets have the target {target:?}"));
        }
        files
    }

    fn tmpfs(&mut self) -> Vec<String> {
        for item in read::list(self.tree, "tmpfs") {
            if !item.as_text().is_some_and(|path| path.starts_with('/')) {
                self.fault(item, "tmpfs", "expected absolute paths, maybe with options: /run:size=64m");
            }
        }
        read::texts(self.tree, "tmpfs")
    }

    fn labels(&mut self) -> BTreeMap<String, String> {
        for (name, tree) in read::members(self.tree, "labels").filter(|(name, _)| name.starts_with(RESERVED_LABELS)) {
            self.fault(tree, "labels", format!("{name:?} is written by the agent; leave it out"));
        }
        read::pairs(self.tree, "labels")
    }

    fn rollout(&mut self) -> Rollout {
        let update = self.tree.get("deploy").and_then(|deploy| deploy.get("update_config"));
        if let Some(action) = update.and_then(|update| update.get("failure_action"))
            && let Some(text) = action.as_text().filter(|text| !["rollback", "pause", "continue"].contains(text))
        {
            let message = format!("{text:?} is none of rollback, pause and continue");
            self.fault(action, "deploy.update_config.failure_action", message);
        }
        Rollout::read(self.tree)
    }

    fn healthcheck(&mut self) -> Option<Healthcheck> {
        let tree = self.tree.get("healthcheck")?;
        let check = Healthcheck::read(tree);
        if let Some(problem) = check.problem() {
            self.fault(tree, "healthcheck", problem);
        }
        Some(check)
    }

    fn restart(&mut self) -> Option<Restart> {
        let deployed = self.tree.get("deploy").and_then(|deploy| deploy.get("restart_policy"));
        let Some(tree) = self.tree.get("restart") else {
            let most = deployed.and_then(|policy| read::integer(policy, "max_attempts"));
            return match deployed?.get_text("condition").unwrap_or("any") {
                "none" => Some(Restart::No),
                "on-failure" => Some(Restart::OnFailure(most)),
                _ => Some(Restart::Always),
            };
        };
        let text = tree.as_text().unwrap_or_default();
        let (policy, most) = text.split_once(':').map_or((text, None), |(policy, most)| (policy, Some(most)));
        let restart = match (policy, most) {
            ("no", None) => Some(Restart::No),
            ("always", None) => Some(Restart::Always),
            ("unless-stopped", None) => Some(Restart::UnlessStopped),
            ("on-failure", None) => Some(Restart::OnFailure(None)),
            ("on-failure", Some(most)) => {
                most.parse().ok().filter(|most| *most >= 0).map(|most| Restart::OnFailure(Some(most)))
            }
            _ => None,
        };
        if restart.is_none() {
            let expected = "expected \"no\", always, unless-stopped, on-failure or on-failure:N";
            self.fault(tree, "restart", format!("{expected}, found {text:?}"));
        }
        restart
    }

    fn pull_policy(&mut self) -> PullPolicy {
        let Some(tree) = self.tree.get("pull_policy") else { return PullPolicy::default() };
        let text = tree.as_text().unwrap_or_default();
        let policy = PullPolicy::parse(text);
        if policy.is_none() {
            let message = match text {
                "build" => "build is not done on hosts; use always, missing or never".into(),
                _ => format!("expected always, missing, never, daily, weekly or every_12h, found {text:?}"),
            };
            self.fault(tree, "pull_policy", message);
        }
        policy.unwrap_or_default()
    }

    /// The engine takes a seccomp profile's content, the file its path.
    fn security_opt(&mut self, sources: &mut Sources<'_>) -> Vec<String> {
        let mut options = Vec::new();
        for item in read::list(self.tree, "security_opt") {
            let text = item.as_text().unwrap_or_default();
            let profile = text.strip_prefix("seccomp").and_then(|rest| rest.strip_prefix(['=', ':']));
            let Some(profile) = profile.filter(|profile| !["unconfined", "builtin"].contains(profile)) else {
                options.push(text.to_owned());
                continue;
            };
            let path = sources.model.folder.join(profile);
            sources.watched.push(path.clone());
            match regular::read(&path, MOST_PROFILE).map(String::from_utf8) {
                Ok(Ok(content)) if content.len() as u64 <= MOST_PROFILE => options.push(format!("seccomp={content}")),
                Ok(_) => self.fault(item, "security_opt", format!("{} is no seccomp profile", path.display())),
                Err(error) => self.fault(item, "security_opt", format!("cannot read {}: {error}", path.display())),
            }
        }
        options
    }
}
