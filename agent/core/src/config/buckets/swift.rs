use super::Connection;
use crate::config::section::Section;
use crate::config::values::{FromNode, MaybeSecret, SecretFile, mismatch};
use crate::secret::SecretRef;
use crate::yaml::Node;
use std::path::PathBuf;

/// A container behind OpenStack Swift's own API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwiftBucket {
    /// Who is asked for a token, and as whom.
    pub auth: SwiftAuth,
    /// The container.
    pub bucket: String,
    /// The region of the catalogue; needed where there are several.
    pub region: Option<String>,
    /// Which of the catalogue's endpoints is used.
    pub interface: Interface,
    /// How the store is reached.
    pub connection: Connection,
}

impl SwiftBucket {
    /// Where the container is, the same for two names of one.
    pub fn place(&self) -> String {
        let (of, region) = (&self.bucket, self.region.as_deref().unwrap_or_default());
        let whose = match &self.auth {
            SwiftAuth::Cloud { name, .. } => format!("cloud {name}"),
            SwiftAuth::Environment => "the environment's cloud".into(),
            SwiftAuth::V1 { auth_url, user, .. } => format!("{auth_url} {user}"),
            SwiftAuth::Keystone { auth_url, identity: Identity::Password { project, .. } } => {
                format!("{auth_url} {project}")
            }
            SwiftAuth::Keystone { auth_url, identity: Identity::ApplicationCredential { .. } } => auth_url.clone(),
        };
        let region = if region.is_empty() { String::new() } else { format!(" {region}") };
        format!("swift:{whose}{region}/{of}")
    }
}

/// Who gives the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwiftAuth {
    /// A cloud of a `clouds.yaml`.
    Cloud {
        /// Its name.
        name: String,
        /// The file; `OS_CLIENT_CONFIG_FILE` or the places where OpenStack's client looks unless given.
        file: Option<PathBuf>,
    },
    /// The variables `OS_…` of the environment.
    Environment,
    /// Keystone v3.
    Keystone {
        /// Its URL, with or without `/v3`.
        auth_url: String,
        /// As whom.
        identity: Identity,
    },
    /// Swift's own authentication (tempauth).
    V1 {
        /// Its URL: `https://host/auth/v1.0`.
        auth_url: String,
        /// The user: `account:user`.
        user: String,
        /// The key.
        key: SecretRef,
    },
}

/// As whom Keystone is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// An application credential.
    ApplicationCredential {
        /// Its id.
        id: MaybeSecret,
        /// Its secret.
        secret: SecretRef,
    },
    /// A user in a project.
    Password {
        /// The user's name.
        user: String,
        /// The password.
        password: SecretRef,
        /// The project's name.
        project: String,
        /// The user's domain, by name.
        user_domain: String,
        /// The project's domain, by name.
        project_domain: String,
    },
}

/// The network that a catalogue's endpoint is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// For everybody.
    Public,
    /// Inside the cloud.
    Internal,
    /// For operators.
    Admin,
}

impl Interface {
    /// The catalogue's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Admin => "admin",
        }
    }

    /// Of the catalogue's word, or of the older one (`publicURL`).
    pub fn of_word(word: &str) -> Option<Self> {
        match word.trim_end_matches("URL") {
            "public" => Some(Self::Public),
            "internal" => Some(Self::Internal),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }
}

impl FromNode for Interface {
    const EXPECTED: &'static str = "public, internal or admin";

    fn from_node(node: &Node) -> Result<Self, String> {
        node.text().and_then(Self::of_word).ok_or_else(|| mismatch::<Self>(node))
    }
}

struct AuthUrl(String);

impl FromNode for AuthUrl {
    const EXPECTED: &'static str = "the URL of Keystone such as https://auth.cloud.ovh.net/v3";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().unwrap_or_default();
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
        if host.is_empty() || host.starts_with('/') || text.contains(char::is_whitespace) || host.contains('@') {
            return Err(mismatch::<Self>(node));
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

/// What `swift:` says; the container stands beside it.
pub(super) struct Settings {
    pub(super) auth: SwiftAuth,
    pub(super) region: Option<String>,
    pub(super) interface: Interface,
}

impl Settings {
    /// Reads a mapping, or the word `env`.
    pub(super) fn read(mut section: Section<'_>, word: Option<&str>) -> Option<Self> {
        match word {
            Some("env") => {
                let interface = Interface::Public;
                return Some(Self { auth: SwiftAuth::Environment, region: None, interface });
            }
            Some(_) => {
                let message = "expected env or a mapping such as {cloud: NAME} or {auth_url: https://…, application_credential: {id: …, secret: {credential: NAME}}}";
                section.problem(section.place(), message);
                return None;
            }
            None => {}
        }
        section.exactly_one(&["cloud", "auth_url"]);
        let region = section.optional("region");
        let interface = section.or("interface", Interface::Public);
        let auth = if section.has("cloud") { Self::cloud(&mut section) } else { Self::own(&mut section) };
        section.finish();
        Some(Self { auth: auth?, region, interface })
    }

    fn cloud(section: &mut Section<'_>) -> Option<SwiftAuth> {
        let name = section.optional("cloud");
        let file = section.optional::<SecretFile>("clouds_file").map(|path| path.0);
        Some(SwiftAuth::Cloud { name: name?, file })
    }

    fn own(section: &mut Section<'_>) -> Option<SwiftAuth> {
        let auth_url = section.optional::<AuthUrl>("auth_url").map(|url| url.0);
        if section.has("auth_url") {
            section.exactly_one(&["application_credential", "password", "key"]);
        }
        if section.has("key") {
            let (user, key) = (section.required("user"), section.optional("key"));
            return Some(SwiftAuth::V1 { auth_url: auth_url?, user: user?, key: key? });
        }
        let credential = section.section("application_credential", |mut section| {
            let (id, secret) = (section.required("id"), section.required("secret"));
            section.finish();
            Some(Identity::ApplicationCredential { id: id?, secret: secret? })
        });
        if section.has("application_credential") {
            return Some(SwiftAuth::Keystone { auth_url: auth_url?, identity: credential? });
        }
        let needed = section.has("password");
        let password = section.optional("password");
        let mut text = |key| if needed { section.required::<String>(key) } else { section.optional(key) };
        let (user, project) = (text("user"), text("project"));
        let user_domain = section.or("user_domain", "Default".to_owned());
        let project_domain = section.or("project_domain", user_domain.clone());
        let identity =
            Identity::Password { user: user?, password: password?, project: project?, user_domain, project_domain };
        Some(SwiftAuth::Keystone { auth_url: auth_url?, identity })
    }
}
