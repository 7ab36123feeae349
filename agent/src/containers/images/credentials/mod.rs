//! Who asks a registry.
//!
//! In: the configuration, the file that `docker login` writes, the helpers that it names, Amazon's API. Out: a login.
//! Nothing survives: a token of ECR is kept in memory until well before its end.

/// The file that `docker login` writes.
mod docker_config;
/// Tokens of Amazon ECR.
mod ecr;
/// Programs that keep logins: docker-credential-….
mod helper;
/// Who asks.
mod login;

pub use login::Login;

use super::reference::Reference;
use ecr::Ecr;
use hostwright_core::config::containers::images::{Images as Settings, Login as Configured};
use std::path::PathBuf;
use tokio::sync::Mutex;

/// All logins, found when they are needed.
#[derive(Debug)]
pub struct Credentials {
    settings: Settings,
    ecr: Mutex<Ecr>,
}

impl Credentials {
    pub fn new(settings: &Settings) -> Self {
        Self { settings: settings.clone(), ecr: Mutex::default() }
    }

    /// The login for an image's registry: the configured one, else that of the file of `docker login`, else that of
    /// ECR where the host is one of Amazon's, else nobody.
    ///
    /// # Errors
    /// A sentence: a secret, a helper or Amazon's API does not give what it should.
    pub async fn login(&self, reference: &Reference) -> Result<Login, String> {
        let configured = self.settings.registries.iter().find(|registry| registry.host == reference.host);
        match configured.map(|registry| &registry.login) {
            Some(Configured::User { name, password }) => {
                let name = name.resolve().map_err(|error| error.to_string())?;
                let password = password.resolve().map_err(|error| error.to_string())?;
                Ok(Login::User { name: name.expose().to_owned(), password })
            }
            Some(Configured::Ecr { credentials, url, region }) => {
                let place = ecr::Place::of(&reference.host, url.as_deref(), region.as_deref())?;
                self.ecr.lock().await.login(&place, credentials).await
            }
            Some(Configured::Found) | None => self.found(reference).await,
        }
    }

    /// A login was not accepted: nothing that was kept of it is used again.
    pub async fn forget(&self) {
        self.ecr.lock().await.forget();
    }

    async fn found(&self, reference: &Reference) -> Result<Login, String> {
        let path: PathBuf = self.settings.docker_config.clone();
        let found = docker_config::login(&path, reference.login_key()).await?;
        if found == Login::Nobody
            && let Ok(place) = ecr::Place::of(&reference.host, None, None)
        {
            let found = hostwright_core::config::aws::Credentials::Found;
            return self.ecr.lock().await.login(&place, &found).await;
        }
        Ok(found)
    }
}
