/// How many bytes a second may go, by the hour.
pub mod bandwidth;
/// Whose requests they are, by reference.
pub mod credentials;
/// What is brought down from a bucket.
pub mod fetch;
/// How objects are stored beside their content.
pub mod object;
/// OpenStack Swift's own API.
pub mod swift;

pub use bandwidth::Bandwidth;
pub use credentials::Credentials;
pub use object::{Encryption, ObjectOptions};
pub use swift::SwiftBucket;

use super::proxy::Proxy;
use super::section::Section;
use super::tls::ClientTls;
use super::values::{FromNode, mismatch};
use crate::yaml::Node;
use std::path::PathBuf;

/// Where the bucket check writes, unless the right to put is for other keys.
const PROBE_KEY: &str = ".hostwright-probe";

/// A named object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// A folder of this host, for a start without an object store and for tests.
    Folder(PathBuf),
    /// A bucket behind an S3 API.
    S3(S3Bucket),
    /// A container behind Swift's own API.
    Swift(SwiftBucket),
}

/// A bucket behind an S3 API, with its own endpoint and credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Bucket {
    /// The API's URL: `https://s3.gra.io.cloud.ovh.net`; AWS' of the region unless given.
    pub endpoint: String,
    /// The bucket's name there.
    pub bucket: String,
    /// The region that requests are signed for; most stores that are not AWS take any.
    pub region: String,
    /// Whether the bucket's name stands in the path (most stores) or in the host name (AWS).
    pub path_style: bool,
    /// Whose requests they are.
    pub credentials: Credentials,
    /// How the store is reached.
    pub connection: Connection,
    /// The key under which the bucket is tried out.
    pub probe_key: String,
}

/// How a store is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// How the store is known and what it is shown.
    pub tls: ClientTls,
    /// A proxy on the way.
    pub proxy: Option<Proxy>,
    /// How much may be sent and received, over all that use the bucket.
    pub bandwidth: Option<Bandwidth>,
}

/// The URL of a store.
enum Endpoint {
    Folder(PathBuf),
    Url(String),
}

impl FromNode for Endpoint {
    const EXPECTED: &'static str = "a URL: https://host, http://host:port or file:///folder";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().unwrap_or_default();
        if let Some(path) = text.strip_prefix("file://").filter(|path| path.starts_with('/')) {
            return Ok(Self::Folder(path.into()));
        }
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
        if host.is_empty() || host.starts_with('/') || text.contains(char::is_whitespace) {
            return Err(mismatch::<Self>(node));
        }
        if host.contains('@') {
            return Err("a URL with a password in it is not taken: give the credentials by reference".into());
        }
        Ok(Self::Url(text.trim_end_matches('/').to_owned()))
    }
}

/// A region goes into AWS' host name.
struct Region(String);

impl FromNode for Region {
    const EXPECTED: &'static str = "a region such as eu-west-3 or GRA";

