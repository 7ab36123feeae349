use crate::config::proxy::Proxy;
use crate::config::section::Section;
use crate::config::tls::ClientTls;
use crate::config::values::{FromNode, MaybeSecret, mismatch};
use crate::secret::SecretRef;
use crate::yaml::Node;
use std::collections::BTreeMap;
use std::time::Duration;

/// A server behind HTTP: where it is, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its URL, without a slash at the end.
    pub url: HttpUrl,
    /// How it is known, where the URL is https.
    pub tls: ClientTls,
    /// The way to it; what HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY of the environment say unless given.
    pub proxy: Option<Proxy>,
    /// Sent with every request.
    pub headers: BTreeMap<String, MaybeSecret>,
    /// Who we are to it.
    pub auth: Option<Auth>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How bodies are sent.
    pub compress: Compress,
}

/// Who we are to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// User and password (RFC 7617).
    Basic(MaybeSecret, SecretRef),
    /// `Authorization: Bearer …` (RFC 6750).
    Bearer(SecretRef),
    /// `Authorization: ApiKey …`, as Elasticsearch takes it.
    ApiKey(SecretRef),
}

/// How bodies are sent (Content-Encoding, RFC 9110, 8.4). Not compressed unless asked for: on the way to a platform
/// nearby, CPU time of the host is worth more than bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compress {
    /// As they are.
    #[default]
    None,
    /// RFC 1952, at its fastest level: about a seventh of the bytes.
    Gzip,
    /// RFC 8878, at its fastest level: fewer bytes for less CPU time than gzip, where the platform takes it.
    Zstd,
}

impl FromNode for Compress {
    const EXPECTED: &'static str = "none, gzip or zstd";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("none") => Ok(Self::None),
            Some("gzip") => Ok(Self::Gzip),
            Some("zstd") => Ok(Self::Zstd),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

/// An `http://` or `https://` URL without a password in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl(pub String);

impl FromNode for HttpUrl {
    const EXPECTED: &'static str = "a URL such as https://logs.example.org:9200";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().unwrap_or_default();
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err("a URL with a password in it is not taken: give it by reference, \
                        such as basic: {user: …, password: {credential: NAME}}"
                .into());
        }
        let graphic = text.bytes().all(|byte| byte.is_ascii_graphic());
        if authority.is_empty() || authority.starts_with(':') || !graphic || text.contains('#') {
            return Err(mismatch::<Self>(node));
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

/// Names and values of header fields.
#[derive(Default)]
struct Headers(BTreeMap<String, MaybeSecret>);

/// What the client itself says of its requests.
const OURS: [&str; 5] = ["content-encoding", "content-length", "content-type", "transfer-encoding", "connection"];
/// Parts of names of header fields whose values are for nobody's eyes.
const SECRET: [&str; 6] = ["authorization", "cookie", "token", "secret", "key", "password"];

impl FromNode for Headers {
    const EXPECTED: &'static str = "header fields such as {X-Team: web, X-Token: {credential: NAME}}";

    fn from_node(node: &Node) -> Result<Self, String> {
        let mapping = node.mapping().ok_or_else(|| mismatch::<Self>(node))?;
        let mut headers = BTreeMap::new();
        for entry in &mapping.entries {
            let name = entry.key.to_ascii_lowercase();
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
                return Err(format!("{:?} cannot be a header field's name", entry.key));
            }
            if OURS.contains(&name.as_str()) {
                return Err(format!("{:?} is set with each request, by what it is", entry.key));
            }
            let value =
                MaybeSecret::from_node(&entry.value).map_err(|message| format!("{:?}: {message}", entry.key))?;
            if let MaybeSecret::Text(text) = &value {
                if SECRET.iter().any(|part| name.contains(part)) {
                    return Err(format!(
                        "the value of {:?} is a secret: give it by reference, such as {{credential: NAME}}",
                        entry.key
                    ));
                }
                if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
                    return Err(format!("the value of {:?} is not printable ASCII", entry.key));
                }
            }
            headers.insert(entry.key.clone(), value);
        }
        Ok(Self(headers))
    }

    fn secrets(&self) -> Vec<SecretRef> {
        self.0.values().flat_map(MaybeSecret::secrets).collect()
    }
}

impl Endpoint {
    /// Reads the keys `url`, `tls`, `proxy`, `headers`, `basic`, `bearer`, `api_key`, `timeout` and `compress`, of which
    /// the platform takes the ways in `compressions`; the first of them is the default.
    pub(crate) fn read(section: &mut Section<'_>, compressions: &[Compress]) -> Option<Self> {
        let url = section.required::<HttpUrl>("url");
        Self::read_with_url(section, url, compressions)
    }

