/// Who must have signed an image without a key.
pub mod identity;

use crate::config::Known;
use crate::config::aws::Credentials;
use crate::config::buckets;
use crate::config::section::Section;
use crate::config::tls::ClientTls;
use crate::config::values::{AbsolutePath, FromNode, MaybeSecret, mismatch};
use crate::secret::SecretRef;
use crate::yaml::Node;
use identity::Identity;
use std::path::PathBuf;
use std::time::Duration;

/// Where images come from, which are trusted, and when unused ones go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// What is known of registries.
    pub registries: Vec<Registry>,
    /// A file in the form of `~/.docker/config.json`.
    pub docker_config: PathBuf,
    /// Image archives in a bucket.
    pub bucket: Option<Archives>,
    /// Images whose tags are found by a rule.
    pub tags: Vec<TagRule>,
    /// Images that run only with a signature.
    pub signatures: Vec<Signatures>,
    /// When unused images are removed; nothing where they are kept.
    pub clean_up: Option<CleanUp>,
}

/// What is known of one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// `registry.example.org` or `registry.example.org:5000`, as in the names of its images.
    pub host: String,
    /// Who asks.
    pub login: Login,
    /// How it is known.
    pub tls: Option<ClientTls>,
}

/// Who asks a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// Whoever the file `docker_config` says, or nobody.
    Found,
    /// A user.
    User {
        /// Its name.
        name: MaybeSecret,
        /// Its password or access token.
        password: SecretRef,
    },
    /// A token of Amazon ECR, got with credentials of AWS.
    Ecr {
        /// Whose.
        credentials: Credentials,
        /// The API, where it is not the region's own.
        url: Option<String>,
        /// The region, where the host's name does not say it.
        region: Option<String>,
    },
}

/// Image archives (`docker save`) in a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archives {
    /// The bucket's name.
    pub name: String,
    /// The bucket.
    pub bucket: buckets::Bucket,
    /// What stands before an archive's name.
    pub prefix: String,
    /// Whether the bucket is asked before the registry, or after it has failed.
    pub order: Order,
}

/// Where an image is looked for first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// In its registry; in the bucket if that has failed.
    RegistryFirst,
    /// In the bucket alone.
    BucketOnly,
}

/// A rule for tags of the form `<branch>-<revisions>-<commit>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRule {
    /// Patterns of names without a tag.
    pub images: Vec<String>,
    /// The branch whose newest image is taken.
    pub branch: String,
    /// The branch whose newest image is taken where the first one has none.
    pub fallback: Option<String>,
}

/// Images that run only with a signature of one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signatures {
    /// Patterns of names without a tag.
    pub images: Vec<String>,
    /// Public keys: PEM files.
    pub keys: Vec<PathBuf>,
    /// Whoever signs without one.
    pub identity: Option<Identity>,
}

/// When unused images go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanUp {
    /// Unused for so long.
    pub after: Duration,
    /// Earlier where more than so many hundredths of the engine's disk are taken …
    pub high: u64,
    /// … until no more than so many are.
    pub low: u64,
    /// Between two looks.
    pub every: Duration,
    /// Images too that the agent did not bring.
    pub all: bool,
}

impl Default for Images {
    fn default() -> Self {
        Self {
            registries: Vec::new(),
            docker_config: "/root/.docker/config.json".into(),
            bucket: None,
            tags: Vec::new(),
            signatures: Vec::new(),
            clean_up: Some(CleanUp::default()),
        }
    }
}

impl Default for CleanUp {
    /// A week lets an operator go back by hand; the percentages are kubelet's, the interval is that of Amazon ECS.
    fn default() -> Self {
        Self { after: Duration::from_secs(7 * 86400), high: 85, low: 80, every: Duration::from_secs(1800), all: false }
    }
}

impl FromNode for Order {
    const EXPECTED: &'static str = "fallback (asked when the registry has failed) or only";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("fallback") => Ok(Self::RegistryFirst),
            Some("only") => Ok(Self::BucketOnly),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

/// The host of a registry as it stands in images' names.
struct Host(String);

impl FromNode for Host {
    const EXPECTED: &'static str = "a registry's host as in images' names: registry.example.org or 127.0.0.1:5000";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().unwrap_or_default();
        let fits = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-:[]".contains(c));
        // The engine would take a name without these for a folder of Docker Hub.
        let is_host = text.contains(['.', ':']) || text == "localhost";
        if fits && is_host { Ok(Self(text.to_owned())) } else { Err(mismatch::<Self>(node)) }
    }
}

/// What a branch is called in a tag.
struct Branch(String);

