//! Where a bucket's keys come from: the configuration says one source, and that one alone is asked.

/// Files that hold keys.
mod document;
/// Roles of instances and containers.
mod role;

use crate::bucket::error::Reason;
use crate::config::buckets::Credentials;
use crate::secret::{Secret, SecretError, SecretRef};
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_s3::config::{Credentials as SdkCredentials, ProvideCredentials, SharedCredentialsProvider};
use role::Role;
use std::time::{Duration, SystemTime};

/// Files are read again after this long, so that keys can be changed while the agent runs.
const READ_AGAIN: Duration = Duration::from_secs(300);

/// An access key with its secret.
#[derive(Debug)]
struct Keys {
    access_key: Secret,
    secret_key: Secret,
    session_token: Option<Secret>,
    expires: Option<SystemTime>,
}

/// Gives a bucket's keys to the SDK.
#[derive(Debug)]
enum Source {
    /// The same for the life of the process.
    Fixed(SdkCredentials),
    /// Read again from time to time.
    Read(Credentials),
    Role(Role),
}

/// The provider of a bucket's keys, or nothing for requests without a signature. What can be read is read now, so that
/// what is missing is said at once.
pub(super) fn provider(credentials: &Credentials) -> Result<Option<SharedCredentialsProvider>, Reason> {
    let source = match credentials {
        Credentials::Anonymous => return Ok(None),
        Credentials::InstanceRole => Source::Role(Role::of_instance()?),
        Credentials::ContainerRole => Source::Role(Role::of_container()?),
        Credentials::EnvPrefix(_) | Credentials::Keys { .. } => Source::Fixed(read(credentials)?.for_sdk()),
        Credentials::Document(_) | Credentials::Profile { .. } => {
            read(credentials)?;
            Source::Read(credentials.clone())
        }
    };
    Ok(Some(SharedCredentialsProvider::new(source)))
}

fn read(credentials: &Credentials) -> Result<Keys, Reason> {
    let resolve = |reference: &SecretRef| reference.resolve().map_err(Reason::Credentials);
    match credentials {
        Credentials::EnvPrefix(prefix) => of_environment(prefix),
        Credentials::Keys { access_key, secret_key, session_token } => Ok(Keys {
            access_key: resolve(access_key)?,
            secret_key: resolve(secret_key)?,
            session_token: session_token.as_ref().map(resolve).transpose()?,
            expires: None,
        }),
        Credentials::Document(reference) => {
            let text = resolve(reference)?;
            document::keys(text.expose()).map_err(|why| Reason::Keys { place: name_of(reference), why })
        }
        Credentials::Profile { name, file } => document::profile(name, file.as_deref()),
        Credentials::InstanceRole | Credentials::ContainerRole | Credentials::Anonymous => {
            Err(Reason::Setup { cause: "these credentials are not read from anywhere".into() })
        }
    }
}

fn of_environment(prefix: &str) -> Result<Keys, Reason> {
    let variable = |ending: &str| SecretRef::Environment(format!("{prefix}{ending}")).resolve();
    // The first spelling is the one that an error names.
    let either = |ours: &str, theirs: &str| -> Result<Secret, SecretError> {
        variable(ours).or_else(|error| variable(theirs).map_err(|_| error))
    };
    Ok(Keys {
        access_key: either("_ACCESS_KEY", "_ACCESS_KEY_ID").map_err(Reason::Credentials)?,
        secret_key: either("_SECRET_KEY", "_SECRET_ACCESS_KEY").map_err(Reason::Credentials)?,
        session_token: variable("_SESSION_TOKEN").ok(),
        expires: None,
    })
}

fn name_of(reference: &SecretRef) -> String {
    match reference {
        SecretRef::Credential(name) => format!("the credential {name:?}"),
        SecretRef::Environment(name) => format!("the environment variable {name}"),
        SecretRef::File(path) => path.display().to_string(),
    }
}

impl Keys {
    fn for_sdk(&self) -> SdkCredentials {
        let token = self.session_token.as_ref().map(|token| token.expose().to_owned());
        SdkCredentials::new(self.access_key.expose(), self.secret_key.expose(), token, self.expires, "hostwright")
    }
}

impl Source {
    async fn give(&self) -> Result<SdkCredentials, CredentialsError> {
        match self {
            Self::Fixed(credentials) => Ok(credentials.clone()),
            Self::Read(credentials) => {
                let mut keys = read(credentials).map_err(|reason| CredentialsError::not_loaded(reason.to_string()))?;
                keys.expires = Some(SystemTime::now() + READ_AGAIN);
                Ok(keys.for_sdk())
            }
            Self::Role(role) => {
                let keys = role.keys().await.map_err(|reason| CredentialsError::not_loaded(reason.to_string()))?;
                Ok(keys.for_sdk())
            }
        }
    }
}

impl ProvideCredentials for Source {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.give())
    }
}
