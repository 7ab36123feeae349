//! Images in their registries: found, verified, pulled, named.

use super::credentials::Login;
use super::reference::Reference;
use super::registry::{Registry, RegistryError};
use super::signature::{Check, Signers, Unverified};
use super::{Found, Images, Tell, tag_rule};
use crate::containers::engine::{Engine, EngineError};
use hostwright_core::config::containers::images::Order;

impl Images {
    /// Finds the image of a name: the one of this digest, if one is given.
    ///
    /// # Errors
    /// A sentence: there is none, it is not signed as it must be, or it cannot be pulled.
    pub(super) async fn find(
        &self,
        engine: &Engine,
        (name, pinned): (&str, Option<String>),
        tell: Tell<'_>,
    ) -> Result<Found, String> {
        let mut reference = Reference::parse(name)?;
        reference.digest = pinned.or(reference.digest);
        // What is in an archive has no signature that could be verified.
        let archives = self.settings.bucket.as_ref().filter(|_| self.signatures(&reference).is_none());
        match archives {
            Some(archives) if archives.order == Order::BucketOnly => {
                self.by_archive(engine, name, archives, tell).await
            }
            Some(archives) => match self.by_registry(engine, name, reference, tell).await {
                Ok(found) => Ok(found),
                Err(why) => {
                    log::info!(image = name; "{why}; looking into the bucket {}", archives.name);
                    let found = self.by_archive(engine, name, archives, tell).await;
                    found.map_err(|also| format!("{why}; {also}"))
                }
            },
            None => self.by_registry(engine, name, reference, tell).await,
        }
    }

    async fn by_registry(
        &self,
        engine: &Engine,
        name: &str,
        mut reference: Reference,
        tell: Tell<'_>,
    ) -> Result<Found, String> {
        let signers = self.signatures(&reference).map(Signers::read).transpose()?;
        let login = self.credentials.login(&reference).await?;
        let known = self.settings.registries.iter().find(|registry| registry.host == reference.host);
        let registry = Registry::new(&reference, login.clone(), known.and_then(|registry| registry.tls.as_ref()))
            .map_err(|error| error.to_string())?;
        let ruled = self.tag_by_rule(&registry, &reference).await?;
        if let Some(tag) = &ruled {
            reference.tag = Some(tag.clone());
        }
        tell(format!("asking for {name}"));
        let digest = match &reference.digest {
            Some(digest) => Some(digest.clone()),
            None => self.resolve(&registry, &reference, signers.is_none()).await?,
        };
        let signed_by = match (&digest, &signers) {
            (_, None) => None,
            (Some(digest), Some(signers)) => {
                tell(format!("verifying the signature of {name}"));
                let check = Check { registry: &registry, digest, signers };
                Some(check.run().await.map_err(|error| refused(&reference, &error))?)
            }
            (None, Some(_)) => {
                return Err("its registry does not say its digest, so no signature can be verified".into());
            }
        };
        let wanted = match &digest {
            Some(digest) => reference.at(digest),
            None => format!("{}:{}", reference.name(), reference.tag_or_latest()),
        };
        let image_id = self.pull(engine, &wanted, &login, (name, tell)).await?;
        self.name(engine, name, &reference, &image_id).await.map_err(|error| error.to_string())?;
        let digest = match digest {
            Some(digest) => Some(digest),
            None => engine.image_digest(&image_id, &reference.repository).await.map_err(|error| error.to_string())?,
        };
        let source = format!("the registry {}", reference.host);
        Ok(Found { image_id, digest, tag: ruled, source, signed_by })
    }

    /// The digest of a tag. Where the registry does not answer us the engine may still reach it, or a mirror: then it
    /// is asked for the tag itself, unless signatures must be verified.
    async fn resolve(
        &self,
        registry: &Registry,
        reference: &Reference,
        engine_may: bool,
    ) -> Result<Option<String>, String> {
        let tag = reference.tag_or_latest();
        match registry.resolve(tag).await {
            Ok(Some(digest)) => Ok(Some(digest)),
            Ok(None) => Err(format!("{} has no tag {tag}", reference.name())),
            Err(RegistryError::Unreachable(why)) if engine_may => {
                log::debug!("{why}; the engine is asked for the tag");
                Ok(None)
            }
            Err(error) => {
                if matches!(error, RegistryError::Denied(_)) {
                    self.credentials.forget().await;
                }
                Err(error.to_string())
            }
        }
    }

    async fn tag_by_rule(&self, registry: &Registry, reference: &Reference) -> Result<Option<String>, String> {
        if reference.tag.is_some() || reference.digest.is_some() {
            return Ok(None);
        }
        let name = reference.name();
        let Some(position) = self.rules.iter().position(|globs| globs.is_match(&name)) else { return Ok(None) };
        let tags = registry.tags().await.map_err(|error| error.to_string())?;
        let chosen = tag_rule::choose(&self.settings.tags[position], &name, &tags)?;
        log::info!("{name}: the newest image of {} is {}", chosen.branch, chosen.tag);
        Ok(Some(chosen.tag))
    }

    /// Lets the engine pull, unless it has the image; its id.
    async fn pull(
        &self,
        engine: &Engine,
        wanted: &str,
        login: &Login,
        (name, tell): (&str, Tell<'_>),
    ) -> Result<String, String> {
        let is_pinned = wanted.contains('@');
        if is_pinned && let Some(id) = engine.image_id(wanted).await.map_err(|error| error.to_string())? {
            return Ok(id);
        }
        tell(format!("pulling {name}"));
        log::info!(image = name; "pulling {wanted}");
        let progress = |progress| tell(format!("pulling {name}: {progress}"));
        engine.pull_as(wanted, login, progress).await.map_err(|error| error.to_string())?;
        let id = engine.image_id(wanted).await.map_err(|error| error.to_string())?;
        id.ok_or_else(|| format!("the engine pulled {wanted} and does not have it"))
    }

    /// Lets the name in the file, and the tag that a rule found, stand for the image.
    pub(super) async fn name(
        &self,
        engine: &Engine,
        written: &str,
        found: &Reference,
        id: &str,
    ) -> Result<(), EngineError> {
        let Ok(reference) = Reference::parse(written) else { return Ok(()) };
        if reference.digest.is_some() {
            return Ok(());
        }
        engine.tag_image(id, &reference.name(), reference.tag_or_latest()).await?;
        if found.tag != reference.tag
            && let Some(tag) = &found.tag
        {
            engine.tag_image(id, &found.name(), tag).await?;
        }
        Ok(())
    }
}

fn refused(reference: &Reference, error: &Unverified) -> String {
    format!("{} is refused: {error}", reference.name())
}