impl FromNode for Branch {
    const EXPECTED: &'static str = "a branch such as develop or feature/login";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some(text) if !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control()) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl Images {
    pub(super) fn read(mut section: Section<'_>, known: &Known<'_>) -> Option<Self> {
        let defaults = Self::default();
        let images = Self {
            registries: each(&mut section, "registries", Registry::read),
            docker_config: section.or("docker_config", AbsolutePath(defaults.docker_config)).0,
            bucket: section.section("bucket", |section| Archives::read(section, known)),
            tags: each(&mut section, "tags", TagRule::read),
            signatures: each(&mut section, "signatures", Signatures::read),
            clean_up: CleanUp::of(&mut section),
        };
        section.finish();
        Some(images)
    }
}

/// The items of a list of mappings.
fn each<'a, T>(section: &mut Section<'a>, key: &'static str, read: impl Fn(Section<'a>) -> Option<T>) -> Vec<T> {
    let Some(node) = section.node(key) else { return Vec::new() };
    let items = section.items(key, node).unwrap_or_default();
    items.iter().filter_map(|item| read(section.item(key, item)?)).collect()
}

impl Registry {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let host = section.required::<Host>("host");
        section.at_most_one(&["username", "ecr"]);
        let name = section.optional::<MaybeSecret>("username");
        let password = section.optional::<SecretRef>("password");
        if name.is_some() != password.is_some() {
            let (there, missing) = if name.is_some() { ("username", "password") } else { ("password", "username") };
            section.problem_with(there, &format!("the {missing} that belongs to it is missing"));
        }
        let is_ecr = section.has("ecr");
        let ecr = section.section("ecr", Login::read_ecr);
        let tls = section.section("tls", ClientTls::read);
        section.finish();
        let login = match (name.zip(password), ecr) {
            (Some((name, password)), _) => Login::User { name, password },
            (None, Some(ecr)) => ecr,
            (None, None) if is_ecr => return None,
            (None, None) => Login::Found,
        };
        Some(Self { host: host?.0, login, tls })
    }
}

impl Login {
    fn read_ecr(mut section: Section<'_>) -> Option<Self> {
        let credentials = section.section("credentials", Credentials::read).unwrap_or(Credentials::Found);
        let url = section.optional::<String>("url");
        if url.as_ref().is_some_and(|url| !url.starts_with("https://") && !url.starts_with("http://")) {
            section.problem_with("url", "expected a URL such as https://api.ecr.eu-west-1.amazonaws.com");
        }
        let region = section.optional("region");
        section.finish();
        Some(Self::Ecr { credentials, url, region })
    }
}

impl Archives {
    fn read(mut section: Section<'_>, known: &Known<'_>) -> Option<Self> {
        let name = section.required::<String>("bucket");
        section.references("bucket", "bucket", known.bucket_names);
        let prefix = section.or("prefix", "docker/images".to_owned());
        let order = section.or("use", Order::RegistryFirst);
        section.finish();
        let name = name?;
        let bucket = known.buckets.get(&name)?.clone();
        Some(Self { name, bucket, prefix: prefix.trim_matches('/').to_owned(), order })
    }
}

impl TagRule {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let images = patterns(&mut section);
        let branch = section.required::<Branch>("branch");
        let fallback = section.optional::<Branch>("fallback").map(|branch| branch.0);
        section.finish();
        Some(Self { images, branch: branch?.0, fallback })
    }
}

impl Signatures {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let images = patterns(&mut section);
        let keys: Vec<_> = section.list::<AbsolutePath>("keys").unwrap_or_default();
        let has_identity = section.has("identity");
        let identity = section.section("identity", Identity::read);
        if keys.is_empty() && !has_identity {
            section.problem(
                section.place(),
                "the key \"keys\" is missing, which takes PEM files with public keys; or \"identity\", for signatures without a key",
            );
        }
        section.finish();
        // An identity that cannot be read must not let anybody in, but then the whole file is refused anyway.
        Some(Self { images, keys: keys.into_iter().map(|path| path.0).collect(), identity })
    }
}

/// What is written under `images`.
fn patterns(section: &mut Section<'_>) -> Vec<String> {
    let patterns: Vec<String> = section.list("images").unwrap_or_default();
    if patterns.is_empty() {
        section.problem(
            section.place(),
            "the key \"images\" is missing; it takes names without tags such as registry.example.org/team/*",
        );
    }
    if patterns.iter().any(|pattern| globset::Glob::new(pattern).is_err()) {
        section.problem_with("images", "expected patterns of names without tags such as registry.example.org/team/*");
    }
    patterns
}

impl CleanUp {
    /// `false` keeps everything.
    fn of(section: &mut Section<'_>) -> Option<Self> {
        if !section.has("clean_up") {
            return Some(Self::default());
        }
        section.section_or_value("clean_up", Self::read)?
    }

