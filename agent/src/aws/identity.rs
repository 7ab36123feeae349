use super::role::Surroundings;
use aws_credential_types::Credentials;
use hostwright_core::config::aws::{self as config, Key};
use hostwright_core::secret::{SecretError, SecretRef};
use std::time::{Duration, SystemTime};

/// Temporary credentials are renewed so long before their end.
const BEFORE_END: Duration = Duration::from_secs(300);

/// Whose requests they are: found when that is needed first, and again before it ends or when it was not accepted.
#[derive(Debug)]
pub struct Identity {
    settings: config::Credentials,
    found: Option<Credentials>,
}

impl Identity {
    pub fn new(settings: config::Credentials) -> Self {
        Self { settings, found: None }
    }

    /// They were not accepted.
    pub fn forget(&mut self) {
        self.found = None;
    }

    pub async fn credentials(&mut self) -> Result<Credentials, String> {
        let now = SystemTime::now();
        if let Some(found) = self.found.as_ref().filter(|found| lasts(found, now + BEFORE_END)) {
            return Ok(found.clone());
        }
        match find(&self.settings).await {
            Ok(found) => Ok(self.found.insert(found).clone()),
            Err(why) => self.found.clone().filter(|found| lasts(found, now)).ok_or(why),
        }
    }
}

fn lasts(credentials: &Credentials, until: SystemTime) -> bool {
    credentials.expiry().is_none_or(|end| end > until)
}

async fn find(settings: &config::Credentials) -> Result<Credentials, String> {
    match settings {
        config::Credentials::Key(key) => resolve(key).map_err(|error| error.to_string()),
        config::Credentials::Role(role) => Surroundings::of_environment().ask(*role).await,
        config::Credentials::Found => match resolve(&Key::of_environment()) {
            Ok(credentials) => Ok(credentials),
            Err(_) => Surroundings::of_environment().ask_any().await.map_err(|why| {
                format!(
                    "there are no credentials: give credentials: {{access_key: …, secret_key: …}}, or set \
                     AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the agent, or give its container or instance a \
                     role ({why})"
                )
            }),
        },
    }
}

fn resolve(key: &Key) -> Result<Credentials, SecretError> {
    let read = |reference: &SecretRef| reference.resolve().map(|secret| secret.expose().to_owned());
    let token = match &key.session_token {
        // Those that are not temporary have none.
        Some(SecretRef::Environment(name)) if std::env::var_os(name).is_none() => None,
        Some(reference) => Some(read(reference)?),
        None => None,
    };
    Ok(Credentials::new(read(&key.access_key)?, read(&key.secret_key)?, token, None, "hostwright"))
}
