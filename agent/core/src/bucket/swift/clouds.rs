use crate::bucket::error::Reason;
use crate::config::buckets::SwiftBucket;
use crate::config::buckets::swift::{Identity, Interface, SwiftAuth};
use crate::secret::{Secret, SecretError, SecretRef};
use crate::yaml::{self, Duplicates, Node};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// All that is needed for a token.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) url: String,
    pub(super) proof: Proof,
    pub(super) region: Option<String>,
    pub(super) interface: Interface,
    /// The authority that a cloud's description names.
    pub(super) ca: Option<PathBuf>,
}

#[derive(Debug)]
pub(super) enum Proof {
    ApplicationCredential { id: Secret, secret: Secret },
    Password { user: Named, password: Secret, user_domain: Named, project: Named, project_domain: Named },
    Own { user: String, key: Secret },
}

/// A user, project or domain, as Keystone takes it.
#[derive(Clone, Debug)]
pub(super) enum Named {
    Id(String),
    Name(String),
}

impl Named {
    fn json(&self) -> Value {
        match self {
            Self::Id(id) => json!({ "id": id }),
            Self::Name(name) => json!({ "name": name }),
        }
    }

    /// What has an id needs no domain.
    pub(super) fn with_domain(&self, domain: &Self, more: BTreeMap<&str, &str>) -> Value {
        let mut value = self.json();
        if matches!(self, Self::Name(_)) {
            value["domain"] = domain.json();
        }
        for (key, text) in more {
            value[key] = json!(text);
        }
        value
    }
}

/// Reads what the configuration refers to, so that what is missing is said at once.
pub(super) fn login(settings: &SwiftBucket) -> Result<Login, Reason> {
    let resolve = |reference: &SecretRef| reference.resolve().map_err(Reason::Credentials);
    let own = |url: &str, proof| Login {
        url: url.to_owned(),
        proof,
        region: settings.region.clone(),
        interface: settings.interface,
        ca: None,
    };
    Ok(match &settings.auth {
        SwiftAuth::V1 { auth_url, user, key } => own(auth_url, Proof::Own { user: user.clone(), key: resolve(key)? }),
        SwiftAuth::Keystone { auth_url, identity: Identity::ApplicationCredential { id, secret } } => {
            let id = id.resolve().map_err(Reason::Credentials)?;
            own(auth_url, Proof::ApplicationCredential { id, secret: resolve(secret)? })
        }
        SwiftAuth::Keystone {
            auth_url,
            identity: Identity::Password { user, password, project, user_domain, project_domain },
        } => {
            let name = |name: &String| Named::Name(name.clone());
            let (user, project) = (name(user), name(project));
            let (user_domain, project_domain) = (name(user_domain), name(project_domain));
            let password = resolve(password)?;
            own(auth_url, Proof::Password { user, password, user_domain, project, project_domain })
        }
        SwiftAuth::Environment => match std::env::var("OS_CLOUD") {
            Ok(name) => of_cloud(&name, None, settings)?,
            Err(_) => of_environment(settings)?,
        },
        SwiftAuth::Cloud { name, file } => of_cloud(name, file.as_deref(), settings)?,
    })
}

fn of_environment(settings: &SwiftBucket) -> Result<Login, Reason> {
    let variable = |name: &str| std::env::var(format!("OS_{}", name.to_ascii_uppercase())).ok();
    described("the environment", &variable, settings).map_err(|error| match error {
        Missing::Key(key) => Reason::Credentials(SecretError::Unset(format!("OS_{}", key.to_ascii_uppercase()))),
        Missing::Other(reason) => reason,
    })
}

fn of_cloud(name: &str, file: Option<&Path>, settings: &SwiftBucket) -> Result<Login, Reason> {
    let (path, root) = clouds_file(file)?;
    let place = format!("the cloud {name:?} in {}", path.display());
    let failed = |why: &str| Reason::Keys { place: place.clone(), why: why.to_owned() };
    let cloud =
        child(child(Some(&root), "clouds"), name).ok_or_else(|| failed("there is no such cloud in the file"))?;
    // What is secret may stand in a file of its own beside it, as OpenStack's client has it.
    let secure = std::fs::read_to_string(path.with_file_name("secure.yaml")).ok();
    let secure = secure.and_then(|text| yaml::load(&text, Duplicates::Refuse).ok()).map(|document| document.root);
    let secure = child(child(secure.as_ref(), "clouds"), name);
    let look_up = |key: &str| {
        let of = |cloud: Option<&Node>| {
            let found = child(child(cloud, "auth"), key).or_else(|| child(cloud, key));
            found.and_then(Node::text).map(str::to_owned)
        };
        of(secure).or_else(|| of(Some(cloud)))
    };
    described(&place, &look_up, settings).map_err(|error| match error {
        Missing::Key(key) => failed(&format!("it has no {key}")),
        Missing::Other(reason) => reason,
    })
}