    /// The same for a platform whose URL need not be given.
    pub(crate) fn read_with_url(
        section: &mut Section<'_>,
        url: Option<HttpUrl>,
        compressions: &[Compress],
    ) -> Option<Self> {
        let tls = section.section("tls", ClientTls::read).unwrap_or_default();
        let proxy = section.section_or_value("proxy", Proxy::read);
        let is_plain = url.as_ref().is_some_and(|url| url.0.starts_with("http://"));
        if is_plain && tls != ClientTls::default() {
            section.problem_with("tls", "there is no TLS with an http:// URL; should it be https://?");
        }
        if proxy.is_some() && tls.server_name.is_some() {
            section.problem_with(
                "proxy",
                "tls.server_name cannot be used behind a proxy: it asks for the name in the URL",
            );
        }
        let headers = section.or("headers", Headers::default()).0;
        let auth = Auth::read(section);
        let timeout = section.or("timeout", Duration::from_secs(60));
        if !(Duration::from_secs(1)..=Duration::from_secs(600)).contains(&timeout) {
            section.problem_with("timeout", "between 1s and 10m: so long a request waits before it is sent once more");
        }
        let compress = section.or("compress", compressions.first().copied().unwrap_or_default());
        if !compressions.contains(&compress) {
            section.problem_with("compress", "the platform does not take this");
        }
        Some(Self { url: url?, tls, proxy, headers, auth, timeout, compress })
    }
}

impl Auth {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let basic = section.section("basic", |mut basic| {
            let (user, password) = (basic.required("user"), basic.required("password"));
            basic.finish();
            Some(Self::Basic(user?, password?))
        });
        let bearer = section.optional("bearer").map(Self::Bearer);
        let api_key = section.optional("api_key").map(Self::ApiKey);
        let given: Vec<_> = [basic, bearer, api_key].into_iter().flatten().collect();
        if given.len() > 1 {
            section.problem(section.place(), "only one of the keys basic, bearer, api_key can be given");
        }
        given.into_iter().next()
    }
}

#[cfg(test)]
mod tests {
    use super::{Auth, Compress, Endpoint};
    use crate::config::proxy::Kind;
    use crate::config::section::{Problems, Section};
    use crate::config::values::MaybeSecret;
    use crate::secret::SecretRef;
    use crate::yaml::{self, Duplicates};
    use std::time::Duration;

    fn read(text: &str) -> Result<Endpoint, String> {
        let document = yaml::load(text, Duplicates::Refuse).expect("YAML");
        let problems = Problems::default();
        let mut section = Section::open(&document.root, "o", &problems).expect("a mapping");
        let endpoint = Endpoint::read(&mut section, &[Compress::None, Compress::Gzip]);
        section.finish();
        let problems: Vec<_> = problems.into_sorted().iter().map(ToString::to_string).collect();
        if problems.is_empty() { endpoint.ok_or_else(String::new) } else { Err(problems.join("\n")) }
    }

    #[test]
    fn a_url_is_enough() {
        let endpoint = read("url: https://logs.example.org:9200/\n").expect("valid");
        assert_eq!(endpoint.url.0, "https://logs.example.org:9200");
        assert_eq!(
            (endpoint.timeout, endpoint.compress, endpoint.auth),
            (Duration::from_secs(60), Compress::None, None)
        );
    }

    #[test]
    fn secrets_are_references() {
        let text = "url: https://x\nbasic: {user: u, password: {env: P}}\nheaders: {X-Token: {credential: t}, X-Team: a b}\nproxy: {url: 'socks5h://p:1', user: a, password: {env: Q}}\ncompress: gzip\n";
        let endpoint = read(text).expect("valid");
        assert_eq!(endpoint.auth, Some(Auth::Basic(MaybeSecret::Text("u".into()), SecretRef::Environment("P".into()))));
        assert_eq!(endpoint.headers["X-Token"], MaybeSecret::Secret(SecretRef::Credential("t".into())));
        let proxy = endpoint.proxy.expect("a proxy");
        assert_eq!((proxy.kind, proxy.address.port(), proxy.login.is_some()), (Kind::Socks5, 1, true));
    }

    #[test]
    fn what_cannot_work_or_would_show_a_secret_is_refused() {
        for (text, part) in [
            ("url: https://u:hunter2@x\n", "a URL with a password"),
            ("url: ftp://x\n", "expected a URL such as"),
            ("url: http://x\ntls: {ca: /ca}\n", "there is no TLS with an http:// URL"),
            ("url: https://x\nbearer: hunter2\n", "expected a reference to a secret"),
            ("url: https://x\nbearer: {env: A}\napi_key: {env: B}\n", "only one of the keys"),
            ("url: https://x\nheaders: {Authorization: hunter2}\n", "the value of \"Authorization\" is a secret"),
            ("url: https://x\nheaders: {Content-Type: a}\n", "is set with each request"),
            ("url: https://x\ncompress: zstd\n", "the platform does not take this"),
            ("url: https://x\ntimeout: 0s\n", "between 1s and 10m"),
            ("url: https://x\nproxy: 'http://u:hunter2@p:1'\n", "with a password in it is not taken"),
            ("url: https://x\nproxy: {url: 'http://p:1', user: u}\n", "the password that belongs to it is missing"),
        ] {
            let message = read(text).expect_err(text);
            assert!(message.contains(part) && !message.contains("hunter2"), "{text}: {message}");
        }
    }
}