    #[expect(clippy::option_option, reason = "outside: whether it could be read; inside: whether there is a clean-up")]
    fn read(mut section: Section<'_>) -> Option<Option<Self>> {
        let defaults = Self::default();
        if section.is_value() {
            let is_on: bool = section.required_or_shorthand("enabled")?;
            section.finish();
            return Some(is_on.then_some(defaults));
        }
        let clean_up = Self {
            after: section.or("after", defaults.after),
            high: section.or("high", defaults.high),
            low: section.or("low", defaults.low),
            every: section.or("every", defaults.every),
            all: section.or("all", false),
        };
        if clean_up.high > 100 || clean_up.low > clean_up.high {
            section.problem(section.place(), "low and high are percentages of a disk, and low is not above high");
        }
        if clean_up.every < Duration::from_secs(1) {
            section.problem_with("every", "at least 1s");
        }
        section.finish();
        Some(Some(clean_up))
    }
}

#[cfg(test)]
mod tests {
    use super::{Login, Order};
    use crate::config::Config;
    use crate::config::containers::Containers;

    fn read(images: &str) -> Result<Containers, String> {
        let text = format!(
            "buckets: {{b: file:///srv/b}}\ncontainers:\n  compose: /c.yaml\n  images:\n{}",
            images.lines().map(|line| format!("    {line}\n")).collect::<String>()
        );
        let config = Config::parse(&text, "agent.yaml").map_err(|error| error.to_string())?;
        config.containers.ok_or_else(|| "absent".to_owned())
    }

    #[test]
    fn everything_that_can_be_said_of_images_is_read() {
        let text = "registries:\n- {host: '127.0.0.1:5000', username: bot, password: {env: P}, tls: {ca: /ca.pem}}\n\
                    - {host: 1.dkr.ecr.eu-west-1.amazonaws.com, ecr: {credentials: {role: instance}}}\n\
                    - {host: registry.example.org}\n\
                    bucket: {bucket: b, use: only}\n\
                    tags: [{images: [r.example/*], branch: feature/x, fallback: develop}]\n\
                    signatures:\n- {images: ['*'], keys: [/k.pub]}\n\
                    - {images: [a], identity: {issuer: 'https://id.example', subject_pattern: 'bot@.*', trusted_root: /r}}\n\
                    clean_up: {after: 1d, high: 90, low: 70}";
        let images = read(text).expect("valid").images;
        assert!(matches!(images.registries[0].login, Login::User { .. }));
        assert!(matches!(images.registries[1].login, Login::Ecr { .. }));
        assert_eq!(images.registries[2].login, Login::Found);
        let identity = images.signatures[1].identity.as_ref().expect("present");
        assert_eq!(identity.to_string(), "/bot@.*/ by https://id.example");
        assert!(identity.subject.is("bot@example.org") && !identity.subject.is("a bot@example.org"));
        let archives = images.bucket.expect("present");
        assert_eq!((archives.prefix.as_str(), archives.order), ("docker/images", Order::BucketOnly));
        assert_eq!(images.tags[0].fallback.as_deref(), Some("develop"));
        assert_eq!(images.clean_up.expect("on").low, 70);
    }

    #[test]
    fn clean_up_is_on_unless_it_is_false() {
        assert!(read("clean_up: false").expect("valid").images.clean_up.is_none());
        assert!(read("tags:").expect("valid").images.clean_up.is_some());
        assert!(read("clean_up: sometimes").expect_err("refused").contains("true or false"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_reason() {
        for (wrong, why) in [
            ("registries: [{host: team}]", "a registry's host"),
            ("registries: [{host: r.example, username: a}]", "the password that belongs to it is missing"),
            ("registries: [{host: r.example, username: a, password: hunter2}]", "a reference to a secret"),
            ("registries: [{host: r.example, username: a, password: {env: P}, ecr: {}}]", "only one of the keys"),
            ("bucket: {bucket: c}", "there is no bucket \"c\""),
            ("signatures: [{images: ['*'], identity: {issuer: x}}]", "subject"),
            ("signatures: [{images: ['*'], identity: {issuer: x, subject: y}}]", "trusted_root"),
            ("signatures: [{images: ['*'], identity: {issuer: x, subject: y, authorities: /a}}]", "log_key"),
            (
                "signatures: [{images: ['*'], identity: {issuer: x, subject_pattern: '(', trusted_root: /a}}]",
                "is no valid",
            ),
            ("signatures: [{images: ['*']}]", "\"keys\" is missing"),
            ("tags: [{branch: x}]", "\"images\" is missing"),
            ("tags: [{images: ['['], branch: x}]", "expected patterns"),
            ("clean_up: {high: 10}", "low is not above high"),
        ] {
            let message = read(wrong).expect_err(wrong);
            assert!(message.contains(why) && !message.contains("hunter2"), "{wrong}: {message}");
        }
    }
}