fn clouds_file(file: Option<&Path>) -> Result<(PathBuf, Node), Reason> {
    let named = file.map(Path::to_owned).or_else(|| std::env::var_os("OS_CLIENT_CONFIG_FILE").map(PathBuf::from));
    let usual = || {
        let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".config/openstack/clouds.yaml"));
        home.into_iter().chain([PathBuf::from("/etc/openstack/clouds.yaml")]).find(|path| path.exists())
    };
    let path = named.or_else(usual).ok_or_else(|| Reason::Keys {
        place: "clouds.yaml".into(),
        why: "it is neither in ~/.config/openstack nor in /etc/openstack; name it with clouds_file:".into(),
    })?;
    let place = path.display().to_string();
    let text = std::fs::read_to_string(&path)
        .map_err(|source| Reason::Credentials(SecretError::Read { path: path.clone(), source }))?;
    let document = yaml::load(&text, Duplicates::Refuse)
        .map_err(|error| Reason::Keys { place, why: format!("{}: {}", error.place, error.message) })?;
    Ok((path, document.root))
}

fn child<'n>(node: Option<&'n Node>, key: &str) -> Option<&'n Node> {
    node?.mapping()?.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
}

enum Missing {
    Key(&'static str),
    Other(Reason),
}

/// A login of a description by OpenStack's names, whichever form it has.
fn described(place: &str, look_up: &dyn Fn(&str) -> Option<String>, settings: &SwiftBucket) -> Result<Login, Missing> {
    let find = |key: &str| look_up(key).filter(|text| !text.is_empty());
    let need = |key: &'static str| find(key).ok_or(Missing::Key(key));
    let named = |id: &str, name: &str| find(id).map(Named::Id).or_else(|| find(name).map(Named::Name));
    let domain = |id: &str, name: &str| {
        let usual = || find("default_domain").map_or_else(|| Named::Id("default".into()), Named::Name);
        named(id, name).unwrap_or_else(usual)
    };
    let url = need("auth_url")?;
    let proof = if let Some(id) = find("application_credential_id") {
        let secret = Secret::new(need("application_credential_secret")?);
        Proof::ApplicationCredential { id: Secret::new(id), secret }
    } else {
        let project = named("project_id", "project_name").or_else(|| named("tenant_id", "tenant_name"));
        Proof::Password {
            user: named("user_id", "username").ok_or(Missing::Key("username"))?,
            password: Secret::new(need("password")?),
            user_domain: domain("user_domain_id", "user_domain_name"),
            project: project.ok_or(Missing::Key("project_name"))?,
            project_domain: domain("project_domain_id", "project_domain_name"),
        }
    };
    let interface = match find("interface").or_else(|| find("endpoint_type")) {
        Some(word) => Interface::of_word(&word).ok_or_else(|| {
            let why = format!("the interface {word:?} is none; it is public, internal or admin");
            Missing::Other(Reason::Keys { place: place.to_owned(), why })
        })?,
        None => settings.interface,
    };
    let region = settings.region.clone().or_else(|| find("region_name"));
    Ok(Login { url, proof, region, interface, ca: find("cacert").map(PathBuf::from) })
}

#[cfg(test)]
mod tests {
    use super::{Proof, login};
    use crate::config::buckets::Connection;
    use crate::config::buckets::swift::{Interface, SwiftAuth, SwiftBucket};

    fn read(text: &str, secure: Option<&str>) -> Result<super::Login, String> {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("clouds.yaml");
        std::fs::write(&file, text).expect("written");
        if let Some(secure) = secure {
            std::fs::write(folder.path().join("secure.yaml"), secure).expect("written");
        }
        let settings = SwiftBucket {
            auth: SwiftAuth::Cloud { name: "ovh".into(), file: Some(file) },
            bucket: "b".into(),
            region: None,
            interface: Interface::Public,
            connection: Connection::default(),
        };
        login(&settings).map_err(|reason| reason.to_string())
    }

    #[test]
    fn a_cloud_is_read_as_openstacks_client_reads_it() {
        let text = "clouds:\n  ovh:\n    auth: {auth_url: 'https://k/v3', username: u, password: hunter2, project_id: p1, user_domain_name: Default}\n    region_name: GRA\n    interface: internal\n    cacert: /etc/ca.pem\n";
        let login = read(text, None).expect("read");
        assert_eq!(
            (login.url.as_str(), login.region.as_deref(), login.interface),
            ("https://k/v3", Some("GRA"), Interface::Internal)
        );
        let Proof::Password { user, user_domain, project, project_domain, .. } = &login.proof else {
            panic!("{login:?}")
        };
        let user = user.with_domain(user_domain, [("password", "x")].into()).to_string();
        assert_eq!(user, r#"{"name":"u","domain":{"name":"Default"},"password":"x"}"#);
        assert_eq!(project.with_domain(project_domain, [].into()).to_string(), r#"{"id":"p1"}"#);
        assert!(!format!("{login:?}").contains("hunter2"));
        let text = "clouds:\n  ovh:\n    auth_type: v3applicationcredential\n    auth: {auth_url: 'https://k', application_credential_id: a}\n";
        let secure = "clouds: {ovh: {auth: {application_credential_secret: s}}}\n";
        assert!(matches!(read(text, Some(secure)).expect("read").proof, Proof::ApplicationCredential { .. }));
        assert!(read(text, None).expect_err("no secret").contains("no application_credential_secret"));
    }

    #[test]
    fn what_is_missing_in_a_cloud_is_said() {
        for (text, words) in [
            ("clouds: {other: {}}", "no such cloud"),
            ("clouds: {ovh: {auth: {auth_url: 'http://k'}}}", "no username"),
            ("clouds: {ovh: {}}", "no auth_url"),
            ("clouds: [", "clouds.yaml"),
        ] {
            let error = read(text, None).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
