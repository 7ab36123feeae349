//! The file under `metrics.web_config`: the `web-config.yml` of Prometheus' exporter-toolkit, taken unchanged.
//!
//! In: the file, in which relative paths are seen from its own folder. Out: [`WebConfig`], or every problem that it has.
//! Nothing is kept; whether the files that it names can be used is for [`crate::tls`] to say.

/// Durations as Go writes them.
mod duration;
/// Headers that may be put on answers.
mod headers;
/// Certificates, clients, versions.
mod tls;
/// Users and what became of their passwords.
mod users;

pub use tls::{ClientAuth, Pem, ServerTls, Version};

use crate::config::ConfigError;
use crate::config::section::{Problem, Problems, Section};
use crate::secret::Secret;
use crate::yaml::{self, Duplicates};
use duration::GoDuration;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Who may ask, over what, how often.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WebConfig {
    /// Absent: plain HTTP.
    pub tls: Option<ServerTls>,
    /// Whether HTTP/2 is offered; over TLS alone.
    pub http2: bool,
    /// On every answer.
    pub headers: Vec<(&'static str, String)>,
    /// Who may ask: names with passwords as bcrypt has hashed them. None: everybody.
    pub users: BTreeMap<String, Secret>,
    /// How often may be asked.
    pub rate_limit: Option<RateLimit>,
}

/// A bucket of tokens, of which each request takes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// After this a token comes in.
    pub interval: Duration,
    /// As many fit in.
    pub burst: u64,
}

impl WebConfig {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// It cannot be read, or has problems.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: name.clone(), source })?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("/")))
            .map_err(|problems| ConfigError::Invalid { name, problems })
    }

    fn parse(text: &str, folder: &Path) -> Result<Self, Vec<Problem>> {
        let document = yaml::load(text, Duplicates::Refuse)
            .map_err(|error| vec![Problem { place: error.place, path: String::new(), message: error.message }])?;
        let problems = Problems::default();
        let config = Section::open(&document.root, "", &problems).map(|root| Self::read_section(root, folder));
        match (config, problems.into_sorted()) {
            (Some(config), problems) if problems.is_empty() => Ok(config),
            (_, problems) => Err(problems),
        }
    }

    fn read_section(mut root: Section<'_>, folder: &Path) -> Self {
        let tls = root.section("tls_server_config", |section| ServerTls::read(section, folder));
        let http = root.section("http_server_config", |mut section| {
            let http2 = section.or("http2", true);
            let headers = headers::read(&mut section);
            section.finish();
            Some((http2, headers))
        });
        let (http2, headers) = http.unwrap_or((true, Vec::new()));
        let users = users::read(&mut root);
        let rate_limit = root.section("rate_limit", RateLimit::read);
        root.finish();
        Self { tls: tls.flatten(), http2, headers, users, rate_limit: rate_limit.flatten() }
    }

    /// Whether it says nothing at all.
    pub fn is_empty(&self) -> bool {
        self.tls.is_none() && self.headers.is_empty() && self.users.is_empty() && self.rate_limit.is_none()
    }
}

impl RateLimit {
    /// None where the interval is nothing: then there is no limit.
    fn read(mut section: Section<'_>) -> Option<Option<Self>> {
        let interval = section.or("interval", GoDuration(Duration::ZERO)).0;
        let burst = section.or("burst", 0);
        section.finish();
        Some((!interval.is_zero()).then_some(Self { interval, burst }))
    }
}

#[cfg(test)]
mod tests {
    use super::{ClientAuth, Pem, RateLimit, Version, WebConfig};
    use std::path::Path;
    use std::time::Duration;

    const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

    fn parse(text: &str) -> Result<WebConfig, String> {
        let problems =
            |problems: Vec<super::Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        WebConfig::parse(text, Path::new("/etc/node")).map_err(problems)
    }