    fn from_node(node: &Node) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        match node.text() {
            Some(text) if !text.is_empty() && text.chars().all(fits) => Ok(Self(text.to_owned())),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl Bucket {
    /// A bucket, and what is brought down from it.
    pub(super) fn read_with_fetches(mut section: Section<'_>) -> Option<(Self, Vec<fetch::Fetch>)> {
        let fetches = fetch::Fetch::list(&mut section);
        Some((Self::read(section)?, fetches))
    }

    fn read(mut section: Section<'_>) -> Option<Self> {
        if section.has("swift") {
            section.at_most_one(&["swift", "endpoint"]);
            return Self::read_swift(section);
        }
        let endpoint = if section.has("region") && !section.has("endpoint") {
            section.optional("endpoint")
        } else {
            section.required_or_shorthand("endpoint")
        };
        if let Some(Endpoint::Folder(path)) = endpoint {
            section.finish();
            return Some(Self::Folder(path));
        }
        Self::read_s3(section, endpoint)
    }

    fn read_s3(mut section: Section<'_>, endpoint: Option<Endpoint>) -> Option<Self> {
        let named = section.has("endpoint");
        let bucket = section.required::<String>("bucket");
        let region = section.optional::<Region>("region").map_or_else(|| "us-east-1".to_owned(), |region| region.0);
        let endpoint = match endpoint {
            Some(Endpoint::Url(url)) => Some(url),
            _ if !named && section.has("region") => Some(aws_endpoint(&region)),
            _ => None,
        };
        let of_aws = endpoint.as_deref().is_some_and(is_aws);
        // AWS' certificates are for names without further dots.
        let plain_name = bucket.as_ref().is_some_and(|bucket| !bucket.contains('.'));
        let path_style = section.or("path_style", !(of_aws && plain_name));
        let credentials = word_or_section(&mut section, "credentials", Credentials::read);
        if !section.has("credentials") {
            section.problem_with(
                "credentials",
                "the credentials are missing: {env_prefix: NAME} reads NAME_ACCESS_KEY and NAME_SECRET_KEY",
            );
        }
        let probe_key = section.or("probe_key", PROBE_KEY.to_owned());
        let connection = Connection::read(&mut section);
        section.finish();
        let (endpoint, bucket, credentials) = (endpoint?, bucket?, credentials?);
        Some(Self::S3(S3Bucket { endpoint, bucket, region, path_style, credentials, connection, probe_key }))
    }

    fn read_swift(mut section: Section<'_>) -> Option<Self> {
        let swift = word_or_section(&mut section, "swift", swift::Settings::read);
        let bucket = section.required("bucket");
        let connection = Connection::read(&mut section);
        section.finish();
        let swift::Settings { auth, region, interface } = swift?;
        Some(Self::Swift(SwiftBucket { auth, bucket: bucket?, region, interface, connection }))
    }
}

impl Connection {
    /// Reads the keys `tls`, `proxy` and `bandwidth`.
    fn read(section: &mut Section<'_>) -> Self {
        let tls = section.section("tls", ClientTls::read).unwrap_or_default();
        if tls.server_name.is_some() {
            let remedy = "is not for buckets: requests are signed for the endpoint's own name; put that name into it, \
                          and where it does not resolve, into /etc/hosts";
            section.problem_with("tls", &format!("server_name {remedy}"));
        }
        Self { tls, proxy: section.section_or_value("proxy", Proxy::read), bandwidth: section.optional("bandwidth") }
    }
}

impl S3Bucket {
    /// Whether the store is AWS' own.
    pub fn is_aws(&self) -> bool {
        is_aws(&self.endpoint)
    }
}

/// A section of which one word is a form of its own.
fn word_or_section<T>(
    section: &mut Section<'_>,
    key: &'static str,
    read: impl FnOnce(Section<'_>, Option<&str>) -> Option<T>,
) -> Option<T> {
    let word = section.node(key).and_then(Node::text).map(str::to_owned);
    section.section_or_value(key, |section| read(section, word.as_deref()))
}

fn aws_endpoint(region: &str) -> String {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://s3.{region}.{domain}")
}

fn is_aws(endpoint: &str) -> bool {
    let host = endpoint.split_once("://").map_or(endpoint, |(_, host)| host);
    let host = host.split(['/', ':']).next().unwrap_or_default();
    host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
}

#[cfg(test)]
mod tests {
    use super::credentials::Credentials;
    use super::swift::{Identity, Interface, SwiftAuth};
    use super::{Bucket, Connection, S3Bucket};
    use crate::config::Config;
    use crate::config::values::MaybeSecret;
    use crate::secret::SecretRef;

    fn bucket(text: &str) -> Result<Bucket, String> {
        let text = format!("buckets:\n  b: {text}\n");
        match Config::parse(&text, "agent.yaml") {
            Ok(mut config) => Ok(config.buckets.remove("b").expect("read")),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn two_buckets_keep_their_own_credentials() {
        let text = "buckets:\n  internal: {endpoint: 'https://s3.example/', bucket: infra, credentials: {env_prefix: CSI_INTERNAL_EC2_CREDENTIALS}}\n  local: file:///srv/products\n";
        let config = Config::parse(text, "agent.yaml").expect("valid");
        let expected = Bucket::S3(S3Bucket {
            endpoint: "https://s3.example".into(),
            bucket: "infra".into(),
            region: "us-east-1".into(),
            path_style: true,
            credentials: Credentials::EnvPrefix("CSI_INTERNAL_EC2_CREDENTIALS".into()),
            connection: Connection::default(),
            probe_key: ".hostwright-probe".into(),
        });
        assert_eq!(config.buckets["internal"], expected);
        assert_eq!(config.buckets["local"], Bucket::Folder("/srv/products".into()));
    }

    #[test]
    fn a_bucket_without_credentials_says_how_to_give_them() {
        let error = bucket("{endpoint: 'https://s3.example', bucket: x}").expect_err("refused");
        assert!(error.contains("env_prefix"), "{error}");
    }

    #[test]
    fn aws_needs_no_endpoint_and_has_the_bucket_in_the_host_name() {
        let read =
            |name: &str| match bucket(&format!("{{region: eu-west-3, bucket: {name}, credentials: instance_role}}")) {
                Ok(Bucket::S3(s3)) => (s3.endpoint.clone(), s3.path_style, s3.is_aws(), s3.credentials),
                other => panic!("{other:?}"),
            };
        let endpoint = "https://s3.eu-west-3.amazonaws.com".to_owned();
        assert_eq!(read("plain"), (endpoint.clone(), false, true, Credentials::InstanceRole));
        assert_eq!(read("with.dots"), (endpoint, true, true, Credentials::InstanceRole));
    }

    #[test]
    fn credentials_have_one_source() {
        for (text, expected) in [
            ("{env_prefix: A_}", Credentials::EnvPrefix("A".into())),
            ("{file: /etc/keys}", Credentials::Document(SecretRef::File("/etc/keys".into()))),
            ("{credential: keys}", Credentials::Document(SecretRef::Credential("keys".into()))),
            ("{profile: dev}", Credentials::Profile { name: "dev".into(), file: None }),
            ("container_role", Credentials::ContainerRole),
            ("anonymous", Credentials::Anonymous),
        ] {
            let read = bucket(&format!("{{endpoint: 'http://h', bucket: x, credentials: {text}}}")).expect(text);
            assert!(matches!(read, Bucket::S3(s3) if s3.credentials == expected), "{text}");
        }
        for (text, words) in [
            ("role", "instance_role, container_role"),
            ("{}", "one of the keys"),
            ("{env_prefix: A, file: /x}", "only one of the keys"),
            ("{access_key: {env: A}}", "\"secret_key\" is missing"),
            ("{env_prefx: A}", "did you mean \"env_prefix\"?"),
        ] {
            let error = bucket(&format!("{{endpoint: 'http://h', bucket: x, credentials: {text}}}")).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn swift_is_reached_by_keystone_by_a_cloud_by_the_environment_or_by_itself() {
        let keystone = "{swift: {auth_url: 'https://k/v3/', region: GRA, application_credential: {id: a1, secret: {credential: s}}}, bucket: images}";
        let Ok(Bucket::Swift(read)) = bucket(keystone) else { panic!("{:?}", bucket(keystone)) };
        let identity = Identity::ApplicationCredential {
            id: MaybeSecret::Text("a1".into()),
            secret: SecretRef::Credential("s".into()),
        };
        assert_eq!(read.auth, SwiftAuth::Keystone { auth_url: "https://k/v3".into(), identity });
        assert_eq!((read.region.as_deref(), read.interface), (Some("GRA"), Interface::Public));
        for text in [
            "{swift: env, bucket: x}",
            "{swift: {cloud: ovh, clouds_file: /etc/openstack/clouds.yaml}, bucket: x}",
            "{swift: {auth_url: 'http://k', user: u, password: {env: P}, project: p}, bucket: x, bandwidth: 1MiB}",
            "{swift: {auth_url: 'http://s/auth/v1.0', user: 'a:u', key: {env: K}}, bucket: x, proxy: 'http://p:1'}",
        ] {
            assert!(matches!(bucket(text), Ok(Bucket::Swift(_))), "{text}: {:?}", bucket(text));
        }
        for (text, words) in [
            ("{swift: x, bucket: x}", "expected env or a mapping"),
            ("{swift: {}, bucket: x}", "cloud, auth_url"),
            ("{swift: {auth_url: 'http://k'}, bucket: x}", "application_credential, password, key"),
            ("{swift: {auth_url: 'http://k', password: {env: P}}, bucket: x}", "\"user\" is missing"),
            ("{swift: {cloud: c}, endpoint: 'http://h', bucket: x}", "only one of the keys"),
            ("{swift: {cloud: c, colour: red}, bucket: x}", "colour: unknown key"),
            ("{swift: {cloud: c}}", "\"bucket\" is missing"),
        ] {
            let error = bucket(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