    #[test]
    fn every_key_of_the_original_is_taken_and_paths_are_seen_from_the_files_folder() {
        let text = format!(
            "tls_server_config:\n  cert_file: server.crt\n  key_file: /keys/server.key\n  client_auth_type: RequireAndVerifyClientCert\n  \
             client_ca_file: ca.crt\n  client_allowed_sans: [prometheus.example.org]\n  min_version: TLS13\n  max_version: TLS13\n  \
             cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n  prefer_server_cipher_suites: false\n  \
             curve_preferences: [X25519]\nhttp_server_config:\n  http2: false\n  headers: {{X-Frame-Options: deny}}\n\
             basic_auth_users:\n  prometheus: {HASH}\n  'o p': {HASH}\nrate_limit: {{interval: 1.5s, burst: 7}}\n"
        );
        let config = parse(&text).expect("valid");
        let tls = config.tls.expect("TLS");
        assert_eq!(tls.certificate, Pem::File("/etc/node/server.crt".into()));
        assert_eq!(tls.key, Pem::File("/keys/server.key".into()));
        assert_eq!(tls.client_ca, Some(Pem::File("/etc/node/ca.crt".into())));
        assert_eq!((tls.client_auth, tls.min_version), (ClientAuth::RequireAndVerify, Version::Tls13));
        assert_eq!(tls.client_allowed_sans.as_deref(), Some(&["prometheus.example.org".to_owned()][..]));
        assert!(!tls.prefer_server_cipher_suites && !config.http2);
        assert_eq!(config.headers, [("X-Frame-Options", "deny".to_owned())]);
        assert_eq!(config.users.keys().collect::<Vec<_>>(), ["o p", "prometheus"]);
        assert_eq!(config.rate_limit, Some(RateLimit { interval: Duration::from_millis(1500), burst: 7 }));
    }

    #[test]
    fn the_example_in_the_guide_is_valid() {
        let guide = include_str!("../../../../../../docs/metrics.md");
        let block = guide.split("```\n").find(|block| block.starts_with("tls_server_config:")).expect("an example");
        let config = parse(block).expect("valid");
        assert!(config.tls.is_some() && config.users.len() == 1 && config.rate_limit.is_some());
    }

    #[test]
    fn a_file_that_says_nothing_is_plain_http_for_everybody() {
        for text in ["", "{}", "tls_server_config:\nbasic_auth_users:\n", "tls_server_config: {min_version: TLS13}"] {
            let config = parse(text).expect("valid");
            assert!(config.is_empty() && config.http2, "{text:?}: {config:?}");
        }
    }

    #[test]
    fn every_problem_is_told_and_no_secret_is_shown() {
        let text = "tls_server_config: {cert_file: a, client_auth_type: Maybe, mim_version: TLS12}\n\
                    basic_auth_users: {bob: hunter2}\nhttp_server_config: {headers: {Server: x, X-Frame-Options: no}}\n\
                    rate_limit: {interval: 5}\n";
        let told = parse(text).expect_err("refused");
        for part in [
            "tls_server_config: one of the keys key, key_file is needed",
            "tls_server_config.client_auth_type: expected NoClientCert, RequestClientCert,",
            "tls_server_config.mim_version: unknown key; did you mean \"min_version\"?",
            "basic_auth_users.bob: expected a password as bcrypt has hashed it",
            "http_server_config.headers.Server: this header cannot be configured",
            "http_server_config.headers.X-Frame-Options: expected deny or sameorigin, found \"no\"",
        ] {
            assert!(told.contains(part), "{part} is not in\n{told}");
        }
        assert!(!told.contains("hunter2"), "{told}");
    }

    #[test]
    fn nothing_of_a_key_or_password_is_in_what_a_log_would_show() {
        let text = format!("tls_server_config: {{cert: PUBLIC, key: PRIVATE}}\nbasic_auth_users: {{a: {HASH}}}\n");
        let shown = format!("{:?}", parse(&text).expect("valid"));
        assert!(!shown.contains("PRIVATE") && !shown.contains("$2y$"), "{shown}");
    }

    #[test]
    fn names_of_clients_are_refused_where_no_certificate_is_demanded_and_an_authority_where_none_is_asked_for() {
        let sans =
            "tls_server_config: {cert: a, key: b, client_auth_type: VerifyClientCertIfGiven, client_allowed_sans: [x]}";
        assert!(parse(sans).expect_err("refused").contains("client_allowed_sans: this needs client_auth_type"));
        let authority = "tls_server_config: {cert: a, key: b, client_ca_file: ca}";
        assert!(parse(authority).expect_err("refused").contains("client_ca_file: this needs client_auth_type"));
    }
}
